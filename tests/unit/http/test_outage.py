"""Heartbeats while the database is away (Z32)."""

import time
from threading import Barrier, Thread

import pytest
from attrs import define

from spotadapters.http.outage import PROBE_SECONDS, REMEMBERED_SECONDS, RETRY_SECONDS, Outage, Remembered
from spotcore.config import AgentConfig
from spotcore.errors import InvariantViolated, StateConflict
from spotcore.ids import AgentId, ClientId
from spotcore.liveness import HeartbeatAnswer
from spotcore.service.kernel import Caller
from tests.support.world import START
from tests.unit.http.frame import AWAY, Frame


@define
class Seconds:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def outage(seconds: Seconds) -> Outage:
    return Outage(seconds)


def test_nobody_is_spared_while_all_is_well(outage: Outage) -> None:
    assert not any(outage.spares() for _ in range(5))


def test_after_a_failure_everybody_is_spared_for_a_second(outage: Outage, seconds: Seconds) -> None:
    outage.seen(away=True)
    seconds.now += RETRY_SECONDS - 0.01
    assert all(outage.spares() for _ in range(5))


def test_then_one_call_finds_out_and_the_others_do_not_wait_for_it(outage: Outage, seconds: Seconds) -> None:
    outage.seen(away=True)
    seconds.now += RETRY_SECONDS
    assert [outage.spares() for _ in range(4)] == [False, True, True, True]


def test_a_probe_that_never_comes_back_is_replaced(outage: Outage, seconds: Seconds) -> None:
    outage.seen(away=True)
    seconds.now += RETRY_SECONDS
    assert not outage.spares()
    seconds.now += PROBE_SECONDS
    assert not outage.spares()


def test_once_the_database_is_back_everybody_goes_on(outage: Outage) -> None:
    outage.seen(away=True)
    outage.seen(away=False)
    assert not any(outage.spares() for _ in range(5))


