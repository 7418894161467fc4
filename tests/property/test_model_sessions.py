"""Any sequence of uploads, activations, roll-backs and clean-ups: never two live, files whole (86, 87, 88, I12)."""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from spotadapters.memory import MemoryStorage
from spotadapters.memory.models import MemoryBlobs
from spotcore.control_plane import control_plane
from spotcore.errors import NotFound, SpotError, StateConflict
from spotcore.models import SERVING, SessionKind, SessionState
from spotcore.service.models import Library
from tests.support.models import HereValidator, a_model, an_engine, arrived
from tests.support.world import CountingIdentity, FakeClock

SCOPES = ("global", "us-east-1")


class ModelSessions(RuleBasedStateMachine):
    """Sessions against what was uploaded."""

    def __init__(self) -> None:
        super().__init__()
        self.storage, self.blobs, self.clock = MemoryStorage(), MemoryBlobs(), FakeClock()
        library = Library(blobs=self.blobs, validator=HereValidator(), uploads=True)
        self.models = control_plane(
            transactions=self.storage.transactions, clock=self.clock, identity=CountingIdentity(), library=library
        ).models
        self.sent: dict[str, dict[str, bytes]] = {}

    @property
    def rows(self):  # type: ignore[no-untyped-def]
        return self.storage.tables.models

    def live(self) -> dict[tuple[str, SessionKind], str]:
        return {(one.scope, one.kind): one.session_id for one in self.rows.values() if one.is_live}

    @rule(value=st.sampled_from([0.1, 0.2, float("nan")]), scope=st.sampled_from(SCOPES))
    def upload(self, value: float, scope: str) -> None:
        before = self.live()
        files = a_model(value, scope=scope)
        with arrived(self.blobs, files) as brought:
            session = self.models.upload(brought)
        self.sent[session.session_id] = files
        assert self.live() == before

    @rule(name=st.sampled_from(["engine.py", "model.pkl", "model.joblib", "x"]))
    def refused(self, name: str) -> None:
        before, kept = self.live(), self.blobs.names()
        with arrived(self.blobs, {**a_model(0.3), name: b"import os"}) as brought:
            try:
                self.models.upload(brought)
            except SpotError as refusal:
                assert refusal.code == "UNSUPPORTED_FILE_TYPE"
            else:
                raise AssertionError("accepted")
        assert (self.live(), self.blobs.names()) == (before, kept)

    @rule(ratio=st.sampled_from([0.5, 0.9, 2]))
    def engine(self, ratio: float) -> None:
        before = self.live()
        files = an_engine("1", dear_ratio=ratio)
        with arrived(self.blobs, files) as brought:
            try:
                session, _ = self.models.upload_engine(brought)
                self.sent[session.session_id] = files
            except SpotError:
                assert ratio > 1
                assert self.live() == before

    @rule(data=st.data())
    def activate(self, data: st.DataObject) -> None:
        session_id = data.draw(st.sampled_from([*self.rows, "nobody"]))
        before = self.live()
        try:
            live = self.models.activate(session_id)
        except (NotFound, StateConflict):
            assert self.live() == before
        else:
            assert self.live() == {**before, (live.scope, live.kind): session_id}

    @rule()
    def rollback(self) -> None:
        before = self.live()
        try:
            live = self.models.rollback()
        except NotFound:
            assert self.live() == before
        else:
            assert self.live() == {**before, (live.scope, live.kind): live.session_id}

    @rule(data=st.data())
    def deactivate(self, data: st.DataObject) -> None:
        for place, session_id in list(self.live().items()):
            if data.draw(st.booleans()):
                self.models.deactivate(session_id)
                assert place not in self.live()

    @rule(days=st.integers(0, 40))
    def time_passes(self, days: int) -> None:
        self.clock.advance(days * 86_400 + 1)
        before = self.live()
        self.models.remove_old_files()
        assert self.live() == before

    @invariant()
    def at_most_one_live_and_one_fallback_i12(self) -> None:
        places = Counter((one.scope, one.kind, one.state) for one in self.rows.values() if one.state in SERVING)
        assert all(count == 1 for count in places.values())

    @invariant()
    def the_files_of_a_kept_session_are_what_was_sent_88(self) -> None:
        for one in self.rows.values():
            if one.state in SERVING:
                assert one.files_removed_at is None
            if one.files_removed_at is None:
                kept = {file.label: self.blobs.blobs[file.sha256] for file in one.files}
                assert kept == self.sent[one.session_id]

    @invariant()
    def a_rejected_session_was_never_live(self) -> None:
        for one in self.rows.values():
            if one.state is SessionState.REJECTED:
                assert one.activated_at is None


TestModelSessions = ModelSessions.TestCase
