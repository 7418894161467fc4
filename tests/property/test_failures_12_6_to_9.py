"""The known failures of sections 12.6 to 12.9 that the core can answer for: money, prices, models and history."""

import pickle
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.engine.runner import EngineRunner
from spotadapters.memory import MemoryStorage
from spotadapters.memory.models import MemoryBlobs
from spotadapters.memory.store import MemoryCredentials
from spotapp.settings import load_settings
from spotcore.account import account
from spotcore.candidates import eligible
from spotcore.control_plane import control_plane
from spotcore.decisions import Proposal, Snapshot
from spotcore.errors import UnsupportedFileType
from spotcore.events import CATALOGUE, EventKind, Level
from spotcore.gaps import fill_gaps
from spotcore.ids import ClientId
from spotcore.ledger import Line
from spotcore.pools import Mode
from spotcore.pricing import Bucket, Quality, spot_series
from spotcore.service.models import Library
from spotcore.service.prices import PriceItem, PriceSheet
from spotcore.tenure import Role
from tests.support.models import HereValidator, a_model, arrived
from tests.support.money import a_tenure, hour, lines_of, listed
from tests.support.moves import MOVES, PRICES, Move, plain
from tests.support.world import START, TYPE, ZONES, CountingIdentity, FakeClock, World, a_world, with_replica

D = Decimal
prices = st.integers(1_000, 90_000).map(lambda micro: D(micro).scaleb(-6))


# 12.6


@given(st.lists(st.tuples(st.integers(1, 48), prices), min_size=1, max_size=6))
def test_failure_64_realised_savings_follow_the_prices_down_as_well_as_up_sv10(
    steps: list[tuple[int, Decimal]],
) -> None:
    """Whole hours at a price each: the sum is what a hand adds up, dear hours taken off again."""
    buckets, at, by_hand = [], 0, D(0)
    for hours, price in steps:
        buckets.append(Bucket(hour(at), price, last=hour(at + hours) - timedelta(minutes=5)))
        at, by_hand = at + hours, by_hand + hours * (D("0.0416") - price)
    sums = account(lines_of(a_tenure(primary=((0, None),)), at, spot=spot_series(buckets)))
    assert abs(sums.saving - by_hand) <= D("1E-8")
    assert sums.primary_hours == at


@given(st.lists(prices, min_size=1, max_size=5))
def test_failure_64_on_demand_alone_saves_nothing_whatever_its_price(levels: list[Decimal]) -> None:
    for price in levels:
        sums = account(lines_of(a_tenure(primary=((0, None),), mode=Mode.ONDEMAND), 48, ondemand=listed(price)))
        assert sums.saving == 0
        assert sums.baseline == sums.cost == 48 * price


@pytest.mark.parametrize("events", [0, 1, 2, 7])
@pytest.mark.parametrize("spot_hours", [0, 10, 24])
def test_failure_65_a_months_cost_is_that_of_its_hours_however_many_switches_it_had_7_3(
    events: int, spot_hours: int
) -> None:
    """``events`` changes between machines of the same price cost nothing; hours nobody was on spot save nothing."""
    cuts = [hour * 24 / (events + 1) for hour in range(events + 2)]
    lines: list[Line] = []
    for number, (begins, ends) in enumerate(pairwise(cuts)):
        on_spot = min(max(spot_hours - begins, 0), ends - begins)
        for name, start, end, mode in (
            (f"s{number}", begins, begins + on_spot, Mode.SPOT),
            (f"o{number}", begins + on_spot, ends, Mode.ONDEMAND),
        ):
            if start < end:
                one = a_tenure(name, start=start, end=end, primary=((start, end),), mode=mode)
                lines += lines_of(one, 24)
    sums = account(lines)
    assert abs(sums.primary_hours - 24) < D("1E-9")
    saved = spot_hours * (D("0.0416") - D("0.0104"))
    assert abs(sums.saving - saved) <= D("1E-7")
    assert (sums.saving == 0) == (spot_hours == 0)


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)
def test_failure_66_no_job_writes_the_running_estimate_7_4(world: World, move: Move) -> None:
    moved = move(world)
    total = world.plane.clients.get(world.client_id).total_savings
    for _ in range(3):
        world.report_prices(moved.agent_id, PRICES)
        world.tick(3_600)
        world.plane.savings.accrue()
        world.plane.pipeline.run()
        world.plane.decisions.round()
        assert world.plane.clients.get(world.client_id).total_savings == total


