"""E34, E38, E39: what people order for machines, in every spelling, and each refusal (http-api 7.5)."""

from typing import Any

import pytest
from httpx2 import Response

from tests.unit.http.frame import Frame

PRIMARY, OLD = "i-0000000000000000a", "i-0000000000000000b"
A, B = "m5.large.us-east-1a", "m5.large.us-east-1b"


@pytest.fixture
def token(frame: Frame) -> str:
    return frame.client()[1]


@pytest.fixture
def agent_id(frame: Frame, token: str) -> str:
    """A v4c on Spot with prices for two zones."""
    found = frame.agent(token, PRIMARY)
    beat = {"status": "online", "instance_id": PRIMARY, "mode": "spot"}
    assert frame.call("POST", f"/api/agents/{found}/heartbeat", token, json=beat).status_code == 200
    pools = [{"pool_id": A, "price": 0.05}, {"pool_id": B, "price": 0.03}]
    sheet = {"instance": {"instance_id": PRIMARY}, "pricing": {"on_demand_price": 0.2, "spot_pools": pools}}
    assert frame.call("POST", f"/api/agents/{found}/pricing-report", token, json=sheet).status_code == 200
    return found


@pytest.fixture
def modern_id(frame: Frame, token: str) -> str:
    """A v5, which takes launch and terminate commands."""
    body = {
        "instance_id": "i-0000000000000005a", "logical_agent_id": "modern", "instance_type": "m5.large",
        "region": "us-east-1", "az": "us-east-1a", "mode": "spot", "project_id": "default",
    }  # fmt: skip
    return str(frame.call("POST", "/api/agents/register", token, json=body).json()["agent_id"])


def switch(frame: Frame, token: str | None, body: Any, machine: str = PRIMARY) -> Response:
    return frame.call("POST", f"/api/client/instances/{machine}/force-switch", token, json=body)


def launch(frame: Frame, token: str, **body: Any) -> Response:
    return frame.call("POST", "/api/client/instances/launch", token, json=body)


def terminate(frame: Frame, token: str, machine: str, body: Any = None) -> Response:
    return frame.call("POST", f"/api/client/instances/{machine}/terminate", token, json=body)


def code(answer: Response) -> tuple[int, str]:
    assert answer.json()["data"] is None
    return answer.status_code, answer.json()["code"]


def queued(frame: Frame, token: str, agent_id: str) -> list[Any]:
    found: list[Any] = frame.call("GET", f"/api/agents/{agent_id}/pending-commands", token).json()["commands"]
    return found


# ---- E34


@pytest.mark.parametrize(
    ("body", "mode", "pool", "wait"),
    [
        ({"target": "ondemand"}, "ondemand", None, 300), ({"target": "on-demand"}, "ondemand", None, 300),
        ({"target": "pool", "pool_id": B}, "spot", B, 300), ({"target_pool": B, "auto_terminate": False}, "spot", B, 0),
        ({"target_pool": B, "target_type": "spot", "auto_terminate": True}, "spot", B, 300),
        ({"target_pool_id": B, "target_mode": "spot"}, "spot", B, 300), ({"pool_id": B}, "spot", B, 300),
        ({"target": "spot"}, "spot", B, 300),  # the cheapest other pool
        ({"pool_id": B, "target_pool": A, "target_pool_id": A}, "spot", B, 300),
        ({"target": "ondemand", "target_type": "spot", "target_mode": "spot"}, "ondemand", None, 300),
        ({"target": "pool", "pool_id": B, "auto_terminate": 0}, "spot", B, 0),
        ({"target": "pool", "pool_id": B, "new_instance_type": "m5.large"}, "spot", B, 300),
        ({"target": None, "pool_id": B, "auto_terminate": None, "colour": "red"}, "spot", B, 300),
    ],
)  # fmt: skip
def test_e34_every_body_that_was_ever_sent_means_one_switch_c17(
    frame: Frame, token: str, agent_id: str, body: dict[str, Any], mode: str, pool: str | None, wait: int
) -> None:
    answer = switch(frame, token, body)
    assert answer.status_code == 200, answer.text
    (command,) = queued(frame, token, agent_id)
    assert answer.json()["data"] == {"success": True, "command_id": command["id"], "status": "pending"}
    assert answer.json()["message"].startswith("Switch queued")
    assert (command["target_mode"], command["target_pool_id"], command["priority"]) == (mode, pool, 75)
    assert command["terminate_wait_seconds"] == wait


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"target": "pool"}, "pool_id"), ({"target": "cloud"}, None), ({"target": "unknown", "pool_id": B}, "target"),
        ({"target": 7}, "target"), ({"pool_id": 7}, "pool_id"), ({"pool_id": "x" * 129}, "pool_id"),
        ({"target": "x" * 33}, "target"), ({"pool_id": B, "auto_terminate": "yes"}, "auto_terminate"),
        ({"pool_id": B, "new_instance_type": "m" * 51}, "new_instance_type"), ({"pool_id": "nonsense"}, None), ({}, None),
    ],
)  # fmt: skip
def test_e34_what_cannot_be_meant_is_400_and_queues_nothing(
    frame: Frame, token: str, agent_id: str, body: dict[str, Any], field: str | None
) -> None:
    answer = switch(frame, token, body)
    assert code(answer) == (400, "VALIDATION_ERROR")
    if field is not None:
        assert list(answer.json()["details"]) == [field]
    assert queued(frame, token, agent_id) == []


