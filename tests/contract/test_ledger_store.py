"""``LedgerStore`` on both storages: whose machines accrue, lines in and out, seals (7.3, SV-1, SV-7, I9)."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from attrs import evolve

from spotcore.change import Outcome
from spotcore.errors import InvariantViolated
from spotcore.ids import AgentId, ClientId, CloudId, InstanceId
from spotcore.instances import Instance, InstanceStatus
from spotcore.ledger import Entry, Line, Revision
from spotcore.pools import Mode
from spotcore.pricing import Quality
from spotcore.tenure import Role
from tests.support.rule_builders import a_machine
from tests.support.world import START, World

D = Decimal
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EVER = START - 400 * DAY


def primary(world: World, agent_id: AgentId) -> Instance:
    found = world.aggregate(agent_id).primary
    assert found is not None
    return found


def a_line(machine: Instance, start: float = 0, hours: float = 1, **facts: object) -> Line:
    """A line of the machine, ``start`` hours after the tests' start."""
    begins = START + start * HOUR
    known = {
        "role": Role.PRIMARY, "mode": Mode.SPOT, "pool_id": "m5.large.us-east-1a", "paid_price": D("0.030000"),
        "ondemand_price": D("0.096000"), "quality": Quality.MEASURED, **facts,
    }  # fmt: skip
    return Line(
        client_id=machine.client_id, agent_id=machine.agent_id, instance_id=machine.instance_id, started_at=begins,
        ended_at=begins + hours * HOUR, **known,
    )  # fmt: skip


def write(world: World, *lines: Line, remove: tuple[str, ...] = (), client_id: ClientId | None = None) -> None:
    with world.transactions() as uow:
        uow.ledger.write(client_id or world.client_id, Revision(remove=remove, add=lines), world.clock.now())


def entries(
    world: World, *machines: Instance, since: datetime = EVER, client_id: ClientId | None = None
) -> list[Entry]:
    with world.transactions() as uow:
        ids = [one.instance_id for one in machines]
        found = uow.ledger.entries(client_id or world.client_id, ids, since)
        return [one for name in ids for one in found.get(name, ())]


def seal(world: World, final: datetime, client_id: ClientId | None = None) -> int:
    with world.transactions() as uow:
        return uow.ledger.seal(client_id or world.client_id, final, world.clock.now())


@pytest.fixture
def machine(shared_world: World) -> Instance:
    return primary(shared_world, shared_world.register().agent_id)


def stranger(world: World) -> ClientId:
    return world.plane.clients.create(f"Stranger of {world.client_id}").client.client_id


# ---- lines


LINES: dict[str, dict[str, object]] = {
    "measured": {},
    "a replica": {"role": Role.REPLICA, "ondemand_price": None},
    "a zombie on demand": {"role": Role.ZOMBIE, "mode": Mode.ONDEMAND, "pool_id": None, "ondemand_price": None},
    "estimated": {"quality": Quality.ESTIMATED},
    "unpriced": {"quality": Quality.UNPRICED, "paid_price": None, "ondemand_price": None},
    "unpriced, its cost known": {"quality": Quality.UNPRICED, "ondemand_price": None},
    "a correction": {"adjusts": "2026-03-02"},
    "a loss": {"paid_price": D("0.2")},
}


@pytest.mark.parametrize("what", LINES)
def test_a_line_comes_back_as_it_was_written_its_money_too(shared_world: World, machine: Instance, what: str) -> None:
    line = a_line(machine, hours=0.123, **LINES[what])
    write(shared_world, line)
    (found,) = entries(shared_world, machine)
    assert found.line == line
    assert (found.line.baseline, found.line.cost, found.line.saving) == (line.baseline, line.cost, line.saving)


def test_lines_are_by_machine_in_the_order_of_time_and_from_the_instant_on(
    shared_world: World, machine: Instance
) -> None:
    other = primary(shared_world, shared_world.register("other").agent_id)
    rows = [a_line(machine, number) for number in (3, 1, 2)]
    write(shared_world, *rows, a_line(other))
    assert [one.line.started_at for one in entries(shared_world, machine)] == [START + n * HOUR for n in (1, 2, 3)]
    assert len(entries(shared_world, machine, other)) == 4
    assert len(entries(shared_world, machine, since=START + 2 * HOUR)) == 2
    assert entries(shared_world, machine, since=START + 4 * HOUR) == entries(shared_world) == []
    assert entries(shared_world, machine, client_id=ClientId("x")) == []  # GR-8


