"""Query parameters, kind by kind: what each takes, what it makes of it, and how it refuses (1.3: never for a range)."""

from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.wire import asking
from spotadapters.wire.asking import asked
from spotcore.errors import ValidationFailed


@frozen(kw_only=True)
class Query:
    limit: int = asking.whole(50, 1, 100)
    days: int | None = asking.optional_whole(-5, 5, name="d")
    status: str | None = asking.word(None, "all", "active")
    search: str | None = asking.text(limit=8)
    unread: bool = asking.switch(name="only_unread")
    kinds: tuple[str, ...] = asking.words("a", "b", "c")


def read(name: str, value: str) -> Any:
    field = {"d": "days", "only_unread": "unread"}.get(name, name)
    return getattr(asked({name: value}, Query), field)


def refused(name: str, value: str) -> str:
    with pytest.raises(ValidationFailed) as refusal:
        asked({name: value}, Query)
    assert refusal.value.message == f"invalid: {name}"
    ((named, (text,)),) = refusal.value.details.items()
    assert named == name
    return str(text)


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("limit", "1", 1), ("limit", "100", 100), ("limit", "0", 1), ("limit", "101", 100), ("limit", "-1", 1),
        ("limit", " 7 ", 7), ("limit", "+7", 7), ("limit", "007", 7), ("limit", "7.0", 7), ("limit", "7e0", 7),
        ("limit", "1e17", 100), ("limit", "-1e17", 1), ("limit", "9" * 18, 100), ("limit", "9" * 19, 100),
        ("limit", "-" + "9" * 19, 1), ("limit", "0" * 30, 100), ("limit", "1\x007", 17),
        ("d", "0", 0), ("d", "-5", -5), ("d", "-6", -5), ("d", "6", 5), ("d", "", None), ("d", "  ", None),
        ("status", "all", "all"), ("status", "ACTIVE", "active"), ("status", " all ", "all"), ("status", "", None),
        ("search", "m5", "m5"), ("search", "  m5  ", "m5"), ("search", "12345678", "12345678"), ("search", "", None),
        ("search", "a\x1bb\x9b", "ab"), ("search", "ü😀", "ü😀"),
        ("kinds", "a", ("a",)), ("kinds", "b,a", ("b", "a")), ("kinds", " A , b ", ("a", "b")), ("kinds", "", ("a", "b", "c")),
        ("kinds", ",", ("a", "b", "c")), ("kinds", "a,,b", ("a", "b")), ("kinds", "a,a", ("a", "a")),
        *[("only_unread", word, True) for word in ("1", "true", "True", "yes", "on", " true ")],
        *[("only_unread", word, False) for word in ("0", "false", "no", "off", "", " ")],
    ],
)  # fmt: skip
def test_a_value_is_read_as_its_kind(name: str, value: str, meant: Any) -> None:
    assert read(name, value) == meant
    assert type(read(name, value)) is type(meant)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        (
            "limit",
            ["x", "1.5", "NaN", "sNaN", "Infinity", "-inf", "1e", "0x10", "1,5", "1 2", "--1", "+"],
            "use a whole number",
        ),
        ("d", ["x", "0.1", "inf"], "use a whole number"),
        ("status", ["any", "al", "all,active"], "use all, active"),
        ("search", ["x" * 9], "longer than 8 characters"),
        ("only_unread", ["2", "y", "tru", "truefalse", "-1"], "use true or false"),
        ("kinds", ["d", "a,d", "a b"], "use a comma-separated list of a, b, c"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_would_be_right(name: str, values: list[str], says: str) -> None:
    for value in values:
        assert refused(name, value) == says


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ValidationFailed) as refusal:
        asked({"limit": "x", "status": "y", "only_unread": "z", "search": "ok"}, Query)
    assert refusal.value.message == "invalid: limit, only_unread, status"
    assert set(refusal.value.details) == {"limit", "only_unread", "status"}


def test_a_parameter_is_known_by_its_wire_name_alone_t06() -> None:
    assert asked({"days": "3", "unread": "1", "LIMIT": "7"}, Query) == Query()


def test_a_number_that_takes_long_to_write_out_is_never_written_out() -> None:
    assert read("limit", "1e999999999999") == 100
    assert read("limit", "-1e999999999999") == 1


@given(st.integers())
def test_every_whole_number_is_clamped_into_its_range(value: int) -> None:
    assert read("limit", str(value)) == min(max(value, 1), 100)


@given(st.text(max_size=20), st.sampled_from(["limit", "d", "status", "search", "only_unread", "kinds"]))
def test_any_text_is_read_within_its_bounds_or_refused(value: str, name: str) -> None:
    try:
        found = asked({name: value}, Query)
    except ValidationFailed as refusal:
        assert list(refusal.details) == [name]
    else:
        assert 1 <= found.limit <= 100
        assert found.search is None or (len(found.search) <= 8 and found.search.strip() == found.search != "")
        assert set(found.kinds) <= {"a", "b", "c"}
