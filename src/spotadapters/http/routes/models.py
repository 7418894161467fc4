"""E63…E67: engine parameters and models, from upload to roll-back."""

from datetime import datetime
from typing import ClassVar, Final

from spotadapters.http.envelope import Answer
from spotadapters.http.routes.admin import ADMIN
from spotadapters.http.routing import Call, Endpoint
from spotadapters.http.uploads import Upload
from spotadapters.wire import words
from spotadapters.wire.answers import shown
from spotadapters.wire.parsing import required
from spotadapters.wire.shapes import shape
from spotcore.models import PENDING, ModelSession, SessionKind

NOT_LOADED: Final = "No engine runs models yet: the built-in rules decide, and inference comes with the engine."
FORM: Final = "multipart/form-data"
PENDING_TYPE: Final = "pending_activation"
UPLOAD_REFUSALS: Final = ("UNSUPPORTED_FILE_TYPE", "UPLOAD_DISABLED", "PAYLOAD_TOO_LARGE")


@shape
class Activate:
    """E65."""

    session_id: str = required("sessionId", "model_id", limit=128)


@shape
class EngineStatus:
    """E63: whether decisions are made with the engine, and what it is."""

    loaded: bool
    type: str
    version: str


@shape
class EngineUploaded:
    """E63."""

    success: bool = True
    files: tuple[str, ...]
    files_uploaded: tuple[str, ...]
    restarting: bool = False
    engine_status: EngineStatus


@shape
class PendingStatus:
    """E64: what has arrived."""

    CAMEL: ClassVar[bool] = True
    files_uploaded: int
    total_size: int
    session_type: str = PENDING_TYPE


@shape
class ModelsUploaded:
    """E64."""

    success: bool = True
    files: tuple[str, ...]
    files_uploaded: tuple[str, ...]
    sessionId: str
    session_id: str
    requires_restart: bool = shown("requiresRestart", default=True)
    model_status: PendingStatus


@shape
class ModelStatus:
    """E65: whether the model decides, and its architecture."""

    loaded: bool
    type: str | None


@shape
class ModelsActivated:
    """E65."""

    success: bool = True
    session_id: str = shown("sessionId")
    restarting: bool = False
    model_status: ModelStatus


@shape
class RolledBack:
    """E66."""

    success: bool = True
    fallback_session_id: str = shown("fallbackSessionId")
    fallback_session: str
    restarting: bool = False


@shape
class SessionItem:
    """E67."""

    CAMEL: ClassVar[bool] = True
    id: str
    session_id: str = shown("session_id")
    status: str
    is_live: bool
    is_fallback: bool
    file_count: int
    files: tuple[str, ...]
    total_size: int
    created_at: datetime
    activated_at: datetime | None


def upload_engine(call: Call) -> Answer:
    """E63."""
    live, parameters = call.plane.models.upload_engine(_upload(call).files)
    names = _names(live)
    return Answer(
        data=EngineUploaded(
            files=names,
            files_uploaded=names,
            engine_status=EngineStatus(loaded=False, type=parameters.engine, version=parameters.version),
        ),
        message=(
            f"The parameters passed their self-test and are stored as session {live.session_id}. "
            "They are not in use yet: the built-in rules decide with their own numbers."
        ),
    )


def upload_models(call: Call) -> Answer:
    """E64."""
    upload = _upload(call)
    session = call.plane.models.upload(
        upload.files, name=upload.texts.get("model_name") or None, version=upload.texts.get("model_version") or None
    )
    names = _names(session)
    return Answer(
        data=ModelsUploaded(
            files=names,
            files_uploaded=names,
            sessionId=session.session_id,
            session_id=session.session_id,
            model_status=PendingStatus(files_uploaded=len(names), total_size=session.total_size),
        ),
        message=f"Stored as session {session.session_id}. It is looked into when it is activated.",
    )


def activate(call: Call) -> Answer:
    """E65."""
    live = call.plane.models.activate(call.parse(Activate).session_id)
    return Answer(
        data=ModelsActivated(
            session_id=live.session_id, model_status=ModelStatus(loaded=False, type=live.architecture)
        ),
        message=f"Session {live.session_id} is live. {NOT_LOADED}",
    )


def rollback(call: Call) -> Answer:
    """E66."""
    live = call.plane.models.rollback()
    return Answer(
        data=RolledBack(fallback_session_id=live.session_id, fallback_session=live.session_id),
        message=f"Session {live.session_id} is live again. {NOT_LOADED}",
    )


def sessions(call: Call) -> Answer:
    """E67. The legacy shape has live, fallback and the newest pending one: the page calls all others pending (T42)."""
    found = call.plane.models.sessions()
    if call.is_legacy:
        pending = next((one for one in found if one.state in PENDING), None)
        found = [one for one in found if one.is_live or one.is_fallback or one is pending]
    return Answer(data=[_item(one) for one in found])


def _item(session: ModelSession) -> SessionItem:
    return SessionItem(
        id=session.session_id,
        session_id=session.session_id,
        status=words.SESSION_STATE[session.state],
        is_live=session.is_live,
        is_fallback=session.is_fallback,
        file_count=len(session.files),
        files=_names(session),
        total_size=session.total_size,
        created_at=session.created_at,
        activated_at=session.activated_at,
    )


def _names(session: ModelSession) -> tuple[str, ...]:
    return tuple(one.label for one in session.files)


def _upload(call: Call) -> Upload:
    assert call.upload is not None  # the frame reads one for every endpoint that takes files
    return call.upload


MODELS: Final = "/api/admin/ml-models"
routes = [
    Endpoint(
        number="E63", method="POST", path="/api/admin/decision-engine/upload", handler=upload_engine, access=ADMIN,
        uploads=SessionKind.ENGINE, takes=FORM, answers=EngineUploaded, refuses=UPLOAD_REFUSALS,
    ),
    Endpoint(
        number="E64", method="POST", path=f"{MODELS}/upload", handler=upload_models, access=ADMIN,
        uploads=SessionKind.MODEL, takes=FORM, answers=ModelsUploaded, refuses=UPLOAD_REFUSALS,
    ),
    Endpoint(
        number="E65", method="POST", path=f"{MODELS}/activate", handler=activate, access=ADMIN, body=Activate,
        answers=ModelsActivated, refuses=("NOT_FOUND", "STATE_CONFLICT"),
    ),
    Endpoint(
        number="E66", method="POST", path=f"{MODELS}/fallback", handler=rollback, access=ADMIN, answers=RolledBack,
        refuses=("NOT_FOUND",),
    ),
    Endpoint(
        number="E67", method="GET", path=f"{MODELS}/sessions", handler=sessions, access=ADMIN,
        answers=tuple[SessionItem, ...],
    ),
]  # fmt: skip
