"""Machines: facts, the life cycle of section 1.3 as a table, and who belongs on the terminate list (IN-25)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from attrs import evolve, frozen

from spotcore.errors import IllegalTransition, InvariantViolated
from spotcore.ids import AgentId, ClientId, CloudId, CommandId, InstanceId, is_cloud_id
from spotcore.pools import Mode, pool_of

LAUNCH_TIMEOUT: Final = timedelta(seconds=300)  # IN-4, IN-23
NOTICE_GRACE: Final = timedelta(seconds=180)  # IN-10, IN-11, Z19
ATTEMPT_SPACING: Final = timedelta(seconds=300)  # IN-25
SLOW_ATTEMPT_SPACING: Final = timedelta(seconds=3_600)
FAILURES_BEFORE_ALARM: Final = 12
ZOMBIE_REMINDER_FIRST: Final = timedelta(hours=24)  # IN-24
ZOMBIE_REMINDER_NEXT: Final = timedelta(days=7)


class InstanceStatus(StrEnum):
    """Where a machine stands in its life (1.3)."""

    LAUNCHING = "launching"
    RUNNING_PRIMARY = "running_primary"
    RUNNING_REPLICA = "running_replica"
    ZOMBIE = "zombie"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    RELEASED = "released"


class InstanceEvent(StrEnum):
    """What moves a machine on."""

    CONFIRM_STANDBY = "confirm_standby"
    BECOME_PRIMARY = "become_primary"
    LAUNCH_ENDED = "launch_ended"
    DEMOTE = "demote"
    DEMOTE_TO_REPLICA = "demote_to_replica"
    END = "end"
    OVERTAKEN = "overtaken"
    CONFIRM_END = "confirm_end"
    RELEASE = "release"


TERMINAL: Final = frozenset({InstanceStatus.TERMINATED, InstanceStatus.RELEASED})  # GR-4
RUNNING: Final = frozenset({InstanceStatus.RUNNING_PRIMARY, InstanceStatus.RUNNING_REPLICA, InstanceStatus.ZOMBIE})
RETIRED: Final = frozenset(
    {InstanceStatus.ZOMBIE, InstanceStatus.TERMINATING, InstanceStatus.TERMINATED, InstanceStatus.RELEASED}
)
ACTIVE: Final = frozenset({InstanceStatus.LAUNCHING, InstanceStatus.RUNNING_PRIMARY, InstanceStatus.RUNNING_REPLICA})

_S, _E = InstanceStatus, InstanceEvent
TRANSITIONS: Final[Mapping[tuple[InstanceStatus, InstanceEvent], InstanceStatus]] = {
    (_S.LAUNCHING, _E.CONFIRM_STANDBY): _S.RUNNING_REPLICA,  # IN-2
    (_S.LAUNCHING, _E.BECOME_PRIMARY): _S.RUNNING_PRIMARY,  # IN-3
    (_S.LAUNCHING, _E.LAUNCH_ENDED): _S.TERMINATED,  # IN-4: no machine came of it
    (_S.LAUNCHING, _E.END): _S.TERMINATING,  # SW-9: a machine came, and its switch failed
    (_S.LAUNCHING, _E.OVERTAKEN): _S.ZOMBIE,  # SW-6
    (_S.RUNNING_REPLICA, _E.BECOME_PRIMARY): _S.RUNNING_PRIMARY,  # IN-5
    (_S.RUNNING_PRIMARY, _E.DEMOTE): _S.ZOMBIE,  # IN-6
    (_S.ZOMBIE, _E.END): _S.TERMINATING,  # IN-7
    (_S.RUNNING_REPLICA, _E.END): _S.TERMINATING,  # IN-8
    (_S.RUNNING_PRIMARY, _E.DEMOTE_TO_REPLICA): _S.RUNNING_REPLICA,  # IN-9
    (_S.TERMINATING, _E.CONFIRM_END): _S.TERMINATED,  # IN-10
    (_S.RUNNING_PRIMARY, _E.CONFIRM_END): _S.TERMINATED,  # IN-11
    (_S.ZOMBIE, _E.CONFIRM_END): _S.TERMINATED,  # IN-13: IN-7 and IN-10 in one transaction
    (_S.RUNNING_REPLICA, _E.CONFIRM_END): _S.TERMINATED,  # RP-16: IN-8 and IN-10 in one transaction
    (_S.LAUNCHING, _E.CONFIRM_END): _S.TERMINATED,  # SW-9: IN-4 for a machine that has ended already
    **{(state, _E.RELEASE): _S.RELEASED for state in RUNNING},  # IN-12
    (_S.TERMINATING, _E.RELEASE): _S.RELEASED,  # AG-9: its agent is deleted after 24 h without a confirmation
}


class EndReason(StrEnum):
    """Why a machine is to end (IN-25); stored with the decision. On a zombie: what a person has said of its end."""

    ZOMBIE_TIMEOUT = "zombie_timeout"
    REPLICA_TERMINATED = "replica_terminated"
    MANUAL_TERMINATE = "manual_terminate"
    KEPT = "kept"  # a zombie's: no wait ends it, whatever the agent's setting says (CM-9, E46)


@frozen(kw_only=True)
class Instance:
    """One cloud machine of one agent. ``cloud_id`` is None until the cloud has named it (I10)."""

    instance_id: InstanceId
    client_id: ClientId
    agent_id: AgentId
    status: InstanceStatus
    cloud_id: CloudId | None = None
    instance_type: str | None = None
    region: str | None = None
    az: str | None = None
    mode: Mode = Mode.UNKNOWN
    pool_id: str | None = None
    hostname: str | None = None
    ami_id: str | None = None
    private_ip: str | None = None
    public_ip: str | None = None
    created_at: datetime
    launch_requested_at: datetime | None = None  # IN-1
    confirmed_at: datetime | None = None  # the cloud id became known: SV-1
    registered_at: datetime | None = None
    last_seen_at: datetime | None = None  # heartbeat, registration or report that names it
    zombie_since: datetime | None = None  # IN-21: written by the demotion alone
    terminating_since: datetime | None = None
    terminated_at: datetime | None = None
    released_at: datetime | None = None
    end_reason: EndReason | None = None
    end_failures: int = 0
    last_end_attempt_at: datetime | None = None
    notice_deadline: datetime | None = None  # Z19: AWS has announced its end
    bound_command_id: CommandId | None = None  # RG-5, RG-6: the executing switch it was launched for
    inferred: bool = False  # RG-6
    end_asserted: bool = False  # ended by AWS's own deadline, not by a confirmation
    reminded_at: datetime | None = None  # IN-24
    drift: str | None = None  # what its agent says and the record does not (AG-3)

    def __attrs_post_init__(self) -> None:
        if self.cloud_id is not None and not is_cloud_id(self.cloud_id):
            raise InvariantViolated(f"{self.cloud_id!r} is no cloud id")  # I10

    @property
    def is_primary(self) -> bool:
        """True while it serves the workload."""
        return self.status is InstanceStatus.RUNNING_PRIMARY

    @property
    def is_terminal(self) -> bool:
        """True once nothing can change it any more (GR-4)."""
        return self.status in TERMINAL

    @property
    def protected_until(self) -> datetime | None:
        """Until when AWS's own kill is ahead or just over."""
        return self.notice_deadline + NOTICE_GRACE if self.notice_deadline is not None else None

    def notice_protects(self, now: datetime) -> bool:
        """True while AWS's own kill is ahead or just over: then the server never ends it itself (Z19)."""
        return self.protected_until is not None and now < self.protected_until

    def with_mode(self, mode: Mode) -> "Instance":
        """The same machine with its mode known, and with it the pool (AG-3)."""
        pool = pool_of(self.instance_type, self.az) if mode is Mode.SPOT else None
        return evolve(self, mode=mode, pool_id=pool.pool_id if pool else None)


def moved(instance: Instance, event: InstanceEvent, now: datetime) -> Instance:
    """The machine after ``event``, with the instants that belong to the step.

    Raises ``IllegalTransition`` for a step the table does not have; terminal stays terminal (GR-4).
    """
    try:
        status = TRANSITIONS[instance.status, event]
    except KeyError:
        raise IllegalTransition(f"{event} while {instance.status}") from None
    after = evolve(instance, status=status)
    match status:
        case InstanceStatus.ZOMBIE:
            return evolve(after, zombie_since=now)  # IN-6
        case InstanceStatus.TERMINATING:
            return evolve(after, terminating_since=now)
        case InstanceStatus.TERMINATED:
            return evolve(after, terminated_at=now)
        case InstanceStatus.RELEASED:
            return evolve(after, released_at=now)
        case _:
            return after


def attempt_spacing(instance: Instance) -> timedelta:
    """How long after an attempt to end a machine the next may follow (IN-25)."""
    return SLOW_ATTEMPT_SPACING if instance.end_failures >= FAILURES_BEFORE_ALARM else ATTEMPT_SPACING
