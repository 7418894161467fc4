"""Several agents of one client in one transaction (GR-1): as if each had gone alone."""

import pytest
from attrs import evolve

from spotcore.aggregate import Aggregate
from spotcore.builds import Evidence
from spotcore.change import Outcome as Decided
from spotcore.emergencies import Signal
from spotcore.errors import InvariantViolated, NotFound
from spotcore.ids import AgentId, ClientId, CloudId
from spotcore.incidents import Outcome, Severity
from spotcore.instances import InstanceStatus
from spotcore.ports.storage import Keys
from spotcore.service.emergency import noticed
from spotcore.service.kernel import Caller, Wanted
from tests.support.world import TYPE, ZONES, Ready, World, with_replica


def notice(world: World, ready: Ready, known: Aggregate | None = None) -> Wanted:
    signal = Signal(severity=Severity.TERMINATION, cloud_id=CloudId(ready.primary), received_at=world.clock.now())
    return noticed(ready.agent_id, signal, known=known)


def test_5_7_each_agent_ends_as_if_its_notice_had_come_alone(world: World) -> None:
    fleet = [with_replica(world, name) for name in ("a", "b", "c")]
    alone = with_replica(world, "alone")
    outcomes = world.plane.emergencies.together(world.agent_caller, [notice(world, one) for one in fleet])
    world.notice(alone.agent_id, alone.primary)
    for one in fleet:
        assert outcomes[one.agent_id].answer.outcome is Outcome.REPLICA_PROMOTED
    for one in (*fleet, alone):
        after = world.aggregate(one.agent_id)
        assert after.primary is not None
        assert after.primary.cloud_id == one.standby
        assert world.status(one.agent_id, one.primary) == "zombie"
        assert len(after.switches) == 1
        assert [period.ended_at is None for period in after.periods] == [False, True]
        assert after.live_replica is not None  # MR-2: the successor in manual mode
        assert after.agent.revision == world.aggregate(alone.agent_id).agent.revision


def test_commands_and_gains_of_all_of_them_are_stored(world: World) -> None:
    fleet = [with_replica(world, name) for name in ("a", "b")]
    before = {one.agent_id: world.aggregate(one.agent_id) for one in fleet}
    world.plane.emergencies.together(world.agent_caller, [notice(world, one) for one in fleet])
    for one in fleet:
        after = world.aggregate(one.agent_id)
        assert after.client.total_savings == before[one.agent_id].client.total_savings  # 7.1: emergencies add nothing
        assert len(after.instances) == len(before[one.agent_id].instances) + 1


def test_gr_8_agents_of_another_client_and_unknown_ones_are_left_out(world: World) -> None:
    ready = with_replica(world)
    stranger = world.plane.clients.create("Umbrella").client.client_id
    nobody = noticed(AgentId("nobody"), Signal(severity=Severity.TERMINATION, received_at=world.clock.now()))
    assert not world.plane.emergencies.together(Caller(client_id=stranger), [notice(world, ready), nobody])
    assert world.primary(ready.agent_id) == ready.primary
    with world.transactions() as uow:
        assert not uow.agents.lock_free(ClientId("nobody"), {ready.agent_id: Keys()})
        assert not uow.agents.lock_free(world.client_id, {})


def test_em_17_an_agent_that_is_being_deleted_is_answered_as_a_value_and_its_notice_is_kept(world: World) -> None:
    ready, other = with_replica(world, "a"), with_replica(world, "b")
    world.plane.agents.delete(world.user, ready.agent_id)
    outcomes = world.plane.emergencies.together(world.agent_caller, [notice(world, ready), notice(world, other)])
    assert isinstance(outcomes[ready.agent_id].answer, NotFound)
    assert world.primary(other.agent_id) == other.standby


def test_gr_2_a_broken_invariant_of_one_undoes_all_of_them(world: World) -> None:
    fleet = [with_replica(world, name) for name in ("a", "b")]

    def save() -> None:
        with world.transactions() as uow:
            held = uow.agents.lock_free(world.client_id, {one.agent_id: Keys() for one in fleet})
            good, bad = (held[one.agent_id] for one in fleet)
            uow.agents.save(renamed(good), twice_primary(bad))

    with pytest.raises(InvariantViolated):
        save()
    assert [world.primary(one.agent_id) for one in fleet] == [one.primary for one in fleet]
    assert world.aggregate(fleet[0].agent_id).agent.hostname is None


def renamed(aggregate: Aggregate) -> Decided:
    agent = evolve(aggregate.agent, hostname="renamed", revision=aggregate.agent.revision + 1)
    return Decided(before=aggregate, after=evolve(aggregate, agent=agent))


def twice_primary(aggregate: Aggregate) -> Decided:
    """I1 is broken."""
    rows = {key: evolve(row, status=InstanceStatus.RUNNING_PRIMARY) for key, row in aggregate.instances.items()}
    agent = evolve(aggregate.agent, revision=aggregate.agent.revision + 1)
    return Decided(before=aggregate, after=evolve(aggregate, agent=agent, instances=rows))


def test_z20_agents_of_one_group_are_not_sent_into_each_other_s_pools(world: World) -> None:
    fleet = []
    for name, az in (("a", ZONES[0]), ("b", ZONES[1])):
        machine = world.new_machine()
        agent_id = world.register(name, machine, az=az).agent_id
        world.beat(agent_id, machine, evidence=(Evidence.CLASSIC_CALL,))
        world.report_prices(agent_id, dict.fromkeys(ZONES, "0.0300"))
        fleet.append((agent_id, machine))
    signals = [
        noticed(
            agent_id, Signal(severity=Severity.TERMINATION, cloud_id=CloudId(machine), received_at=world.clock.now())
        )
        for agent_id, machine in fleet
    ]
    outcomes = world.plane.emergencies.together(world.agent_caller, signals)
    assert {outcomes[agent_id].answer.replica.pool_id for agent_id, _ in fleet} == {f"{TYPE}.{ZONES[2]}"}
