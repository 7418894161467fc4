"""Tables of price changes, CSV and Parquet: columns by their names, anything that may have been cut refused."""

import gzip
from pathlib import Path

import pytest

from spotadapters.history.reading import ALIASES, NEEDED, History, columns_of, require_whole
from spotadapters.history.refusals import UnreadableHistory
from tests.support.histories import (
    AT,
    HEAD,
    LINE,
    NO_POOL,
    NO_PRICE,
    NO_TIME,
    NOW,
    a_parquet,
    buckets_of,
    refusal_of,
    summary_of,
    written,
)

NAMES = {
    "at": ("timestamp", "ts", "at", "time", "bucket_start"),
    "kind": ("instancetype", "instance_type", "type"),
    "az": ("availabilityzone", "availability_zone", "az", "zone"),
    "price": ("spotprice", "spot_price", "price_usd_h", "price", "price_usd"),
}
VALUES = {"at": "2026-02-01T00:00:00Z", "kind": "m5.large", "az": "us-east-1a", "price": "0.03"}
MISSING = (
    "at: timestamp or ts or at or time or bucket_start",
    "kind: instancetype or instance_type or type",
    "az: availabilityzone or availability_zone or az or zone",
    "price: spotprice or spot_price or price_usd_h or price or price_usd",
)


def found_in(*names: str) -> dict[str, str]:
    return columns_of(names, Path("history.csv"), ALIASES, NEEDED)


@pytest.mark.parametrize(("column", "name"), [(column, name) for column, names in NAMES.items() for name in names])
def test_every_known_name_of_a_column_is_found_whatever_its_case_and_place(column: str, name: str) -> None:
    others = {one: some[0] for one, some in NAMES.items() if one != column}
    for word in (name, name.upper(), name.title()):
        assert found_in("id", *others.values(), word, "note") == {**others, column: word}


@pytest.mark.parametrize("column", NAMES)
def test_of_columns_that_could_be_one_the_first_known_name_counts(column: str) -> None:
    names = NAMES[column]
    others = [some[0] for one, some in NAMES.items() if one != column]
    for number, name in enumerate(names):
        assert found_in(*others, *reversed(names[number:]))[column] == name


@pytest.mark.parametrize("number", range(4))
def test_a_missing_column_is_named_with_all_its_names_and_what_there_is(number: int) -> None:
    names = [some[0] for some in NAMES.values()]
    del names[number]
    with pytest.raises(UnreadableHistory) as refused:
        found_in(*names, "Extra")
    told = f"history.csv: columns missing ({MISSING[number]}); it has {', '.join([*names, 'Extra'])}"
    assert str(refused.value) == told


def test_all_missing_columns_are_named_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, "history.csv", "a,b\n1,2\n")
    assert refusal_of(file) == f"{file}: columns missing ({'; '.join(MISSING)}); it has a, b"


def test_columns_stand_in_any_order_among_others(tmp_path: Path) -> None:
    text = 'id,Zone,at,price_usd,TYPE,note\n7,us-east-1a,2026-02-01T00:00:00Z,0.03,m5.large,"a, b"\n'
    (bucket,) = buckets_of(written(tmp_path, "history.csv", text))
    assert (bucket.pool_id, bucket.price, bucket.start) == ("m5.large.us-east-1a", "0.030000", AT)


SPELLINGS = {
    "as it should be": HEAD + LINE,
    "lines end as on Windows": (HEAD + LINE).replace("\n", "\r\n"),
    "semicolons": (HEAD + LINE).replace(",", ";"),
    "bars": (HEAD + LINE).replace(",", "|"),
    "tabs": (HEAD + LINE).replace(",", "\t"),
    "everything quoted": "".join(
        ",".join(f'"{one}"' for one in line.split(",")) + "\n" for line in (HEAD.strip(), LINE.strip())
    ),
    "a byte order mark": "\ufeff" + HEAD + LINE,
    "blank lines": HEAD + "\n" + LINE + "\n",
}


FORMS = [
    *((how, "history.csv") for how in SPELLINGS),
    *(("tabs", name) for name in ("history.tsv", "history.txt", "HISTORY.CSV", "history.csv.gz")),
]


def test_a_table_is_read_however_it_is_spelled_and_named(tmp_path: Path) -> None:
    """All of them in one history, each with a zone of its own."""
    zones, files = [f"us-east-1-{number:02}a" for number in range(len(FORMS))], []
    for (how, name), zone in zip(FORMS, zones, strict=True):
        folder = tmp_path / zone
        folder.mkdir()
        files.append(written(folder, name, SPELLINGS[how].replace("us-east-1a", zone)))
    with History(files, NOW) as history:
        found = {pool.az: pool.first for pool in history.pools()}
        assert history.summary().rejected == {}
    assert found == dict.fromkeys(zones, AT)


