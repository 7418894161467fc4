"""``AgentStore`` on both storages: look-ups of agents and machines by every name, and by nobody else's (GR-8)."""

from datetime import timedelta

import pytest
from attrs import evolve

from spotcore.agents import Life, Link
from spotcore.aggregate import Aggregate
from spotcore.builds import Build, Evidence
from spotcore.change import Outcome
from spotcore.commands import CommandKind, CommandState, Origin
from spotcore.errors import NotFound
from spotcore.ids import (
    AgentId,
    ClientId,
    CloudId,
    InstanceId,
    ReplicaId,
    derived_id,
    launch_placeholder,
    replica_placeholder,
)
from spotcore.incidents import IncidentState
from spotcore.instances import Instance, InstanceStatus
from spotcore.ports.storage import Keys, Turn
from spotcore.replicas import ReplicaState
from tests.support.rule_builders import a_command, a_machine, a_replica
from tests.support.world import World, with_replica

NOBODY = AgentId("no-agent")


def saved(world: World, agent_id: AgentId, **changes: object) -> Aggregate:
    """The aggregate with rows added or replaced, as storage gives it back."""
    with world.transactions() as uow:
        before = uow.agents.lock(world.client_id, agent_id)
        uow.agents.save(Outcome(before=before, after=evolve(before, **changes)))
    return world.aggregate(agent_id)


def with_machines(world: World, agent_id: AgentId, *rows: Instance) -> Aggregate:
    known = world.aggregate(agent_id).instances
    return saved(world, agent_id, instances={**known, **{row.instance_id: row for row in rows}})


def machine(world: World, agent_id: AgentId, name: str, status: InstanceStatus, **facts: object) -> Instance:
    """A row of that agent; ``name`` makes its id and, unless given, its cloud id."""
    own = InstanceId(derived_id(agent_id, abs(hash(name)) % 10**9))
    row = a_machine(name, status, **{"cloud_id": CloudId(f"i-{name}{world.client_id[:8]}"), **facts})
    return evolve(row, instance_id=own, client_id=world.client_id, agent_id=agent_id)


def stranger(world: World) -> ClientId:
    name = f"Stranger of {world.client_id}"
    return world.plane.clients.create(name).client.client_id


# ---- lock, get, poll


def test_locked_or_not_an_agent_reads_the_same_and_is_its_clients_alone_gr8(shared_world: World) -> None:
    agent_id, other = shared_world.register().agent_id, stranger(shared_world)
    with shared_world.transactions() as uow:
        assert uow.agents.lock(shared_world.client_id, agent_id) == uow.agents.get(shared_world.client_id, agent_id)
        for look in (uow.agents.lock, uow.agents.get, uow.agents.poll):
            for client_id, wanted in ((other, agent_id), (shared_world.client_id, NOBODY), (ClientId("x"), NOBODY)):
                with pytest.raises(NotFound, match="unknown agent"):
                    look(client_id, wanted)


def test_a_deleted_agent_is_found_for_rules_to_judge(shared_world: World) -> None:
    agent_id = shared_world.register().agent_id
    shared_world.plane.agents.delete(shared_world.user, agent_id)
    shared_world.tick(90_000)
    with shared_world.transactions() as uow:
        assert uow.agents.lock(shared_world.client_id, agent_id).agent.life is Life.DELETED
        assert uow.agents.poll(shared_world.client_id, agent_id).life is Life.DELETED


def test_a_poll_sees_what_there_is_to_hand_out_and_the_agents_revision(shared_world: World) -> None:
    agent_id = shared_world.register().agent_id
    shared_world.report_prices(agent_id, {"us-east-1b": "0.03"})

    def poll() -> tuple[object, ...]:
        with shared_world.transactions() as uow:
            seen = uow.agents.poll(shared_world.client_id, agent_id)
        assert seen.revision == shared_world.aggregate(agent_id).agent.revision
        assert seen.build is shared_world.aggregate(agent_id).agent.build
        return seen.life, seen.has_open_commands, seen.able_since_registration

    assert poll() == (Life.LIVE, False, False)
    shared_world.switch(agent_id)
    assert poll() == (Life.LIVE, True, False)
    (command,) = shared_world.fetch(agent_id)
    assert poll() == (Life.LIVE, True, True)  # executing is open too
    shared_world.result(agent_id, command, success=False)
    assert poll() == (Life.LIVE, False, True)
    shared_world.plane.agents.delete(shared_world.user, agent_id)
    assert poll()[0] is not Life.LIVE