def test_a_revision_removes_before_it_adds_so_that_a_day_is_rebuilt_whole_sv7(
    shared_world: World, machine: Instance
) -> None:
    write(shared_world, a_line(machine, 0), a_line(machine, 1))
    old = tuple(one.line_id for one in entries(shared_world, machine))
    write(shared_world, a_line(machine, 0, 2, paid_price=D("0.04")), remove=old)
    (found,) = entries(shared_world, machine)
    assert (found.line.hours, found.line.paid_price) == (D(2), D("0.04"))
    assert found.line_id not in old
    write(shared_world)  # nothing to do is done
    assert entries(shared_world, machine) == [found]


@pytest.mark.parametrize(
    ("start", "hours", "overlaps"),
    [(-1, 1, False), (1, 1, False), (-1, 1.001, True), (0.999, 1, True), (0, 1, True), (0.4, 0.1, True), (-2, 4, True)],
)  # fmt: skip
def test_i9_lines_touch_and_never_overlap(
    shared_world: World, machine: Instance, start: float, hours: float, overlaps: bool
) -> None:
    write(shared_world, a_line(machine))
    if overlaps:
        with pytest.raises(InvariantViolated):
            write(shared_world, a_line(machine, start, hours))
    else:
        write(shared_world, a_line(machine, start, hours))
    assert len(entries(shared_world, machine)) == (1 if overlaps else 2)


def test_i9_of_one_revision_lines_may_not_overlap_either(shared_world: World, machine: Instance) -> None:
    with pytest.raises(InvariantViolated):
        write(shared_world, a_line(machine, 0, 2), a_line(machine, 1, 2))
    assert entries(shared_world, machine) == []


def test_i9_corrections_and_other_machines_are_free_to(shared_world: World, machine: Instance) -> None:
    other = primary(shared_world, shared_world.register("other").agent_id)
    write(shared_world, a_line(machine))
    (first,) = entries(shared_world, machine)
    taken_back = a_line(machine, sign=-1, adjusts=first.line_id)
    write(shared_world, taken_back, a_line(machine, paid_price=D("0.05"), adjusts="2026-03-02"), a_line(other))
    rows = [one.line for one in entries(shared_world, machine)]
    assert sum(line.hours for line in rows) == 1
    assert sum(line.cost for line in rows) == D("0.05")


def test_gr3_a_line_that_is_not_there_stops_the_whole_revision(shared_world: World, machine: Instance) -> None:
    write(shared_world, a_line(machine))
    (known,) = entries(shared_world, machine)
    with pytest.raises(InvariantViolated, match="went away"):
        write(shared_world, a_line(machine, 5), remove=(known.line_id, "nothing"))
    assert entries(shared_world, machine) == [known]


def test_gr8_a_line_of_another_client_is_not_there(shared_world: World, machine: Instance) -> None:
    write(shared_world, a_line(machine))
    (known,) = entries(shared_world, machine)
    with pytest.raises(InvariantViolated, match="went away"):
        write(shared_world, remove=(known.line_id,), client_id=stranger(shared_world))
    assert entries(shared_world, machine) == [known]


def test_a_revision_of_a_failed_transaction_leaves_the_ledger(shared_world: World, machine: Instance) -> None:
    write(shared_world, a_line(machine))
    before = entries(shared_world, machine)

    def fails() -> None:
        with shared_world.transactions() as uow:
            uow.ledger.write(
                shared_world.client_id, Revision(remove=(before[0].line_id,), add=(a_line(machine, 7),)), START
            )
            uow.ledger.seal(shared_world.client_id, START + 30 * DAY, START)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert entries(shared_world, machine) == before
    write(shared_world, remove=(before[0].line_id,))  # nor is it sealed


# ---- seals


def test_sv7_a_seal_covers_each_line_of_before_once(shared_world: World, machine: Instance) -> None:
    write(shared_world, a_line(machine, 0), a_line(machine, 1), a_line(machine, 30))
    final = START + 12 * HOUR  # the midnight
    assert (seal(shared_world, final), seal(shared_world, final)) == (2, 0)
    write(shared_world, a_line(machine, 2))
    assert seal(shared_world, final) == 1  # came late into a day that is sealed
    assert seal(shared_world, START + 40 * HOUR) == 1
    assert seal(shared_world, START + 40 * HOUR, stranger(shared_world)) == 0
    assert len(entries(shared_world, machine)) == 4  # sealed lines are lines


def test_sv7_a_seal_ends_before_its_instant(shared_world: World, machine: Instance) -> None:
    write(shared_world, a_line(machine, 0), a_line(machine, 1))
    assert seal(shared_world, START + HOUR) == 1
    first, second = entries(shared_world, machine)
    with pytest.raises(InvariantViolated):
        write(shared_world, remove=(first.line_id,))
    write(shared_world, remove=(second.line_id,))
    assert entries(shared_world, machine) == [first]


