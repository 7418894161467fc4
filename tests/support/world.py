"""A control plane for tests: a clock that moves only when told, ids in order, and either storage."""

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

from attrs import define, field

from spotadapters.memory import MemoryStorage
from spotcore.aggregate import Aggregate
from spotcore.builds import Evidence
from spotcore.commands import Command
from spotcore.config import AgentConfig, ConfigChange
from spotcore.control_plane import ControlPlane, control_plane
from spotcore.dispatch import Dialect
from spotcore.emergencies import Signal, SignalAnswer
from spotcore.ids import AgentId, ClientId, CloudId
from spotcore.incidents import Severity
from spotcore.liveness import Heartbeat, HeartbeatAnswer
from spotcore.pools import Mode
from spotcore.ports.storage import Transactions
from spotcore.registration import Registration, RegistrationAnswer
from spotcore.replicas import ReplicaState
from spotcore.reports import CommandReport, ReplicaStatusReport
from spotcore.service.kernel import Caller
from spotcore.service.machines import SwitchOrder, SwitchRequest
from spotcore.service.prices import PriceItem, PriceSheet
from spotcore.standby import MachineFacts

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TYPE = "m5.large"
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")


@define
class FakeClock:
    """Moves only when told."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@define
class CountingIdentity:
    """Ids and tokens in order, so that a failing test reads well."""

    prefix: str = "00000000"
    _ids: "count[int]" = field(factory=lambda: count(1))

    def new_id(self) -> str:
        return f"{self.prefix}-0000-4000-8000-{next(self._ids):012d}"

    def new_token(self) -> str:
        return hashlib.sha256(f"token {self.prefix} {next(self._ids)}".encode()).hexdigest()

    def hash_token(self, token: str) -> str:
        return hashlib.sha256(token.encode()).hexdigest()

    def seal(self, token: str) -> bytes | None:
        return token[::-1].encode()

    def unseal(self, sealed: bytes) -> str | None:
        return sealed.decode()[::-1]


@define
class World:
    """One control plane, one client, and short ways to say what happens."""

    plane: ControlPlane
    transactions: Transactions
    clock: FakeClock
    client_id: ClientId
    machines: "count[int]" = field(factory=lambda: count(1))

    @property
    def agent_caller(self) -> Caller:
        return Caller(client_id=self.client_id, actor="agent")

    @property
    def user(self) -> Caller:
        return Caller(client_id=self.client_id, actor="client")

    def new_machine(self) -> CloudId:
        return CloudId(f"i-{next(self.machines):017x}")

    def register(
        self,
        logical: str = "web",
        machine: str | None = None,
        *,
        az: str = ZONES[0],
        mode: Mode = Mode.SPOT,
        **facts: object,
    ) -> RegistrationAnswer:
        wanted = Registration(
            cloud_id=CloudId(machine or self.new_machine()), logical_agent_id=logical, instance_type=TYPE,
            region="us-east-1", az=az, mode=mode, ami_id="ami-1", **facts,  # type: ignore[arg-type]
        )  # fmt: skip
        return self.plane.agents.register(self.agent_caller, wanted)

    def aggregate(self, agent_id: AgentId) -> Aggregate:
        with self.transactions() as uow:
            return uow.agents.get(self.client_id, agent_id)

    def report_prices(self, agent_id: AgentId, prices: dict[str, str], ondemand: str | None = "0.0960") -> None:
        spot = tuple(PriceItem(pool=f"{TYPE}.{az}", price=Decimal(price)) for az, price in prices.items())
        listed = (PriceItem(price=Decimal(ondemand)),) if ondemand else ()
        self.plane.prices.report(self.agent_caller, agent_id, PriceSheet(spot=spot, ondemand=listed))

    def set(self, agent_id: AgentId, **wanted: object) -> AgentConfig:
        return self.plane.agents.configure(self.user, agent_id, ConfigChange(wanted=wanted)).config

    def start_replica(self, agent_id: AgentId, replica_id: str, machine: str, *, ready: bool = True) -> None:
        facts = MachineFacts(cloud_id=CloudId(machine))
        self.plane.replicas.update(self.agent_caller, agent_id, replica_id, machine=facts, state=ReplicaState.SYNCING)
        if ready:
            report = ReplicaStatusReport(state=ReplicaState.READY)
            self.plane.replicas.report_status(self.agent_caller, agent_id, replica_id, report)

    def notice(
        self,
        agent_id: AgentId,
        machine: str | None = None,
        *,
        ahead: float | None = None,
        severity: Severity = Severity.TERMINATION,
        **more: object,
    ) -> SignalAnswer:
        deadline = self.clock.now() + timedelta(seconds=ahead) if ahead is not None else None
        sent = Signal(severity=severity, cloud_id=machine, deadline=deadline, received_at=self.clock.now(), **more)  # type: ignore[arg-type]
        return self.plane.emergencies.signal(self.agent_caller, agent_id, sent)

    def beat(self, agent_id: AgentId, machine: str | None = None, **more: object) -> HeartbeatAnswer:
        return self.plane.agents.heartbeat(self.agent_caller, agent_id, Heartbeat(cloud_id=machine, **more))  # type: ignore[arg-type]

    def primary(self, agent_id: AgentId) -> str | None:
        row = self.aggregate(agent_id).primary
        return row.cloud_id if row is not None else None

    def status(self, agent_id: AgentId, machine: str) -> str:
        row = self.aggregate(agent_id).machine(machine)
        return row.status.value if row is not None else "unknown"

    def switch(self, agent_id: AgentId, az: str | None = ZONES[1]) -> SwitchOrder:
        mode = Mode.SPOT if az else Mode.ONDEMAND
        wanted = SwitchRequest(target_mode=mode, pool_id=f"{TYPE}.{az}" if az else None)
        return self.plane.machines.force_switch(self.user, str(self.primary(agent_id)), wanted)

    def fetch(self, agent_id: AgentId, dialect: Dialect = Dialect.CLASSIC) -> tuple[Command, ...]:
        return self.plane.commands.fetch(self.agent_caller, agent_id, dialect).commands

    def result(
        self, agent_id: AgentId, command: Command, success: bool | None = True, machine: str | None = None
    ) -> Command | None:
        facts = MachineFacts(cloud_id=CloudId(machine)) if machine else None
        report = CommandReport(command=command.request_id, success=success, machine=facts)
        return self.plane.commands.result(self.agent_caller, agent_id, report)

    def tick(self, seconds: float = 0) -> None:
        self.clock.advance(seconds)
        result = self.plane.upkeep.tick()
        assert not result.failed, result.failed


def a_world(transactions: Transactions | None = None, clock: FakeClock | None = None, number: int = 0) -> World:
    """A world over memory, or over the given storage. Worlds with numbers of their own can share a storage."""
    clock = clock or FakeClock()
    storage = transactions if transactions is not None else MemoryStorage().transactions
    plane = control_plane(transactions=storage, clock=clock, identity=CountingIdentity(f"{number:08x}"))
    name = f"Acme {number}" if number else "Acme"
    client = plane.clients.create(name, f"ops@{name.lower().replace(' ', '')}.example").client
    machines = count((number << 32) + 1)
    return World(plane=plane, transactions=storage, clock=clock, client_id=client.client_id, machines=machines)


@define
class Ready:
    """An agent whose primary serves and whose manual replica is ready."""

    agent_id: AgentId
    primary: str
    replica_id: str
    standby: str


def with_replica(world: World, logical: str = "web", *, ready: bool = True) -> Ready:
    """A v4c agent with prices, manual mode, and a replica that is ready, or only syncing."""
    primary = world.new_machine()
    agent_id = world.register(logical, primary).agent_id
    world.plane.agents.heartbeat(
        world.agent_caller, agent_id, Heartbeat(cloud_id=primary, evidence=(Evidence.CLASSIC_CALL,))
    )
    world.report_prices(agent_id, {"us-east-1a": "0.0300", "us-east-1b": "0.0310", "us-east-1c": "0.0350"})
    world.set(agent_id, manual_replica_enabled=True)
    (view,) = world.plane.replicas.to_launch(world.agent_caller, agent_id)
    standby = world.new_machine()
    world.start_replica(agent_id, view.replica.replica_id, standby, ready=ready)
    return Ready(agent_id, primary, view.replica.replica_id, standby)