def test_calls_under_a_merged_agents_id_count_for_the_other(shared_world: World) -> None:
    into, gone = shared_world.register("into").agent_id, shared_world.register("gone").agent_id
    before = shared_world.aggregate(gone)
    ended = {
        key: evolve(row, status=InstanceStatus.RELEASED, released_at=shared_world.clock.now())
        for key, row in before.instances.items()
    }
    agent = evolve(before.agent, life=Life.DELETED, merged_into=into, primary_id=None)
    closed = tuple(evolve(one, ended_at=shared_world.clock.now()) for one in before.periods)
    with shared_world.transactions() as uow:
        uow.agents.save(Outcome(before=before, after=evolve(before, agent=agent, instances=ended, periods=closed)))
    with shared_world.transactions() as uow:
        assert uow.agents.lock(shared_world.client_id, gone).agent.agent_id == into
        assert uow.agents.get(shared_world.client_id, gone).agent.agent_id == into
        assert uow.agents.poll(shared_world.client_id, gone).life is Life.LIVE


# ---- who has an agent or a name


def test_another_clients_agent_exists_elsewhere_until_it_is_deleted_e26(shared_world: World) -> None:
    agent_id, other = shared_world.register().agent_id, stranger(shared_world)

    def elsewhere(client_id: ClientId, wanted: AgentId = agent_id) -> bool:
        with shared_world.transactions() as uow:
            return uow.agents.exists_elsewhere(client_id, wanted)

    assert (elsewhere(shared_world.client_id), elsewhere(other), elsewhere(other, NOBODY)) == (False, True, False)
    shared_world.plane.agents.delete(shared_world.user, agent_id)
    shared_world.tick(90_000)
    assert not elsewhere(other)


def test_an_owner_is_found_for_the_operator_alone_by_the_agents_id(shared_world: World) -> None:
    agent_id = shared_world.register().agent_id
    with shared_world.transactions() as uow:
        assert uow.agents.find_owner(agent_id) == shared_world.client_id
        assert uow.agents.find_owner(NOBODY) is None


def test_i13_a_logical_name_is_one_clients_and_free_after_the_deletion_ag10(shared_world: World) -> None:
    agent_id, other = shared_world.register("web").agent_id, stranger(shared_world)

    def found(client_id: ClientId, name: str = "web") -> AgentId | None:
        with shared_world.transactions() as uow:
            return uow.agents.find_logical(client_id, name)

    assert (found(shared_world.client_id), found(other)) == (agent_id, None)
    assert found(shared_world.client_id, "Web") is None  # names are compared as they are
    shared_world.plane.agents.delete(shared_world.user, agent_id)
    shared_world.tick(90_000)
    assert found(shared_world.client_id) is None
    again = shared_world.register("web").agent_id
    assert found(shared_world.client_id) == again != agent_id


# ---- machines


def test_rg9_bindings_of_a_machine_put_what_still_binds_before_what_has_ended(shared_world: World) -> None:
    agent_id, second = shared_world.register("a").agent_id, shared_world.register("b").agent_id
    now, cloud = shared_world.clock.now(), shared_world.new_machine()
    with shared_world.transactions() as uow:
        assert list(uow.agents.bindings(cloud)) == []
    ages = {"oldest": 30, "older": 20, "newest": 10}
    gone = {
        name: machine(
            shared_world, agent_id, name, InstanceStatus.TERMINATED, cloud_id=cloud, terminated_at=now,
            created_at=now - timedelta(days=days),
        )
        for name, days in ages.items()
    }  # fmt: skip
    with_machines(shared_world, agent_id, *gone.values())
    live = machine(
        shared_world, second, "lives", InstanceStatus.ZOMBIE, cloud_id=cloud, created_at=now - timedelta(days=99)
    )
    with_machines(shared_world, second, live)
    with shared_world.transactions() as uow:
        rows = uow.agents.bindings(cloud)
    assert [row.instance_id for row in rows] == [
        live.instance_id, gone["newest"].instance_id, gone["older"].instance_id, gone["oldest"].instance_id,
    ]  # fmt: skip
    assert [(row.is_terminal, row.status) for row in rows] == [(False, "zombie")] + [(True, "terminated")] * 3
    assert {(row.client_id, row.cloud_id, row.agent_life) for row in rows} == {(shared_world.client_id, cloud, "live")}
    assert [row.agent_id for row in rows] == [second, agent_id, agent_id, agent_id]


