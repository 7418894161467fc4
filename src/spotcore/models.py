"""Model and engine sessions (1.9, 11.2): states, who is live, and what a batch of files may be (MS-1, MS-3, MS-4)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

from attrs import evolve, frozen

from spotcore.errors import (
    IllegalTransition,
    InvariantViolated,
    NotFound,
    PayloadTooLarge,
    StateConflict,
    UnsupportedFileType,
    ValidationFailed,
)

GLOBAL: Final = "global"
MAX_FILE: Final = 100 << 20  # MS-4
MAX_BATCH: Final = 256 << 20
MAX_FILES: Final = 10
MAX_LABEL: Final = 255
KEPT: Final = timedelta(days=30)  # 11.2: the files of a session that is neither live nor fallback
MANIFEST: Final = "manifest.json"
WEIGHTS: Final = ".safetensors"
STATE_DICTS: Final = (".pt", ".pth")

ALL_FILES: Final = 'If the file dialog hides them, choose "all files" in it, or drag and drop them.'
WHY: Final = "Code and pickle files can run commands on this server, so none is accepted."
MODEL_RULE: Final = (
    f"Accepted are {MANIFEST} with {WEIGHTS} files, or a state dict (.pt, .pth) that loads with weights_only. "
    f"{WHY} {ALL_FILES}"
)
ENGINE_RULE: Final = (
    f"Accepted is one .json file with the parameters of a known engine. {WHY} "
    f"A new engine is a Python package that the operator installs. {ALL_FILES}"
)


class SessionKind(StrEnum):
    """What a session is of. At most one of a kind is live per scope (I12)."""

    MODEL = "model"
    ENGINE = "engine"


class SessionState(StrEnum):
    """Life of a session (1.9)."""

    UPLOADED = "uploaded"
    VALIDATING = "validating"
    VALIDATED = "validated"
    SHADOW = "shadow"
    ACTIVE = "active"
    FALLBACK = "fallback"
    ARCHIVED = "archived"
    REJECTED = "rejected"


_S = SessionState
TRANSITIONS: Final = {
    (_S.UPLOADED, _S.VALIDATING),
    (_S.VALIDATING, _S.VALIDATED),
    (_S.VALIDATING, _S.REJECTED),
    (_S.VALIDATED, _S.SHADOW),
    (_S.SHADOW, _S.VALIDATED),
    (_S.VALIDATED, _S.ACTIVE),
    (_S.SHADOW, _S.ACTIVE),
    (_S.ACTIVE, _S.FALLBACK),  # another one became live, or nothing is to be live
    (_S.ACTIVE, _S.ARCHIVED),  # rolled back
    (_S.FALLBACK, _S.ACTIVE),  # the rollback's other half
    (_S.FALLBACK, _S.ARCHIVED),
}
ACTIVATABLE: Final = frozenset({_S.VALIDATED, _S.SHADOW})
UNCHECKED: Final = frozenset({_S.UPLOADED, _S.VALIDATING})  # validating: its checker may have died with the process
PENDING: Final = frozenset({_S.UPLOADED, _S.VALIDATING, _S.VALIDATED, _S.SHADOW})
SERVING: Final = (_S.FALLBACK, _S.ACTIVE)  # at most one each, per scope and kind; their files are kept for ever


@frozen(kw_only=True)
class ModelFile:
    """A file of a session. The label is the sender's word and nothing else; the bytes go by their hash (MS-5)."""

    label: str
    sha256: str
    size: int


@frozen(kw_only=True)
class ModelSession:
    """One upload and what became of it. The record is kept for ever, its files as 11.2 says."""

    session_id: str
    kind: SessionKind
    state: SessionState = SessionState.UPLOADED
    scope: str = GLOBAL  # "global" or a region; a model's manifest says it
    name: str | None = None
    version: str | None = None
    architecture: str | None = None  # of a model: a name of the allow-list; of an engine: the engine's name
    files: tuple[ModelFile, ...]
    created_at: datetime
    changed_at: datetime
    activated_at: datetime | None = None
    rejection: str | None = None
    files_removed_at: datetime | None = None

    @property
    def total_size(self) -> int:
        """Bytes of all files."""
        return sum(one.size for one in self.files)

    @property
    def is_live(self) -> bool:
        """True for the one session of its scope and kind that is active."""
        return self.state is SessionState.ACTIVE

    @property
    def is_fallback(self) -> bool:
        """True for the one a rollback brings back."""
        return self.state is SessionState.FALLBACK


@frozen(kw_only=True)
class Findings:
    """What validation says of a session: its manifest's words, or why it is refused."""

    rejection: str | None = None
    name: str | None = None
    version: str | None = None
    architecture: str | None = None
    scope: str = GLOBAL


def moved(session: ModelSession, state: SessionState, now: datetime) -> ModelSession:
    """The session in ``state``. Raises ``IllegalTransition`` for a step the table does not have."""
    if (session.state, state) not in TRANSITIONS:
        raise IllegalTransition(f"a {session.state} session cannot become {state}")
    activated_at = now if state is SessionState.ACTIVE else session.activated_at
    return evolve(session, state=state, changed_at=now, activated_at=activated_at)


def judged(session: ModelSession, findings: Findings, now: datetime) -> ModelSession:
    """A validating session with the verdict on it: validated, or rejected with the reason."""
    if findings.rejection is not None:
        return evolve(moved(session, SessionState.REJECTED, now), rejection=findings.rejection)
    return evolve(
        moved(session, SessionState.VALIDATED, now),
        name=findings.name,
        version=findings.version,
        architecture=findings.architecture,
        scope=findings.scope,
    )


