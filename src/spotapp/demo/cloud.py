"""A small cloud: machines that boot, run, are warned, taken back, or ended."""

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Final

from attrs import define

BOOT_SECONDS: Final = (25.0, 45.0)  # from request to running; EC2 instances take some tens of seconds
NOTICE_SECONDS: Final = 120.0


@define
class Machine:
    """One machine. ``ends_at`` is set by an interruption notice."""

    cloud_id: str
    instance_type: str
    az: str
    mode: str
    runs_from: datetime
    ends_at: datetime | None = None
    rebalance: bool = False
    ended: bool = False

    @property
    def pool_id(self) -> str | None:
        """The pool it was taken from; None for on-demand."""
        return f"{self.instance_type}.{self.az}" if self.mode == "spot" else None


class Cloud:
    """Machines by id. Safe to use from many threads; deterministic by seed for one order of calls."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._machines: dict[str, Machine] = {}
        self._lock = threading.Lock()

    def launch(self, instance_type: str, az: str, mode: str, now: datetime, *, running: bool = False) -> Machine:
        """A new machine; it runs after its boot time, or at once when it is there from the start."""
        with self._lock:
            number = self._random.getrandbits(68)
            boot = 0.0 if running else self._random.uniform(*BOOT_SECONDS)
            machine = Machine(f"i-{number:017x}", instance_type, az, mode, now + timedelta(seconds=boot))
            self._machines[machine.cloud_id] = machine
            return machine

    def end(self, cloud_id: str | None) -> bool:
        """End a machine; True also when it has gone already, False for one that never was."""
        with self._lock:
            machine = self._machines.get(cloud_id or "")
            if machine is not None:
                machine.ended = True
            return machine is not None

    def warn(self, cloud_id: str) -> None:
        """A rebalance recommendation."""
        self._machines[cloud_id].rebalance = True

    def interrupt(self, cloud_id: str, now: datetime) -> None:
        """The two-minute notice."""
        self._machines[cloud_id].ends_at = now + timedelta(seconds=NOTICE_SECONDS)

    def reclaim(self, now: datetime) -> list[str]:
        """Take back the machines whose time is over; their ids."""
        with self._lock:
            over = [one for one in self._machines.values() if one.ends_at is not None and now >= one.ends_at]
            taken = [one for one in over if not one.ended]
            for machine in taken:
                machine.ended = True
            return [machine.cloud_id for machine in taken]

    def machines(self) -> Mapping[str, Machine]:
        """Every machine there ever was."""
        return dict(self._machines)
