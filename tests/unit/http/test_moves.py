"""A failover is over when the new primary knows of it: what it asks first passes the storm (5.2, AG-4)."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from spotadapters.http.lanes import Lane, Lanes
from spotadapters.http.moves import CALLS, MOST, MOST_STATES, SECONDS, Moves
from spotcore.emergencies import Signal
from spotcore.ids import AgentId, ClientId, CloudId
from spotcore.incidents import Severity
from spotcore.service.emergency import noticed
from spotcore.service.kernel import Caller
from tests.unit.http.frame import AWAY, Frame, a_frame
from tests.unit.http.test_storm import guarded

PROMOTED = SimpleNamespace(new_instance_id="i-0b", duplicate=False)


class Watch:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def moves(watch: Watch) -> Moves:
    return Moves(watch)


def test_a_promotion_concerns_its_agent_alone_for_five_seconds(moves: Moves, watch: Watch) -> None:
    moves.noticed("a1", PROMOTED)
    assert (moves.concern("a1"), moves.concern("a2"), moves.concern(None)) == (True, False, False)
    watch.now += SECONDS - 0.001
    assert moves.concern("a1")
    watch.now += 0.001
    assert not moves.concern("a1")


@pytest.mark.parametrize(
    "data",
    [
        SimpleNamespace(new_instance_id=None, duplicate=False),  # pending, or nothing to launch
        SimpleNamespace(new_instance_id="i-0b", duplicate=True),  # EM-1: it came twice
        SimpleNamespace(success=True),  # E56 as the result of a termination
        None,  # refused
    ],
)
def test_what_moves_nothing_concerns_nobody(moves: Moves, data: Any) -> None:
    moves.noticed("a1", data)
    assert not moves.concern("a1")


def test_a_notice_that_comes_twice_prolongs_nothing_em_1(moves: Moves, watch: Watch) -> None:
    moves.noticed("a1", PROMOTED)
    watch.now += SECONDS - 1
    moves.noticed("a1", SimpleNamespace(new_instance_id="i-0b", duplicate=True))
    watch.now += 1
    assert not moves.concern("a1")


@pytest.mark.parametrize(("role", "goes_on"), [("primary", False), ("retired", True), ("replica", True), (None, True)])
def test_it_ends_when_the_new_primary_has_heard_of_it_and_not_when_the_old_one_has(
    moves: Moves, role: str | None, goes_on: bool
) -> None:
    moves.noticed("a1", PROMOTED)
    moves.answered("a1", SimpleNamespace(role=role) if role else None)
    assert moves.concern("a1") is goes_on


def test_whoever_asks_on_and_on_holds_others_back_for_a_few_calls_only(moves: Moves) -> None:
    moves.noticed("a1", PROMOTED)
    for _ in range(CALLS - 1):
        moves.answered("a1", None)
        assert moves.concern("a1")
    moves.answered("a1", None)
    assert not moves.concern("a1")
    moves.answered("a1", None)  # one that was under way
    moves.noticed("a1", PROMOTED)  # the next failover begins anew
    assert moves.concern("a1")


def test_what_is_kept_is_bounded_and_what_is_over_is_forgotten(moves: Moves, watch: Watch) -> None:
    for number in range(MOST + 50):
        moves.noticed(f"a{number}", PROMOTED)
    assert len(moves._until) == len(moves._calls) == MOST
    assert (moves.concern("a49"), moves.concern("a50")) == (False, True)  # the latest are kept
    watch.now += SECONDS
    moves.noticed("b1", PROMOTED)
    assert moves.concern("b1")
    assert list(moves._until) == list(moves._calls) == ["b1"]


def test_the_state_that_was_committed_last_is_known_until_the_move_is_over(moves: Moves, watch: Watch) -> None:
    first, second, third = states(3)
    moves.noticed("a1", SimpleNamespace(new_instance_id=None), state=first)  # nothing has moved
    assert moves.state("a1") is None
    moves.noticed("a1", PROMOTED, state=first)
    assert moves.state("a1") is first
    moves.noticed("a1", SimpleNamespace(new_instance_id="i-0b", duplicate=True), state=second)
    assert moves.state("a1") is second
    moves.committed("a1", third)
    assert moves.state("a1") is third
    moves.answered("a1", SimpleNamespace(role="primary"))
    assert moves.state("a1") is None
    moves.committed("a1", third)  # by a call that was under way
    assert moves._states == {}
    moves.noticed("a1", PROMOTED, state=first)
    moves.noticed("a1", PROMOTED)  # the next failover went another way: what is known is over
    assert moves.state("a1") is None
    moves.noticed("a1", PROMOTED, state=first)
    watch.now += SECONDS
    assert moves.state("a1") is None
    assert moves._states == {}


def test_each_move_of_this_process_is_told_once(watch: Watch) -> None:
    told: list[str] = []
    moves = Moves(watch, told.append)
    moves.noticed("a1", PROMOTED)
    moves.noticed("a1", SimpleNamespace(new_instance_id="i-0b", duplicate=True))
    moves.noticed("a2", SimpleNamespace(new_instance_id=None))
    tell(moves, "a3")  # that was another one's
    assert told == ["a1"]


def tell(moves: Moves, *agent_ids: str) -> None:
    """As the thread that listens does."""

    async def main() -> None:
        moves.attach()
        await asyncio.to_thread(moves.told, agent_ids)
        await asyncio.sleep(0)

    asyncio.run(main())


def test_what_another_process_has_moved_concerns_its_agent_and_its_state_is_not_known(
    moves: Moves, watch: Watch
) -> None:
    moves.told(["a1"])  # nobody is served yet
    assert not moves.concern("a1")
    (state,) = states(1)
    moves.noticed("a1", PROMOTED, machine="i-0a", state=state)
    tell(moves, "a1", "a2")
    assert (moves.concern("a1"), moves.concern("a2"), moves.concern("a3")) == (True, True, False)
    assert (moves.state("a1"), moves.state("a2")) == (None, None)  # it is older than what was told
    assert not moves.is_over("a2", "i-0a")
    watch.now += SECONDS
    assert not moves.concern("a2")
    moves.told(["a1"])  # the server has ended


def test_states_are_kept_of_some_agents_only(moves: Moves) -> None:
    for number in range(MOST_STATES + 1):
        moves.noticed(f"a{number}", PROMOTED, state=states(1)[0])
    assert len(moves._states) == MOST_STATES
    assert moves.concern(f"a{MOST_STATES}")  # it passes all the same, and is read


def states(number: int) -> list[Any]:
    """Whose content does not matter."""
    return [SimpleNamespace() for _ in range(number)]


# ---- in the application


@pytest.fixture(params=[True, False], ids=["together", "alone"])
def frame(request: pytest.FixtureRequest) -> Iterator[Frame]:
    with a_frame(gathers=request.param) as opened:
        yield opened


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[Lane]:
    """The lanes that calls took."""
    found: list[Lane] = []
    ordinary = Lanes.run

    async def run(self: Lanes, work: Any, lane: Lane, *, since: float | None = None) -> Any:
        found.append(lane)
        return await ordinary(self, work, lane, since=since)

    monkeypatch.setattr(Lanes, "run", run)
    return found


def test_the_first_heartbeat_of_the_new_primary_passes_and_the_next_is_like_any_other_t03(
    frame: Frame, used: list[Lane]
) -> None:
    _, token = frame.client()
    row = guarded(frame, token, 1)
    other = guarded(frame, token, 2)
    told = frame.call("POST", row.path(), token, json={"instance_id": row.machine})
    assert told.json()["new_instance_id"] == row.standby
    used.clear()

    def beat(of: Any, machine: str) -> str:
        return str(frame.call("POST", of.path("heartbeat"), token, json={"instance_id": machine}).json()["role"])

    hurried = [] if frame.parts.storm is not None else [Lane.MOVED]  # in none, but judged together with notices

    def lanes() -> list[Lane]:
        taken, used[:] = list(used), []
        return taken

    assert (beat(other, other.machine), lanes()) == ("primary", [Lane.PULSE])
    assert (beat(row, row.machine), lanes()) == ("retired", hurried)
    assert frame.call("GET", row.path("pending-commands"), token).status_code == 200
    assert lanes() == [Lane.MOVED]
    assert (beat(row, row.standby), lanes()) == ("primary", hurried)
    assert (beat(row, row.standby), lanes()) == ("primary", [Lane.PULSE])


def test_ag_4_a_first_heartbeat_that_comes_to_another_process_than_the_notice_passes_as_well(
    frame: Frame, used: list[Lane]
) -> None:
    client_id, token = frame.client()
    row = guarded(frame, token, 1)
    signal = Signal(severity=Severity.TERMINATION, cloud_id=CloudId(row.machine), received_at=frame.clock.now())
    caller = Caller(client_id=ClientId(client_id))
    assert frame.parts.plane.emergencies.together(caller, [noticed(AgentId(row.agent_id), signal)])
    tell(frame.parts.moves, row.agent_id)
    used.clear()
    beats = [
        frame.call("POST", row.path("heartbeat"), token, json={"instance_id": row.standby}).json()["role"]
        for _ in range(2)
    ]
    assert beats == ["primary", "primary"]
    assert used == ([Lane.PULSE] if frame.parts.storm is not None else [Lane.MOVED, Lane.PULSE])


def test_t03_z32_a_first_heartbeat_in_an_outage_is_answered_as_any_other(frame: Frame) -> None:
    _, token = frame.client()
    row = guarded(frame, token, 1)
    frame.call("POST", row.path("heartbeat"), token, json={"instance_id": row.machine})
    assert frame.call("POST", row.path(), token, json={"instance_id": row.machine}).status_code == 200
    frame.storage.failure = AWAY
    answer = frame.call("POST", row.path("heartbeat"), token, json={"instance_id": row.standby})
    assert (answer.status_code, answer.json()["acknowledged"]) == (200, False)
    frame.storage.failure = None
    assert frame.call("GET", "/health").status_code == 200  # the database is back
    told = frame.call("POST", row.path("heartbeat"), token, json={"instance_id": row.standby}).json()
    assert (told["acknowledged"], told["role"]) == (True, "primary")


def test_of_another_tenant_nobody_gets_past_by_it_gr_8(frame: Frame) -> None:
    (_, token), (_, foreign) = frame.client("Own"), frame.client("Other")
    row = guarded(frame, token, 1)
    frame.call("POST", row.path(), token, json={"instance_id": row.machine})
    answer = frame.call("POST", row.path("heartbeat"), foreign, json={"instance_id": row.standby})
    assert answer.status_code == 404
    assert frame.call("POST", row.path("heartbeat"), "wrong", json={"instance_id": row.standby}).status_code == 401


def test_a_notice_is_a_repeated_one_when_it_is_about_the_machine_that_lost_the_role_t17(moves: Moves) -> None:
    assert not moves.is_over("a1", "i-0a")
    moves.noticed("a1", PROMOTED, machine="i-0a")
    assert moves.is_over("a1", "i-0a")
    # the successor, whichever has the role, and other agents
    asked = [("a1", "i-0b"), ("a1", None), ("a2", "i-0a")]
    assert [moves.is_over(*one) for one in asked] == [False, False, False]
    moves.answered("a1", SimpleNamespace(role="primary"))
    assert not moves.is_over("a1", "i-0a")
    moves.noticed("a1", PROMOTED)  # which machine it was is not known
    assert not moves.is_over("a1", "i-0a")
