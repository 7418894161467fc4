"""A machine's paid life: from when to when it costs, and in which role (SV-1, SV-8, SV-9, the table of 7.3)."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from attrs import frozen

from spotcore.builds import Build
from spotcore.instances import Instance
from spotcore.switches import PrimaryPeriod

SILENT_END: Final = timedelta(seconds=300)  # a v2's own default wait before it ends its old host


class Role(StrEnum):
    """What a machine was while it cost (7.3)."""

    PRIMARY = "primary"
    REPLICA = "replica"
    ZOMBIE = "zombie"


@frozen
class Span:
    """A half-open time in one role. ``assumed``: its end is not confirmed by anybody."""

    start: datetime
    end: datetime
    role: Role
    assumed: bool = False


@frozen(kw_only=True)
class Tenure:
    """What the record knows of one machine that may cost."""

    instance: Instance
    build: Build
    periods: tuple[PrimaryPeriod, ...] = ()  # of this machine alone
    registered_ondemand_price: Decimal | None = None  # its agent's, $/h (SV-5)

    @property
    def started_at(self) -> datetime | None:
        """When it was confirmed to run, by server time; None before that (SV-1)."""
        row = self.instance
        if row.cloud_id is None:
            return None
        known = [at for at in (row.confirmed_at, row.registered_at) if at is not None]
        return min(known, default=row.created_at)

    @property
    def ended_at(self) -> datetime | None:
        """When it stopped to cost, None while it does. A machine that AWS took ends at AWS's deadline; a v2's old host,
        of which nobody reports an end, at its last sign of life and at least five minutes after it became a zombie."""
        row = self.instance
        if row.terminated_at is not None:
            announced = row.notice_deadline if row.end_asserted else None
            return min(row.terminated_at, announced) if announced else row.terminated_at
        if row.released_at is not None:
            return row.released_at
        if self.is_end_assumed:
            assert row.zombie_since is not None
            least = row.zombie_since + SILENT_END
            return max(least, row.last_seen_at or least)
        return None

    @property
    def is_end_assumed(self) -> bool:
        """True for a v2's old host without a confirmed end."""
        row = self.instance
        ended = row.terminated_at is not None or row.released_at is not None
        return self.build is Build.V2 and row.zombie_since is not None and not ended

    def spans(self, until: datetime) -> Iterable[Span]:
        """Its roles in order, without gap or overlap, up to ``until`` at most. Before it ever served it stood by; after
        it was demoted for good it is a zombie, whatever is done to end it."""
        start = self.started_at
        end = min(until, self.ended_at or until)
        if start is None or start >= end:
            return
        at = start
        for period in sorted(self.periods, key=lambda one: one.started_at):
            begins, ends = max(period.started_at, at), min(period.ended_at or end, end)
            if begins >= ends:
                continue
            yield from self._idle(at, begins)
            yield Span(begins, ends, Role.PRIMARY)
            at = ends
        yield from self._idle(at, end)

    def _idle(self, start: datetime, end: datetime) -> Iterable[Span]:
        turns = self.instance.zombie_since
        if turns is None or turns >= end:
            if start < end:
                yield Span(start, end, Role.REPLICA)
            return
        if start < turns:
            yield Span(start, turns, Role.REPLICA)
        yield Span(max(start, turns), end, Role.ZOMBIE, assumed=self.is_end_assumed)
