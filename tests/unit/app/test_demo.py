"""The demo's parts that need no server: its market, its screen, and what it says at the end."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from spotapp.demo.prices import ONDEMAND, ZONES, GeneratedPrices, RecordedPrices
from spotapp.demo.screen import Screen, failover_line, fleet_table, hourly_saving, legacy_total
from spotapp.demo.story import CAST, MANUAL, SECOND_STORM, STORM, SWITCHED, WARNED, replica_word
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.pools import Mode, Pool
from tests.support.world import World, a_world, with_replica

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
POOLS = [Pool(kind, az) for kind in ONDEMAND for az in ZONES]


# ---- the market


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), hours=st.floats(0, 24))
def test_spot_is_never_dearer_than_on_demand_and_never_free(seed: int, hours: float) -> None:
    market, at = GeneratedPrices(seed, START), START + timedelta(hours=hours)
    for pool in POOLS:
        price, listed = market.spot(pool, at), market.on_demand(pool.instance_type, at)
        assert price is not None
        assert listed is not None
        assert 0 < price <= listed
        assert price == round(price, 6)


def test_the_same_seed_is_the_same_market_in_whatever_order_it_is_asked() -> None:
    one, other = GeneratedPrices(7, START), GeneratedPrices(7, START)
    times = [START + timedelta(minutes=minutes) for minutes in (0, 90, 300)]
    first = [one.spot(pool, at) for at in times for pool in POOLS]
    second = [other.spot(pool, at) for at in reversed(times) for pool in POOLS]
    assert first == [second[(2 - number) * len(POOLS) + place] for number in range(3) for place in range(len(POOLS))]
    assert [GeneratedPrices(8, START).spot(pool, times[2]) for pool in POOLS] != first[-len(POOLS) :]


def test_a_price_holds_for_five_minutes_and_one_before_the_start_is_the_first() -> None:
    market = GeneratedPrices(7, START)
    first = market.spot(POOLS[0], START)
    assert market.spot(POOLS[0], START + timedelta(seconds=299)) == first
    assert market.spot(POOLS[0], START - timedelta(days=1)) == first
    assert market.spot(POOLS[0], START + timedelta(seconds=300)) != first


def recorded(folder: Path, rows: list[tuple[str, str, str]]) -> RecordedPrices:
    file = folder / "history.json"
    names = ("AvailabilityZone", "Timestamp", "SpotPrice")
    file.write_text(json.dumps({"SpotPriceHistory": [dict(zip(names, row, strict=True)) for row in rows]}))
    return RecordedPrices(file, START)


def test_a_recorded_history_is_played_from_its_first_change_on(tmp_path: Path) -> None:
    market = recorded(
        tmp_path,
        [
            ("eu-west-1b", "2025-01-01T00:10:00+00:00", "0.05"),
            ("eu-west-1a", "2025-01-01T01:00:00+00:00", "0.04"),
            ("eu-west-1a", "2025-01-01T00:00:00+00:00", "0.03"),
        ],
    )
    here, there, nowhere = (Pool("m5.large", az) for az in ZONES)
    prices = [market.spot(here, START + timedelta(minutes=minutes)) for minutes in (0, 59, 60, 600)]
    assert prices == [Decimal("0.03"), Decimal("0.03"), Decimal("0.04"), Decimal("0.04")]
    assert market.spot(there, START + timedelta(minutes=9)) is None  # not known yet
    assert market.spot(there, START + timedelta(minutes=10)) == Decimal("0.05")
    assert market.spot(nowhere, START) is None
    assert market.spot(here, START - timedelta(seconds=1)) is None


def test_on_demand_lies_above_every_recorded_price(tmp_path: Path) -> None:
    market = recorded(tmp_path, [("a", "2025-01-01T00:00:00+00:00", "0.2")])
    assert market.on_demand("m5.large", START) == Decimal("0.3")
    cheap = recorded(tmp_path, [("a", "2025-01-01T00:00:00+00:00", "0.01")])
    assert cheap.on_demand("m5.large", START) == Decimal("0.096")


# ---- the cast


def test_every_build_plays_and_every_scene_names_workloads_of_the_cast() -> None:
    names = [row[0] for row in CAST]
    assert len(set(names)) == len(names)
    assert {row[1] for row in CAST} >= {Build.V2, Build.V4C, Build.V4N, Build.V5}
    assert {*MANUAL, *SWITCHED, *WARNED, *STORM, *SECOND_STORM} <= set(names)
    assert all((row[2] in ONDEMAND, row[3] in ZONES) == (True, True) for row in CAST)


def test_only_machines_that_aws_can_take_back_are_in_the_first_storm() -> None:
    modes = {row[0]: row[4] for row in CAST}
    assert {modes[name] for name in STORM} == {Mode.SPOT}


# ---- the screen


def drawn(thing: object) -> str:
    out = StringIO()
    Console(file=out, width=160, highlight=False).print(thing)
    return out.getvalue()


@pytest.fixture
def world() -> World:
    return a_world()


def seen(world: World, name: str = "web") -> dict[str, Aggregate]:
    return {name: world.aggregate(with_replica(world).agent_id)}


def test_a_fleet_is_a_row_for_each_workload(world: World) -> None:
    aggregates = seen(world)
    heading, row = drawn(fleet_table(aggregates)).splitlines()
    assert heading.split()[:2] == ["workload", "build"]
    assert "spot us-east-1a" in row
    assert "ready us-east-1b" in row
    assert row.split()[0] == "web"
    assert f"v{aggregates['web'].agent.config_version}" in row


@pytest.mark.parametrize(("ready", "word"), [(True, "ready us-east-1b"), (False, "sync us-east-1b")])
def test_a_replica_is_a_word_and_its_zone(world: World, ready: bool, word: str) -> None:
    assert replica_word(world.aggregate(with_replica(world, ready=ready).agent_id)) == word


def test_without_replica_and_switches_there_are_dashes_and_no_figures(world: World) -> None:
    agent = world.aggregate(world.register().agent_id)
    assert replica_word(agent) == "–"
    assert hourly_saving({"web": agent}) == 0
    assert legacy_total({}) == legacy_total({"web": agent}) == 0


def test_a_switch_saves_what_its_record_knows(world: World) -> None:
    ready = with_replica(world)
    world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)
    agent = world.aggregate(ready.agent_id)
    (switch,) = agent.switches.values()
    assert switch.ondemand_price is not None
    assert switch.new_price is not None
    assert hourly_saving({"web": agent}) == switch.ondemand_price - switch.new_price > 0
    row = drawn(fleet_table({"web": agent})).splitlines()[1].split()
    assert row[-2] == "1"  # switches


@pytest.mark.parametrize(
    ("times", "text"),
    [([], "no termination notice yet"), ([1.4, 2.6], "termination notices answered in milliseconds: 1, 3")],
)
def test_answers_to_notices_are_shown_in_milliseconds(times: list[float], text: str) -> None:
    assert failover_line(times) == text


def test_only_the_latest_answers_and_lines_are_shown() -> None:
    assert failover_line([float(number) for number in range(20)]).endswith("12, 13, 14, 15, 16, 17, 18, 19")
    screen = Screen(Console(file=StringIO()), headless=False)
    for number in range(40):
        screen.tell(f"line {number}")
        screen.decided(f"decision {number % 7}")
    text = drawn(screen.draw([], {}, 90.0))
    assert "line 39" in text
    assert "line 25" not in text
    assert "1.5 simulated minutes" in text
    assert len(screen.decisions) == 5


def test_without_a_terminal_every_line_is_printed_as_it_comes() -> None:
    out = StringIO()
    screen = Screen(Console(file=out, width=40), headless=True)
    screen.tell("a line that is longer than the screen is wide, in one piece")
    assert out.getvalue() == "a line that is longer than the screen is wide, in one piece\n"
    quiet = StringIO()
    Screen(Console(file=quiet), headless=False).tell("x")
    assert quiet.getvalue() == ""