def test_sv7_what_is_sealed_is_taken_back_by_a_further_line(shared_world: World, machine: Instance) -> None:
    write(shared_world, a_line(machine))
    seal(shared_world, START + DAY)
    (known,) = entries(shared_world, machine)
    write(shared_world, a_line(machine, sign=-1, adjusts=known.line_id))
    assert sum(one.line.hours for one in entries(shared_world, machine)) == 0


# ---- whose machines accrue


def accruing(
    world: World, since: datetime = EVER, after: InstanceId | None = None, limit: int = 50
) -> list[InstanceId]:
    with world.transactions() as uow:
        rows = uow.ledger.accruing(world.client_id, since, after, limit)
        return [one.tenure.instance.instance_id for one in rows]


def with_machine(world: World, agent_id: AgentId, name: str, status: InstanceStatus, **facts: object) -> Instance:
    row = a_machine(name, status, **{"cloud_id": CloudId(f"i-{name}{world.client_id}"), **facts})
    own = evolve(row, client_id=world.client_id, agent_id=agent_id, instance_id=InstanceId(f"{name}-{world.client_id}"))
    with world.transactions() as uow:
        before = uow.agents.lock(world.client_id, agent_id)
        after = evolve(before, instances={**before.instances, own.instance_id: own})
        uow.agents.save(Outcome(before=before, after=after))
    return own


def test_machines_come_page_by_page_in_the_order_of_their_ids(shared_world: World) -> None:
    ids = sorted(primary(shared_world, shared_world.register(f"a{n}").agent_id).instance_id for n in range(5))
    assert accruing(shared_world) == ids
    assert accruing(shared_world, limit=2) == ids[:2]
    assert accruing(shared_world, after=ids[1], limit=2) == ids[2:4]
    assert accruing(shared_world, after=ids[4]) == []
    with shared_world.transactions() as uow:
        assert list(uow.ledger.accruing(stranger(shared_world), EVER, None, 9)) == []


def test_sv1_a_machine_without_a_cloud_id_costs_nothing_yet(shared_world: World) -> None:
    agent_id = shared_world.register().agent_id
    with_machine(shared_world, agent_id, "waits", InstanceStatus.LAUNCHING, cloud_id=None)
    assert accruing(shared_world) == [primary(shared_world, agent_id).instance_id]


def test_a_machine_that_ended_long_ago_comes_only_while_it_lacks_lines(shared_world: World) -> None:
    agent_id = shared_world.register().agent_id
    lives, end = primary(shared_world, agent_id), START - 10 * DAY
    gone = with_machine(
        shared_world, agent_id, "gone", InstanceStatus.TERMINATED, terminated_at=end, created_at=end - 2 * HOUR,
        confirmed_at=end - 2 * HOUR,
    )  # fmt: skip
    recent = START - 8 * DAY
    assert set(accruing(shared_world, recent)) == {gone.instance_id, lives.instance_id}  # no line at all
    write(shared_world, a_line(gone, -10 * 24 - 2, 1))
    assert gone.instance_id in accruing(shared_world, recent)  # an hour is missing
    write(shared_world, a_line(gone, -10 * 24 - 1, 1))
    assert accruing(shared_world, recent) == [lives.instance_id]
    assert gone.instance_id in accruing(shared_world, end)  # ended at the instant: late prices may still come
    assert gone.instance_id not in accruing(shared_world, end + timedelta(seconds=1))


def test_a_machine_brings_its_periods_its_agents_prices_and_where_its_lines_end(shared_world: World) -> None:
    agent_id = shared_world.register().agent_id
    row = primary(shared_world, agent_id)
    with shared_world.transactions() as uow:
        before = uow.agents.lock(shared_world.client_id, agent_id)
        priced = evolve(before.agent, registered_ondemand_price=D("0.12"))
        uow.agents.save(Outcome(before=before, after=evolve(before, agent=priced)))
    with shared_world.transactions() as uow:
        (found,) = uow.ledger.accruing(shared_world.client_id, EVER, None, 9)
    assert found.lines_end is None
    assert (found.tenure.instance, found.tenure.periods) == (row, shared_world.aggregate(agent_id).periods)
    assert (found.tenure.registered_ondemand_price, found.tenure.build) == (D("0.12"), priced.build)
    write(shared_world, a_line(row, 0), a_line(row, 1, 0.5))
    with shared_world.transactions() as uow:
        (found,) = uow.ledger.accruing(shared_world.client_id, EVER, None, 9)
    assert found.lines_end == START + 1.5 * HOUR


def test_everybody_who_ever_had_a_machine_has_a_ledger_deleted_clients_too(world: World) -> None:
    world.register()
    other = stranger(world)  # has none
    with world.transactions() as uow:
        assert list(uow.ledger.clients()) == [world.client_id]
    world.plane.clients.delete(world.client_id)
    world.tick(90_000)
    with world.transactions() as uow:
        assert other not in uow.ledger.clients()
        assert world.client_id in uow.ledger.clients()
