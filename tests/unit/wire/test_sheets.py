"""CSV files (http-api 11)."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from spotadapters.wire.sheets import cell, sheet


def test_the_header_is_there_without_rows_and_lines_end_in_crlf() -> None:
    assert sheet(["A", "B"], []) == b"A,B\r\n"


def test_numbers_stay_numbers_and_texts_that_look_like_formulas_do_not_run_s15() -> None:
    assert [cell(value) for value in ("=1+1", "+x", "-x", "@x", "\tx", "\rx")] == [
        "'=1+1", "'+x", "'-x", "'@x", "'\tx", "'\rx",
    ]  # fmt: skip
    assert cell(Decimal("-0.5")) == "-0.5"
    assert cell(None) == ""
    assert cell(datetime(2026, 3, 2, tzinfo=UTC)) == "2026-03-02T00:00:00Z"


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), min_size=2, max_size=2)))
def test_any_text_reads_back_as_one_cell(rows: list[list[str]]) -> None:
    read = list(csv.reader(io.StringIO(sheet(["a", "b"], rows).decode(), newline="")))
    assert read[0] == ["a", "b"]
    assert read[1:] == [[cell(value) for value in row] for row in rows]
