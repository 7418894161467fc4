"""Notices that arrive together share a transaction, and nobody can tell from the answers (GR-1, T17, EM-1)."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.http.storm import LARGEST, Arrival, _parted
from spotcore.emergencies import Signal
from spotcore.ids import AgentId, ClientId
from spotcore.incidents import Severity
from spotcore.ports.storage import Keys
from spotcore.service.emergency import noticed
from tests.support.world import START
from tests.unit.http.asgi import Exchange
from tests.unit.http.frame import ADMIN, AWAY, Frame, a_frame

Call = tuple[str, str, Any]  # token, path, body


@frozen
class Guarded:
    """An agent with a warm replica."""

    agent_id: str
    machine: str
    standby: str

    def path(self, name: str = "termination-imminent") -> str:
        return f"/api/agents/{self.agent_id}/{name}"


@pytest.fixture
def frame() -> Iterator[Frame]:
    with a_frame(gathers=True) as opened:
        yield opened


def guarded(frame: Frame, token: str, number: int) -> Guarded:
    machine, standby = f"i-{number:017x}", f"i-{number + 0x10000:017x}"
    row = Guarded(frame.agent(token, machine, f"agent-{number}"), machine, standby)
    frame.call("POST", f"/api/client/agents/{row.agent_id}/config", json={"manualReplicaEnabled": True})
    (entry,) = frame.call("GET", row.path("replicas?status=launching"), token).json()["replicas"]
    frame.call("PUT", row.path(f"replicas/{entry['id']}"), token, json={"instance_id": standby, "status": "syncing"})
    told = frame.call("POST", row.path(f"replicas/{entry['id']}/status"), token, json={"status": "ready"})
    assert told.status_code == 200
    return row


def at_once(frame: Frame, calls: Sequence[Call], *, first: Call | None = None) -> list[tuple[int, Any]]:
    """Answers to calls that all wait while the storage is busy with ``first``, or with one of them."""

    async def main() -> list[tuple[int, Any]]:
        frame.storage.is_open.clear()
        before = [sent(*first)] if first is not None else []
        while first is not None and frame.storage.tries == asked:
            await asyncio.sleep(0.001)
        exchanges = [sent(*call, mark=str(number)) for number, call in enumerate(calls)]
        for _ in range(2_000):
            waiting = frame.parts.storm._groups._waiting if frame.parts.storm else []
            is_begun = first is None and frame.storage.tries > asked  # with one of them, or with several together
            if is_begun or len(waiting) >= len(calls) - (first is None):
                break
            await asyncio.sleep(0.001)
        frame.storage.is_open.set()
        for one in before:
            await one.answer()
        return [await one.answer() for one in exchanges]

    def sent(token: str, path: str, body: Any, mark: str = "first") -> Exchange:
        headers = {"content-type": "application/json", "x-request-id": f"storm-{mark}"}
        return Exchange(frame.app, "POST", path, token, headers).body(json.dumps(body).encode())

    asked = frame.storage.tries
    try:
        return asyncio.run(main())
    finally:
        frame.storage.is_open.set()


def primary(frame: Frame, client_id: str, agent_id: str) -> str | None:
    with frame.storage.memory.transactions() as uow:
        row = uow.agents.get(ClientId(client_id), AgentId(agent_id)).primary
    return row.cloud_id if row is not None else None


def test_twenty_notices_of_a_client_are_four_transactions_and_everybody_is_replaced_i1(frame: Frame) -> None:
    client_id, token = frame.client()
    fleet = [guarded(frame, token, number) for number in range(20)]
    before = frame.storage.tries
    calls = [(token, row.path(), {"instance_id": row.machine}) for row in fleet]
    answers = at_once(frame, calls[1:], first=calls[0])
    assert frame.storage.tries - before == 8  # a look at the token and a transaction for 1, for 8, for 8 and for 3
    for row, (status, answer) in zip(fleet[1:], answers, strict=True):
        assert (status, answer["success"], answer["action"]) == (200, True, "replica_promoted")
        assert answer["new_instance_id"] == row.standby
        assert answer["duplicate"] is False
    assert [primary(frame, client_id, row.agent_id) for row in fleet] == [row.standby for row in fleet]


def test_first_heartbeats_of_new_primaries_share_transactions_and_read_nothing_again_ag_4(frame: Frame) -> None:
    client_id, token = frame.client()
    fleet = [guarded(frame, token, number) for number in range(9)]
    at_once(frame, [(token, row.path(), {"instance_id": row.machine}) for row in fleet])
    before = frame.storage.tries
    beats = [(token, row.path("heartbeat"), {"instance_id": row.standby, "status": "online"}) for row in fleet]
    answers = at_once(frame, beats[1:], first=beats[0])
    assert frame.storage.tries - before == 4  # a look at the token and a transaction for 1, and for 8
    for row, (status, answer) in zip(fleet[1:], answers, strict=True):
        assert (status, answer["role"], answer["agent_id"]) == (200, "primary", row.agent_id)
        assert answer["acknowledged"] is True
    with frame.storage.memory.transactions() as uow:
        for row in fleet:
            held = uow.agents.get(ClientId(client_id), AgentId(row.agent_id))
            assert held.agent.last_heartbeat_at == frame.clock.now()


def test_a_new_primary_is_told_of_what_was_changed_since_its_notice_cv_4(frame: Frame) -> None:
    _, token = frame.client()
    row = guarded(frame, token, 1)
    frame.call("POST", row.path(), token, json={"instance_id": row.machine})
    frame.call("POST", f"/api/client/agents/{row.agent_id}/config", json={"terminateWaitMinutes": 7})
    told = frame.call("POST", row.path("heartbeat"), token, json={"instance_id": row.standby}).json()
    assert told["role"] == "primary"
    assert told["config"]["terminate_wait_seconds"] == 420


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"instance_id": "' + b"x" * 20_000 + b'"}'])
def test_t03_a_first_heartbeat_that_cannot_be_read_is_answered_as_any_other(frame: Frame, body: bytes) -> None:
    _, token = frame.client()
    row, other = guarded(frame, token, 1), guarded(frame, token, 2)
    frame.call("POST", row.path(), token, json={"instance_id": row.machine})
    answers = [
        frame.call("POST", one.path("heartbeat"), token, content=body, headers={"content-type": "application/json"})
        for one in (row, other)
    ]
    assert len({(answer.status_code, answer.json().get("code"), answer.json().get("role")) for answer in answers}) == 1


def test_em_1_the_same_notice_twice_at_once_is_one_failover_and_the_second_says_duplicate(frame: Frame) -> None:
    client_id, token = frame.client()
    row, other = guarded(frame, token, 1), guarded(frame, token, 2)
    call = (token, row.path(), {"instance_id": row.machine})
    answers = at_once(frame, [call, call, call], first=(token, other.path(), {"instance_id": other.machine}))
    assert [answer["new_instance_id"] for _, answer in answers] == [row.standby] * 3
    assert [answer["duplicate"] for _, answer in answers] == [False, True, True]
    with frame.storage.memory.transactions() as uow:
        assert len(uow.agents.get(ClientId(client_id), AgentId(row.agent_id)).switches) == 1


def test_t17_a_repeated_notice_lets_those_go_first_that_may_still_have_a_role_to_move(frame: Frame) -> None:
    _, token = frame.client()
    moved, busy, late = (guarded(frame, token, number) for number in range(3))
    assert frame.parts.storm is not None
    groups = frame.parts.storm._groups

    def sent(row: Guarded, machine: str | None = None) -> Exchange:
        body = json.dumps({"instance_id": machine or row.machine}).encode()
        return Exchange(frame.app, "POST", row.path(), token, {"content-type": "application/json"}).body(body)

    async def main() -> None:
        await sent(moved).answer()
        asked = frame.storage.tries
        frame.storage.is_open.clear()
        exchanges = [sent(busy)]
        while frame.storage.tries == asked:
            await asyncio.sleep(0.001)
        # the second is about the new primary: another interruption, not the first one again
        exchanges += [sent(moved), sent(moved, moved.standby), sent(late)]
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert [one.wanted.keys.cloud_ids for one, _ in groups._waiting] == [(moved.standby,), (late.machine,)]
        frame.storage.is_open.set()
        answers = [(await one.answer())[1] for one in exchanges]
        assert [answer["duplicate"] for answer in answers] == [False, True, False, False]

    try:
        asyncio.run(main())
    finally:
        frame.storage.is_open.set()


def test_gr_8_notices_of_two_clients_never_meet(frame: Frame) -> None:
    (mine, token), (theirs, other) = frame.client("Acme"), frame.client("Umbrella")
    row, foreign = guarded(frame, token, 1), guarded(frame, other, 2)
    calls = [
        (token, row.path(), {"instance_id": row.machine}),
        (token, foreign.path(), {"instance_id": foreign.machine}),
        (other, foreign.path(), {"instance_id": foreign.machine}),
        (other, row.path(), {"instance_id": row.machine}),
    ]
    answers = at_once(frame, calls)
    assert [status for status, _ in answers] == [200, 404, 200, 404]
    assert answers[1][1]["code"] == answers[3][1]["code"] == "NOT_FOUND"
    assert primary(frame, mine, row.agent_id) == row.standby
    assert primary(frame, theirs, foreign.agent_id) == foreign.standby


def test_what_cannot_go_together_is_answered_by_the_ordinary_way(frame: Frame) -> None:
    _, token = frame.client()
    row = guarded(frame, token, 1)
    named = {"instance_id": row.machine}
    answers = at_once(
        frame,
        [
            ("no-such-token", row.path(), named),
            (token, "/api/agents/no-such-agent/termination-imminent", named),
            (token, row.path(), named),
            (ADMIN, row.path(), named),
        ],
    )
    assert [status for status, _ in answers] == [401, 404, 200, 401]
    assert [answer.get("code") for _, answer in answers] == ["INVALID_TOKEN", "NOT_FOUND", None, "INVALID_TOKEN"]


def test_z26_of_a_suspended_client_notices_are_judged_and_of_a_deleted_one_refused_z25(frame: Frame) -> None:
    client_id, token = frame.client()
    first, second = guarded(frame, token, 1), guarded(frame, token, 2)
    frame.plane.clients.suspend(ClientId(client_id))
    ((status, answer),) = at_once(frame, [(token, first.path(), {"instance_id": first.machine})])
    assert (status, answer["action"]) == (200, "replica_promoted")
    assert frame.call("DELETE", f"/api/admin/clients/{client_id}").status_code == 200
    ((status, answer),) = at_once(frame, [(token, second.path(), {"instance_id": second.machine})])
    assert (status, answer["code"]) == (401, "INVALID_TOKEN")


def test_em_17_the_notice_of_an_agent_that_is_being_deleted_is_404_and_recorded_once(frame: Frame) -> None:
    _, token = frame.client()
    gone, stays = guarded(frame, token, 1), guarded(frame, token, 2)
    assert frame.call("DELETE", f"/api/client/agents/{gone.agent_id}").status_code == 200
    before = len(frame.storage.memory.tables.events)
    calls = [(token, row.path(), {"instance_id": row.machine}) for row in (gone, stays)]
    (refused, judged) = at_once(frame, calls)
    assert (refused[0], refused[1]["code"]) == (404, "NOT_FOUND")
    assert (judged[0], judged[1]["new_instance_id"]) == (200, stays.standby)
    events = [one for one in frame.storage.memory.tables.events[before:] if one.agent_id == gone.agent_id]
    assert [one.kind.value for one in events] == ["notice_on_standby"]


def test_one_notice_that_breaks_a_rule_does_not_keep_the_others_from_being_judged(frame: Frame) -> None:
    client_id, token = frame.client()
    fleet = [guarded(frame, token, number) for number in range(1, 5)]
    broken = fleet[1]
    memory = frame.storage.memory
    whole = memory.tables.agents[AgentId(broken.agent_id)]
    memory.tables.agents[AgentId(broken.agent_id)] = evolve(whole, periods=whole.periods + whole.periods)  # I8
    calls = [(token, row.path(), {"instance_id": row.machine}) for row in fleet]
    answers = at_once(frame, calls[1:], first=calls[0])
    assert [status for status, _ in answers] == [500, 200, 200]
    for row in (fleet[0], fleet[2], fleet[3]):
        assert primary(frame, client_id, row.agent_id) == row.standby


def test_a_storage_that_is_away_is_503_for_all_of_them_at_once_and_nothing_has_happened(frame: Frame) -> None:
    client_id, token = frame.client()
    fleet = [guarded(frame, token, number) for number in range(1, 2 + LARGEST)]
    frame.storage.failure, before = AWAY, frame.storage.tries
    calls = [(token, row.path(), {"instance_id": row.machine}) for row in fleet]
    answers = at_once(frame, calls[1:], first=calls[0])
    assert {(status, answer["code"]) for status, answer in answers} == {(503, "UNAVAILABLE")}
    assert frame.storage.tries - before == 2  # one look for the first, one for all others
    frame.storage.failure = None
    assert [primary(frame, client_id, row.agent_id) for row in fleet] == [row.machine for row in fleet]


def test_every_audit_row_carries_the_id_of_its_own_request(frame: Frame) -> None:
    _, token = frame.client()
    fleet = [guarded(frame, token, number) for number in range(1, 6)]
    calls = [(token, row.path(), {"instance_id": row.machine}) for row in fleet]
    at_once(frame, calls[1:], first=calls[0])
    marks = {
        event.agent_id: event.facts.get("request_id")
        for event in frame.storage.memory.tables.events
        if event.kind.value == "termination_notice"
    }
    assert marks == {row.agent_id: f"storm-{name}" for row, name in zip(fleet, ("first", 0, 1, 2, 3), strict=True)}


FORMS = [
    ("create-emergency-replica", {"signal_type": "termination-notice"}),
    ("create-emergency-replica", {"signal_type": "rebalance-recommendation"}),
    ("termination-imminent", {}),
    ("rebalance-recommendation", {"immediate": True, "notice_time": "2026-03-02T12:00:00Z"}),
    ("termination-report", {"notice_type": "TERMINATION", "termination_time": "2026-03-02T12:02:00Z"}),
    ("termination-notice", {"termination_time": "2026-03-02T12:02:00Z"}),
]


@pytest.mark.parametrize(("name", "body"), FORMS)
@pytest.mark.parametrize("has_replica", [True, False])
def test_both_ways_give_the_same_answer_to_every_notice(name: str, body: dict[str, Any], *, has_replica: bool) -> None:
    told = []
    for gathers in (True, False):
        with a_frame(gathers=gathers) as frame:
            _, token = frame.client()
            if has_replica:
                row = guarded(frame, token, 1)
            else:
                row = Guarded(frame.agent(token, "i-0000000000000000a"), "i-0000000000000000a", "")
            for _ in range(2):
                answer = frame.call("POST", row.path(name), token, json={**body, "instance_id": row.machine})
                told.append((answer.status_code, answer.json(), answer.headers["content-type"]))
    assert told[:2] == told[2:]
    assert told[0][1]["success"] is True or not has_replica


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("create-emergency-replica", {}, 400),
        ("create-emergency-replica", {"signal_type": "nonsense"}, 400),
        ("termination-notice", {}, 400),
        ("termination-report", {}, 400),
        ("rebalance-recommendation", {}, 200),
        ("termination-report", {"success": True, "instance_id": "i-0000000000000000b"}, 404),
    ],
)
def test_what_is_no_notice_is_not_gathered(frame: Frame, name: str, body: dict[str, Any], status: int) -> None:
    _, token = frame.client()
    agent_id = frame.agent(token)
    assert frame.call("POST", f"/api/agents/{agent_id}/{name}", token, json=body).status_code == status


def test_the_legacy_shape_is_kept(frame: Frame) -> None:
    _, token = frame.client()
    row = guarded(frame, token, 1)
    headers = {"X-Response-Shape": "legacy"}
    answer = frame.call("POST", row.path(), token, json={"instance_id": row.machine}, headers=headers).json()
    assert answer["new_instance_id"] == row.standby
    assert "status" not in answer


# who can share a transaction


def arrival(token: str, agent: str) -> Arrival:
    signal = Signal(severity=Severity.TERMINATION, received_at=START)
    return Arrival(token_hash=token, wanted=noticed(AgentId(agent), signal))


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("abcde")), max_size=LARGEST))
def test_a_transaction_has_one_token_and_no_agent_twice_and_nothing_is_left_out(pairs: list[tuple[str, str]]) -> None:
    arrivals = [arrival(*pair) for pair in pairs]
    parts = [list(places) for places in _parted(arrivals)]
    assert sorted(place for places in parts for place in places) == list(range(len(pairs)))
    for places in parts:
        assert len({pairs[place][0] for place in places}) == 1
        assert len({pairs[place][1] for place in places}) == len(places)
    order = {place: number for number, places in enumerate(parts) for place in places}
    for one in range(len(pairs)):
        for other in range(one + 1, len(pairs)):
            if pairs[one] == pairs[other]:
                assert order[one] < order[other]  # the first of two equal notices is judged first


def test_rows_that_are_not_there_under_this_id_are_left_out(frame: Frame) -> None:
    client_id, token = frame.client()
    other, _ = frame.client("Umbrella")
    agent_id = AgentId(frame.agent(token))
    wanted = {agent_id: Keys(), AgentId("nobody"): Keys()}
    with frame.storage.memory.transactions() as uow:
        assert set(uow.agents.lock_free(ClientId(client_id), wanted)) == {agent_id}
        assert not uow.agents.lock_free(ClientId(other), wanted)
