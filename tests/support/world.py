"""A control plane for tests: a clock that moves only when told, ids in order, and either storage."""

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

from attrs import define, field

from spotadapters.memory import MemoryStorage
from spotcore.aggregate import Aggregate
from spotcore.control_plane import ControlPlane, control_plane
from spotcore.ids import AgentId, ClientId, CloudId
from spotcore.pools import Mode
from spotcore.ports.storage import Transactions
from spotcore.registration import Registration, RegistrationAnswer
from spotcore.service.kernel import Caller
from spotcore.service.prices import PriceItem, PriceSheet

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

    def tick(self, seconds: float = 0) -> None:
        self.clock.advance(seconds)
        result = self.plane.upkeep.tick()
        assert not result.failed, result.failed


def a_world(transactions: Transactions | None = None, clock: FakeClock | None = None) -> World:
    """A world over memory, or over the given storage."""
    clock = clock or FakeClock()
    storage = transactions if transactions is not None else MemoryStorage().transactions
    plane = control_plane(transactions=storage, clock=clock, identity=CountingIdentity())
    client = plane.clients.create("Acme", "ops@acme.example").client
    return World(plane=plane, transactions=storage, clock=clock, client_id=client.client_id)