def require_activatable(session: ModelSession) -> None:
    """``StateConflict`` unless the session may become live: validated or shadow, its files still here (11.2)."""
    if session.state is SessionState.REJECTED:
        raise StateConflict(f"the session was rejected: {session.rejection}")
    if session.state not in ACTIVATABLE:
        raise StateConflict(f"the session is {session.state}; only one that was validated can be activated")
    if session.files_removed_at is not None:
        raise StateConflict("the files of the session are no longer kept; upload them again")


def activate(peers: Iterable[ModelSession], session: ModelSession, now: datetime) -> tuple[ModelSession, ...]:
    """Every session that changes when ``session`` becomes live: old live → fallback, old fallback → archived.

    ``peers`` are those of its scope and kind; of them only the serving ones matter."""
    require_activatable(session)
    others = [one for one in peers if one.session_id != session.session_id]
    return (*_step_down(others, now), moved(session, SessionState.ACTIVE, now))


def rollback(peers: Iterable[ModelSession], now: datetime) -> tuple[ModelSession, ...]:
    """Live → archived, fallback → live; the new live one is the last. ``NotFound`` when there is no fallback."""
    known = tuple(peers)
    back = next((one for one in known if one.is_fallback), None)
    if back is None:
        raise NotFound("there is no fallback to go back to")
    gone = tuple(moved(one, SessionState.ARCHIVED, now) for one in known if one.is_live)
    return (*gone, moved(back, SessionState.ACTIVE, now))


def deactivate(peers: Iterable[ModelSession], now: datetime) -> tuple[ModelSession, ...]:
    """No session live: the live one becomes the fallback, so that a rollback brings it back. Empty when none is."""
    known = tuple(peers)
    return _step_down(known, now) if any(one.is_live for one in known) else ()


def _step_down(peers: Sequence[ModelSession], now: datetime) -> tuple[ModelSession, ...]:
    live = [one for one in peers if one.is_live]
    if not live:
        return ()  # the fallback stays what it is: nothing takes its place
    older = [moved(one, SessionState.ARCHIVED, now) for one in peers if one.is_fallback]
    return (*older, *(moved(one, SessionState.FALLBACK, now) for one in live))


def check_serving(sessions: Iterable[ModelSession]) -> None:
    """``InvariantViolated`` when two sessions of one scope and kind are live, or two are fallback (I12)."""
    seen: set[tuple[str, SessionKind, SessionState]] = set()
    for one in sessions:
        place = (one.scope, one.kind, one.state)
        if one.state in SERVING and place in seen:
            raise InvariantViolated(f"I12: two {one.state} sessions of {one.scope} {one.kind}")
        seen.add(place)


# ---- what a batch of files may be


def label_of(name: str) -> str:
    """The last part of a sender's file name, printable: a label, never a path (MS-5)."""
    last = PurePosixPath(name.replace("\\", "/")).name
    label = "".join(letter for letter in last if letter.isprintable()).strip()
    if not 0 < len(label) <= MAX_LABEL:
        raise ValidationFailed("a file has no usable name", files=[f"use 1 to {MAX_LABEL} characters"])
    return label


def accept_name(kind: SessionKind, label: str) -> None:
    """Whether a file of that name may come at all; ``UnsupportedFileType`` says what may, and why (Z14, MS-1, MS-3)."""
    low = label.lower()
    if kind is SessionKind.ENGINE:
        if not low.endswith(".json"):
            raise UnsupportedFileType(f"{label} is not accepted. {ENGINE_RULE}")
    elif low != MANIFEST and not low.endswith((WEIGHTS, *STATE_DICTS)):
        raise UnsupportedFileType(f"{label} is not accepted. {MODEL_RULE}")


def accept_batch(kind: SessionKind, sizes: Sequence[tuple[str, int]]) -> None:
    """Whether these names and sizes make a session. Raises ``ValidationFailed``, ``UnsupportedFileType`` and
    ``PayloadTooLarge`` (MS-1, MS-3, MS-4)."""
    if not sizes:
        raise ValidationFailed("no files were sent", files=["send at least one"])
    for label, size in sizes:
        accept_name(kind, label)
        if size == 0:
            raise ValidationFailed(f"{label} is empty", files=["send files with content"])
        if size > MAX_FILE:
            raise PayloadTooLarge(f"{label} is larger than {MAX_FILE >> 20} MiB")
    if len(sizes) > MAX_FILES:
        raise PayloadTooLarge(f"more than {MAX_FILES} files")
    if sum(size for _, size in sizes) > MAX_BATCH:
        raise PayloadTooLarge(f"more than {MAX_BATCH >> 20} MiB in all")
    names = [label.lower() for label, _ in sizes]
    if len(set(names)) != len(names):
        raise ValidationFailed("two files have the same name", files=["use each name once"])
    if kind is SessionKind.ENGINE:
        if len(names) != 1:
            raise ValidationFailed("an engine has one parameter file", files=["send one .json file"])
        return
    has_weights = any(name.endswith(WEIGHTS) for name in names)
    has_dicts = any(name.endswith(STATE_DICTS) for name in names)
    if has_weights == has_dicts or (has_weights and MANIFEST not in names):
        raise UnsupportedFileType(f"These files do not make a model. {MODEL_RULE}")


def is_state_dict(session: ModelSession) -> bool:
    """True for a session whose weights only torch can read."""
    return any(one.label.lower().endswith(STATE_DICTS) for one in session.files)


def by_label(session: ModelSession) -> Mapping[str, ModelFile]:
    """The session's files by name."""
    return {one.label: one for one in session.files}
