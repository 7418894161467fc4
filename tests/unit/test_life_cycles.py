"""Every life cycle as a table, walked state by state and event by event (GR-3, GR-4)."""

from itertools import product

import pytest

from spotcore import incidents, instances, replicas
from spotcore.errors import IllegalTransition
from spotcore.ids import AgentId, ClientId, CloudId, IncidentId, InstanceId, ReplicaId
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
