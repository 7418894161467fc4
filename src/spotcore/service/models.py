"""Model and engine sessions: E63…E67, roll back, deactivate, and the end of old files (11.2)."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from attrs import evolve, field, frozen

from spotcore import models
from spotcore.engines.parameters import EngineParameters, parameters_of, self_test
from spotcore.errors import NotFound, StateConflict, UploadDisabled
from spotcore.events import CATALOGUE, Event, EventKind
from spotcore.manifest import MAX_DOCUMENT
from spotcore.models import Findings, ModelFile, ModelSession, SessionKind, SessionState
from spotcore.ports.models import BlobStore, Incoming, Validator
from spotcore.ports.storage import UnitOfWork
from spotcore.service.kernel import Kernel

LISTED: Final = 10  # E67


@frozen(kw_only=True)
class Library:
    """What sessions need beyond storage. ``uploads`` is the operator's permission, off by default (S06)."""

    blobs: BlobStore
    validator: Validator
    uploads: bool = False


@frozen(kw_only=True)
class Uploaded:
    """A file that has arrived: a label and its bytes."""

    label: str
    content: Incoming


@frozen
class Models:
    """Sessions: upload, validate, activate, roll back. Without a library, nothing comes in."""

    kernel: Kernel
    library: Library | None = field(default=None)

    def require_uploads(self) -> BlobStore:
        """Where uploads go. Raises ``UploadDisabled`` unless the operator allows them."""
        if self.library is None or not self.library.uploads:
            raise UploadDisabled("uploads are switched off; the operator allows them with SPOTCORE_UPLOADS=on")
        return self.library.blobs

    def upload(
        self,
        files: Sequence[Uploaded],
        *,
        name: str | None = None,
        version: str | None = None,
        actor: str = "admin",
    ) -> ModelSession:
        """E64: a new session; the live one is untouched. What is refused leaves nothing behind."""
        session = self._session(SessionKind.MODEL, files, name=name, version=version)
        with self.kernel.transactions() as uow:
            uow.models.lock()
            self._keep(uow, session, files)
            uow.audit.add([self._event(EventKind.ML_MODELS_UPLOADED, session, actor)])
        return session

    def upload_engine(
        self, files: Sequence[Uploaded], *, actor: str = "admin"
    ) -> tuple[ModelSession, EngineParameters]:
        """E63: parameters that pass their self-test take the live place; the ones before become the fallback.

        Raises ``ValidationFailed`` and leaves everything as it was when they do not."""
        session = self._session(SessionKind.ENGINE, files)
        parameters = parameters_of(files[0].content.head(MAX_DOCUMENT + 1))
        self_test(parameters)
        now = session.created_at
        findings = Findings(name=parameters.engine, version=parameters.version, architecture=parameters.engine)
        checked = models.judged(models.moved(session, SessionState.VALIDATING, now), findings, now)
        with self.kernel.transactions() as uow:
            uow.models.lock()
            self._keep(uow, checked, files)
            live = self._switch(uow, checked, lambda peers: models.activate(peers, checked, now))
            uow.audit.add([self._event(EventKind.DECISION_ENGINE_UPDATED, live, actor)])
        return live, parameters

    def activate(self, session_id: str, *, actor: str = "admin") -> ModelSession:
        """E65: the session live, validated first when it was not. Raises ``NotFound``, and ``StateConflict`` with the
        reason when it cannot be; then whatever was live is live. A session that is live already stays so."""
        session = self._checked(session_id, actor)
        now = self.kernel.clock.now()
        with self.kernel.transactions() as uow:
            uow.models.lock()
            session = self._model(uow, session_id)
            if session.is_live:
                return session
            models.require_activatable(session)
            live = self._switch(uow, session, lambda peers: models.activate(peers, session, now))
            uow.audit.add([self._event(EventKind.ML_MODELS_ACTIVATED, live, actor)])
        return live

    def rollback(self, *, actor: str = "admin") -> ModelSession:
        """E66: the fallback live again, the former live one archived. Of several scopes the one that changed last is
        rolled back. Raises ``NotFound`` when there is no fallback."""
        now = self.kernel.clock.now()
        with self.kernel.transactions() as uow:
            uow.models.lock()
            serving = [one for one in uow.models.serving() if one.kind is SessionKind.MODEL]
            fallbacks = [one for one in serving if one.is_fallback]
            if not fallbacks:
                raise NotFound("there is no fallback to go back to")
            back = max(fallbacks, key=lambda one: one.changed_at)  # a fallback changed when its successor took over
            live = self._switch(uow, back, lambda peers: models.rollback(peers, now))
            uow.audit.add([self._event(EventKind.ML_MODELS_ROLLBACK, live, actor)])
        return live

    def deactivate(self, session_id: str, *, actor: str = "admin") -> ModelSession:
        """The live session steps down to fallback, and none is live. Raises ``NotFound``, ``StateConflict``."""
        now = self.kernel.clock.now()
        with self.kernel.transactions() as uow:
            uow.models.lock()
            session = uow.models.get(session_id)
            if not session.is_live:
                raise StateConflict("the session is not live")
            down = self._switch(uow, session, lambda peers: models.deactivate(peers, now))
            uow.audit.add([self._event(EventKind.ML_MODELS_DEACTIVATED, down, actor)])
        return down

    def sessions(self) -> list[ModelSession]:
        """E67: model sessions, newest first, at most ten; live and fallback are always among them."""
        with self.kernel.transactions() as uow:
            serving = [one for one in uow.models.serving() if one.kind is SessionKind.MODEL]
            newest = [one for one in uow.models.newest(SessionKind.MODEL, LISTED) if one.state not in models.SERVING]
        found = [*serving, *newest][:LISTED]
        return sorted(found, key=lambda one: (one.created_at, one.session_id), reverse=True)

    def live(self, kind: SessionKind) -> list[ModelSession]:
        """The live session of each scope, newest first."""
        with self.kernel.transactions() as uow:
            return [one for one in uow.models.serving() if one.is_live and one.kind is kind]

    def remove_old_files(self, *, actor: str = "system") -> int:
        """End the files of sessions that are neither live nor fallback and have not changed for 30 days, and bytes that
        no session names; a file that a kept session shares stays. How many sessions lost their files."""
        if self.library is None:
            return 0
        now = self.kernel.clock.now()
        with self.kernel.transactions() as uow:
            uow.models.lock()
            old = [evolve(one, files_removed_at=now) for one in uow.models.idle(now - models.KEPT)]
            uow.models.put(old)
            uow.audit.add([self._event(EventKind.ML_MODEL_FILES_REMOVED, one, actor) for one in old])
            unused = self.library.blobs.names() - uow.models.digests()
        with self.kernel.transactions() as uow:  # the rows are committed: nothing is removed that a rollback would name
            uow.models.lock()
            for digest in unused - uow.models.digests():
                self.library.blobs.remove(digest)
        return len(old)

    def mentioned(self, digests: Collection[str]) -> frozenset[str]:
        """Those of these SHA-256s that stand in a manifest whose session still has its files.

        A manifest nobody has checked yet counts too, and so it is searched, not parsed (MS-6)."""
        if self.library is None:
            return frozenset()
        with self.kernel.transactions() as uow:
            kept = [*uow.models.serving(), *uow.models.idle(self.kernel.clock.now() + models.KEPT)]
        manifests = {file.sha256 for one in kept for file in one.files if file.label.lower() == models.MANIFEST}
        found: set[str] = set()
        for manifest in manifests:
            with suppress(FileNotFoundError), self.library.blobs.open(manifest) as file:
                text = file.read(MAX_DOCUMENT)
                found.update(digest for digest in digests if digest.encode() in text)
        return frozenset(found)

    def _session(self, kind: SessionKind, files: Sequence[Uploaded], **words: Any) -> ModelSession:
        self.require_uploads()
        models.accept_batch(kind, [(one.label, one.content.size) for one in files])
        for one in files:
            one.content.settle()  # the slow part, before any transaction
        now = self.kernel.clock.now()
        return ModelSession(
            session_id=self.kernel.identity.new_id(),
            kind=kind,
            files=tuple(ModelFile(label=one.label, sha256=one.content.sha256, size=one.content.size) for one in files),
            created_at=now,
            changed_at=now,
            **words,
        )

    def _keep(self, uow: UnitOfWork, session: ModelSession, files: Iterable[Uploaded]) -> None:
        """Row first, then bytes, under the lock: what a failed commit leaves is bytes without a name, which
        ``remove_old_files`` ends, and never a name without bytes."""
        uow.models.add(session)
        for one in files:
            self.require_uploads().keep(one.content)

    def _switch(
        self,
        uow: UnitOfWork,
        session: ModelSession,
        rule: Callable[[Sequence[ModelSession]], tuple[ModelSession, ...]],
    ) -> ModelSession:
        """Apply a rule to the serving sessions of the session's scope and kind; the last that changed."""
        peers = [one for one in uow.models.serving() if (one.scope, one.kind) == (session.scope, session.kind)]
        changed = rule(peers)
        uow.models.put(changed)
        return changed[-1]

    def _model(self, uow: UnitOfWork, session_id: str) -> ModelSession:
        session = uow.models.get(session_id)
        if session.kind is not SessionKind.MODEL:
            raise NotFound("unknown session")
        return session

    def _checked(self, session_id: str, actor: str) -> ModelSession:
        """The session with a verdict on it. No lock is held and no transaction open while its files are looked into."""
        with self.kernel.transactions() as uow:
            uow.models.lock()
            session = self._model(uow, session_id)
            if session.state not in models.UNCHECKED:
                return session
            library = self._able(session)
            if session.state is SessionState.UPLOADED:
                session = models.moved(session, SessionState.VALIDATING, self.kernel.clock.now())
                uow.models.put([session])
        findings = library.validator.validate(session, library.blobs)
        with self.kernel.transactions() as uow:
            uow.models.lock()
            session = self._model(uow, session_id)
            if session.state is not SessionState.VALIDATING:
                return session  # somebody else asked too and was faster
            session = models.judged(session, findings, self.kernel.clock.now())
            uow.models.put([session])
            if session.rejection is not None:
                uow.audit.add([self._event(EventKind.ML_MODELS_REJECTED, session, actor, reason=session.rejection)])
        return session

    def _able(self, session: ModelSession) -> Library:
        if session.files_removed_at is not None:
            raise StateConflict("the files of the session are no longer kept; upload them again")
        if self.library is None:
            raise StateConflict("this server keeps no models")
        reason = self.library.validator.unable(session)
        if reason is not None:
            raise StateConflict(reason)
        return self.library

    def _event(self, kind: EventKind, session: ModelSession, actor: str, **facts: Any) -> Event:
        now: datetime = self.kernel.clock.now()
        return Event(
            event_id=self.kernel.identity.new_id(),
            kind=kind,
            at=now,
            client_id=None,
            actor=actor,
            level=CATALOGUE[kind].audit,
            facts={
                "session_id": session.session_id,
                "name": session.name,
                "version": session.version,
                "scope": session.scope,
                "files": [{"name": one.label, "sha256": one.sha256, "size": one.size} for one in session.files],
                **facts,
            },
        )
