"""E96 over memory: one thing to many, each by itself, with the checks of its own call (http-api 7.15)."""

from typing import Any

import pytest
from httpx2 import Response

from tests.unit.http.frame import Frame

BULK = "/api/admin/bulk/execute"


@pytest.fixture
def token(frame: Frame) -> str:
    return frame.client()[1]


def bulk(frame: Frame, operation: Any, ids: Any, field: str = "agent_ids", **more: Any) -> Response:
    return frame.call("POST", BULK, json={"operation": operation, field: ids, "confirm": True, **more})


def results(answer: Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert data["total"] == len(data["results"]) == data["succeeded"] + data["failed"]
    assert data["failed"] == sum(one["status"] == "failed" for one in data["results"])
    found: list[Any] = data["results"]
    return found


def enabled(frame: Frame, token: str, agent_id: str) -> bool:
    return bool(frame.call("GET", f"/api/agents/{agent_id}/config", token).json()["enabled"])


def test_every_kind_of_id_that_is_none_fails_alone_and_in_its_place(frame: Frame, token: str) -> None:
    agent_id = frame.agent(token)
    ids = ["", "x" * 129, "nobody", agent_id, "a\x00b", "..", " "]
    rows = results(bulk(frame, "disable_agents", ids))
    assert [row["status"] for row in rows if row["agent_id"] != agent_id] == ["failed"] * (len(rows) - 1)
    assert [row["status"] for row in rows if row["agent_id"] == agent_id] == ["success"]
    assert all(row["error"] for row in rows if row["status"] == "failed")
    assert "error" not in next(row for row in rows if row["status"] == "success")
    assert not enabled(frame, token, agent_id)


def test_an_id_that_is_named_twice_is_done_once_and_a_hundred_are_not_too_many(frame: Frame, token: str) -> None:
    agents = [frame.agent(token, f"i-{number:017x}", f"web-{number}") for number in range(1, 11)]
    rows = results(bulk(frame, "disable_agents", agents * 10))
    assert [row["agent_id"] for row in rows] == agents
    refused = bulk(frame, "disable_agents", [f"a{number}" for number in range(101)])
    assert (refused.status_code, list(refused.json()["details"])) == (400, ["agent_ids"])


def test_agents_of_all_clients_are_reached_and_what_is_so_already_stays_so(frame: Frame, token: str) -> None:
    _, other = frame.client("Other")
    mine, theirs = frame.agent(token), frame.agent(other, "i-0000000000000000b")
    for operation, wanted in (("disable_agents", False), ("disable_agents", False), ("enable_agents", True)):
        assert [row["status"] for row in results(bulk(frame, operation, [mine, theirs]))] == ["success", "success"]
        assert (enabled(frame, token, mine), enabled(frame, other, theirs)) == (wanted, wanted)


def test_a_deleted_agent_is_no_agent_to_switch_on_or_off(frame: Frame, token: str) -> None:
    agent_id = frame.agent(token)
    frame.call("DELETE", f"/api/client/agents/{agent_id}", token)
    for operation in ("enable_agents", "disable_agents"):
        assert [row["status"] for row in results(bulk(frame, operation, [agent_id]))] == ["failed"]


def test_machines_end_by_the_rules_of_e39_each_with_its_own_reason(frame: Frame, token: str) -> None:
    machine = "i-0000000000000000a"
    frame.agent(token, machine)
    rows = results(bulk(frame, "terminate_instances", [machine, "i-0none"], "instance_ids"))
    assert [(row["instance_id"], row["status"]) for row in rows] == [(machine, "failed"), ("i-0none", "failed")]
    assert rows[0]["error"] != rows[1]["error"]
    assert all("agent_id" not in row for row in rows)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"operation": None, "agent_ids": ["a"]}, "VALIDATION_ERROR", "operation"),
        ({"operation": 5, "agent_ids": ["a"]}, "VALIDATION_ERROR", "operation"),
        ({"operation": "x" * 65, "agent_ids": ["a"]}, "VALIDATION_ERROR", "operation"),
        ({"operation": "Delete_Agents", "agent_ids": ["a"]}, "UNSUPPORTED_OPERATION", None),
        ({"operation": "terminate_instances", "agent_ids": ["a"]}, "VALIDATION_ERROR", "instance_ids"),
        ({"operation": "enable_agents", "agent_ids": "a"}, "VALIDATION_ERROR", "agent_ids"),
        ({"operation": "enable_agents", "agent_ids": {"a": 1}}, "VALIDATION_ERROR", "agent_ids"),
        ({"operation": "enable_agents", "agent_ids": None}, "VALIDATION_ERROR", "agent_ids"),
        ({"operation": "enable_agents", "agent_ids": ["a"], "confirm": "true"}, "VALIDATION_ERROR", "confirm"),
        ({"operation": "enable_agents", "agent_ids": ["a"], "confirm": None}, "CONFIRMATION_REQUIRED", None),
        ({"operation": "enable_agents", "agent_ids": ["a"], "confirm": 0}, "CONFIRMATION_REQUIRED", None),
    ],
)  # fmt: skip
def test_what_is_not_meant_is_refused_whole(frame: Frame, body: dict[str, Any], code: str, field: str | None) -> None:
    answer = frame.call("POST", BULK, json={"confirm": True, **body})
    refusal = answer.json()
    assert (answer.status_code, refusal["code"], refusal["data"]) == (400, code, None)
    if field is not None:
        assert any(name.startswith(field) for name in refusal["details"]), refusal


def test_confirm_may_be_1_as_every_boolean_may(frame: Frame, token: str) -> None:
    agent_id = frame.agent(token)
    assert [row["status"] for row in results(bulk(frame, "disable_agents", [agent_id], confirm=1))] == ["success"]


def test_what_is_refused_for_one_undoes_nothing_of_the_others(frame: Frame, token: str) -> None:
    first = frame.agent(token)
    second = frame.agent(token, "i-0000000000000000b", "second")
    events = len(frame.storage.memory.tables.events)
    results(bulk(frame, "disable_agents", [first, "nobody", second]))
    kinds = [one.kind.value for one in frame.storage.memory.tables.events[events:]]
    assert kinds == ["agent_toggled", "agent_toggled"]
