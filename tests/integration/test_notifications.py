"""E82, E83, E87…E89 over the whole application."""

from typing import Any

import psycopg
import pytest

from tests.support.server import Reply, Site, Tenant
from tests.support.wire_agents import V4c

LIST = "/api/notifications"
ITEM = {"id", "message", "severity", "isRead", "time", "clientId"}
ALERT = {
    "alert_id", "alert_type", "pool_id", "threshold", "threshold_price", "enabled", "notification_channels",
    "created_at",
}  # fmt: skip
POOL = "t3.medium.us-east-1b"


@pytest.fixture
def tenant(site: Site) -> Tenant:
    return site.client("Acme")


def agent(tenant: Tenant, logical: str = "web") -> V4c:
    host = V4c(tenant, tenant.site.new_machine(), logical=logical)
    assert host.register().status == 200
    return host


def texts(answer: Reply) -> list[str]:
    assert answer.status == 200, answer
    return [row["message"] for row in answer.data]


def unread(answer: Reply) -> int:
    return int(answer.headers["x-unread-count"])


def broadcast(site: Site, message: str = "Maintenance at noon") -> None:
    with psycopg.connect(site.connections.database_url) as connection:
        connection.execute(
            "insert into notifications values ('everybody', null, 'critical', %s, %s, 'm', 'e')",
            (message, site.clock.now()),
        )


# ---- E87


def test_a_client_reads_its_own_newest_first_e87(tenant: Tenant) -> None:
    site = tenant.site
    site.clock.advance(1)
    host = agent(tenant)
    site.clock.advance(1)
    host.stop()
    answer = tenant.get(LIST)
    assert texts(answer) == [
        "Agent web is offline: clean stop", f"Agent web registered on {host.machine}", "Client Acme created"
    ]  # fmt: skip
    assert all(set(row) == ITEM for row in answer.data)
    first = answer.data[0]
    assert (first["severity"], first["isRead"], first["clientId"]) == ("warning", False, tenant.client_id)
    assert first["time"] == "2026-03-02T12:00:02Z"
    assert unread(answer) == 3


def test_limit_is_clamped_and_unread_counts_the_whole_view_e87(tenant: Tenant) -> None:
    for number in range(12):
        agent(tenant, f"a{number}")
    assert len(tenant.get(LIST).data) == 10
    for asked, shown in ((3, 3), (0, 1), (-5, 1), (1000, 13)):
        answer = tenant.get(f"{LIST}?limit={asked}")
        assert len(answer.data) == shown
        assert unread(answer) == 13


@pytest.mark.parametrize("query", ["limit=ten", "limit=1.5", "unread=perhaps", f"client_id={'x' * 129}"])
def test_a_wrong_parameter_is_400_e87(tenant: Tenant, query: str) -> None:
    answer = tenant.get(f"{LIST}?{query}")
    assert (answer.status, answer.body["code"]) == (400, "VALIDATION_ERROR")


def test_the_legacy_shape_is_the_naked_list_with_the_same_header(tenant: Tenant) -> None:
    answer = tenant.get(LIST, headers={"X-Response-Shape": "legacy"})
    assert [set(row) for row in answer.body] == [ITEM]
    assert unread(answer) == 1


def test_a_client_sees_nothing_of_another_one_failure_96(site: Site, tenant: Tenant) -> None:
    other = site.client("Other")
    agent(other)
    assert texts(tenant.get(LIST)) == ["Client Acme created"]
    refused = tenant.get(f"{LIST}?client_id={other.client_id}")
    assert (refused.status, refused.body["code"]) == (403, "FORBIDDEN")
    assert len(tenant.get(f"{LIST}?client_id={tenant.client_id}").data) == 1


@pytest.mark.usefixtures("tenant")
def test_the_operator_sees_all_or_one_clients_e87(site: Site) -> None:
    other = site.client("Other")
    agent(other)
    broadcast(site)
    assert len(site.call("GET", LIST).data) == 4
    one = site.call("GET", f"{LIST}?client_id={other.client_id}")
    assert sorted(texts(one))[0] == f"Agent web registered on {next(iter(_machines(other)))}"
    assert {row["clientId"] for row in one.data} == {None, other.client_id}
    assert unread(one) == 3
    assert unread(site.call("GET", f"{LIST}?client_id=unknown")) == 1  # the broadcast


def _machines(tenant: Tenant) -> list[str]:
    with psycopg.connect(tenant.site.connections.database_url) as connection:
        rows = connection.execute("select cloud_id from instances where client_id = %s", (tenant.client_id,))
        return [row[0] for row in rows]


