"""Machines of the simulated cloud, in EC2's words."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from attrs import field, frozen

from spotcore.pools import Mode, Pool


class CloudRefusal(Exception):
    """The cloud said no; ``code`` is EC2's word for why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class MachineState(StrEnum):
    """EC2's words."""

    PENDING = "pending"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"
    STOPPED = "stopped"


GONE: Final = frozenset({MachineState.TERMINATED, MachineState.STOPPED})


@frozen(kw_only=True)
class SpotAction:
    """What the metadata service says will happen to a spot machine: ``terminate``, ``stop`` or ``hibernate``."""

    action: str
    at: datetime


@frozen(kw_only=True)
class Machine:
    """One instance as EC2 knows it."""

    instance_id: str
    instance_type: str
    az: str
    mode: Mode
    ami_id: str
    launched_at: datetime
    private_ip: str
    public_ip: str | None
    launched_by: str | None = None  # the instance whose agent asked for it
    state: MachineState = MachineState.PENDING
    running_at: datetime | None = None
    ended_at: datetime | None = None
    reclaimed: bool = False  # ended by the cloud, not by a caller
    spot_action: SpotAction | None = None
    rebalance_at: datetime | None = None
    protected: bool = False  # termination protection
    metadata_works: bool = True
    tags: Mapping[str, str] = field(factory=dict)

    @property
    def pool(self) -> Pool:
        """Its type and zone."""
        return Pool(self.instance_type, self.az)

    @property
    def pool_id(self) -> str | None:
        """The pool it is bought from, None unless on spot."""
        return self.pool.pool_id if self.mode is Mode.SPOT else None