def test_a_head_without_lines_is_a_history_of_nothing(tmp_path: Path) -> None:
    found = summary_of(written(tmp_path, "history.csv", HEAD))
    assert (found.rows, found.pools, found.first) == (0, 0, None)


def test_empty_cells_are_no_values(tmp_path: Path) -> None:
    lines = [",m5.large,us-east-1a,0.03", "2026-02-01,,us-east-1a,0.03", "2026-02-01,m5.large,,0.03",
             "2026-02-01,m5.large,us-east-1a,"]  # fmt: skip
    found = summary_of(written(tmp_path, "history.csv", HEAD + "\n".join(lines) + "\n"))
    assert found.rejected == {NO_TIME: 1, NO_POOL: 2, NO_PRICE: 1}
    assert found.changes == 0


CUT = "its last line does not end, so it may have been cut; add a newline if it is whole"


@pytest.mark.parametrize(
    "text", ["", HEAD + LINE[:-1], HEAD + LINE + "2026-02-01T00:05:00Z,m5.la", HEAD.strip(), HEAD + LINE[:-3] + "\r"]
)
@pytest.mark.parametrize("name", ["history.csv", "history.tsv", "HISTORY.TXT", "history.csv.gz"])
def test_a_table_whose_last_line_does_not_end_is_refused(tmp_path: Path, text: str, name: str) -> None:
    file = written(tmp_path, name, text)
    with pytest.raises(UnreadableHistory) as refused:
        require_whole(file)
    assert str(refused.value) == f"{file}: {CUT}"


def test_what_ends_its_last_line_and_what_is_no_text_is_let_through(tmp_path: Path) -> None:
    for name, content in (("a.csv", LINE), ("a.csv.gz", LINE), ("b.csv", "\n"), ("a.parquet", "PAR1")):
        require_whole(written(tmp_path, name, content))


def test_the_reader_refuses_a_table_that_may_have_been_cut(tmp_path: Path) -> None:
    file = written(tmp_path, "history.csv", HEAD + LINE[:-1])
    assert refusal_of(file) == f"{file}: {CUT}"


def test_a_newline_makes_a_whole_table_of_it(tmp_path: Path) -> None:
    """And a price that was cut would have looked right: 0.03 of 0.0312."""
    assert summary_of(written(tmp_path, "history.csv", HEAD + LINE[:-1] + "\n")).changes == 1


