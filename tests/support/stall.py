"""A market of a test's own: an instance type of which nobody else has prices, and short ways to report and look."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import count

from attrs import evolve, frozen

from spotcore.alerts import Alert
from spotcore.ids import AgentId
from spotcore.market import Market
from spotcore.ports.ledger import TypeInRegion
from spotcore.prices import Observation, OndemandObservation, PriceReport, PriceSource
from spotcore.quality import Filled
from tests.support.world import World

D = Decimal
REGION = "us-east-1"
_numbers = count(1)


@frozen
class Stall:
    """A world, and an instance type of which nobody else has prices."""

    world: World
    kind: str

    @property
    def group(self) -> TypeInRegion:
        return (self.kind, REGION)

    @property
    def now(self) -> datetime:
        return self.world.clock.now()

    def pool(self, zone: str = "a") -> str:
        return f"{self.kind}.{REGION}{zone}"

    def seen(self, price: str, at: datetime, name: str | None = None, zone: str = "a") -> Observation:
        known = name or f"{price}@{at.isoformat()}{zone}"
        return Observation(
            submission_id=f"{self.world.client_id}:{self.kind}:{known}", pool_id=self.pool(zone), price=D(price), observed_at=at
        )  # fmt: skip

    def report(self, *rows: Observation, source: PriceSource = PriceSource.PRIMARY, **facts: object) -> PriceReport:
        known = {"received_at": self.now, **facts}
        return PriceReport(
            client_id=self.world.client_id, agent_id=AgentId("reporter"), instance_id=None, source=source,
            observations=rows, **known,
        )  # fmt: skip

    def record(self, *rows: Observation, source: PriceSource = PriceSource.PRIMARY) -> Sequence[Alert]:
        with self.world.transactions() as uow:
            return uow.prices.record(self.report(*rows, source=source))

    def listed(
        self, price: str, at: datetime, *, flagged: bool = False, source: PriceSource = PriceSource.PRIMARY
    ) -> None:
        one = OndemandObservation(
            instance_type=self.kind, region=REGION, price=D(price), observed_at=at, flagged=flagged
        )
        with self.world.transactions() as uow:
            uow.prices.record(self.report(source=source, ondemand=(one,)))

    def market(self, region: str | None = REGION, kind: str | None = None) -> Market:
        with self.world.transactions() as uow:
            return uow.prices.market(self.world.client_id, kind or self.kind, region, self.now)

    def measured(self, since: datetime) -> Mapping[str, Mapping[datetime, Decimal]]:
        with self.world.transactions() as uow:
            return uow.prices.measured(self.group, since)

    def repair(self, since: datetime) -> int:
        with self.world.transactions() as uow:
            return uow.prices.repair(self.group, since)

    def doubts(self, since: datetime) -> Sequence[tuple[str, datetime]]:
        with self.world.transactions() as uow:
            return uow.prices.discrepancies(self.group, since)

    def fill(self, since: datetime, fills: Mapping[str, Sequence[Filled]]) -> int:
        with self.world.transactions() as uow:
            return uow.prices.replace_fills(self.group, since, fills)

    def last(self) -> Decimal | None:
        with self.world.transactions() as uow:
            return uow.prices.last_unflagged_ondemand(self.world.client_id, self.kind, REGION, self.world.clock.now())


def a_stall(world: World) -> Stall:
    """A stall with a type of its own."""
    return Stall(world, f"t{next(_numbers)}.large")


def reader(stall: Stall) -> Stall:
    """The same market as another client sees it."""
    name = f"Reader {next(_numbers)} of {stall.world.client_id}"
    other = stall.world.plane.clients.create(name).client.client_id
    return Stall(evolve(stall.world, client_id=other), stall.kind)
