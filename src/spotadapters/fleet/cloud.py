"""A small EC2: machines that boot, are billed, are warned and are taken, on the clock it is handed.

State follows the clock: whatever fell due is applied before any question is answered. Every method is safe for
several threads. Boot times, shutdowns and notices are divided by ``speed``, like everything that waits.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final

from attrs import evolve

from spotadapters.fleet.clocks import Clock
from spotadapters.fleet.machines import GONE, CloudRefusal, Machine, MachineState, SpotAction
from spotadapters.fleet.prices import PriceFeed
from spotcore.pools import Mode, Pool, region_of

DEFAULT_BOOT_SECONDS: Final = 25.0
NOTICE_SECONDS: Final = 120.0
FREE_WHEN_RECLAIMED_WITHIN: Final = timedelta(hours=1)  # Z19
MINIMUM_BILLED_SECONDS: Final = 60.0


class FakeCloud:
    """One account. ``seed`` is part of every id, so that two worlds never share one."""

    def __init__(
        self,
        *,
        clock: Clock,
        prices: PriceFeed,
        zones: tuple[str, ...],
        speed: float = 1.0,
        seed: int = 1,
        shutdown_seconds: float = 0.0,
    ) -> None:
        self.prices = prices
        self.zones = zones
        self.outage = False  # every API call is refused while true
        self._clock = clock
        self._speed = speed
        self._seed = seed
        self.shutdown_seconds = shutdown_seconds  # from terminate to terminated
        self._lock = threading.RLock()
        self._numbers = count(1)
        self._machines: dict[str, Machine] = {}
        self._images: set[str] = set()
        self._boot_seconds: dict[str, float] = {}
        self._exhausted: set[tuple[str, Mode]] = set()
        self._due: list[tuple[datetime, int, Callable[[datetime], None]]] = []
        self._changed: list[Machine] = []

    # ---- what the world arranges

    def new_image(self) -> str:
        """The id of a fresh machine image."""
        with self._lock:
            ami_id = f"ami-{self._seed:05x}{next(self._numbers):012x}"
            self._images.add(ami_id)
            return ami_id

    def set_boot_seconds(self, pool: Pool, seconds: float) -> None:
        """How long machines of a pool take from launch to running."""
        with self._lock:
            self._boot_seconds[pool.pool_id] = seconds

    def exhaust(self, pool: Pool, *, mode: Mode = Mode.SPOT) -> None:
        """Refuse launches there for lack of capacity."""
        with self._lock:
            self._exhausted.add((pool.pool_id, mode))

    def replenish(self, pool: Pool, *, mode: Mode = Mode.SPOT) -> None:
        """Have capacity there again."""
        with self._lock:
            self._exhausted.discard((pool.pool_id, mode))

    def protect(self, instance_id: str) -> None:
        """Refuse to terminate a machine."""
        self._change(instance_id, protected=True)

    def break_metadata(self, instance_id: str, *, works: bool = False) -> None:
        """Make the machine's metadata service fail (or work again)."""
        self._change(instance_id, metadata_works=works)

    def interrupt(
        self, instance_id: str, *, notice_seconds: float = NOTICE_SECONDS, action: str = "terminate"
    ) -> datetime:
        """Announce that a spot machine will be taken, and take it at the returned instant. Raises ``CloudRefusal``."""
        with self._lock:
            machine = self.machine(instance_id)
            if machine.mode is not Mode.SPOT:
                raise CloudRefusal("UnsupportedOperation", f"{instance_id} is not a spot machine")
            at = self._clock.now() + timedelta(seconds=notice_seconds / self._speed)
            self._change(instance_id, spot_action=SpotAction(action=action, at=at))
            end = MachineState.TERMINATED if action == "terminate" else MachineState.STOPPED
            self._at(at, lambda due_at: self._end(instance_id, end, due_at, reclaimed=True))
            return at

    def rebalance(self, instance_id: str) -> None:
        """Raise the rebalance signal of a machine."""
        self._change(instance_id, rebalance_at=self._clock.now())

    def clear_rebalance(self, instance_id: str) -> None:
        """Withdraw it."""
        self._change(instance_id, rebalance_at=None)

    def settle(self) -> tuple[Machine, ...]:
        """The machines that began to run or ended since the last call, in that order of time."""
        with self._lock:
            self._apply_due()
            changed, self._changed = tuple(self._changed), []
            return changed

    def next_at(self) -> datetime | None:
        """When something happens by itself next."""
        with self._lock:
            return self._due[0][0] if self._due else None

    # ---- what programs and tests ask

    def launch(
        self,
        *,
        instance_type: str,
        az: str,
        mode: Mode,
        ami_id: str,
        subnet_az: str | None = None,
        launched_by: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Machine:
        """A pending machine. ``subnet_az``: the zone of the subnet asked for. Raises ``CloudRefusal``."""
        with self._lock:
            self._require_service()
            self._require_launchable(Pool(instance_type, az), mode, ami_id, subnet_az)
            number = next(self._numbers)
            now = self._clock.now()
            machine = Machine(
                instance_id=f"i-{self._seed:05x}{number:012x}",
                instance_type=instance_type,
                az=az,
                mode=mode,
                ami_id=ami_id,
                launched_at=now,
                launched_by=launched_by,
                private_ip=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
                public_ip=None,
                tags=tags or {},
            )
            self._machines[machine.instance_id] = machine
            boot = self._boot_seconds.get(machine.pool.pool_id, DEFAULT_BOOT_SECONDS) / self._speed
            self._at(now + timedelta(seconds=boot), lambda due_at: self._run(machine.instance_id, due_at))
            return machine

    def terminate(self, instance_id: str) -> None:
        """End a machine; one already gone is fine. Raises ``CloudRefusal``."""
        with self._lock:
            self._require_service()
            machine = self.machine(instance_id)
            if machine.protected:
                raise CloudRefusal("OperationNotPermitted", f"{instance_id} is protected from termination")
            if machine.state in GONE or machine.state is MachineState.SHUTTING_DOWN:
                return
            self._change(instance_id, state=MachineState.SHUTTING_DOWN)
            at = self._clock.now() + timedelta(seconds=self.shutdown_seconds / self._speed)
            self._at(at, lambda due_at: self._end(instance_id, MachineState.TERMINATED, due_at, reclaimed=False))
            self._apply_due()

    def tag(self, instance_id: str, tags: Mapping[str, str]) -> None:
        """Add tags. Raises ``CloudRefusal``."""
        with self._lock:
            self._require_service()
            self._change(instance_id, tags={**self.machine(instance_id).tags, **tags})

    def machine(self, instance_id: str) -> Machine:
        """A machine as it is now. Raises ``CloudRefusal`` for an id the cloud never issued."""
        with self._lock:
            self._apply_due()
            try:
                return self._machines[instance_id]
            except KeyError:
                raise CloudRefusal("InvalidInstanceID.NotFound", f"no machine {instance_id}") from None

    def machines(self) -> tuple[Machine, ...]:
        """All machines ever launched, oldest first."""
        with self._lock:
            self._apply_due()
            return tuple(self._machines.values())

    def inventory(self, region: str) -> tuple[Machine, ...]:
        """What describe-instances lists of a region, the ended for another hour. Raises ``CloudRefusal``."""
        with self._lock:
            self._require_service()
            since = self._clock.now() - timedelta(hours=1)
            return tuple(
                one
                for one in self.machines()
                if region_of(one.az) == region and (one.ended_at is None or one.ended_at >= since)
            )

    def spot_prices(self, instance_type: str, region: str) -> dict[Pool, Decimal]:
        """The known spot prices of a type in $/hour, zone by zone. Raises ``CloudRefusal``."""
        self._require_service()
        now = self._clock.now()
        pools = [Pool(instance_type, az) for az in self.zones if region_of(az) == region]
        return {pool: price for pool in pools if (price := self.prices.spot(pool, now)) is not None}

    def on_demand_price(self, instance_type: str) -> Decimal | None:
        """The list price in $/hour, None when it cannot be read."""
        return None if self.outage else self.prices.on_demand(instance_type, self._clock.now())

    def billed_seconds(self, instance_id: str) -> float:
        """What a machine's running time is charged for so far: at least a minute; nothing if the cloud took it in its
        first hour."""
        machine = self.machine(instance_id)
        if machine.running_at is None:
            return 0.0
        ran = (machine.ended_at or self._clock.now()) - machine.running_at
        if machine.reclaimed and ran * self._speed < FREE_WHEN_RECLAIMED_WITHIN:
            return 0.0
        return max(ran.total_seconds() * self._speed, MINIMUM_BILLED_SECONDS)

    # ---- inside, lock held

    def _require_service(self) -> None:
        if self.outage:
            raise CloudRefusal("ServiceUnavailable", "the cloud does not answer")

    def _require_launchable(self, pool: Pool, mode: Mode, ami_id: str, subnet_az: str | None) -> None:
        if ami_id not in self._images:
            raise CloudRefusal("InvalidAMIID.NotFound", f"no image {ami_id}")
        if pool.az not in self.zones:
            raise CloudRefusal("InvalidParameterValue", f"no zone {pool.az}")
        if subnet_az is not None and subnet_az != pool.az:
            raise CloudRefusal("InvalidParameterValue", f"the subnet lies in {subnet_az}, not in {pool.az}")
        if (pool.pool_id, mode) in self._exhausted:
            raise CloudRefusal("InsufficientInstanceCapacity", f"no {mode} capacity in {pool.pool_id}")

    def _at(self, at: datetime, happening: Callable[[datetime], None]) -> None:
        heappush(self._due, (at, next(self._numbers), happening))

    def _apply_due(self) -> None:
        while self._due and self._due[0][0] <= self._clock.now():
            due_at, _, happening = heappop(self._due)
            happening(due_at)

    def _run(self, instance_id: str, at: datetime) -> None:
        if self._machines[instance_id].state is MachineState.PENDING:
            self._change(instance_id, state=MachineState.RUNNING, running_at=at)
            self._changed.append(self._machines[instance_id])

    def _end(self, instance_id: str, state: MachineState, at: datetime, *, reclaimed: bool) -> None:
        if self._machines[instance_id].state not in GONE:
            self._change(instance_id, state=state, ended_at=at, reclaimed=reclaimed)
            self._changed.append(self._machines[instance_id])

    def _change(self, instance_id: str, **changes: Any) -> None:
        with self._lock:
            if instance_id not in self._machines:
                raise CloudRefusal("InvalidInstanceID.NotFound", f"no machine {instance_id}")
            self._machines[instance_id] = evolve(self._machines[instance_id], **changes)
