"""E82, E83, E88, E89: price alerts and what has been read, over memory (http-api 7.11, 7.13)."""

from typing import Any

import pytest
from httpx2 import Response

from tests.unit.http.frame import Frame

POOL = "m5.large.us-east-1a"


@pytest.fixture
def client(frame: Frame) -> tuple[str, str]:
    return frame.client()


def add(frame: Frame, client: tuple[str, str], **body: Any) -> Response:
    return frame.call("POST", f"/api/client/{client[0]}/pricing-alerts", client[1], json=body)


def alerts(frame: Frame, client: tuple[str, str]) -> list[Any]:
    answer = frame.call("GET", f"/api/client/{client[0]}/pricing-alerts", client[1])
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["data"]
    return found


def ids(frame: Frame, client_id: str | None) -> list[str]:
    """Notifications of a client, or broadcasts."""
    notices = frame.storage.memory.tables.notifications.values()
    return [one.notification_id for one in notices if one.client_id == client_id]


def read(frame: Frame, token: str | None, notification_id: str) -> Response:
    return frame.call("POST", f"/api/notifications/{notification_id}/mark-read", token)


def read_all(frame: Frame, token: str | None, body: Any = None) -> Any:
    answer = frame.call("POST", "/api/notifications/mark-all-read", token, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["success"] is True
    return answer.json()["data"]["marked_count"]


# ---- E82, E83


def test_e83_every_field_of_an_alert_that_names_them_all(frame: Frame, client: tuple[str, str]) -> None:
    body = {
        "threshold": 0.012345, "alert_type": "price_above", "pool_id": POOL, "notification_channels": ["dashboard", "mail"],
        "enabled": False,
    }  # fmt: skip
    answer = add(frame, client, **body)
    data = answer.json()["data"]
    assert answer.status_code == 201
    assert data == {
        **body, "alert_id": data["alert_id"], "threshold_price": 0.012345, "created_at": "2026-03-02T12:00:00Z",
    }  # fmt: skip
    assert alerts(frame, client) == [data]


@pytest.mark.parametrize(
    "body",
    [
        {"threshold": 0.5}, {"threshold_price": 0.5}, {"threshold": 0.5, "threshold_price": 9}, {"threshold": None, "threshold_price": 0.5},
        {"threshold": 0.5, "alert_type": None, "pool_id": None, "notification_channels": None, "enabled": None},
        {"threshold": 0.5, "pool_id": "", "enabled": 1},
    ],
)  # fmt: skip
def test_e83_the_threshold_has_two_names_and_all_else_its_default(
    frame: Frame, client: tuple[str, str], body: dict[str, Any]
) -> None:
    data = add(frame, client, **body).json()["data"]
    assert (data["threshold"], data["alert_type"], data["pool_id"]) == (0.5, "price_below", None)
    assert (data["notification_channels"], data["enabled"]) == (["dashboard"], True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"threshold": None}, "threshold"), ({"threshold": True}, "threshold"), ({"threshold": [1]}, "threshold"),
        ({"threshold": 1, "alert_type": 5}, "alert_type"),
        ({"threshold": 1, "pool_id": 5}, "pool_id"), ({"threshold": 1, "pool_id": "x" * 129}, "pool_id"),
        ({"threshold": 1, "notification_channels": [5]}, "notification_channels"),
        ({"threshold": 1, "notification_channels": [""]}, "notification_channels"),
        ({"threshold": 1, "enabled": 2}, "enabled"),
    ],
)  # fmt: skip
def test_e83_what_is_wrong_is_400_by_its_field_and_nothing_is_kept(
    frame: Frame, client: tuple[str, str], body: dict[str, Any], field: str
) -> None:
    answer = add(frame, client, **body)
    refusal = answer.json()
    assert (answer.status_code, refusal["code"], refusal["data"]) == (400, "VALIDATION_ERROR", None)
    assert any(name == field or name.startswith(field) for name in refusal["details"]), refusal
    assert alerts(frame, client) == []


def test_e83_ten_channels_of_64_characters_are_enough(frame: Frame, client: tuple[str, str]) -> None:
    channels = [str(number) * 64 for number in range(10)]
    assert (
        add(frame, client, threshold=1, notification_channels=channels).json()["data"]["notification_channels"]
        == channels
    )


def test_e82_newest_first_and_each_client_its_own(frame: Frame, client: tuple[str, str]) -> None:
    other = frame.client("Other")
    add(frame, other, threshold=9)
    for number in (1, 2, 3):
        add(frame, client, threshold=number)
        frame.clock.advance(1)
    assert [row["threshold"] for row in alerts(frame, client)] == [3, 2, 1]
    assert [row["threshold"] for row in alerts(frame, other)] == [9]
    bare = frame.call(
        "GET", f"/api/client/{client[0]}/pricing-alerts", client[1], headers={"X-Response-Shape": "legacy"}
    ).json()
    assert bare == alerts(frame, client)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_alerts_of_an_unknown_or_deleted_client_are_404_for_the_operator(
    frame: Frame, client: tuple[str, str], method: str
) -> None:
    frame.call("DELETE", f"/api/admin/clients/{client[0]}")
    for client_id in (client[0], "nobody"):
        body = {"json": {"threshold": 1}} if method == "POST" else {}
        answer = frame.call(method, f"/api/client/{client_id}/pricing-alerts", **body)
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


# ---- E88, E89


@pytest.mark.parametrize("notification_id", ["x" * 129, "a%00b", "%20"])
def test_e88_what_no_notification_can_be_called_is_404(
    frame: Frame, client: tuple[str, str], notification_id: str
) -> None:
    assert read(frame, client[1], notification_id).status_code == 404


def test_e89_marks_its_own_once(frame: Frame, client: tuple[str, str]) -> None:
    for number in range(3):
        frame.agent(client[1], f"i-0000000000000000{number}", f"web-{number}")
    assert read_all(frame, client[1]) == 4  # itself created, and three agents
    assert read_all(frame, client[1]) == 0


@pytest.mark.parametrize(
    "body", [None, {}, {"client_id": None}, {"client_id": ""}, {"client_id": "{other}"}, {"client_id": 7}]
)
def test_e89_a_client_marks_always_and_only_its_own_whatever_it_names_s12(
    frame: Frame, client: tuple[str, str], body: dict[str, Any] | None
) -> None:
    other = frame.client("Other")
    named = {"client_id": other[0]} if body and body.get("client_id") == "{other}" else body
    assert read_all(frame, client[1], named) == 1
    assert read_all(frame, other[1]) == 1


@pytest.mark.parametrize("client_id", [7, ["a"], "x" * 129])
def test_e89_a_client_id_of_the_operator_is_a_text(frame: Frame, client_id: Any) -> None:
    answer = frame.call("POST", "/api/notifications/mark-all-read", json={"client_id": client_id})
    assert (answer.status_code, list(answer.json()["details"])) == (400, ["client_id"])


def test_e88_and_e89_in_the_legacy_shape_are_the_data_alone(frame: Frame, client: tuple[str, str]) -> None:
    bare = {"X-Response-Shape": "legacy"}
    (notification_id,) = ids(frame, client[0])
    one = frame.call("POST", f"/api/notifications/{notification_id}/mark-read", client[1], headers=bare)
    assert one.json() == {"success": True}
    all_of_them = frame.call("POST", "/api/notifications/mark-all-read", client[1], headers=bare)
    assert all_of_them.json() == {"success": True, "marked_count": 0}
