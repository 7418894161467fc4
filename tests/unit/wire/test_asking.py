"""Query parameters: clamped numbers, closed words, and refusals that say what would be right."""

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.wire import asking
from spotadapters.wire.asking import asked
from spotcore.errors import ValidationFailed


@frozen(kw_only=True)
class Query:
    limit: int = asking.whole(100, 1, 1000)
    status: str = asking.word("all", "all", "active", "terminated")
    search: str | None = asking.text(limit=10, name="q")
    unread: bool = asking.switch()
    types: tuple[str, ...] = asking.words("clients", "agents")
    hours: int | None = asking.optional_whole(1, 2160)


def test_what_is_not_given_has_its_default() -> None:
    assert asked({}, Query) == Query()
    assert asked({"limit": " ", "q": "", "unknown": "x"}, Query) == Query()


@pytest.mark.parametrize(
    ("sent", "read"),
    [("5", 5), ("0", 1), ("-7", 1), ("1e3", 1000), ("999999", 1000), ("9" * 5000, 1000), ("-" + "9" * 5000, 1)],
)
def test_numbers_are_clamped_into_their_range_never_refused_for_it(sent: str, read: int) -> None:
    assert asked({"limit": sent}, Query).limit == read


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("limit", "many", "whole number"),
        ("limit", "1.5", "whole number"),
        ("limit", "NaN", "whole number"),
        ("status", "asleep", "all, active, terminated"),
        ("q", "x" * 11, "10 characters"),
        ("unread", "perhaps", "true or false"),
        ("types", "clients,pools", "clients, agents"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name_with_what_would_be_right(name: str, value: str, says: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        asked({name: value}, Query)
    assert says in refused.value.details[name][0]


def test_words_lists_and_switches_are_read() -> None:
    read = asked({"status": "Active", "q": "web", "unread": "1", "types": "agents", "hours": "48"}, Query)
    assert read == Query(status="active", search="web", unread=True, types=("agents",), hours=48)


@given(st.dictionaries(st.sampled_from(["limit", "status", "q", "unread", "types", "hours"]), st.text()))
def test_no_query_does_anything_but_answer_or_refuse(query: dict[str, str]) -> None:
    try:
        read = asked(query, Query)
    except ValidationFailed as refused:
        assert set(refused.details) <= set(query)
    else:
        assert 1 <= read.limit <= 1000