@pytest.mark.parametrize(
    "body",
    [
        {"pool_id": "c5.large.us-east-1b"},
        {"pool_id": "m5.large.eu-west-1a"},
        {"pool_id": B, "new_instance_type": "c5.large"},
    ],
)
def test_e34_no_build_changes_its_type_or_region(frame: Frame, token: str, agent_id: str, body: dict[str, str]) -> None:
    assert code(switch(frame, token, body)) == (400, "POOL_MISMATCH")
    assert queued(frame, token, agent_id) == []


def test_e34_where_the_workload_is_already_is_200_without_a_command(frame: Frame, token: str, agent_id: str) -> None:
    answer = switch(frame, token, {"pool_id": A})
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert (data["success"], data["current_mode"], data["current_pool_id"]) == (False, "spot", A)
    assert "command_id" not in data
    assert queued(frame, token, agent_id) == []


def test_e34_a_disabled_agent_is_400_and_auto_switch_does_not_matter(frame: Frame, token: str, agent_id: str) -> None:
    settings = {"autoSwitchEnabled": False}
    frame.call("POST", f"/api/client/agents/{agent_id}/config", token, json=settings)
    frame.call("POST", f"/api/client/agents/{agent_id}/toggle-enabled", token, json={"enabled": False})
    assert code(switch(frame, token, {"pool_id": B})) == (400, "AGENT_DISABLED")
    frame.call("POST", f"/api/client/agents/{agent_id}/toggle-enabled", token, json={"enabled": True})
    assert switch(frame, token, {"pool_id": B}).json()["data"]["success"] is True


def test_e34_a_second_one_is_blocked_and_says_by_which_guards(frame: Frame, token: str, agent_id: str) -> None:
    switch(frame, token, {"pool_id": B})
    blocked = switch(frame, token, {"target": "ondemand"})
    assert code(blocked) == (409, "SWITCH_BLOCKED")
    assert blocked.json()["details"] == {"guards": ["COMMAND_IN_FLIGHT"]}
    assert len(queued(frame, token, agent_id)) == 1


def test_e34_the_operators_order_is_the_same_and_a_foreign_machine_is_unknown(
    frame: Frame, token: str, agent_id: str
) -> None:
    _, other = frame.client("Other")
    foreign, unknown = switch(frame, other, {"pool_id": B}), switch(frame, other, {"pool_id": B}, "i-0none")
    assert (foreign.status_code, foreign.json()) == (unknown.status_code, unknown.json())
    assert code(foreign) == (404, "NOT_FOUND")
    admin = frame.call("POST", f"/api/client/instances/{PRIMARY}/force-switch", json={"pool_id": B})
    assert admin.json()["data"]["command_id"] == queued(frame, token, agent_id)[0]["id"]


# ---- E38


def test_e38_of_a_modern_agent_is_201_and_every_field(frame: Frame, token: str, modern_id: str) -> None:
    answer = launch(frame, token, agent_id=modern_id)
    data = answer.json()["data"]
    assert answer.status_code == 201
    assert set(data) == {"success", "instance_id", "command_id", "request_id", "status"}
    assert (data["success"], data["status"]) == (True, "launching")
    assert data["instance_id"].startswith("i-pending-")
    assert len(data["instance_id"]) == len("i-pending-") + 8
    (command,) = frame.call("GET", f"/api/agents/{modern_id}/commands/pending", token).json()["commands"]
    assert (command["command_type"], command["request_id"]) == ("LAUNCH_INSTANCE", data["request_id"])
    assert command["instance_id"] == data["instance_id"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "agent_id"), ({"agent_id": None}, "agent_id"), ({"agent_id": 7}, "agent_id"), ({"agent_id": "x" * 129}, "agent_id"),
        ({"role_hint": "zombie"}, "role_hint"), ({"role_hint": 5}, "role_hint"), ({"target_pool_id": 5}, "target_pool_id"),
        ({"az": ["a"]}, "az"), ({"instance_type": "m" * 65}, "instance_type"), ({"target_mode": 1}, "target_mode"),
    ],
)  # fmt: skip
def test_e38_what_cannot_be_meant_is_400_and_names_its_field(
    frame: Frame, token: str, modern_id: str, body: dict[str, Any], field: str
) -> None:
    answer = launch(frame, token, **({} if field == "agent_id" else {"agent_id": modern_id}), **body)
    assert code(answer) == (400, "VALIDATION_ERROR")
    assert list(answer.json()["details"]) == [field]