def test_a_machine_goes_by_its_ids_and_its_placeholder_for_its_client_and_the_operator(shared_world: World) -> None:
    agent_id, other = shared_world.register().agent_id, stranger(shared_world)
    waiting = machine(shared_world, agent_id, "waiting", InstanceStatus.LAUNCHING, cloud_id=None)
    with_machines(shared_world, agent_id, waiting)
    primary = shared_world.aggregate(agent_id).primary
    assert primary is not None
    owner = (shared_world.client_id, agent_id)
    with shared_world.transactions() as uow:
        for name in (
            primary.instance_id, str(primary.cloud_id), waiting.instance_id, launch_placeholder(waiting.instance_id)
        ):  # fmt: skip
            assert uow.agents.find_by_instance(shared_world.client_id, name) == owner, name
            assert uow.agents.find_by_instance(None, name) == owner, name
            assert uow.agents.find_by_instance(other, name) is None, name
        for name in ("i-0nobody", "", "i-pending-", "replica-", "i-pending-zzzzzzzz", "%", "_" * 36):
            assert uow.agents.find_by_instance(None, name) is None, name


def test_a_launch_placeholder_still_leads_to_a_machine_that_the_cloud_has_named(shared_world: World) -> None:
    """A screen may have been drawn before that; rules look for the same word (1.4)."""
    agent_id = shared_world.register().agent_id
    primary = shared_world.aggregate(agent_id).primary
    assert primary is not None
    with shared_world.transactions() as uow:
        word = launch_placeholder(primary.instance_id)
        assert uow.agents.find_by_instance(shared_world.client_id, word) == (shared_world.client_id, agent_id)


def test_a_replicas_placeholder_leads_to_its_agent(shared_world: World) -> None:
    ready = with_replica(shared_world)
    with shared_world.transactions() as uow:
        word = replica_placeholder(ReplicaId(ready.replica_id))
        assert uow.agents.find_by_instance(shared_world.client_id, word) == (shared_world.client_id, ready.agent_id)
        assert uow.agents.find_by_instance(ClientId("x"), word) is None


def test_of_two_rows_of_a_machine_the_one_that_lives_leads_to_its_agent(shared_world: World) -> None:
    """A machine that ended under one agent and lives under another is the other's, whatever was stored first."""
    first, second = shared_world.register("a").agent_id, shared_world.register("b").agent_id
    cloud, now = shared_world.new_machine(), shared_world.clock.now()
    ended = machine(shared_world, first, "ended", InstanceStatus.TERMINATED, cloud_id=cloud, terminated_at=now)
    lives = machine(shared_world, second, "lives", InstanceStatus.ZOMBIE, cloud_id=cloud, created_at=now - timedelta(9))
    with_machines(shared_world, first, ended)
    with_machines(shared_world, second, lives)
    with shared_world.transactions() as uow:
        assert uow.agents.find_by_instance(shared_world.client_id, cloud) == (shared_world.client_id, second)
    gone = evolve(lives, status=InstanceStatus.TERMINATED, terminated_at=now)
    with_machines(shared_world, second, gone)
    with shared_world.transactions() as uow:  # both ended: the newer row
        assert uow.agents.find_by_instance(shared_world.client_id, cloud) == (shared_world.client_id, first)


LAUNCH_TOKENS = [
    ("pending", True), ("executing", True), ("completed", False), ("failed", False), ("expired", False),
    ("cancelled", False),
]  # fmt: skip


@pytest.mark.parametrize(("state", "is_open"), LAUNCH_TOKENS)
def test_rg5_a_launch_token_opens_while_its_command_does(shared_world: World, state: str, is_open: bool) -> None:
    agent_id, other = shared_world.register().agent_id, stranger(shared_world)
    command = evolve(
        a_command(CommandKind.LAUNCH, Origin.USER, state=CommandState(state), finished_at=shared_world.clock.now()),
        client_id=shared_world.client_id, agent_id=agent_id, request_id=f"token-{shared_world.client_id}",
    )  # fmt: skip
    saved(shared_world, agent_id, commands={command.command_id: command})
    with shared_world.transactions() as uow:
        found = uow.agents.find_by_launch(shared_world.client_id, command.request_id)
        assert found == (agent_id if is_open else None)
        assert uow.agents.find_by_launch(other, command.request_id) is None
        assert uow.agents.find_by_launch(shared_world.client_id, command.command_id) is None  # no token
        assert uow.agents.find_by_launch(shared_world.client_id, "") is None


