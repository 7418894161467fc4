"""Model and engine sessions over both storages: who is live, what is kept, what a refusal changes (11.2, I12, 12.8)."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from attrs import define, evolve

from spotadapters.files.blobs import FileBlobs
from spotadapters.memory import MemoryStorage
from spotadapters.memory.models import MemoryBlobs
from spotadapters.postgres.storage import PostgresStorage
from spotcore.control_plane import ControlPlane, control_plane
from spotcore.engines.parameters import EngineParameters
from spotcore.errors import (
    InvariantViolated,
    NotFound,
    PayloadTooLarge,
    StateConflict,
    UnsupportedFileType,
    UploadDisabled,
    ValidationFailed,
)
from spotcore.models import ModelSession, SessionKind, SessionState, moved
from spotcore.ports.models import BlobStore
from spotcore.ports.storage import Transactions
from spotcore.service.models import Library, Models
from tests.support.databases import WarmDatabase
from tests.support.models import SHAPES, HereValidator, a_model, an_engine, arrived, manifest, safetensors
from tests.support.world import CountingIdentity, FakeClock, World

S = SessionState


@define
class Shelf:
    """A control plane with a library, and short ways to say what happens."""

    plane: ControlPlane
    transactions: Transactions
    clock: FakeClock
    blobs: BlobStore

    @property
    def models(self) -> Models:
        return self.plane.models

    def upload(self, files: Mapping[str, bytes]) -> str:
        self.clock.advance(1)
        with arrived(self.blobs, files) as brought:
            return self.models.upload(brought).session_id

    def engine(self, files: Mapping[str, bytes]) -> tuple[ModelSession, EngineParameters]:
        self.clock.advance(1)
        with arrived(self.blobs, files) as brought:
            return self.models.upload_engine(brought)

    def live(self, files: Mapping[str, bytes]) -> str:
        return self.models.activate(self.upload(files)).session_id

    def get(self, session_id: str) -> ModelSession:
        with self.transactions() as uow:
            return uow.models.get(session_id)

    def state(self, session_id: str) -> SessionState:
        return self.get(session_id).state

    def content(self, session_id: str) -> dict[str, bytes]:
        found = {}
        for one in self.get(session_id).files:
            with self.blobs.open(one.sha256) as file:
                found[one.label] = file.read()
        return found


def a_shelf(transactions: Transactions, clock: FakeClock, blobs: BlobStore, *, uploads: bool = True) -> Shelf:
    library = Library(blobs=blobs, validator=HereValidator(), uploads=uploads)
    plane = control_plane(
        transactions=transactions, clock=clock, identity=CountingIdentity("33333333"), library=library
    )
    return Shelf(plane, transactions, clock, blobs)


@pytest.fixture(params=["memory", "postgres"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shelf]:
    clock = FakeClock()
    if request.param == "memory":
        yield a_shelf(MemoryStorage().transactions, clock, MemoryBlobs())
        return
    warm: WarmDatabase = request.getfixturevalue("warm_database")
    connections = warm.connections
    yield a_shelf(PostgresStorage(connections, clock).transactions, clock, FileBlobs(tmp_path / "models"))


def test_an_upload_creates_a_session_and_touches_no_other(shelf: Shelf) -> None:
    live = shelf.live(a_model(0.1))
    fresh = shelf.upload(a_model(0.2))
    session = shelf.get(fresh)
    assert (session.state, session.kind, session.activated_at) == (S.UPLOADED, SessionKind.MODEL, None)
    assert shelf.content(fresh) == a_model(0.2)
    assert shelf.state(live) is S.ACTIVE


def test_activation_makes_the_old_one_the_fallback_and_archives_the_older_one(shelf: Shelf) -> None:
    first, second, third = (shelf.live(a_model(value)) for value in (0.1, 0.2, 0.3))
    assert [shelf.state(one) for one in (first, second, third)] == [S.ARCHIVED, S.FALLBACK, S.ACTIVE]
    live = shelf.get(third)
    assert (live.name, live.version, live.architecture, live.scope) == ("risk", "1.0", "mlp", "global")
    assert live.activated_at == shelf.clock.now()


def test_activating_the_live_one_again_changes_nothing(shelf: Shelf) -> None:
    first, second = shelf.live(a_model(0.1)), shelf.live(a_model(0.2))
    before = shelf.get(second)
    shelf.clock.advance(60)
    assert shelf.models.activate(second) == before
    assert shelf.state(first) is S.FALLBACK


def test_a_session_that_is_rejected_leaves_the_live_one_live_failure_86(shelf: Shelf) -> None:
    live = shelf.live(a_model(0.1))
    weights = {"model.safetensors": safetensors(SHAPES, float("nan"))}
    bad = shelf.upload({"manifest.json": b"{}", **weights})
    for _ in range(2):  # the second time nothing is looked at again
        with pytest.raises(StateConflict, match="rejected: kind"):
            shelf.models.activate(bad)
    assert (shelf.state(bad), shelf.state(live)) == (S.REJECTED, S.ACTIVE)
    shelf.live(a_model(0.2))
    shelf.live(a_model(0.3))
    with pytest.raises(StateConflict, match="archived"):
        shelf.models.activate(live)


def test_an_unknown_session_is_404_and_an_engine_is_no_model_failure_87(shelf: Shelf) -> None:
    with pytest.raises(NotFound):
        shelf.models.activate("nobody")
    engine, _ = shelf.engine(an_engine())
    with pytest.raises(NotFound):
        shelf.models.activate(engine.session_id)


def test_a_state_dict_is_kept_closed_and_cannot_be_activated_without_torch(shelf: Shelf) -> None:
    session_id = shelf.upload({"weights.pt": b"PK\x03\x04 whatever this is"})
    with pytest.raises(StateConflict, match="torch"):
        shelf.models.activate(session_id)
    assert shelf.state(session_id) is S.UPLOADED


def test_a_check_that_died_with_its_process_is_done_again(shelf: Shelf) -> None:
    session_id = shelf.upload(a_model())
    with shelf.transactions() as uow:
        uow.models.put([moved(uow.models.get(session_id), S.VALIDATING, shelf.clock.now())])
    assert shelf.models.activate(session_id).state is S.ACTIVE


def test_rollback_brings_back_byte_identical_files_failure_88(shelf: Shelf) -> None:
    first, second = shelf.live(a_model(0.1)), shelf.live(a_model(0.2))
    shelf.upload(a_model(0.3))  # the same names with other bytes
    shelf.upload({**a_model(0.3), "manifest.json": b"{}"})
    shelf.clock.advance(100 * 86_400)
    shelf.models.remove_old_files()
    assert shelf.models.rollback().session_id == first
    assert (shelf.state(first), shelf.state(second)) == (S.ACTIVE, S.ARCHIVED)
    assert shelf.content(first) == a_model(0.1)
    with pytest.raises(NotFound):
        shelf.models.rollback()
    assert shelf.state(first) is S.ACTIVE


def test_scopes_have_live_sessions_of_their_own_and_the_last_that_changed_rolls_back_i12(shelf: Shelf) -> None:
    east = [shelf.live(a_model(value, scope="us-east-1")) for value in (0.1, 0.2)]
    everywhere = [shelf.live(a_model(value)) for value in (0.3, 0.4)]
    assert {shelf.state(one) for one in (east[1], everywhere[1])} == {S.ACTIVE}
    assert shelf.models.rollback().session_id == everywhere[0]
    assert shelf.models.rollback().session_id == east[0]
    assert shelf.state(everywhere[0]) is S.ACTIVE


def test_deactivation_leaves_none_live_and_a_way_back(shelf: Shelf) -> None:
    first, second = shelf.live(a_model(0.1)), shelf.live(a_model(0.2))
    with pytest.raises(StateConflict):
        shelf.models.deactivate(first)
    shelf.models.deactivate(second)
    assert (shelf.state(first), shelf.state(second)) == (S.ARCHIVED, S.FALLBACK)
    assert shelf.models.rollback().session_id == second


def test_old_files_end_after_30_days_records_stay_and_shared_files_too_failure_88(shelf: Shelf) -> None:
    first = shelf.live(a_model(0.1))
    twin = shelf.upload(a_model(0.1))  # the same bytes under another session
    old = shelf.upload(a_model(0.2))
    shelf.clock.advance(29 * 86_400)
    assert shelf.models.remove_old_files() == 0
    recent = shelf.upload(a_model(0.3))
    shelf.clock.advance(2 * 86_400)
    assert shelf.models.remove_old_files() == 2
    assert shelf.models.remove_old_files() == 0
    assert shelf.content(first) == a_model(0.1)
    assert shelf.content(recent) == a_model(0.3)
    assert shelf.get(old).files_removed_at == shelf.clock.now()
    with pytest.raises(FileNotFoundError):
        shelf.content(old)
    for one in (old, twin):
        with pytest.raises(StateConflict, match="no longer kept"):
            shelf.models.activate(one)


def test_ds5_a_dataset_is_mentioned_while_a_manifest_that_names_it_is_kept(shelf: Shelf) -> None:
    live, unchecked, forgotten, nobodys = (character * 64 for character in "abcd")
    shelf.live(a_model(0.1, dataset={"id": "d", "sha256": live}))
    shelf.upload(a_model(0.2, dataset={"id": "d", "sha256": forgotten}))
    shelf.clock.advance(31 * 86_400)
    weights = {"model.safetensors": safetensors(SHAPES, 0.3)}
    shelf.upload({"Manifest.JSON": f'{{"dataset": "{unchecked}", '.encode(), **weights})  # nobody has looked at it yet
    everything = (live, unchecked, forgotten, nobodys)
    assert shelf.models.mentioned(everything) == {live, unchecked, forgotten}
    shelf.models.remove_old_files()
    assert shelf.models.mentioned(everything) == {live, unchecked}
    assert shelf.models.mentioned([nobodys]) == frozenset()


def test_bytes_without_a_session_end_with_the_next_round(shelf: Shelf) -> None:
    with arrived(shelf.blobs, {"model.safetensors": b"left by a commit that failed"}) as brought:
        shelf.blobs.keep(brought[0].content)
    assert shelf.blobs.names()
    shelf.models.remove_old_files()
    assert not shelf.blobs.names()


def test_the_list_is_newest_first_at_most_ten_and_always_has_live_and_fallback_e67(shelf: Shelf) -> None:
    first, second = shelf.live(a_model(0.1)), shelf.live(a_model(0.2))
    later = [shelf.upload(a_model(0.3)) for _ in range(12)]
    shelf.engine(an_engine())
    listed = [one.session_id for one in shelf.models.sessions()]
    assert listed == [*reversed(later[-8:]), second, first]


def test_engine_parameters_take_the_live_place_after_their_self_test_e63(shelf: Shelf) -> None:
    first, _ = shelf.engine(an_engine("1", dear_ratio=0.7))
    second, parameters = shelf.engine(an_engine("2", spot_saves_percent=40))
    assert (shelf.state(first.session_id), shelf.state(second.session_id)) == (S.FALLBACK, S.ACTIVE)
    assert (second.version, str(parameters.thresholds.spot_saves_percent)) == ("2", "40.0")
    assert str(parameters.thresholds.dear_ratio) == "0.80"  # what is left out keeps its number
    with pytest.raises(ValidationFailed):
        shelf.engine(an_engine("3", dear_ratio=7))
    assert shelf.state(second.session_id) is S.ACTIVE


WEIGHTS = {"m.safetensors": safetensors(SHAPES)}
REFUSED: dict[str, tuple[dict[str, bytes], type[Exception]]] = {
    "nothing": ({}, ValidationFailed),
    "python": ({"engine.py": b"import os"}, UnsupportedFileType),
    "pickle": ({"model.pkl": b"\x80\x04."}, UnsupportedFileType),
    "joblib": ({"model.joblib": b"x"}, UnsupportedFileType),
    "keras": ({"model.h5": b"x"}, UnsupportedFileType),
    "one of several": ({**a_model(), "extra.py": b"x"}, UnsupportedFileType),
    "a manifest alone": ({"manifest.json": b"{}"}, UnsupportedFileType),
    "weights alone": (WEIGHTS, UnsupportedFileType),
    "both kinds": ({**a_model(), "m.pt": b"x"}, UnsupportedFileType),
    "another json": ({**WEIGHTS, "config.json": b"{}"}, UnsupportedFileType),
    "empty": ({**a_model(), "b.safetensors": b""}, ValidationFailed),
    "twins": ({**a_model(), "MODEL.safetensors": b"x"}, ValidationFailed),
    "eleven": ({**a_model(), **{f"{n}.safetensors": b"x" for n in range(9)}}, PayloadTooLarge),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_batch_leaves_nothing_and_the_live_one_live_failures_85_86(shelf: Shelf, case: str) -> None:
    files, refusal = REFUSED[case]
    live = shelf.live(a_model(0.1))
    kept = shelf.blobs.names()
    with pytest.raises(refusal):
        shelf.upload(files)
    assert [one.session_id for one in shelf.models.sessions()] == [live]
    assert shelf.state(live) is S.ACTIVE
    assert shelf.blobs.names() == kept


def test_uploads_are_off_unless_the_operator_allows_them(shelf: Shelf) -> None:
    off = a_shelf(shelf.transactions, shelf.clock, shelf.blobs, uploads=False)
    with pytest.raises(UploadDisabled):
        off.upload(a_model())
    with pytest.raises(UploadDisabled):
        off.engine(an_engine())
    bare = Models(shelf.models.kernel)
    with arrived(shelf.blobs, a_model()) as brought, pytest.raises(UploadDisabled):
        bare.upload(brought)
    session_id = shelf.upload(a_model())
    assert off.models.activate(session_id).state is S.ACTIVE  # what came in before can be used


def test_i12_two_live_sessions_of_a_scope_and_kind_are_refused_by_both_storages(shelf: Shelf) -> None:
    live, other = shelf.live(a_model(0.1)), shelf.upload(a_model(0.2))
    now = shelf.clock.now()
    with pytest.raises(InvariantViolated), shelf.transactions() as uow:
        uow.models.put([evolve(uow.models.get(other), state=S.ACTIVE, activated_at=now, changed_at=now)])
    assert (shelf.state(live), shelf.state(other)) == (S.ACTIVE, S.UPLOADED)


def test_a_transaction_that_fails_leaves_no_session(shelf: Shelf) -> None:
    session = shelf.get(shelf.upload(a_model()))
    now = shelf.clock.now()
    half = evolve(session, session_id="half", state=S.ACTIVE, activated_at=now)

    def both() -> None:
        with shelf.transactions() as uow:
            uow.models.add(half)
            uow.models.add(evolve(half, session_id="other half"))

    with pytest.raises(InvariantViolated):
        both()
    with pytest.raises(NotFound):
        shelf.get("half")


def test_manifest_digests_decide_not_names_ms5(shelf: Shelf) -> None:
    weights = {"model.safetensors": safetensors(SHAPES, 0.9)}
    lying = {**a_model(0.1), **weights}  # the manifest speaks of other bytes
    with pytest.raises(StateConflict, match="files"):
        shelf.live(lying)
    assert manifest(weights)["files"]["model.safetensors"] != manifest(a_model(0.1))["files"]["model.safetensors"]


def test_an_activation_during_a_failover_changes_nothing_about_it_failure_91(shelf: Shelf) -> None:
    client = shelf.plane.clients.create("Acme").client
    world = World(plane=shelf.plane, transactions=shelf.transactions, clock=shelf.clock, client_id=client.client_id)
    agent_id = world.register("web", "i-0a").agent_id
    world.report_prices(agent_id, {"us-east-1b": "0.03"})
    pending = shelf.upload(a_model())
    world.notice(agent_id, "i-0a", ahead=100)
    before = world.aggregate(agent_id)
    assert before.open_incidents
    assert shelf.models.activate(pending).is_live
    assert world.aggregate(agent_id) == before