def test_e38_of_a_classic_agent_is_unsupported(frame: Frame, token: str, agent_id: str) -> None:
    for role in ("replica", "primary"):
        assert code(launch(frame, token, agent_id=agent_id, role_hint=role)) == (400, "UNSUPPORTED_OPERATION")


def test_e38_a_second_replica_is_one_too_many_i2(frame: Frame, token: str, modern_id: str) -> None:
    assert launch(frame, token, agent_id=modern_id).status_code == 201
    assert code(launch(frame, token, agent_id=modern_id)) == (400, "REPLICA_EXISTS")


@pytest.mark.parametrize("body", [{"instance_type": "c5.large"}, {"target_pool_id": "c5.large.us-east-1a"}])
def test_e38_another_type_is_a_mismatch(frame: Frame, token: str, modern_id: str, body: dict[str, str]) -> None:
    assert code(launch(frame, token, agent_id=modern_id, **body)) == (400, "POOL_MISMATCH")


def test_e38_of_an_unknown_or_foreign_agent_is_404(frame: Frame, modern_id: str) -> None:
    _, other = frame.client("Other")
    assert (
        code(launch(frame, other, agent_id=modern_id))
        == code(launch(frame, other, agent_id="nobody"))
        == (404, "NOT_FOUND")
    )
    admin = frame.call("POST", "/api/client/instances/launch", json={"agent_id": "nobody"})
    assert code(admin) == (404, "NOT_FOUND")
    assert frame.call("POST", "/api/client/instances/launch", json={"agent_id": modern_id}).status_code == 201


# ---- E39


@pytest.mark.parametrize("body", [None, {}, {"force": False}, {"force": True}, {"force": 1}])
def test_e39_the_primary_is_never_ended_z8(frame: Frame, token: str, agent_id: str, body: Any) -> None:
    refused = terminate(frame, token, PRIMARY, body)
    assert code(refused) == (409, "IS_PRIMARY")
    assert "promote" in refused.json()["error"] or "switch" in refused.json()["error"]
    assert queued(frame, token, agent_id) == []


def moved(frame: Frame, token: str, agent_id: str) -> None:
    """The agent has switched; its old machine is a zombie."""
    assert switch(frame, token, {"pool_id": B}).status_code == 200
    queued(frame, token, agent_id)
    report = {
        "old_instance": {"instance_id": PRIMARY, "mode": "spot"},
        "new_instance": {"instance_id": OLD, "mode": "spot", "pool_id": B},
    }
    assert frame.call("POST", f"/api/agents/{agent_id}/switch-report", token, json=report).status_code == 200


def test_e39_a_v4c_finds_the_machine_in_its_list_so_there_is_no_command(
    frame: Frame, token: str, agent_id: str
) -> None:
    moved(frame, token, agent_id)
    for _ in range(2):  # already terminating: 200 with that status and no command
        answer = terminate(frame, token, PRIMARY)
        assert (answer.status_code, answer.json()["data"]) == (200, {
            "success": True, "instance_id": PRIMARY, "command_id": None, "request_id": None, "status": "terminating",
        })  # fmt: skip
    listed = frame.call("GET", f"/api/agents/{agent_id}/instances-to-terminate", token).json()["instances"]
    assert [row["instance_id"] for row in listed] == [PRIMARY]
    done = {"instance_id": PRIMARY, "success": True}
    frame.call("POST", f"/api/agents/{agent_id}/termination-report", token, json=done)
    assert terminate(frame, token, PRIMARY).json()["data"]["status"] == "terminated"


@pytest.mark.parametrize("body", [{"force": "yes"}, {"force": 2}, {"force": []}])
def test_e39_force_is_a_boolean(frame: Frame, token: str, agent_id: str, body: Any) -> None:
    moved(frame, token, agent_id)
    answer = terminate(frame, token, PRIMARY, body)
    assert code(answer) == (400, "VALIDATION_ERROR")
    assert list(answer.json()["details"]) == ["force"]


def test_e39_a_released_machine_is_a_conflict_and_a_foreign_one_unknown(
    frame: Frame, token: str, agent_id: str
) -> None:
    _, other = frame.client("Other")
    assert code(terminate(frame, other, PRIMARY)) == code(terminate(frame, other, "i-0none")) == (404, "NOT_FOUND")
    frame.call("DELETE", f"/api/client/agents/{agent_id}", token)
    assert code(terminate(frame, token, PRIMARY)) == (409, "STATE_CONFLICT")