@pytest.mark.parametrize("state", list(ReplicaState))
def test_rg5_a_launch_token_opens_while_its_replica_lives(shared_world: World, state: ReplicaState) -> None:
    agent_id, other = shared_world.register().agent_id, stranger(shared_world)
    stands = machine(shared_world, agent_id, "stands", InstanceStatus.RUNNING_REPLICA)
    with_machines(shared_world, agent_id, stands)
    replica = evolve(
        a_replica(state=state), replica_id=ReplicaId(f"rep-{shared_world.client_id}"), instance_id=stands.instance_id,
        client_id=shared_world.client_id, agent_id=agent_id,
    )  # fmt: skip
    saved(shared_world, agent_id, replicas={replica.replica_id: replica})
    with shared_world.transactions() as uow:
        found = uow.agents.find_by_launch(shared_world.client_id, replica.replica_id)
        assert found == (agent_id if replica.is_live else None)
        assert uow.agents.find_by_launch(other, replica.replica_id) is None


def test_cl4_what_counts_against_the_limits(shared_world: World) -> None:
    """Agents that are not deleted; machines that launch, serve or stand by, whoever's they are of the client."""

    def counted() -> tuple[int, int]:
        with shared_world.transactions() as uow:
            return uow.agents.count(shared_world.client_id)

    assert counted() == (0, 0)
    first = shared_world.register("a", evidence=(Evidence.CLOUD_ACCOUNT,)).agent_id
    second = shared_world.register("b").agent_id
    assert counted() == (2, 2)
    counting = {InstanceStatus.LAUNCHING: 1, InstanceStatus.RUNNING_REPLICA: 1}
    expected = 2
    for status in InstanceStatus:
        if status is InstanceStatus.RUNNING_PRIMARY:
            continue
        ended = {"terminated_at": shared_world.clock.now()} if status is InstanceStatus.TERMINATED else {}
        with_machines(
            shared_world, second, machine(shared_world, second, status.value.replace("_", "-"), status, **ended)
        )
        expected += counting.get(status, 0)
        assert counted() == (2, expected), status
    shared_world.plane.agents.delete(shared_world.user, first)
    assert counted()[0] == 2  # retiring
    shared_world.tick(90_000)
    assert counted()[0] == 1
    with shared_world.transactions() as uow:
        assert uow.agents.count(stranger(shared_world)) == (0, 0)


# ---- what travels with an agent


def test_rows_that_ended_long_ago_come_along_when_they_are_named(shared_world: World) -> None:
    agent_id = shared_world.register().agent_id
    old = shared_world.clock.now() - timedelta(days=40)
    ended = machine(shared_world, agent_id, "long-ago", InstanceStatus.TERMINATED, created_at=old, terminated_at=old)
    command = evolve(
        a_command(created_at=old, state=CommandState.COMPLETED, finished_at=old), client_id=shared_world.client_id,
        agent_id=agent_id, request_id=f"old-{shared_world.client_id}",
    )  # fmt: skip
    replica = evolve(
        a_replica(state=ReplicaState.TERMINATED, created_at=old, ended_at=old), client_id=shared_world.client_id,
        agent_id=agent_id, instance_id=ended.instance_id, replica_id=ReplicaId(f"old-{shared_world.client_id}"),
    )  # fmt: skip
    with_machines(shared_world, agent_id, ended)
    saved(shared_world, agent_id, commands={command.command_id: command}, replicas={replica.replica_id: replica})

    def named(**keys: tuple[str, ...]) -> Aggregate:
        with shared_world.transactions() as uow:
            return uow.agents.get(shared_world.client_id, agent_id, Keys(**keys))

    assert named(cloud_ids=(str(ended.cloud_id),)).instances[ended.instance_id] == ended
    assert named(instance_ids=(ended.instance_id,)).instances[ended.instance_id] == ended
    by_replica = named(replica_ids=(replica.replica_id,))
    assert by_replica.replicas[replica.replica_id] == replica
    assert by_replica.instances[ended.instance_id] == ended  # its machine with it
    assert named(command_ids=(command.command_id,)).commands[command.command_id] == command
    assert named(command_ids=(command.request_id,)).commands[command.command_id] == command


# ---- what time brings up