@pytest.mark.usefixtures("tenant")
def test_a_deleted_clients_are_neither_listed_nor_counted_e87(site: Site) -> None:
    gone = site.client("Gone")
    agent(gone)
    found = next(row["id"] for row in gone.get(LIST).data)
    assert site.call("DELETE", f"/api/admin/clients/{gone.client_id}").status == 200
    everything = site.call("GET", LIST)
    assert texts(everything) == ["Client Acme created"]
    assert unread(everything) == 1
    assert site.call("GET", f"{LIST}?client_id={gone.client_id}").data == []
    assert site.call("POST", f"{LIST}/{found}/mark-read").status == 404
    assert site.call("POST", f"{LIST}/mark-all-read", {"client_id": gone.client_id}).data["marked_count"] == 0
    assert gone.get(LIST).status == 401


@pytest.mark.parametrize(
    ("method", "path"), [("GET", LIST), ("POST", f"{LIST}/x/mark-read"), ("POST", f"{LIST}/mark-all-read")]
)
def test_notifications_need_a_token(site: Site, method: str, path: str) -> None:
    assert site.call(method, path, token=None).status == 401
    assert site.call(method, path, token="wrong").status == 401


# ---- E88, E89


def test_marking_one_as_read_is_repeatable_and_shows_e88(tenant: Tenant) -> None:
    agent(tenant)
    newest = tenant.get(LIST).data[0]["id"]
    for _ in range(2):
        answer = tenant.post(f"{LIST}/{newest}/mark-read")
        assert (answer.status, answer.data) == (200, {"success": True})
    listed = tenant.get(LIST)
    assert [row["isRead"] for row in listed.data if row["id"] == newest] == [True]
    assert unread(listed) == 1
    (left,) = tenant.get(f"{LIST}?unread=true").data
    assert left["id"] != newest


@pytest.mark.parametrize("named", ["unknown", "x" * 200, "%00"])
def test_an_unknown_notification_is_404_e88(tenant: Tenant, named: str) -> None:
    assert tenant.post(f"{LIST}/{named}/mark-read").status == 404


def test_another_clients_notification_is_404_and_stays_unread_s12(site: Site, tenant: Tenant) -> None:
    other = site.client("Other")
    foreign = other.get(LIST).data[0]["id"]
    mine, unknown = tenant.post(f"{LIST}/{foreign}/mark-read"), tenant.post(f"{LIST}/unknown/mark-read")
    assert mine.status == 404
    assert mine.body == unknown.body  # 2.3: the two are never told apart
    assert unread(other.get(LIST)) == 1


@pytest.mark.parametrize("body", [None, {}, {"client_id": None}, {"client_id": "FOREIGN"}])
def test_a_client_marks_all_of_its_own_and_always_only_those_e89_failure_96(
    site: Site, tenant: Tenant, body: Any
) -> None:
    other = site.client("Other")
    if body and body.get("client_id"):
        body = {"client_id": other.client_id}
    answer = tenant.post(f"{LIST}/mark-all-read", body)
    assert (answer.status, answer.data) == (200, {"success": True, "marked_count": 1})
    assert unread(tenant.get(LIST)) == 0
    assert unread(other.get(LIST)) == 1
    assert unread(site.call("GET", LIST)) == 2  # the operator reads for itself
    assert tenant.post(f"{LIST}/mark-all-read").data["marked_count"] == 0


def test_the_operator_marks_one_clients_or_all_and_no_client_notices_e89(site: Site, tenant: Tenant) -> None:
    other = site.client("Other")
    assert site.call("POST", f"{LIST}/mark-all-read", {"client_id": other.client_id}).data["marked_count"] == 1
    assert unread(site.call("GET", LIST)) == 1
    assert site.call("POST", f"{LIST}/mark-all-read").data["marked_count"] == 1
    assert unread(site.call("GET", LIST)) == 0
    assert unread(tenant.get(LIST)) == unread(other.get(LIST)) == 1


def test_a_broadcast_is_everybodys_and_read_by_each_for_itself_nt2(site: Site, tenant: Tenant) -> None:
    other = site.client("Other")
    for each in (tenant, other):
        each.post(f"{LIST}/mark-all-read")
    broadcast(site)
    (shown,) = tenant.get(f"{LIST}?unread=1").data
    assert (shown["clientId"], shown["severity"], shown["message"]) == (None, "error", "Maintenance at noon")
    assert tenant.post(f"{LIST}/everybody/mark-read").status == 200
    assert unread(tenant.get(LIST)) == 0
    assert unread(other.get(LIST)) == 1
    assert other.post(f"{LIST}/mark-all-read").data["marked_count"] == 1


