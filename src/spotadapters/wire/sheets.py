"""CSV exports (http-api 11): RFC 4180, CRLF, header always, and no cell that a spreadsheet would run (S15)."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from spotadapters.wire.rendering import stamp

CSV_TYPE: Final = "text/csv; charset=utf-8"
RISKY: Final = ("=", "+", "-", "@", "\t", "\r")


def cell(value: Any) -> str:
    """A cell: numbers as they are, texts with a leading ``'`` where a spreadsheet would take them for a formula."""
    match value:
        case None:
            return ""
        case datetime():
            return stamp(value) or ""
        case Decimal() | int() | float():
            return str(value)
        case _:
            text = str(value)
            return "'" + text if text.startswith(RISKY) else text


def sheet(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """The file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([cell(value) for value in row] for row in rows)
    return out.getvalue().encode()