moments = st.lists(st.integers(1, 40), min_size=1, max_size=6, unique=True).map(sorted)


@given(moments, st.lists(st.integers(0, 3), max_size=6))
def test_failure_68_primary_hours_are_the_union_of_the_primary_periods_sv8_i8(
    changes: list[int], overlaps: list[int]
) -> None:
    """Machines that follow each other, each starting up to three hours before its turn and running on after it."""
    lines: list[Line] = []
    edges = [0, *changes, 41]
    for number, (begins, ends) in enumerate(pairwise(edges)):
        early = overlaps[number] if number < len(overlaps) else 0
        machine = a_tenure(
            f"m{number}", start=begins - early, primary=((begins, ends),), zombie=float(ends), end=ends + early + 1
        )
        lines += lines_of(machine, 50)
    sums = account(lines)
    assert sums.primary_hours == 41
    assert sums.baseline == 41 * D("0.0416")
    assert sum((line.hours for line in lines if line.role is not Role.PRIMARY), D(0)) == sum(
        (overlaps[number] if number < len(overlaps) else 0) * 2 + 1 for number in range(len(edges) - 1)
    )


@pytest.mark.parametrize("month", [(2026, 2, 28), (2028, 2, 29), (2026, 12, 31)])
def test_failure_71_at_the_second_of_a_month_the_one_before_is_complete_7_4(month: tuple[int, int, int]) -> None:
    year, number, days = month
    clock = FakeClock(START.replace(year=year, month=number, day=1, hour=0))
    world = a_world(clock=clock)
    agent_id = world.register().agent_id
    for _ in range(days * 24):
        world.report_prices(agent_id, PRICES, ondemand="0.1200")
        clock.advance(3_600)
    world.report_prices(agent_id, PRICES, ondemand="0.1200")
    clock.advance(86_400)
    world.plane.savings.accrue()
    lines = [entry.line for entry in world.transactions.__self__.tables.ledger.values()]  # type: ignore[attr-defined]
    inside = [line for line in lines if (line.started_at.year, line.started_at.month) == (year, number)]
    assert sum((line.hours for line in inside), D(0)) == days * 24
    assert {line.quality for line in inside} == {Quality.MEASURED}
    assert all(line.ended_at <= clock.now().replace(day=1, hour=0) for line in inside)  # SV-2: cut at the month


# 12.7


@given(st.permutations(["primary", "replica"]), prices, prices)
def test_failure_74_83_a_fresh_report_is_seen_everywhere_at_once_whoever_else_is_expected_dq6(
    order: list[str], first: Decimal, second: Decimal
) -> None:
    world = a_world()
    ready = with_replica(world)
    pool = f"{TYPE}.{ZONES[2]}"
    world.clock.advance(601)  # a bucket of its own, and nothing older is fresh any more
    told = dict(zip(order, (first, second), strict=True))
    best: str | None = None
    for who in order:
        machine = ready.primary if who == "primary" else ready.standby
        sheet = PriceSheet(cloud_id=machine, spot=(PriceItem(pool=pool, price=told[who]),))
        answer = world.plane.prices.report(world.agent_caller, ready.agent_id, sheet)
        assert (answer.inserted, answer.rejected) == (1, 0)
        best = "primary" if who == "primary" or best == "primary" else who
        aggregate = world.aggregate(ready.agent_id)
        with world.transactions() as uow:
            market = uow.prices.market(world.client_id, TYPE, "us-east-1", world.clock.now())
            series = uow.ledger.spot([pool], START, world.clock.now() + timedelta(seconds=1))[pool]
        assert market.spot[pool].price == told[who]  # P15: decisions use the tenant's own freshest observation
        assert [one.price for one in eligible(aggregate, market, world.clock.now())] == [told[who]]
        assert max(series, key=lambda one: one.start).price == told[best]  # the bucket has its best at any moment
        world.clock.advance(1)


