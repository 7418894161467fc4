"""A failover that nobody asked for, played through in memory: its rows are rehearsed on connections and undone.

The first storm that a process meets is the one that matters, and it met everything for the first time: conversions of
rows that only a failover writes, and in each connection the plans of functions and checks.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final
from uuid import uuid4

from psycopg.types.json import Jsonb

from spotadapters.memory import MemoryStorage
from spotadapters.postgres.documents import document
from spotadapters.postgres.rows import to_row
from spotadapters.system.identity import SecureIdentity
from spotcore.builds import Evidence
from spotcore.change import Outcome
from spotcore.config import ConfigChange
from spotcore.control_plane import ControlPlane, control_plane
from spotcore.emergencies import Signal
from spotcore.ids import AgentId, CloudId
from spotcore.incidents import Severity
from spotcore.liveness import Heartbeat
from spotcore.pools import Mode
from spotcore.ports.world import Clock
from spotcore.registration import Registration
from spotcore.replicas import ReplicaState
from spotcore.reports import ReplicaStatusReport
from spotcore.service.agents import heard
from spotcore.service.emergency import noticed
from spotcore.service.kernel import Caller
from spotcore.service.prices import PriceItem, PriceSheet
from spotcore.standby import MachineFacts

AGENTS: Final = 4
TYPE, REGION, ZONE = "m5.large", "us-east-1", "us-east-1a"


def rehearsal(clock: Clock) -> Mapping[str, Jsonb]:
    """Play it through, on names of its own. What storage would be given: ``client``, its agents with a warm replica
    each as ``ready``, and as ``moved`` their failovers."""
    storage = MemoryStorage()
    plane = control_plane(transactions=storage.transactions, clock=clock, identity=SecureIdentity(None))
    client_id = plane.clients.create(f"Rehearsal {uuid4()}").client.client_id
    agent = Caller(client_id=client_id)
    fleet = [_guarded(plane, agent, number) for number in range(AGENTS)]
    with storage.transactions() as uow:
        client = uow.clients.get(client_id)
        ready = [Outcome(before=None, after=uow.agents.get(client_id, agent_id)) for agent_id, _, _ in fleet]
    now = clock.now()
    notices = [
        noticed(agent_id, Signal(severity=Severity.TERMINATION, cloud_id=machine, received_at=now))
        for agent_id, machine, _ in fleet
    ]
    moved = plane.emergencies.together(agent, notices)
    beats = [heard(name, Heartbeat(cloud_id=standby), moved[name].after) for name, _, standby in fleet]
    plane.emergencies.together(agent, beats)
    rows = {"client": to_row(client), "ready": document(ready), "moved": document(list(moved.values()))}
    return {name: Jsonb(row) for name, row in rows.items()}


def _guarded(plane: ControlPlane, agent: Caller, number: int) -> tuple[AgentId, CloudId, CloudId]:
    """An agent with a warm replica: its id, its machine, the replica's machine."""
    machine, standby = (CloudId(f"i-{uuid4().hex}") for _ in range(2))  # longer than what the cloud issues
    wanted = Registration(
        cloud_id=machine, logical_agent_id=f"rehearsal-{number}", instance_type=TYPE, region=REGION, az=ZONE,
        mode=Mode.SPOT,
    )  # fmt: skip
    agent_id = plane.agents.register(agent, wanted).agent_id
    plane.agents.heartbeat(agent, agent_id, Heartbeat(cloud_id=machine, evidence=(Evidence.CLASSIC_CALL,)))
    spot = PriceItem(pool=f"{TYPE}.{ZONE}", price=Decimal("0.03"))
    plane.prices.report(agent, agent_id, PriceSheet(spot=(spot,), ondemand=(PriceItem(price=Decimal("0.096")),)))
    plane.agents.configure(agent, agent_id, ConfigChange(wanted={"manual_replica_enabled": True}))
    (view,) = plane.replicas.to_launch(agent, agent_id)
    replica_id = view.replica.replica_id
    facts = MachineFacts(cloud_id=standby)
    plane.replicas.update(agent, agent_id, replica_id, machine=facts, state=ReplicaState.SYNCING)
    plane.replicas.report_status(agent, agent_id, replica_id, ReplicaStatusReport(state=ReplicaState.READY))
    return agent_id, machine, standby
