"""Accrual on both storages: from what agents report to lines of money (7.3, SV-6, SV-7, I9)."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import permutations

import psycopg
import pytest
from attrs import evolve

from spotadapters.postgres.storage import PostgresStorage
from spotcore.account import Account, account
from spotcore.errors import InvariantViolated
from spotcore.ids import InstanceId
from spotcore.ledger import Entry, Line, Revision, effective, merged
from spotcore.pools import Mode
from spotcore.pricing import Quality
from spotcore.service.prices import PriceItem, PriceSheet
from spotcore.tenure import Role
from tests.support.databases import WarmDatabase
from tests.support.world import TYPE, ZONES, FakeClock, World, a_world, with_replica

D = Decimal
PRICES = dict(zip(ZONES, ("0.0300", "0.0310", "0.0350"), strict=True))


def entries(world: World) -> list[Entry]:
    with world.transactions() as uow:
        ids: list[InstanceId] = []
        after: InstanceId | None = None
        while batch := uow.ledger.accruing(
            world.client_id, datetime(2000, 1, 1, tzinfo=world.clock.now().tzinfo), after, 50
        ):
            ids += [one.tenure.instance.instance_id for one in batch]
            after = ids[-1]
        found = uow.ledger.entries(world.client_id, ids, world.clock.now() - timedelta(days=400))
        return [one for rows in found.values() for one in rows]


def lines(world: World) -> list[Line]:
    return [one.line for one in entries(world)]


def total(world: World) -> Account:
    return account(lines(world))


def live(world: World, agent_id: str, hours: float, prices: dict[str, str] = PRICES) -> None:
    """Prices every half hour, for so long."""
    for _ in range(round(hours * 2)):
        world.report_prices(agent_id, prices, ondemand="0.1200")  # type: ignore[arg-type]
        world.clock.advance(1800)


def test_sv6_lines_follow_time_and_twice_adds_nothing_i9(world: World) -> None:
    agent_id = world.register().agent_id
    live(world, agent_id, 4)
    first = world.plane.savings.accrue()
    assert (first.failed, first.added) == ((), 1)
    (line,) = lines(world)
    assert (line.role, line.mode, line.quality, line.hours) == (Role.PRIMARY, Mode.SPOT, Quality.MEASURED, D("3.75"))
    assert (line.paid_price, line.ondemand_price, line.saving) == (D("0.03"), D("0.1200"), D("0.3375"))
    again = world.plane.savings.accrue()
    assert (again.added, again.removed) == (0, 0)
    live(world, agent_id, 1)
    world.plane.savings.accrue()
    assert total(world).primary_hours == D("4.75")


def test_sv8_a_failover_moves_the_boundary_and_no_hour_counts_twice(world: World) -> None:
    ready = with_replica(world)
    live(world, ready.agent_id, 2)
    world.notice(ready.agent_id, ready.primary)
    live(world, ready.agent_id, 2)
    world.plane.savings.accrue()
    sums = total(world)
    assert sums.primary_hours == D("3.75")
    by_role: dict[Role, Decimal] = dict.fromkeys(Role, D(0))
    for line in lines(world):
        by_role[line.role] += line.hours
    assert by_role[Role.PRIMARY] == D("3.75")
    assert by_role[Role.ZOMBIE] > 0
    assert sums.saving == sums.baseline - sums.cost
    assert sums.baseline == D("0.45")  # 3.75 h × 0.12: never one hour more


def test_the_replica_lowers_the_saving_by_its_cost_failure_67(world: World) -> None:
    ready = with_replica(world)
    live(world, ready.agent_id, 3)
    world.plane.savings.accrue()
    sums = total(world)
    replica = [line for line in lines(world) if line.role is Role.REPLICA]
    assert {line.baseline for line in replica} == {D(0)}
    assert sums.replica_cost == account(replica).cost > 0
    assert sums.saving == sums.baseline - sums.cost


def test_failure_69_nobody_reported_a_price_so_nothing_is_claimed(world: World) -> None:
    world.register()
    world.clock.advance(7200)
    world.plane.savings.accrue()
    (line,) = lines(world)
    assert (line.quality, line.baseline, line.cost, line.saving) == (Quality.UNPRICED, None, None, None)
    assert total(world).unpriced_hours == D("1.75")


def test_sv7_late_prices_rebuild_what_is_provisional(world: World) -> None:
    agent_id = world.register().agent_id
    world.clock.advance(7200)
    world.plane.savings.accrue()
    world.clock.advance(-7200)
    live(world, agent_id, 2)
    done = world.plane.savings.accrue()
    assert done.removed == 1
    assert total(world).unpriced_hours == 0


def test_sv7_final_days_are_sealed_and_corrected_by_further_lines(world: World) -> None:
    agent_id = world.register(mode=Mode.UNKNOWN).agent_id
    start = world.clock.now()
    live(world, agent_id, 30)
    world.clock.advance(timedelta(days=4).total_seconds())
    done = world.plane.savings.accrue()
    assert done.sealed > 0
    before = total(world)
    assert before.unpriced_hours == before.primary_hours > 100
    world.beat(agent_id, world.primary(agent_id), mode=Mode.SPOT)  # AG-3: the first evidence of its mode
    again = world.plane.savings.accrue()
    assert again.added > 0
    after = total(world)
    assert after.primary_hours == before.primary_hours
    assert after.primary_hours - after.unpriced_hours == D("30.5")  # the last price holds for an hour
    sealed_days = [line for line in lines(world) if line.adjusts is not None]
    assert {line.sign for line in sealed_days} == {1, -1}
    third = world.plane.savings.accrue()
    assert (third.added, third.removed) == (0, 0)
    assert min(line.started_at for line in lines(world)) == start


def test_sv7_what_is_sealed_cannot_be_removed(world: World) -> None:
    agent_id = world.register().agent_id
    live(world, agent_id, 1)
    world.clock.advance(timedelta(days=4).total_seconds())
    world.plane.savings.accrue()
    sealed = min(entries(world), key=lambda one: one.line.started_at)
    with pytest.raises(InvariantViolated), world.transactions() as uow:
        uow.ledger.write(world.client_id, Revision(remove=(sealed.line_id,)), world.clock.now())
    assert sealed in entries(world)


def test_i9_lines_of_one_machine_never_overlap(world: World) -> None:
    agent_id = world.register().agent_id
    live(world, agent_id, 2)
    world.plane.savings.accrue()
    (entry,) = entries(world)
    doubled = Revision(add=(evolve(entry.line, started_at=entry.line.started_at + timedelta(minutes=5)),))
    with pytest.raises(InvariantViolated), world.transactions() as uow:
        uow.ledger.write(world.client_id, doubled, world.clock.now())
    assert entries(world) == [entry]


def test_a_line_that_went_away_in_between_is_noticed_gr3(world: World) -> None:
    with pytest.raises(InvariantViolated), world.transactions() as uow:
        uow.ledger.write(world.client_id, Revision(remove=("nothing",)), world.clock.now())


def test_jb3_batches_of_any_size_give_the_same_ledger(world: World) -> None:
    agents = [world.register(f"agent-{number}").agent_id for number in range(7)]
    for _ in range(4):
        for agent_id in agents:
            world.report_prices(agent_id, PRICES)
        world.clock.advance(1800)
    done = world.plane.savings.accrue(limit=2)
    assert (done.failed, done.machines) == ((), 7)
    assert world.plane.savings.accrue(limit=100).added == 0
    assert total(world).primary_hours == 7 * D("1.75")


def test_sv9_a_deleted_agent_s_machine_accrues_nothing_more(world: World) -> None:
    agent_id = world.register().agent_id
    live(world, agent_id, 2)
    world.plane.agents.delete(world.user, agent_id)
    world.tick(90_000)
    world.plane.savings.accrue()
    hours = total(world).primary_hours
    world.tick(90_000)
    world.plane.savings.accrue()
    assert total(world).primary_hours == hours


def test_a_purged_client_takes_its_ledger_along_cl6(world: World) -> None:
    agent_id = world.register().agent_id
    live(world, agent_id, 1)
    world.clock.advance(timedelta(days=4).total_seconds())
    world.plane.savings.accrue()
    world.plane.clients.delete(world.client_id)
    world.tick(90_000)
    world.tick(90_000)
    erased = world.plane.clients.purge(world.client_id, "Acme")
    assert erased["ledger_lines"] > 0
    assert entries(world) == []


@pytest.mark.parametrize("order", list(permutations(range(4)))[::5])
def test_dq7_on_demand_buckets_do_not_depend_on_the_order_of_arrival(world: World, order: tuple[int, ...]) -> None:
    agent_id = world.register().agent_id
    start = world.clock.now()
    seen = [(0, "0.1200"), (200, "0.1300"), (310, "0.1200"), (320, "0.1400")]
    for number in order:
        seconds, price = seen[number]
        item = PriceItem(price=D(price), observed_at=start + timedelta(seconds=seconds))
        world.clock.advance(400)
        world.plane.prices.report(world.agent_caller, agent_id, PriceSheet(ondemand=(item,)))
        world.clock.advance(-400)
    with world.transactions() as uow:
        found = uow.ledger.ondemand([(TYPE, "us-east-1")])[TYPE, "us-east-1"].observed
    first, second = sorted((one.at, one.price) for one in found)
    assert first == (start, D("0.12"))  # the earliest of its five minutes
    assert second == (start + timedelta(seconds=300), D("0.12"))


# --- on PostgreSQL alone ----------------------------------------------------------------------------------------------


def test_i9_four_accruals_at_once_do_the_work_once(warm_database: WarmDatabase) -> None:
    clock = FakeClock()
    world = a_world(PostgresStorage(warm_database.connections, clock).transactions, clock)
    for number in range(10):
        agent_id = world.register(f"agent-{number}").agent_id
        world.report_prices(agent_id, PRICES)
    clock.advance(3000)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: world.plane.savings.accrue(limit=3), range(8)))
    assert [one for run in runs for one in run.failed] == []
    assert sum(run.added for run in runs) == 10
    assert total(world).primary_hours * 60 == 10 * 35


def test_memory_and_postgres_write_the_same_lines(warm_database: WarmDatabase) -> None:
    def story(world: World) -> Sequence[Line]:
        ready = with_replica(world)
        live(world, ready.agent_id, 3)
        world.report_prices(ready.agent_id, {**PRICES, ZONES[0]: "0.0400"}, ondemand="0.1000")
        live(world, ready.agent_id, 1, {**PRICES, ZONES[1]: "0.0200"})
        world.plane.savings.accrue()
        world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)
        live(world, ready.agent_id, 30, {**PRICES, ZONES[1]: "0.0250"})
        world.plane.savings.accrue()
        return merged([one.line for one in effective(entries(world))])

    def plain(found: Sequence[Line]) -> list[Line]:
        ordered = sorted(found, key=lambda one: (one.started_at, one.role.value, one.hours))
        names: dict[str, InstanceId] = {}
        for line in ordered:
            names.setdefault(line.instance_id, InstanceId(str(len(names))))
        return [evolve(one, instance_id=names[one.instance_id], client_id="c", agent_id="a") for one in ordered]  # type: ignore[arg-type]

    memory = a_world()
    clock = FakeClock()
    postgres = a_world(PostgresStorage(warm_database.connections, clock).transactions, clock)
    assert plain(story(memory)) == plain(story(postgres))


def test_the_view_adds_up_exactly_and_rounds_once_p12(warm_database: WarmDatabase) -> None:
    clock = FakeClock()
    world = a_world(PostgresStorage(warm_database.connections, clock).transactions, clock)
    ready = with_replica(world)
    for number in range(40):
        prices = dict.fromkeys(ZONES, f"0.0{300 + number}1")
        world.report_prices(ready.agent_id, prices, ondemand=f"0.0{960 + number % 3}7")
        clock.advance(417)
    world.plane.savings.accrue()
    sums = total(world)
    row = warm_database.connections.rows(
        "select round(sum(baseline), 8), round(sum(cost), 8), sum(seconds) filter (where role = 'primary') / 3600"
        " from ledger_exact",
        {},
    )
    assert row[0][:2] == (sums.baseline, sums.cost)
    assert abs(row[0][2] - sums.primary_hours) < D("1E-9")


TAMPERING = {
    "an amount": "update ledger_lines set cost = cost + 1, saving = saving - 1 where entry_no = 1",
    "a line": "delete from ledger_lines where entry_no = 1",
    "a seal": "delete from ledger_seals where seal_no = 1",
    "a line put in later": (
        "insert into ledger_lines overriding system value select (jsonb_populate_record(l, jsonb_build_object("
        "'line_id', 'forged', 'entry_no', 0, 'adjusts', 'x'))).* from ledger_lines l where entry_no = 1"
    ),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_with_sealed_lines_is_refused_and_found(warm_database: WarmDatabase, what: str) -> None:
    from spotadapters.postgres.ledger import LedgerReads

    clock = FakeClock()
    world = a_world(PostgresStorage(warm_database.connections, clock).transactions, clock)
    agent_id = world.register().agent_id
    reads = LedgerReads(warm_database.connections, clock)
    for _ in range(2):
        live(world, agent_id, 1)
        clock.advance(timedelta(days=4).total_seconds())
        world.plane.savings.accrue()
    assert [one.trouble for one in reads.verify(world.client_id)] == [None, None]
    with closing(psycopg.connect(warm_database.url, autocommit=True)) as root:
        if what in ("an amount", "a line"):
            with pytest.raises(psycopg.IntegrityError) as refusal:
                root.execute(TAMPERING[what])  # type: ignore[call-overload]
            assert refusal.value.diag.constraint_name == "sv7_final_lines_stay"
        root.execute("set session_replication_role = replica")  # no trigger speaks up
        root.execute(TAMPERING[what])  # type: ignore[call-overload]
    assert any(one.trouble for one in reads.verify(world.client_id))
