"""Every life cycle as a table, walked state by state and event by event (GR-3, GR-4)."""

from itertools import product

import pytest

from spotcore import clients, commands, incidents, instances, replicas
from spotcore.clients import Client, ClientStatus
from spotcore.commands import Command, CommandEvent, CommandKind, CommandState, Origin
from spotcore.errors import IllegalTransition, InvariantViolated, StateConflict
from spotcore.ids import AgentId, ClientId, CloudId, CommandId, IncidentId, InstanceId, ReplicaId
from spotcore.incidents import Incident, IncidentEvent, IncidentState, Severity
from spotcore.instances import Instance, InstanceEvent, InstanceStatus
from spotcore.replicas import Replica, ReplicaEvent, ReplicaKind, ReplicaState
from tests.support.world import START

WHO = {"client_id": ClientId("c"), "agent_id": AgentId("a")}

MACHINES = {
    ("launching", "confirm_standby"): "running_replica",
    ("launching", "become_primary"): "running_primary",
    ("launching", "launch_ended"): "terminated",
    ("launching", "end"): "terminating",
    ("launching", "overtaken"): "zombie",
    ("launching", "confirm_end"): "terminated",
    ("running_replica", "become_primary"): "running_primary",
    ("running_replica", "end"): "terminating",
    ("running_replica", "confirm_end"): "terminated",
    ("running_replica", "release"): "released",
    ("running_primary", "demote"): "zombie",
    ("running_primary", "demote_to_replica"): "running_replica",
    ("running_primary", "confirm_end"): "terminated",
    ("running_primary", "release"): "released",
    ("zombie", "end"): "terminating",
    ("zombie", "confirm_end"): "terminated",
    ("zombie", "release"): "released",
    ("terminating", "confirm_end"): "terminated",
    ("terminating", "release"): "released",
}


@pytest.mark.parametrize(("status", "event"), list(product(InstanceStatus, InstanceEvent)))
def test_a_machine_moves_as_the_table_of_1_3_says_or_not_at_all_gr3(
    status: InstanceStatus, event: InstanceEvent
) -> None:
    machine = Instance(instance_id=InstanceId("m"), status=status, cloud_id=CloudId("i-0a"), created_at=START, **WHO)
    wanted = MACHINES.get((status.value, event.value))
    if wanted is None:
        with pytest.raises(IllegalTransition):
            instances.moved(machine, event, START)
    else:
        after = instances.moved(machine, event, START)
        assert after.status.value == wanted
        assert (after.terminated_at is not None) == (wanted == "terminated")  # failure 25
        assert (after.zombie_since is not None) == (wanted == "zombie")  # IN-21


REPLICAS = {
    ("launching", "machine_started"): "syncing",
    ("syncing", "synced"): "ready",
    ("syncing", "promote"): "promoted",
    ("ready", "promote"): "promoted",
    **{(state, "fail"): "failed" for state in ("launching", "syncing", "ready")},
    **{(state, "end"): "terminated" for state in ("launching", "syncing", "ready")},
}


@pytest.mark.parametrize(("state", "event"), list(product(ReplicaState, ReplicaEvent)))
def test_a_replica_moves_as_the_table_of_1_4_says_or_not_at_all_rp7(state: ReplicaState, event: ReplicaEvent) -> None:
    replica = Replica(
        replica_id=ReplicaId("r"),
        instance_id=InstanceId("m"),
        kind=ReplicaKind.MANUAL,
        state=state,
        created_at=START,
        **WHO,
    )
    wanted = REPLICAS.get((state.value, event.value))
    if wanted is None:
        with pytest.raises(IllegalTransition):
            replicas.moved(replica, event, START)
    else:
        after = replicas.moved(replica, event, START)
        assert after.state.value == wanted
        assert after.is_live == (wanted in ("launching", "syncing", "ready"))  # I2 counts these


COMMANDS = {
    ("pending", "hand_out"): "executing",
    ("pending", "expire"): "expired",
    ("executing", "lease_lapsed"): "pending",
    ("executing", "undeliverable"): "failed",
    **{(state, "complete"): "completed" for state in ("pending", "executing")},
    **{(state, "fail"): "failed" for state in ("pending", "executing")},
    **{(state, "cancel"): "cancelled" for state in ("pending", "executing")},
}


