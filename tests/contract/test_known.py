"""An agent whose state was just committed is not read again while its revision holds: nobody can tell (GR-1)."""

from collections.abc import Callable, Mapping

import pytest
from attrs import evolve

from spotcore.aggregate import Aggregate
from spotcore.builds import Evidence
from spotcore.clients import ClientStatus
from spotcore.errors import NotFound
from spotcore.ids import AgentId, CloudId
from spotcore.liveness import Heartbeat
from spotcore.ports.storage import Keys
from spotcore.service.agents import heard
from tests.contract.test_together import notice
from tests.support.world import Ready, World, with_replica


def moved(world: World, name: str = "web") -> tuple[Ready, Aggregate]:
    """An agent whose replica has just been promoted, and its state as that was committed."""
    ready = with_replica(world, name)
    outcomes = world.plane.emergencies.together(world.agent_caller, [notice(world, ready)])
    return ready, outcomes[ready.agent_id].after


def held(world: World, known: Mapping[AgentId, Aggregate], keys: Keys = Keys()) -> Mapping[AgentId, Aggregate]:
    with world.transactions() as uow:
        return uow.agents.lock_free(world.client_id, dict.fromkeys(known, keys), known)


def from_primary(ready: Ready) -> Heartbeat:
    return Heartbeat(cloud_id=CloudId(ready.standby), evidence=(Evidence.CLASSIC_CALL,))


def test_a_state_that_still_holds_is_what_reading_gives(world: World) -> None:
    ready, state = moved(world)
    assert held(world, {ready.agent_id: state}) == {ready.agent_id: world.aggregate(ready.agent_id)}


def test_signs_of_life_that_came_meanwhile_are_in_it(world: World) -> None:
    ready, state = moved(world)
    world.plane.agents.heartbeat(world.agent_caller, ready.agent_id, from_primary(ready))
    first = world.aggregate(ready.agent_id)
    world.clock.advance(seconds=7)
    world.plane.agents.heartbeat(world.agent_caller, ready.agent_id, from_primary(ready))  # a sign of life alone
    now = world.aggregate(ready.agent_id)
    assert (now.agent.revision, now.agent.last_heartbeat_at) == (first.agent.revision, world.clock.now())
    assert held(world, {ready.agent_id: first}) == {ready.agent_id: now}
    assert held(world, {ready.agent_id: state}) == {ready.agent_id: now}


@pytest.mark.parametrize(
    "change",
    [
        lambda world, ready: world.set(ready.agent_id, terminate_wait_seconds=77),
        lambda world, ready: world.notice(ready.agent_id, ready.standby),
        lambda world, ready: world.plane.agents.delete(world.user, ready.agent_id),
    ],
    ids=["settings", "notice", "deletion"],
)
def test_a_state_that_somebody_has_changed_is_read_again(
    world: World, change: Callable[[World, Ready], object]
) -> None:
    ready, state = moved(world)
    change(world, ready)
    now = world.aggregate(ready.agent_id)
    assert now.agent.revision > state.agent.revision
    assert held(world, {ready.agent_id: state}) == {ready.agent_id: now}


def test_the_client_is_as_it_is_now_cl_5(world: World) -> None:
    ready, state = moved(world)
    world.plane.clients.suspend(world.client_id)
    (found,) = held(world, {ready.agent_id: state}).values()
    assert (state.client.status, found.client.status) == (ClientStatus.ACTIVE, ClientStatus.SUSPENDED)


@pytest.mark.parametrize("keys", [Keys(cloud_ids=("i-0000000000000dead",)), Keys(command_ids=("request",))])
def test_what_a_call_names_and_the_state_has_not_is_looked_for(world: World, keys: Keys) -> None:
    ready, state = moved(world)
    assert held(world, {ready.agent_id: state}, keys) == {ready.agent_id: world.aggregate(ready.agent_id)}


def test_gr_8_a_state_opens_nothing_to_another_client_and_agents_nobody_asked_for_are_left_alone(world: World) -> None:
    ready, state = moved(world)
    stranger = world.plane.clients.create("Umbrella").client.client_id
    with world.transactions() as uow:
        assert not uow.agents.lock_free(stranger, {ready.agent_id: Keys()}, {ready.agent_id: state})
        assert not uow.agents.lock_free(world.client_id, {}, {ready.agent_id: state})


def test_the_first_heartbeat_of_a_new_primary_says_and_does_what_one_that_reads_does_ag_4(world: World) -> None:
    (known, state), (read, _) = moved(world, "known"), moved(world, "read")
    world.clock.advance(seconds=1)
    call = heard(known.agent_id, from_primary(known), state)
    answer = world.plane.emergencies.together(world.agent_caller, [call])[known.agent_id].answer
    expected = world.plane.agents.heartbeat(world.agent_caller, read.agent_id, from_primary(read))
    assert answer == evolve(expected, agent_id=known.agent_id)
    assert answer.role == "primary"
    ours, theirs = world.aggregate(known.agent_id).agent, world.aggregate(read.agent_id).agent
    for name in ("revision", "last_heartbeat_at", "due_at", "last_reply_version", "sequence", "link"):
        assert getattr(ours, name) == getattr(theirs, name), name
    machine = world.aggregate(known.agent_id).primary
    assert machine is not None
    assert machine.last_seen_at == world.clock.now()


def test_em_1_a_notice_that_comes_twice_is_one_failover_on_a_known_state_too(world: World) -> None:
    ready, state = moved(world)
    again = notice(world, ready, known=state)
    assert world.plane.emergencies.together(world.agent_caller, [again])[ready.agent_id].answer.duplicate
    assert len(world.aggregate(ready.agent_id).switches) == 1


def test_em_17_a_known_agent_that_was_deleted_meanwhile_is_no_agent(world: World) -> None:
    ready, state = moved(world)
    world.plane.agents.delete(world.user, ready.agent_id)
    answer = world.plane.emergencies.together(world.agent_caller, [notice(world, ready, known=state)])
    assert isinstance(answer[ready.agent_id].answer, NotFound)
