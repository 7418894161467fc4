"""Pools and modes: every spelling meets in one (failure 84, T25)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.errors import PoolMismatch, ValidationFailed
from spotcore.pools import Mode, parse_mode, parse_pool, pool_of, require_same_family

types = st.builds(
    "{}.{}".format, st.sampled_from(["t3", "m5", "c6gd", "u-6tb1"]), st.sampled_from(["large", "2xlarge", "metal"])
)
zones = st.builds(
    "{}-{}-{}{}".format, st.sampled_from(["us", "eu", "ap"]), st.sampled_from(["east", "gov-west"]), st.integers(1, 4),
    st.sampled_from("abcdef"),
)  # fmt: skip


@given(types, zones, st.sampled_from(["{0}.{1}", " {0}.{1} ", "{0}.{2}.{1}", "{0}.{2}.{1}\n"]))
def test_0_1_every_spelling_of_a_pool_is_one_pool_and_normalising_is_idempotent(
    kind: str, zone: str, form: str
) -> None:
    pool = parse_pool(form.format(kind, zone, zone[:-1]))
    assert (pool.instance_type, pool.az, pool.region) == (kind, zone, zone[:-1])
    assert pool.pool_id == f"{kind}.{zone}"
    assert parse_pool(pool.pool_id) == pool
    assert pool.pool_id.rpartition(".")[2] == pool.az  # T25


@pytest.mark.parametrize(
    "text",
    ["", " ", ".", "t3", "t3.medium", "t3..us-east-1a", "7", "t3.medium.nowhere", ".medium.us-east-1a", "t3.medium."],
)
def test_what_is_no_pool_is_refused_and_told_the_right_form(text: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        parse_pool(text)
    assert "instance type" in refusal.value.details["pool_id"][0]


@given(st.text(max_size=40))
def test_any_text_is_a_pool_that_parses_to_itself_or_is_refused(text: str) -> None:
    try:
        pool = parse_pool(text)
    except ValidationFailed:
        return
    assert parse_pool(pool.pool_id) == pool


def test_pools_sort_by_type_then_zone() -> None:
    names = ["m5.large.us-east-1b", "c5.large.us-east-1c", "m5.large.us-east-1a"]
    assert [pool.pool_id for pool in sorted(map(parse_pool, names))] == [names[1], names[2], names[0]]


@pytest.mark.parametrize(
    ("instance_type", "az", "pool_id"),
    [
        ("t3.medium", "us-east-1a", "t3.medium.us-east-1a"),
        (None, "us-east-1a", None),
        ("t3.medium", None, None),
        ("", "us-east-1a", None),
    ],
)
def test_gr7_a_pool_is_unknown_while_its_type_or_zone_is(
    instance_type: str | None, az: str | None, pool_id: str | None
) -> None:
    pool = pool_of(instance_type, az)
    assert (pool.pool_id if pool else None) == pool_id


@pytest.mark.parametrize(
    ("pool", "instance_type", "region", "fits"),
    [
        ("m5.large.us-east-1a", "m5.large", "us-east-1", True),
        ("c5.large.us-east-1a", "m5.large", "us-east-1", False),
        ("m5.large.eu-west-1a", "m5.large", "us-east-1", False),
        ("c5.large.us-east-1a", None, "us-east-1", True),
        ("m5.large.eu-west-1a", "m5.large", None, True),
    ],
    ids=["same", "other type", "other region", "type unknown", "region unknown"],
)
def test_4_7_bad_target_is_a_pool_of_another_type_or_region(
    pool: str, instance_type: str | None, region: str | None, fits: bool
) -> None:
    if fits:
        require_same_family(parse_pool(pool), instance_type, region)
        return
    with pytest.raises(PoolMismatch):
        require_same_family(parse_pool(pool), instance_type, region)


@pytest.mark.parametrize(
    ("word", "mode"),
    [
        ("spot", Mode.SPOT),
        ("SPOT", Mode.SPOT),
        ("pool", Mode.SPOT),
        ("ondemand", Mode.ONDEMAND),
        ("On-Demand", Mode.ONDEMAND),
        ("on_demand", Mode.ONDEMAND),
        (" on-demand ", Mode.ONDEMAND),
        ("unknown", Mode.UNKNOWN),
    ],
)
def test_0_1_every_spelling_of_a_mode_is_one_mode_and_normalising_is_idempotent(word: str, mode: Mode) -> None:
    assert parse_mode(word) is mode
    assert parse_mode(parse_mode(word).value) is mode


@given(st.text(max_size=12))
def test_any_word_is_a_mode_that_means_itself_or_is_refused(word: str) -> None:
    try:
        mode = parse_mode(word)
    except ValidationFailed as refusal:
        assert "spot" in refusal.details["mode"][0]
        return
    assert parse_mode(mode.value) is mode