def a_command(kind: CommandKind = CommandKind.SWITCH, origin: Origin = Origin.USER, **facts: object) -> Command:
    return Command(
        command_id=CommandId("k"),
        request_id="q",
        kind=kind,
        origin=origin,
        created_at=START,
        **WHO,
        **facts,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(("state", "event"), list(product(CommandState, CommandEvent)))
def test_a_command_moves_as_the_table_of_1_5_says_or_not_at_all(state: CommandState, event: CommandEvent) -> None:
    wanted = COMMANDS.get((state.value, event.value))
    if wanted is None:
        with pytest.raises(IllegalTransition):
            commands.moved(a_command(state=state), event, START)
    else:
        after = commands.moved(a_command(state=state), event, START, reason="why")
        assert after.state.value == wanted
        assert after.is_open == (wanted in ("pending", "executing"))


TIMINGS = [
    # origin, kind, priority, TTL s, lease s
    (Origin.EMERGENCY, CommandKind.PROMOTE, 100, 300, 60),
    (Origin.EMERGENCY, CommandKind.LAUNCH, 100, 300, 360),
    (Origin.OPERATOR, CommandKind.TERMINATE, 100, None, 240),
    (Origin.REPLICA_END, CommandKind.TERMINATE, 100, None, 240),
    (Origin.USER, CommandKind.SWITCH, 75, 900, 1_200),
    (Origin.MANUAL_MODE, CommandKind.LAUNCH, 75, 900, 360),
    (Origin.RETIREMENT, CommandKind.SELF_DESTRUCT, 75, 86_400, 300),
    (Origin.URGENT_DECISION, CommandKind.SWITCH, 50, 300, 1_200),
    (Origin.DECISION, CommandKind.SWITCH, 25, 600, 1_200),
    (Origin.SCHEDULED, CommandKind.APPLY_CONFIG, 10, 86_400, 60),
    (Origin.CLEAN_UP, CommandKind.TERMINATE, 10, None, 240),
]


@pytest.mark.parametrize(("origin", "kind", "priority", "ttl", "lease"), TIMINGS)
def test_priorities_ttls_and_leases_are_the_tables_t21(
    origin: Origin, kind: CommandKind, priority: int, ttl: int | None, lease: int
) -> None:
    command = a_command(kind, origin, terminate_wait_seconds=300)
    assert command.priority == priority
    lifetime = commands.ttl(kind, origin)
    assert (lifetime.total_seconds() if lifetime else None) == ttl
    assert commands.lease(command).total_seconds() == lease  # a switch: its wait and 900 s more (Z13)


INCIDENTS = {
    ("detected", "handle"): "handling",
    ("handling", "handle"): "handling",
    ("failed", "handle"): "failed",
    ("detected", "fail"): "failed",
    ("handling", "fail"): "failed",
    **{(state, "resolve"): "resolved" for state in ("detected", "handling", "failed")},
    **{(state, "clear"): "cleared" for state in ("detected", "handling", "failed")},
}


@pytest.mark.parametrize(("state", "event"), list(product(IncidentState, IncidentEvent)))
def test_an_incident_moves_as_1_8_says_or_not_at_all(state: IncidentState, event: IncidentEvent) -> None:
    incident = Incident(
        incident_id=IncidentId("n"), instance_id=InstanceId("m"), severity=Severity.REBALANCE, state=state, opened_at=START,
        last_signal_at=START, **WHO,
    )  # fmt: skip
    wanted = INCIDENTS.get((state.value, event.value))
    if wanted is None:
        with pytest.raises(IllegalTransition):
            incidents.moved(incident, event, START)
    else:
        assert incidents.moved(incident, event, START).state.value == wanted


@pytest.mark.parametrize(("before", "after"), list(product(ClientStatus, ClientStatus)))
def test_a_client_is_active_suspended_or_gone_for_good_cl1(before: ClientStatus, after: ClientStatus) -> None:
    client = Client(client_id=ClientId("c"), name="Acme", status=before, created_at=START)
    if before is after:
        assert clients.moved(client, after, START) is client
    elif before is ClientStatus.DELETED:
        with pytest.raises(StateConflict):
            clients.moved(client, after, START)
    else:
        assert clients.moved(client, after, START).status is after


@pytest.mark.parametrize("name", ["i-pending-12345678", "replica-12345678", "unknown", "i-", "", "i-0a b", "i-0a\n"])
def test_a_placeholder_is_never_a_machines_name_i10_t13(name: str) -> None:
    with pytest.raises(InvariantViolated):
        Instance(
            instance_id=InstanceId("m"), status=InstanceStatus.ZOMBIE, cloud_id=CloudId(name), created_at=START, **WHO
        )
