"""A small cloud: machines boot or fail to, are announced to go, and go."""

from attrs import define

from spotcore.ids import CloudId
from spotcore.pools import Mode
from spotcore.simulation.scenario import Scenario
from spotcore.simulation.seeds import Stream

NOTICE_SECONDS = 120.0
REBALANCE_SECONDS = (150.0, 900.0)  # how long before the end AWS may see it coming
DRY_SECONDS = 600.0  # how long a pool that a scenario interrupts gives out no machines after it took them back


@define(kw_only=True)
class Machine:
    """A machine of the cloud. Times are seconds after the start."""

    cloud_id: CloudId
    az: str
    mode: Mode
    up_at: float
    ends_at: float | None = None  # when AWS takes it back
    noticed_at: float | None = None  # None: nobody is told
    rebalance_at: float | None = None
    ended: bool = False

    def is_up(self, now: float) -> bool:
        """True between its boot and its end."""
        return not self.ended and self.up_at <= now and (self.ends_at is None or now < self.ends_at)

    def has_notice(self, now: float) -> bool:
        """True while AWS says that it will be taken back."""
        return self.is_up(now) and self.noticed_at is not None and now >= self.noticed_at

    def has_rebalance(self, now: float) -> bool:
        """True while AWS sees a raised risk."""
        return self.is_up(now) and self.rebalance_at is not None and now >= self.rebalance_at


class Cloud:
    """Launches and ends machines, and draws their fate when they are launched."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._fate = Stream(scenario.seed, "fate")
        self._pools = {one.az: one for one in scenario.pools}
        self._latest = (scenario.lasts - scenario.settling).total_seconds()
        self._forced = sorted((after.total_seconds(), az) for after, az in scenario.interruptions)
        self.machines: dict[CloudId, Machine] = {}

    def launch(self, az: str, mode: Mode, now: float, *, booted: bool = False) -> Machine | None:
        """A machine that will be up after its boot; None when there is no capacity."""
        fate = self._fate
        boot = 0.0 if booted else fate.between(*self._scenario.boot_seconds)
        if mode is Mode.SPOT and not booted and (fate.chance(self._scenario.faults.launch_fails) or self._dry(az, now)):
            return None
        machine = Machine(cloud_id=CloudId(f"i-{len(self.machines) + 1:017x}"), az=az, mode=mode, up_at=now + boot)
        pool = self._pools.get(az)
        if mode is Mode.SPOT and pool is not None and pool.interruption_hours > 0:
            self._doom(machine, machine.up_at + NOTICE_SECONDS + fate.waiting(pool.interruption_hours * 3600))
        for at, where in self._forced:
            if where == az and mode is Mode.SPOT and at - NOTICE_SECONDS >= machine.up_at:
                self._doom(machine, min(at, machine.ends_at or at))
                break
        self.machines[machine.cloud_id] = machine
        return machine

    def _dry(self, az: str, now: float) -> bool:
        """True from an interruption's notice on: the capacity that AWS takes back is what it would have to give."""
        return any(where == az and at - NOTICE_SECONDS <= now < at + DRY_SECONDS for at, where in self._forced)

    def _doom(self, machine: Machine, ends_at: float) -> None:
        if ends_at > self._latest:
            return
        fate = self._fate
        machine.ends_at = ends_at
        announced = not fate.chance(self._scenario.faults.dies_silently)
        machine.noticed_at = ends_at - NOTICE_SECONDS if announced else None
        ahead = fate.between(*REBALANCE_SECONDS)
        machine.rebalance_at = ends_at - ahead if announced and fate.chance(0.5) else None

    def end(self, cloud_id: str) -> None:
        """Somebody ends it."""
        machine = self.machines.get(CloudId(cloud_id))
        if machine is not None:
            machine.ended = True