def test_of_many_threads_one_is_the_probe(outage: Outage, seconds: Seconds) -> None:
    outage.seen(away=True)
    seconds.now += RETRY_SECONDS
    barrier, spared = Barrier(8), []

    def ask() -> None:
        barrier.wait(10)
        spared.append(outage.spares())

    threads = [Thread(target=ask) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(10)
    assert sorted(spared) == [False] + [True] * 7


# ---- what is remembered


ANSWER = HeartbeatAnswer(
    agent_id="a", role="primary", status="online", config=AgentConfig(), config_version=1, config_changed=True,
    commands_pending=False, poll_hint_seconds=30, server_time=START,
)  # fmt: skip


def test_an_answer_is_remembered_for_ten_minutes_z32(seconds: Seconds) -> None:
    remembered = Remembered(seconds)
    remembered.keep("Bearer t", "a", ANSWER)
    seconds.now += REMEMBERED_SECONDS
    assert remembered.find("Bearer t", "a") is ANSWER
    seconds.now += 1
    assert remembered.find("Bearer t", "a") is None


@pytest.mark.parametrize(
    ("credential", "agent_id"), [("Bearer u", "a"), ("Bearer t", "b"), ("", "a"), ("a\nBearer t", "")]
)
def test_it_is_repeated_to_the_same_token_and_agent_alone_z32(credential: str, agent_id: str) -> None:
    remembered = Remembered()
    remembered.keep("Bearer t", "a", ANSWER)
    assert remembered.find(credential, agent_id) is None


def test_no_token_is_remembered_in_clear() -> None:
    remembered = Remembered()
    remembered.keep("Bearer a-secret", "a", ANSWER)
    assert "a-secret" not in str(vars(remembered))


# ---- over the wire


def test_a_known_agent_gets_200_with_its_last_config_and_acknowledged_false_z32(frame: Frame) -> None:
    _, token = frame.client()
    path = f"/api/agents/{frame.agent(token)}/heartbeat"
    before = frame.call("POST", path, token, json={}).json()
    frame.storage.failure = AWAY
    answer = frame.call("POST", path, token, json={})
    assert answer.status_code == 200
    body = answer.json()
    assert (before["acknowledged"], body["acknowledged"]) == (True, False)
    assert body["config"] == before["config"]
    assert body["success"] is True
    assert body["config_changed"] is False
    assert body["agent_id"] == before["agent_id"]


@pytest.mark.parametrize("gone", ["token", "agent"])
def test_what_this_process_has_refused_is_not_repeated_in_an_outage_cl3(frame: Frame, gone: str) -> None:
    client_id, token = frame.client()
    agent_id = frame.agent(token)
    path = f"/api/agents/{agent_id}/heartbeat"
    assert frame.call("POST", path, token, json={}).status_code == 200
    if gone == "token":
        frame.plane.clients.rotate(ClientId(client_id))
    else:
        frame.plane.agents.delete(Caller(client_id=ClientId(client_id)), AgentId(agent_id))
    refused = frame.call("POST", path, token, json={}).status_code
    frame.storage.failure = AWAY
    assert (refused, frame.call("POST", path, token, json={}).status_code) == (401 if gone == "token" else 404, 503)


@pytest.mark.parametrize("trouble", [StateConflict("locked"), RuntimeError("a defect"), InvariantViolated("a defect")])
def test_no_trouble_of_ours_silences_an_agent_that_is_known_t03(frame: Frame, trouble: Exception) -> None:
    _, token = frame.client()
    path = f"/api/agents/{frame.agent(token)}/heartbeat"
    frame.call("POST", path, token, json={})
    frame.storage.failure = trouble
    answer = frame.call("POST", path, token, json={})
    assert (answer.status_code, answer.json()["acknowledged"]) == (200, False)
    frame.storage.failure = None
    assert frame.call("POST", path, token, json={}).json()["acknowledged"]  # it was no outage: nobody is spared


@pytest.mark.parametrize(("trouble", "status"), [(StateConflict("locked"), 409), (RuntimeError("a defect"), 500)])
def test_who_is_not_known_hears_of_it(frame: Frame, trouble: Exception, status: int) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    frame.storage.failure = trouble
    assert frame.call("POST", f"/api/agents/{agent}/heartbeat", token, json={}).status_code == status


def test_an_agent_that_this_process_has_not_seen_gets_503_z32(frame: Frame) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    frame.storage.failure = AWAY
    answer = frame.call("POST", f"/api/agents/{agent}/heartbeat", token, json={})
    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")


def test_the_memory_opens_for_the_same_token_alone_z32(frame: Frame) -> None:
    _, right = frame.client()
    path = f"/api/agents/{frame.agent(right)}/heartbeat"
    frame.call("POST", path, right, json={})
    frame.storage.failure = AWAY
    assert frame.call("POST", path, "wrong", json={}).status_code == 503


def test_another_agent_of_the_same_token_is_not_vouched_for_z32(frame: Frame) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    frame.call("POST", f"/api/agents/{agent}/heartbeat", token, json={})
    frame.storage.failure = AWAY
    assert frame.call("POST", "/api/agents/other/heartbeat", token, json={}).status_code == 503


def test_a_hundred_heartbeats_in_an_outage_ask_the_database_once(frame: Frame) -> None:
    _, token = frame.client()
    path = f"/api/agents/{frame.agent(token)}/heartbeat"
    frame.call("POST", path, token, json={})
    frame.storage.failure, frame.storage.tries = AWAY, 0
    answers = {frame.call("POST", path, token, json={}).status_code for _ in range(100)}
    assert answers == {200}
    assert frame.storage.tries <= 3  # one look-up that fails, and perhaps a probe a second later


def test_only_heartbeats_are_answered_from_memory(frame: Frame) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    frame.call("POST", f"/api/agents/{agent}/heartbeat", token, json={})
    frame.storage.failure = AWAY
    for method, path in (("GET", "config"), ("GET", "pending-commands"), ("POST", "termination-imminent")):
        assert frame.call(method, f"/api/agents/{agent}/{path}", token).status_code == 503


def test_a_healthy_health_check_shows_heartbeats_at_once_that_the_database_is_back(frame: Frame) -> None:
    _, token = frame.client()
    path = f"/api/agents/{frame.agent(token)}/heartbeat"
    frame.call("POST", path, token, json={})
    frame.storage.failure = AWAY
    assert not frame.call("POST", path, token, json={}).json()["acknowledged"]
    assert frame.call("GET", "/health").status_code == 503
    frame.storage.failure = None
    assert frame.call("GET", "/health").status_code == 200
    assert frame.call("POST", path, token, json={}).json()["acknowledged"]


def test_heartbeats_are_acknowledged_again_once_the_database_is_back(frame: Frame) -> None:
    _, token = frame.client()
    path = f"/api/agents/{frame.agent(token)}/heartbeat"
    frame.call("POST", path, token, json={})
    frame.storage.failure = AWAY
    assert not frame.call("POST", path, token, json={}).json()["acknowledged"]
    frame.storage.failure = None
    assert any(_acknowledged_soon(frame, path, token))


def _acknowledged_soon(frame: Frame, path: str, token: str) -> "list[bool]":
    until, found = time.monotonic() + 4 * RETRY_SECONDS, [False]
    while not found[-1] and time.monotonic() < until:
        found.append(frame.call("POST", path, token, json={}).json()["acknowledged"])
        time.sleep(0.05)
    return found