sparse = st.dictionaries(st.integers(0, 50), prices, min_size=1, max_size=12)


@given(st.dictionaries(st.sampled_from(["m5.large.us-east-1a", "m5.large.us-east-1b"]), sparse, max_size=2))
def test_failure_77_79_filling_needs_no_peer_and_never_goes_beyond_what_was_measured_gf2_gf4(
    history: dict[str, dict[int, Decimal]],
) -> None:
    measured = {pool: {hour(0) + step * timedelta(minutes=5): price for step, price in rows.items()}
                for pool, rows in history.items()}  # fmt: skip
    for pool, rows in fill_gaps(measured).items():
        for row in rows:
            assert min(measured[pool]) < row.bucket_start < max(measured[pool])
            assert min(measured[pool].values()) <= row.price <= max(measured[pool].values())  # too few peers: linear


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(ZONES), prices), min_size=1, max_size=12), st.randoms())
def test_failure_76_78_the_pipeline_run_twice_or_in_between_ends_where_it_would_have_gf5(
    rows: list[tuple[int, str, Decimal]], random: Any
) -> None:
    def told(world: World, some: list[tuple[int, str, Decimal]]) -> None:
        items = tuple(
            PriceItem(pool=f"{TYPE}.{az}", price=price, observed_at=START + step * timedelta(minutes=5))
            for step, az, price in some
        )
        world.plane.prices.report(world.agent_caller, agents[id(world)], PriceSheet(spot=items))

    agents: dict[int, Any] = {}
    finished: list[Mapping[Any, Any]] = []
    for cut in (0, random.randrange(len(rows) + 1)):
        world = a_world()
        agents[id(world)] = world.register().agent_id
        world.clock.advance(3 * 3_600)
        told(world, rows[:cut])
        world.plane.pipeline.run()  # fills what is to be measured later
        told(world, rows[cut:])
        world.plane.pipeline.run()
        tables = world.transactions.__self__.tables  # type: ignore[attr-defined]
        once = dict(tables.fills)
        again = world.plane.pipeline.run()
        assert (again.repaired, again.fills_changed, again.failed) == (0, 0, ())
        assert tables.fills == once
        finished.append(once)
    assert finished[0] == finished[1]


# 12.8


