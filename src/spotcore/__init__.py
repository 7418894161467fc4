"""The control plane for AWS Spot fleets, as a pure library.

``control_plane`` joins a storage, a clock and identities to every use case; ``upkeep.decide`` underneath is a pure
function from an aggregate and a rule to an outcome. Nothing here does I/O, reads a clock or draws a random number.
"""

from spotcore.agents import Agent
from spotcore.aggregate import Aggregate
from spotcore.clients import Client
from spotcore.config import AgentConfig, ConfigChange
from spotcore.control_plane import ControlPlane, control_plane
from spotcore.emergencies import Signal, SignalAnswer
from spotcore.errors import SpotError
from spotcore.ids import AgentId, ClientId, CloudId, CommandId, IncidentId, InstanceId, ReplicaId, SwitchId
from spotcore.incidents import Incident, Outcome, Severity
from spotcore.instances import Instance, InstanceStatus
from spotcore.liveness import Heartbeat, HeartbeatAnswer
from spotcore.pools import Mode, Pool
from spotcore.registration import Registration, RegistrationAnswer
from spotcore.replicas import Replica, ReplicaKind, ReplicaState
from spotcore.service.kernel import Caller
from spotcore.switches import Switch, SwitchTrigger

__all__ = [
    "Agent",
    "AgentConfig",
    "AgentId",
    "Aggregate",
    "Caller",
    "Client",
    "ClientId",
    "CloudId",
    "CommandId",
    "ConfigChange",
    "ControlPlane",
    "Heartbeat",
    "HeartbeatAnswer",
    "Incident",
    "IncidentId",
    "Instance",
    "InstanceId",
    "InstanceStatus",
    "Mode",
    "Outcome",
    "Pool",
    "Registration",
    "RegistrationAnswer",
    "Replica",
    "ReplicaId",
    "ReplicaKind",
    "ReplicaState",
    "Severity",
    "Signal",
    "SignalAnswer",
    "SpotError",
    "Switch",
    "SwitchId",
    "SwitchTrigger",
    "control_plane",
]