# ---- E82, E83


def at(tenant: Tenant) -> str:
    return f"/api/client/{tenant.client_id}/pricing-alerts"


def test_an_alert_has_its_defaults_and_is_listed_newest_first_e82_e83(tenant: Tenant) -> None:
    assert tenant.get(at(tenant)).data == []
    first = tenant.post(at(tenant), {"threshold": 0.02})
    assert first.status == 201
    assert set(first.data) == ALERT
    assert {name: value for name, value in first.data.items() if name not in ("alert_id", "created_at")} == {
        "alert_type": "price_below", "pool_id": None, "threshold": 0.02, "threshold_price": 0.02, "enabled": True,
        "notification_channels": ["dashboard"],
    }  # fmt: skip
    tenant.site.clock.advance(1)
    wanted = {
        "threshold_price": 1, "alert_type": "price_above", "pool_id": POOL, "enabled": False,
        "notification_channels": ["dashboard", "email"],
    }  # fmt: skip
    second = tenant.post(at(tenant), wanted)
    assert (second.data["threshold"], second.data["pool_id"], second.data["enabled"]) == (1, POOL, False)
    assert tenant.get(at(tenant)).data == [second.data, first.data]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "threshold"),
        ({"threshold": 0}, "threshold"),
        ({"threshold": -0.1}, "threshold"),
        ({"threshold": "0.02"}, "threshold"),
        ({"threshold": 1e400}, "threshold"),
        ({"threshold": 1, "alert_type": "price_sideways"}, "alert_type"),
        ({"threshold": 1, "pool_id": "nowhere"}, "pool_id"),
        ({"threshold": 1, "notification_channels": "dashboard"}, "notification_channels"),
        ({"threshold": 1, "notification_channels": ["x" * 65]}, "notification_channels"),
        ({"threshold": 1, "notification_channels": ["x"] * 11}, "notification_channels"),
        ({"threshold": 1, "enabled": "yes"}, "enabled"),
    ],
)
def test_a_wrong_alert_is_400_and_names_the_field_e83(tenant: Tenant, body: dict[str, Any], field: str) -> None:
    if body.get("threshold") == 1e400:
        answer = tenant.post(at(tenant), '{"threshold": 1e400}')
    else:
        answer = tenant.post(at(tenant), body)
    assert (answer.status, list(answer.body["details"])) == (400, [field])
    assert tenant.get(at(tenant)).data == []


def test_the_same_key_makes_one_alert_e83(tenant: Tenant) -> None:
    first, again = (tenant.post(at(tenant), {"threshold": 0.02}, headers={"X-Request-ID": "k"}) for _ in range(2))
    assert (first.status, again.status) == (201, 201)
    assert first.data == again.data
    assert len(tenant.get(at(tenant)).data) == 1


def test_alerts_of_another_client_are_403_and_the_operators_to_make(site: Site, tenant: Tenant) -> None:
    other = site.client("Other")
    for method, body in (("GET", None), ("POST", {"threshold": 1})):
        assert tenant.call(method, at(other), body).status == 403
    assert site.call("POST", at(other), {"threshold": 1}).status == 201
    assert len(other.get(at(other)).data) == 1
    site.call("DELETE", f"/api/admin/clients/{other.client_id}")
    for path in (at(other), "/api/client/unknown/pricing-alerts"):
        assert site.call("GET", path).status == 404
        assert site.call("POST", path, {"threshold": 1}).status == 404


def test_a_price_report_tells_of_an_alert_once_an_hour_e74(tenant: Tenant) -> None:
    host = agent(tenant)
    tenant.post(at(tenant), {"threshold": 0.0130})
    tenant.post(f"{LIST}/mark-all-read")
    tenant.site.clock.advance(1)
    for _ in range(2):
        assert host.prices().body["records_inserted"] == 3
        (told,) = tenant.get(f"{LIST}?unread=true").data
        tenant.site.clock.advance(300)
    assert told["message"] == f"Spot price of {POOL} is 0.0125 $/h, below your limit of 0.013 $/h"
    assert told["severity"] == "info"
    tenant.site.clock.advance(3600)
    host.prices()
    assert unread(tenant.get(LIST)) == 2