class Canary:
    """Leaves a trace when somebody unpickles it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("name", ["model.pkl", "model.py", "model.joblib", "model.h5", "model.bin", "model"])
def test_failure_85_code_and_pickles_are_refused_and_never_opened_ms1(name: str, tmp_path: Path) -> None:
    trace, blobs, storage = tmp_path / "sang", MemoryBlobs(), MemoryStorage()
    library = Library(blobs=blobs, validator=HereValidator(), uploads=True)
    plane = control_plane(
        transactions=storage.transactions, clock=FakeClock(), identity=CountingIdentity(), library=library
    )
    poison = {**a_model(), name: pickle.dumps(Canary(trace))}
    with arrived(blobs, poison) as brought, pytest.raises(UnsupportedFileType):
        plane.models.upload(brought)
    assert storage.tables.models == {}
    assert not trace.exists()


class Wrong:
    """An engine whose interface is not what it is called with."""

    name, version = "wrong", "1"

    def propose(self, snapshot: Snapshot, *, missing: int) -> Proposal:
        raise AssertionError("never reached")


def test_failure_89_an_engine_that_cannot_be_called_is_a_warning_each_time_and_no_stay_for_ever_4_6() -> None:
    storage, clock = MemoryStorage(), FakeClock()
    plane = control_plane(
        transactions=storage.transactions, clock=clock, identity=CountingIdentity(),
        advisor=EngineRunner(Wrong(), clock),  # type: ignore[arg-type]
    )  # fmt: skip
    world = World(plane, storage.transactions, clock, plane.clients.create("Acme").client.client_id)
    agent_id = plain(world)
    for _ in range(3):
        world.report_prices(agent_id, {ZONES[0]: "0.0950", ZONES[1]: "0.0100"}, ondemand="0.1100")
        made = plane.decisions.decide(world.agent_caller, agent_id)
        assert made.decision.source == "fallback"
        assert made.decision.action.value != "stay"  # the rules go on deciding (FB-2)
        clock.advance(300)
    rows = [event for event in storage.tables.events if event.kind is EventKind.MODEL_ERROR]
    assert len(rows) == 3
    assert {row.level for row in rows} == {CATALOGUE[EventKind.MODEL_ERROR].audit} == {Level.WARNING}


# 12.9


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)
def test_failure_103_no_row_is_dated_before_what_caused_it_nor_in_the_future_sw3_gr7(world: World, move: Move) -> None:
    moved = move(world)
    world.tick(3_600)
    world.plane.savings.accrue()
    now = world.clock.now()
    after = world.aggregate(moved.agent_id)
    born = [
        *(row.created_at for row in after.instances.values()), *(row.created_at for row in after.replicas.values()),
        *(row.created_at for row in after.commands.values()), *(row.opened_at for row in after.incidents.values()),
        *(row.recorded_at for row in after.switches.values()), *(row.started_at for row in after.periods),
    ]  # fmt: skip
    assert all(START <= at <= now for at in born)
    tables = world.transactions.__self__.tables  # type: ignore[attr-defined]
    for entry in tables.ledger.values():
        row = after.instances[entry.line.instance_id]
        assert row.confirmed_at is not None
        assert entry.line.started_at >= row.confirmed_at
        assert entry.line.ended_at <= now - timedelta(minutes=15)
    known = [row.observation.observed_at for rows in tables.buckets.values() for row in rows.values()]
    assert all(START <= at <= now for at in known)
    for switch in after.switches.values():
        assert switch.times.image_created_at is None  # nobody said when


@pytest.mark.parametrize("name", ["Acme", "  Acme  ", "x" * 255, "Größe & Söhne"])
@pytest.mark.parametrize("email", [None, "OPS@Acme.example"])
def test_failure_105_a_new_client_can_work_at_once_cl1(name: str, email: str | None) -> None:
    storage, clock, identity = MemoryStorage(), FakeClock(), CountingIdentity()
    plane = control_plane(transactions=storage.transactions, clock=clock, identity=identity)
    issued = plane.clients.create(name, email)
    with storage.transactions() as uow:
        record = uow.clients.current_token(issued.client.client_id)
    assert record is not None
    assert record.token_hash == identity.hash_token(issued.token)
    found = MemoryCredentials(storage).find(record.token_hash, clock.now())
    assert found is not None
    assert found.client == issued.client
    assert not found.client.is_suspended
    world = World(plane, storage.transactions, clock, ClientId(issued.client.client_id))
    assert world.register().role == "primary"


@pytest.mark.parametrize("secret", ["", " ", "admin", "changeme", "secret", "a" * 15, "short token"])
def test_failure_95_a_start_refuses_secrets_that_are_none(secret: str) -> None:
    for name in ("SPOTCORE_ADMIN_TOKEN", "SPOTCORE_SEAL_KEY"):
        with pytest.raises(Exception, match=name):
            load_settings({name: secret})


def test_failure_95_nothing_secret_has_a_default() -> None:
    settings = load_settings({})
    assert settings.admin_token is None
    assert settings.seal_key is None
