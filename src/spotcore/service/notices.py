"""Notifications that people have read (NT-2), and credentials that were refused."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from spotcore.errors import NotFound
from spotcore.events import CATALOGUE, Event, EventKind, Level
from spotcore.ids import ClientId, event_id_of
from spotcore.schedule import Lateness
from spotcore.service.kernel import Kernel

AUTH_FAILED_SECONDS: Final = 60  # section 10: one a minute and source
SHOWN_OF_DIGEST: Final = 8
JOB_LATE_SECONDS: Final = 3_600


@frozen(kw_only=True)
class RefusedCredential:
    """A call whose credentials opened nothing. Of the token only its SHA-256 is ever known here (S16)."""

    source: str  # where the call came from
    code: str
    endpoint: str
    token_sha256: str | None = None


@frozen
class Notices:
    """What people are told. ``reader`` None is the operator: it reads for itself, and sees every client's."""

    kernel: Kernel

    def mark_read(self, reader: ClientId | None, notification_id: str) -> None:
        """E88, repeatable. Raises ``NotFound`` for one the reader cannot see."""
        with self.kernel.transactions() as uow:
            if not uow.notices.mark_read(reader, notification_id, self.kernel.clock.now()):
                raise NotFound("unknown notification")

    def mark_all_read(self, reader: ClientId | None, *, of: ClientId | None = None) -> int:
        """E89: how many became read. ``of`` narrows the operator's view; a client always has its own."""
        with self.kernel.transactions() as uow:
            return uow.notices.mark_all_read(reader, self.kernel.clock.now(), of=of)

    def auth_failed(self, refused: RefusedCredential) -> None:
        """Audit a refused credential. The minute's second one raises a ``SpotError`` where another process came first:
        the event's id is the source's and the minute's."""
        now = self.kernel.clock.now()
        minute = int(now.timestamp()) // AUTH_FAILED_SECONDS
        shown = refused.token_sha256[:SHOWN_OF_DIGEST] if refused.token_sha256 else None
        event = Event(
            event_id=event_id_of(EventKind.AUTH_FAILED.value, refused.source, minute),
            kind=EventKind.AUTH_FAILED,
            at=now,
            client_id=None,
            level=CATALOGUE[EventKind.AUTH_FAILED].audit,
            facts={
                "source": refused.source,
                "code": refused.code,
                "endpoint": refused.endpoint,
                "token_sha256_prefix": shown,
            },
        )
        self._audit(event)

    def job_late(self, job: str, last_success: datetime | None, lateness: Lateness) -> None:
        """Audit that a background job has not succeeded in its time, once an hour for each (JB-8)."""
        now = self.kernel.clock.now()
        event = Event(
            event_id=event_id_of(EventKind.JOB_LATE.value, job, int(now.timestamp()) // JOB_LATE_SECONDS),
            kind=EventKind.JOB_LATE,
            at=now,
            client_id=None,
            level=Level(lateness.value),
            facts={"job": job, "last_success": last_success},
        )
        with self.kernel.transactions() as uow:
            if uow.audit.unknown([event.event_id]):
                uow.audit.add([event])

    def cleaned(self, removed: Mapping[str, int]) -> None:
        """Audit what retention has removed: rows by what they were (http-api 10.1)."""
        now = self.kernel.clock.now()
        event = Event(
            event_id=event_id_of(EventKind.DATA_CLEANUP.value, self.kernel.identity.new_id(), 0),
            kind=EventKind.DATA_CLEANUP,
            at=now,
            client_id=None,
            level=CATALOGUE[EventKind.DATA_CLEANUP].audit,
            facts={"removed": dict(removed)},
        )
        self._audit(event)

    def channel_changed(self, kind: EventKind, client_id: ClientId | None, facts: Mapping[str, Any]) -> None:
        """Audit that a way to people was added or removed; ``facts`` hold no address and no secret."""
        event = Event(
            event_id=event_id_of(kind.value, self.kernel.identity.new_id(), 0),
            kind=kind,
            at=self.kernel.clock.now(),
            client_id=client_id,
            actor="admin",
            level=CATALOGUE[kind].audit,
            facts=dict(facts),
        )
        self._audit(event)

    def _audit(self, event: Event) -> None:
        with self.kernel.transactions() as uow:
            uow.audit.add([event])