SPOILT = {
    "its end is missing": lambda raw: raw[:-5],
    "not packed": lambda raw: gzip.decompress(raw),
    "spoilt in the middle": lambda raw: raw[:15] + b"\xff" * 20 + raw[35:],
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_packed_table_that_is_not_whole_is_refused(tmp_path: Path, how: str) -> None:
    lines = "".join(f"2026-02-01T00:{n:02}:00Z,m5.large,us-east-1a,0.03{n}\n" for n in range(60))
    file = written(tmp_path, "history.csv.gz", SPOILT[how](gzip.compress((HEAD + lines).encode())))
    with pytest.raises(UnreadableHistory) as refused:
        require_whole(file)
    assert str(refused.value) == f"{file}: the packed file is incomplete; fetch it again"


@pytest.mark.parametrize(
    "line",
    ["2026-02-01T00:05:00Z,m5.large,us-east-1a", "2026-02-01T00:05:00Z,m5.large,us-east-1a,0.03,more"],
    ids=["a cell less", "a cell more"],
)
@pytest.mark.parametrize("before", [1, 30_000])
def test_a_line_of_another_width_refuses_the_file_wherever_it_stands(tmp_path: Path, line: str, before: int) -> None:
    file = written(tmp_path, "history.csv", HEAD + LINE * before + line + "\n" + LINE)
    assert refusal_of(file).startswith(f"{file}: ")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_a_table_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    text = HEAD + LINE + "2026-02-01T00:05:00Z,mé.large,us-east-1a,0.03\n"
    file = written(tmp_path, "history.csv", text.encode(encoding))
    assert refusal_of(file).startswith(f"{file}: ")


@pytest.mark.parametrize("name", ["history", "history.xlsx", "history.csv.bz2", "history.zip", "history.json5", "csv"])
def test_a_name_that_says_no_known_form_is_refused_with_those_that_are(tmp_path: Path, name: str) -> None:
    file = written(tmp_path, name, HEAD + LINE)
    assert refusal_of(file) == f"{file}: use .json (describe-spot-price-history), .csv, .parquet, or these with .gz"


# --- Parquet ---------------------------------------------------------------------------------------------------------

TIMES = {
    "timestamp": "'2026-02-01 00:00:00'::timestamp",
    "with a zone": "'2026-02-01 00:00:00+00'::timestamptz",
    "nanoseconds": "'2026-02-01 00:00:00'::timestamp_ns",
    "milliseconds": "'2026-02-01 00:00:00'::timestamp_ms",
    "a date": "'2026-02-01'::date",
    "seconds": "1769904000::bigint",
    "seconds with a point": "1769904000.0::double",
    "a text": "'2026-02-01T00:00:00Z'",
    "a text with another offset": "'2026-02-01T05:45:00+05:45'",
}
PRICES = {
    "decimal": "0.03::decimal(12, 6)",
    "double": "0.03::double",
    "a text": "'0.030'",
    "long decimal": "0.03::decimal(38, 20)",
}


def test_a_parquet_file_is_read_whatever_types_its_columns_have_gr5(tmp_path: Path) -> None:
    """Every type of time and of price in a file of its own, all of one history."""
    values = [*((how, time, PRICES["decimal"]) for how, time in TIMES.items()),
              *((how, TIMES["a date"], price) for how, price in PRICES.items())]  # fmt: skip
    files = [
        a_parquet(
            tmp_path,
            f"select {time} as ts, 'm5.large' as type, 'us-east-1-{number:02}a' as az, {price} as price",
            f"{number}.parquet",
        )
        for number, (_, time, price) in enumerate(values)
    ]
    found = buckets_of(*files)
    assert {values[int(one.pool_id[-3:-1])][0]: (one.observed_at, one.price) for one in found} == {
        how: (AT, "0.030000") for how, *_ in values
    }


def test_a_single_precision_price_is_rounded_to_six_decimals(tmp_path: Path) -> None:
    query = "select '2026-02-01' as ts, 'm5.large' as type, 'us-east-1a' as az, 0.0416::float as price"
    assert buckets_of(a_parquet(tmp_path, query))[0].price == "0.041600"


def test_a_null_in_a_parquet_file_is_no_value(tmp_path: Path) -> None:
    values = {"ts": "'2026-02-01'", "type": "'m5.large'", "az": "'us-east-1a'", "price": "'0.03'"}
    rows = [", ".join("null::text" if one == column else value for one, value in values.items()) for column in values]
    query = " union all ".join(f"select {row}" for row in rows)
    file = a_parquet(tmp_path, f"select * from ({query}) t ({', '.join(values)})")
    assert summary_of(file).rejected == {NO_TIME: 1, NO_POOL: 2, NO_PRICE: 1}


def test_a_parquet_file_without_a_needed_column_is_refused_by_name(tmp_path: Path) -> None:
    file = a_parquet(tmp_path, "select 1 as ts, 'm5.large' as type, 'us-east-1a' as az")
    assert refusal_of(file) == f"{file}: columns missing ({MISSING[3]}); it has ts, type, az"


@pytest.mark.parametrize("kept", [(0, 0), (0, 4), (0, -8), (8, 100), (4, None)], ids=str)
def test_a_parquet_file_that_is_not_whole_is_refused(tmp_path: Path, kept: tuple[int, int | None]) -> None:
    file = a_parquet(tmp_path, "select '2026-02-01' as ts, 'm5.large' as type, 'us-east-1a' as az, 0.03 as price")
    file.write_bytes(file.read_bytes()[slice(*kept)])
    text = refusal_of(file)
    assert text.startswith(f"{file}: ")
    assert len(text.splitlines()) == 1


def test_a_product_column_is_not_needed_and_used_when_it_is_there(tmp_path: Path) -> None:
    head, line = HEAD.replace("\n", ",product\n"), LINE.replace("\n", ",Windows\n")
    (bucket,) = buckets_of(written(tmp_path, "history.csv", head + line))
    assert (bucket.pool_id, bucket.kind) == ("m5.large:windows.us-east-1a", "m5.large:windows")
    (plain,) = buckets_of(written(tmp_path, "plain.csv", head + LINE.replace("\n", ",\n")))
    assert plain.pool_id == "m5.large.us-east-1a"


def test_files_of_several_forms_are_one_history(tmp_path: Path) -> None:
    files = [
        written(tmp_path, "a.csv", HEAD + LINE),
        written(tmp_path, "b.csv.gz", HEAD + LINE.replace("1a", "1b")),
        a_parquet(tmp_path, "select '2026-02-01' as ts, 'm5.large' as type, 'us-east-1a' as az, 0.03 as price"),
    ]
    found = summary_of(*files)
    assert (found.rows, found.changes, found.duplicates, found.pools) == (3, 2, 1, 2)