def test_due_agents_come_oldest_first_and_deleted_ones_never(world: World) -> None:
    """Upkeep asks for so many at a time; what has waited longest is served first (JB-5)."""
    now = world.clock.now()
    wanted = {"late": -30, "later": -20, "now": 0, "ahead": 1, "never": None, "gone": -99}
    ids = {}
    for name, seconds in wanted.items():
        agent_id = ids[name] = world.register(name).agent_id
        agent = world.aggregate(agent_id).agent
        due = now + timedelta(seconds=seconds) if seconds is not None else None
        saved(world, agent_id, agent=evolve(agent, due_at=due, link=Link.ONLINE))
    world.plane.agents.delete(world.user, ids["gone"])
    agent = world.aggregate(ids["gone"]).agent
    saved(world, ids["gone"], agent=evolve(agent, life=Life.DELETED, due_at=now))
    with world.transactions() as uow:
        expected = [
            Turn(world.client_id, ids[name], now + timedelta(seconds=wanted[name] or 0))
            for name in ("late", "later", "now")
        ]
        assert list(uow.agents.due(now, 10)) == expected
        assert list(uow.agents.due(now, 2)) == expected[:2]
        assert list(uow.agents.due(now, 10, expected[0])) == expected[1:]
        assert list(uow.agents.due(now - timedelta(days=1), 10)) == []


def test_5_4_agents_with_an_open_incident_have_a_queue_of_their_own(world: World) -> None:
    now = world.clock.now()
    ids = {}
    for name, seconds in {"second": -10, "first": -20, "ahead": 1, "handled": -30, "calm": -40}.items():
        agent_id = ids[name] = world.register(name, machine := world.new_machine()).agent_id
        if name != "calm":
            world.notice(agent_id, machine)
        before = world.aggregate(agent_id)
        closed = {
            key: evolve(row, state=IncidentState.RESOLVED, closed_at=now) if name == "handled" else row
            for key, row in before.incidents.items()
        }
        agent = evolve(before.agent, due_at=now + timedelta(seconds=seconds))
        saved(world, agent_id, agent=agent, incidents=closed)
    with world.transactions() as uow:
        expected = [
            Turn(world.client_id, ids[name], now + timedelta(seconds=at))
            for name, at in (("first", -20), ("second", -10))
        ]
        assert list(uow.agents.pressed(now, 10)) == expected
        assert list(uow.agents.pressed(now, 1)) == expected[:1]
        assert list(uow.agents.pressed(now, 10, expected[0])) == expected[1:]
        assert list(uow.agents.pressed(now, 10, expected[1])) == []


def test_of_agents_that_are_due_at_the_same_instant_a_place_is_behind_some_and_before_the_others(world: World) -> None:
    now = world.clock.now()
    for number in range(5):
        agent_id = world.register(f"web-{number}").agent_id
        saved(world, agent_id, agent=evolve(world.aggregate(agent_id).agent, due_at=now))
    with world.transactions() as uow:
        everybody = list(uow.agents.due(now, 10))
        assert [turn.agent_id for turn in everybody] == sorted(turn.agent_id for turn in everybody)
        for place, turn in enumerate(everybody):
            assert list(uow.agents.due(now, 10, turn)) == everybody[place + 1 :]


def test_an_agent_is_put_off_unless_it_has_got_another_turn_meanwhile(world: World) -> None:
    now, later = world.clock.now(), world.clock.now() + timedelta(seconds=20)
    agent_id = world.register().agent_id
    saved(world, agent_id, agent=evolve(world.aggregate(agent_id).agent, due_at=now))
    with world.transactions() as uow:
        (turn,) = uow.agents.due(now, 10)
        uow.agents.put_off(evolve(turn, since=now - timedelta(seconds=1)), later)
        assert list(uow.agents.due(now, 10)) == [turn]
        uow.agents.put_off(turn, later)
        uow.agents.put_off(turn, later + timedelta(seconds=1))  # again, it changes nothing
        assert list(uow.agents.due(later, 10)) == [evolve(turn, since=later)]


def test_z34_undecided_agents_come_with_those_that_were_never_judged_first(world: World) -> None:
    now = world.clock.now()
    limit = now - timedelta(seconds=300)
    ages = {"ages ago": 900, "at the limit": 300, "just now": 299, "never": None}
    ids, ats = {}, {}
    for name, seconds in ages.items():
        agent_id = ids[name] = world.register(name).agent_id
        at = ats[name] = now - timedelta(seconds=seconds) if seconds is not None else None
        saved(world, agent_id, agent=evolve(world.aggregate(agent_id).agent, last_decision_at=at, build=Build.V4C))
    world.plane.agents.delete(world.user, world.register("retiring").agent_id)
    with world.transactions() as uow:
        expected = [Turn(world.client_id, ids[name], ats[name]) for name in ("never", "ages ago", "at the limit")]
        assert list(uow.agents.undecided(limit, 10)) == expected
        assert list(uow.agents.undecided(limit, 1)) == expected[:1]
        for place, turn in enumerate(expected):
            assert list(uow.agents.undecided(limit, 10, turn)) == expected[place + 1 :]
