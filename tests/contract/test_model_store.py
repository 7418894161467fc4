"""``ModelStore`` on both storages: order, limits, what serves, what is idle, whose files are still needed (11.2, I12)."""

from datetime import timedelta
from itertools import count

import pytest
from attrs import evolve

from spotcore.errors import InvariantViolated, NotFound, SpotError
from spotcore.models import SERVING, ModelFile, ModelSession, SessionKind, SessionState
from spotcore.ports.storage import UnitOfWork
from tests.support.world import START, World

S, HOUR = SessionState, timedelta(hours=1)
_names = count(1)


def a_session(state: SessionState = S.UPLOADED, hours: float = 0, **facts: object) -> ModelSession:
    """A session with two files of its own, made and changed so many hours after the start."""
    number = next(_names)
    at = START + hours * HOUR
    known = {
        "session_id": f"session-{number:06}", "kind": SessionKind.MODEL, "scope": f"scope-{number}", "created_at": at,
        "changed_at": at, "activated_at": at if state in SERVING else None,
        "rejection": "files" if state is S.REJECTED else None,
        "files": (
            ModelFile(label="manifest.json", sha256=f"{number:064x}", size=1),
            ModelFile(label="ünïcode.safetensors", sha256=f"{number + 10**6:064x}", size=100 << 20),
        ),
        **facts,
    }  # fmt: skip
    return ModelSession(state=state, **known)


def added(world: World, *sessions: ModelSession) -> None:
    with world.transactions() as uow:
        for one in sessions:
            uow.models.add(one)


def put(world: World, *sessions: ModelSession) -> None:
    with world.transactions() as uow:
        uow.models.put(sessions)


def got(world: World, session: ModelSession) -> ModelSession:
    with world.transactions() as uow:
        return uow.models.get(session.session_id)


@pytest.mark.parametrize("state", list(SessionState))
def test_a_session_comes_back_with_its_files_in_their_order(shared_world: World, state: SessionState) -> None:
    session = a_session(state, name="risk", version="1.0", architecture="mlp")
    added(shared_world, session)
    assert got(shared_world, session) == session


def test_a_session_without_files_and_one_of_an_engine_come_back_too(shared_world: World) -> None:
    for session in (a_session(files=()), a_session(kind=SessionKind.ENGINE)):
        added(shared_world, session)
        assert got(shared_world, session) == session


def test_an_unknown_session_is_not_found(shared_world: World) -> None:
    with pytest.raises(NotFound, match="unknown session"):
        got(shared_world, a_session())


def test_a_changed_session_is_stored_and_its_files_never_change(shared_world: World) -> None:
    session = a_session()
    added(shared_world, session)
    changed = evolve(
        session, state=S.ACTIVE, scope=f"{session.scope}-east", name="n", version="2", architecture="mlp",
        changed_at=START + HOUR, activated_at=START + HOUR,
    )  # fmt: skip
    put(shared_world, changed)
    assert got(shared_world, session) == changed
    put(shared_world)
    put(shared_world, evolve(changed, state=S.ARCHIVED, files_removed_at=START + 2 * HOUR))
    found = got(shared_world, session)
    assert (found.files, found.files_removed_at, found.created_at) == (
        session.files,
        START + 2 * HOUR,
        session.created_at,
    )


def test_gr3_a_change_of_a_session_that_is_not_there_is_no_success(shared_world: World) -> None:
    with pytest.raises(SpotError):
        put(shared_world, a_session())


def test_two_of_one_id_are_refused(shared_world: World) -> None:
    session = a_session()
    added(shared_world, session)
    with pytest.raises(SpotError):
        added(shared_world, evolve(session, name="forged"))
    assert got(shared_world, session) == session


@pytest.mark.parametrize("state", SERVING)
def test_i12_a_second_one_in_a_serving_place_is_refused_whole(shared_world: World, state: SessionState) -> None:
    holder, other = a_session(state), a_session()
    takes = evolve(other, state=state, scope=holder.scope, activated_at=START)
    added(shared_world, holder, other)
    bystander = a_session()
    added(shared_world, bystander)
    with pytest.raises(InvariantViolated):
        put(shared_world, evolve(bystander, name="changed along with it"), takes)
    assert [got(shared_world, one) for one in (holder, other, bystander)] == [holder, other, bystander]
    with pytest.raises(InvariantViolated):
        added(shared_world, evolve(takes, session_id=f"{other.session_id}-new"))
    put(shared_world, evolve(takes, scope=f"{holder.scope}-east"))  # another scope has a place of its own
    added(shared_world, evolve(takes, session_id=f"{other.session_id}-engine", kind=SessionKind.ENGINE))


