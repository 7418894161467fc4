"""E29 and E31: a client's machines and their figures, worked out by hand (http-api 7.5)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.screen_rows import Host, a_client, at, change
from tests.support.server import Site, Tenant
from tests.support.world import START

LEGACY = {"X-Response-Shape": "legacy"}


@pytest.fixture
def tenant(shared_site: Site, request: pytest.FixtureRequest) -> Tenant:
    return a_client(shared_site, request.node.name)


@pytest.fixture
def host(tenant: Tenant) -> Host:
    return Host(tenant)


def listed(tenant: Tenant, query: str = "", **more: Any) -> list[Any]:
    answer = tenant.get(f"/api/client/{tenant.client_id}/instances{query}", **more)
    assert answer.status == 200, answer
    rows: list[Any] = answer.body if more else answer.data
    return rows


def by_id(tenant: Tenant, query: str = "", **more: Any) -> dict[str, Any]:
    return {row["id"]: row for row in listed(tenant, query, **more)}


def figures(host: Host, machine: str | None = None, **more: Any) -> Any:
    answer = host.tenant.get(f"/api/client/instances/{machine or host.machine}/metrics", **more)
    assert answer.status == 200, answer
    return answer.body if more else answer.data


# ---- E29


def test_e29_every_field_of_a_primary(host: Host, tenant: Tenant) -> None:
    host.price("a", "0.0208")
    host.ondemand("0.0416")
    host.switch(recorded_at=at(2))
    host.switch(recorded_at=at(1))
    host.switch(state="failed")
    assert listed(tenant) == [
        {
            "id": host.machine, "type": host.type, "region": "us-east-1", "az": "us-east-1a", "mode": "spot",
            "poolId": host.pool("a"), "spotPrice": 0.0208, "onDemandPrice": 0.0416, "isActive": True,
            "instanceStatus": "running_primary", "isPrimary": True, "lastSwitch": "2026-03-02T11:00:00Z",
            "agentId": host.agent_id, "installedAt": "2026-03-02T12:00:00Z",
        }
    ]  # fmt: skip


STATES = {
    "launching": (True, True, False), "running_replica": (True, True, False), "terminating": (False, False, True),
    "zombie": (False, False, True), "terminated": (False, False, True), "released": (False, False, False),
}  # fmt: skip


@pytest.mark.parametrize("status", STATES)
def test_e29_what_is_active_and_what_has_ended_4_1(host: Host, tenant: Tenant, status: str) -> None:
    is_active, in_active, in_ended = STATES[status]
    machine = tenant.site.new_machine()
    host.machine_row(status, machine)
    row = by_id(tenant)[machine]
    assert (row["instanceStatus"], row["isActive"], row["isPrimary"]) == (status, is_active, False)
    assert (machine in by_id(tenant, "?status=active")) is in_active
    assert (machine in by_id(tenant, "?status=terminated")) is in_ended
    assert set(by_id(tenant, "?status=all")) == {host.machine, machine}


def test_e29_a_replica_that_waits_to_be_promoted_is_promoting_and_active(host: Host, tenant: Tenant) -> None:
    machine = tenant.site.new_machine()
    row_id = host.machine_row("running_replica", machine)
    replica = host.put("replicas", instance_id=row_id, state="syncing")
    incident = host.put(
        "incidents", instance_id=host.row_id, state="handling", replica_id=replica, promote_on_ready=True
    )
    assert by_id(tenant, "?status=active")[machine]["instanceStatus"] == "promoting"
    change(tenant.site, "incidents", {"incident_id": incident}, promoted_at=START)
    assert by_id(tenant)[machine]["instanceStatus"] == "running_replica"


def test_e29_a_machine_without_a_cloud_id_shows_its_placeholder_1_4(host: Host, tenant: Tenant) -> None:
    row_id = host.machine_row("launching", instance_type=None, az=None, mode="unknown")
    row = by_id(tenant)[f"i-pending-{row_id.replace('-', '')[:8]}"]
    names = ("type", "az", "mode", "poolId", "spotPrice", "onDemandPrice", "lastSwitch")
    assert tuple(row[name] for name in names) == (None, None, "unknown", "n/a", None, None, None)


def test_e29_newest_first(host: Host, tenant: Tenant) -> None:
    older, newer = tenant.site.new_machine(), tenant.site.new_machine()
    host.machine_row("zombie", older, created_at=at(5))
    host.machine_row("zombie", newer, created_at=at(4))
    assert [row["id"] for row in listed(tenant)] == [host.machine, newer, older]


@pytest.mark.parametrize(
    ("registered", "confirmed", "shown"),
    [
        (at(1), at(2), "2026-03-02T11:00:00Z"), (None, at(2), "2026-03-02T10:00:00Z"),
        (None, None, "2026-03-02T09:00:00Z"),
    ],
)  # fmt: skip
def test_e29_installed_is_registered_else_confirmed_else_requested(
    host: Host, tenant: Tenant, registered: datetime | None, confirmed: datetime | None, shown: str
) -> None:
    machine = tenant.site.new_machine()
    host.machine_row("zombie", machine, created_at=at(3), registered_at=registered, confirmed_at=confirmed)
    assert by_id(tenant)[machine]["installedAt"] == shown


def test_e29_filters_by_mode(host: Host, tenant: Tenant) -> None:
    machines = {mode: tenant.site.new_machine() for mode in ("ondemand", "unknown")}
    for mode, machine in machines.items():
        host.machine_row("zombie", machine, mode=mode)
    assert set(by_id(tenant, "?mode=spot")) == {host.machine}
    assert set(by_id(tenant, "?mode=ondemand")) == {machines["ondemand"]}
    assert len(by_id(tenant, "?mode=all")) == 3
    assert set(by_id(tenant, "?mode=ondemand&status=active")) == set()


def test_e29_finds_a_part_of_an_id_or_type_whatever_its_case_and_takes_wildcards_literally_s14(
    host: Host, tenant: Tenant
) -> None:
    host.machine_row("zombie", "i-0abcXYZ%_1", instance_type="c5.large")
    assert set(by_id(tenant, "?search=CXYZ")) == set(by_id(tenant, "?search=c5.L")) == {"i-0abcXYZ%_1"}
    assert set(by_id(tenant, "?search=%25_")) == {"i-0abcXYZ%_1"}
    assert set(by_id(tenant, "?search=_%25")) == set()
    assert set(by_id(tenant, "?search=%5C")) == set()  # a backslash
    assert len(by_id(tenant, "?search=")) == len(by_id(tenant, "?search=%20")) == 2


def test_e29_no_machine_of_another_client(shared_site: Site, host: Host, tenant: Tenant) -> None:
    Host(shared_site.client(f"other than {tenant.client_id}"))
    assert set(by_id(tenant)) == {host.machine}
    assert [row["id"] for row in shared_site.call("GET", f"/api/client/{tenant.client_id}/instances").data] == [
        host.machine
    ]


def test_e29_a_price_is_shown_for_an_hour_gf4(host: Host, tenant: Tenant) -> None:
    host.price("a", "0.02", START - timedelta(minutes=60) + timedelta(seconds=1))
    assert listed(tenant)[0]["spotPrice"] == 0.02
    change(tenant.site, "price_buckets", {"pool_id": host.pool("a")}, observed_at=at(1))
    assert listed(tenant)[0]["spotPrice"] is None


def test_e29_the_on_demand_price_is_the_latest_unflagged_else_registered_else_flagged_sv5(
    host: Host, tenant: Tenant
) -> None:
    host.ondemand("0.1", at(1), flagged=True)
    assert listed(tenant)[0]["onDemandPrice"] == 0.1
    host.change(registered_ondemand_price="0.05")
    assert listed(tenant)[0]["onDemandPrice"] == 0.05
    host.ondemand("0.06", at(9))
    host.ondemand("0.07", at(8))
    host.ondemand("0.9", at(8), region="eu-west-1")
    assert listed(tenant)[0]["onDemandPrice"] == 0.07


PAID = [
    # mode, spot price, on-demand price: what the page gets for "Current Price" and "On-Demand"
    ("spot", "0.02", "0.04", (0.02, 0.04)),
    ("spot", "0.02", None, (0.02, 0)),  # 0 is shown as "N/A", and no savings are claimed
    ("spot", None, "0.04", (0, 0)),
    ("spot", None, None, (0, 0)),
    ("ondemand", "0.02", "0.04", (0.04, 0.04)),
    ("ondemand", "0.02", None, (0, 0)),
    ("unknown", "0.02", "0.04", (0.02, 0.04)),
]


@pytest.mark.parametrize(("mode", "spot", "ondemand", "shown"), PAID)
def test_e29_legacy_shows_what_is_really_paid_c54_t42(
    host: Host, tenant: Tenant, mode: str, spot: str | None, ondemand: str | None, shown: tuple[float, float]
) -> None:
    change(tenant.site, "instances", {"instance_id": host.row_id}, mode=mode)
    if spot:
        host.price("a", spot)
    if ondemand:
        host.ondemand(ondemand)
    (row,) = listed(tenant, headers=LEGACY)
    assert (row["spotPrice"], row["onDemandPrice"]) == shown
    (honest,) = listed(tenant)
    assert honest["spotPrice"] == (float(spot) if spot else None)
    assert honest["onDemandPrice"] == (float(ondemand) if ondemand else None)
    assert {**honest, "spotPrice": 0, "onDemandPrice": 0} == {**row, "spotPrice": 0, "onDemandPrice": 0}


# ---- E31


def test_e31_every_figure(host: Host) -> None:
    change(
        host.site, "instances", {"instance_id": host.row_id}, created_at=at(90), confirmed_at=at(50.5), registered_at=at(50)
    )  # fmt: skip
    host.change(registered_ondemand_price="0.05")
    host.price("a", "0.02")
    host.ondemand("0.04")
    for days, seconds in ((1, "3"), (6.9, None), (8, "6"), (29.9, None), (31, "9")):
        host.switch(recorded_at=at(days * 24), downtime_seconds=seconds)
    host.switch(old_instance_id=None, recorded_at=at(2))  # of the agent, not naming this machine
    host.switch(state="failed", recorded_at=at(1), downtime_seconds="1000")
    host.line(at(29 * 24), 24, "10", "4")
    host.line(at(31 * 24), 24, "20", "4")
    host.line(at(30), 24, "1", "2", instance_id=host.machine_row("zombie"))
    for severity, machine in (("termination", host.row_id), ("termination", host.row_id), ("rebalance", host.row_id)):
        host.put("incidents", instance_id=machine, severity=severity)
    assert figures(host) == {
        "id": host.machine, "instanceType": host.type, "currentMode": "spot", "currentPoolId": host.pool("a"),
        "spotPrice": 0.02, "onDemandPrice": 0.04, "baselineOnDemandPrice": 0.05, "uptimeHours": 50,
        "hoursSinceLastSwitch": 24, "totalSwitches": 6, "switchesLast7Days": 3, "switchesLast30Days": 5,
        "savingsLast30Days": 6, "totalSavings": 22, "interruptionCount": 2, "avgSwitchDowntimeSeconds": 6,
    }  # fmt: skip


def test_e31_unknown_is_null_and_every_number_is_padded_in_the_legacy_shape_t26(host: Host) -> None:
    data = figures(host)
    unknown = {
        "spotPrice", "onDemandPrice", "baselineOnDemandPrice", "savingsLast30Days", "totalSavings",
        "avgSwitchDowntimeSeconds",
    }  # fmt: skip
    assert {name for name, value in data.items() if value is None} == unknown
    assert (data["uptimeHours"], data["hoursSinceLastSwitch"], data["totalSwitches"]) == (0, 0, 0)
    assert figures(host, headers=LEGACY) == {**data, **dict.fromkeys(unknown, 0)}


def test_e31_an_ended_machine_stops_ageing(host: Host, tenant: Tenant) -> None:
    machine = tenant.site.new_machine()
    host.machine_row("terminated", machine, created_at=at(100), confirmed_at=at(99), terminated_at=at(90))
    data = figures(host, machine)
    assert (data["uptimeHours"], data["hoursSinceLastSwitch"]) == (9, 99)


def test_e31_without_a_confirmation_the_uptime_counts_from_the_registration(host: Host, tenant: Tenant) -> None:
    machine = tenant.site.new_machine()
    host.machine_row("running_replica", machine, created_at=at(100), registered_at=at(7))
    assert figures(host, machine)["uptimeHours"] == 7


def test_e31_hours_are_whole_and_never_negative(host: Host) -> None:
    change(host.site, "instances", {"instance_id": host.row_id}, confirmed_at=START + timedelta(minutes=5))
    assert figures(host)["uptimeHours"] == 0
    change(host.site, "instances", {"instance_id": host.row_id}, confirmed_at=START - timedelta(minutes=119))
    assert figures(host)["uptimeHours"] == 1


def test_e31_savings_of_thirty_days_begin_to_the_second(host: Host) -> None:
    border = datetime(2026, 1, 31, 12, tzinfo=UTC)
    host.line(border, 1, "5", "1")
    host.line(border + timedelta(hours=1), 1, "3", "1")
    data = figures(host)
    assert (data["savingsLast30Days"], data["totalSavings"]) == (2, 6)


def test_e31_of_a_placeholder_by_its_shown_name_t41(host: Host) -> None:
    row_id = host.machine_row("launching", created_at=at(2))
    shown = f"i-pending-{row_id.replace('-', '')[:8]}"
    data = figures(host, shown)
    assert (data["id"], data["uptimeHours"], data["instanceType"]) == (shown, 2, host.type)