@pytest.mark.parametrize("order", [1, -1])
def test_places_change_hands_in_one_write_whatever_order_they_are_given_in(shared_world: World, order: int) -> None:
    """Activation: new → active, old active → fallback, old fallback → archived (11.2)."""
    old, older, new = a_session(S.ACTIVE), a_session(S.FALLBACK), a_session(S.VALIDATED)
    scope = old.scope
    rows = [old, evolve(older, scope=scope), evolve(new, scope=scope)]
    added(shared_world, *rows)
    after = [
        evolve(rows[0], state=S.FALLBACK), evolve(rows[1], state=S.ARCHIVED), evolve(rows[2], state=S.ACTIVE, activated_at=START),
    ]  # fmt: skip
    put(shared_world, *after[::order])
    assert [got(shared_world, one) for one in rows] == after
    back = [evolve(after[0], state=S.ACTIVE), after[1], evolve(after[2], state=S.ARCHIVED)]
    put(shared_world, back[0], back[2])  # rollback: the fallback and the live one change places
    assert [got(shared_world, one) for one in rows] == back


def test_what_serves_is_every_live_and_every_fallback_session(world: World) -> None:
    rows = [a_session(state, number) for number, state in enumerate(SessionState)]
    added(world, *rows)
    with world.transactions() as uow:
        assert [one.state for one in uow.models.serving()] == [S.FALLBACK, S.ACTIVE]


def test_the_newest_of_a_kind_come_first_and_of_one_instant_by_id(world: World) -> None:
    rows = [a_session(hours=hours) for hours in (2, 0, 1, 1)]
    engine = a_session(hours=9, kind=SessionKind.ENGINE)
    added(world, *rows, engine)
    with world.transactions() as uow:
        wanted = [rows[0], rows[3], rows[2], rows[1]]
        assert list(uow.models.newest(SessionKind.MODEL, 10)) == wanted
        assert list(uow.models.newest(SessionKind.MODEL, 3)) == wanted[:3]
        assert list(uow.models.newest(SessionKind.MODEL, 0)) == []
        assert list(uow.models.newest(SessionKind.ENGINE, 10)) == [engine]


def test_idle_sessions_serve_nobody_and_stand_unchanged_since_before_the_instant(world: World) -> None:
    limit = START + 10 * HOUR
    rows = {
        "old": a_session(S.ARCHIVED, 9), "rejected": a_session(S.REJECTED, 1), "never used": a_session(S.UPLOADED, 0),
        "at the instant": a_session(S.ARCHIVED, 10), "live": a_session(S.ACTIVE, 0), "fallback": a_session(S.FALLBACK, 0),
        "gone": a_session(S.ARCHIVED, 0, files_removed_at=START), "touched": a_session(S.UPLOADED, 0, changed_at=limit),
    }  # fmt: skip
    added(world, *rows.values())
    with world.transactions() as uow:
        idle = uow.models.idle(limit)
    assert list(idle) == [rows["old"], rows["rejected"], rows["never used"]]


def test_ms5_a_file_is_needed_while_any_session_has_it(world: World) -> None:
    shared = ModelFile(label="same bytes", sha256="a" * 64, size=1)
    first, second = a_session(S.ARCHIVED, files=(shared,)), a_session(S.ARCHIVED, files=(shared,))
    own = a_session()
    with world.transactions() as uow:
        assert uow.models.digests() == frozenset()
    added(world, first, second, own)

    def digests() -> frozenset[str]:
        with world.transactions() as uow:
            return uow.models.digests()

    owns = {one.sha256 for one in own.files}
    assert digests() == {"a" * 64, *owns}
    put(world, evolve(first, files_removed_at=START))
    assert digests() == {"a" * 64, *owns}
    put(world, evolve(second, files_removed_at=START))
    assert digests() == owns


def test_what_a_failed_transaction_did_to_sessions_is_undone(shared_world: World) -> None:
    session, fresh = a_session(), a_session()
    added(shared_world, session)

    def changes(uow: UnitOfWork) -> None:
        uow.models.lock()
        uow.models.put([evolve(session, name="changed")])
        uow.models.add(fresh)
        raise ZeroDivisionError

    def fails() -> None:
        with shared_world.transactions() as uow:
            changes(uow)

    def undone(uow: UnitOfWork) -> None:
        with uow.savepoint():
            changes(uow)

    with pytest.raises(ZeroDivisionError):
        fails()
    with shared_world.transactions() as uow, pytest.raises(ZeroDivisionError):
        undone(uow)
    assert got(shared_world, session) == session
    with pytest.raises(NotFound):
        got(shared_world, fresh)
