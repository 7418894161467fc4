"""E77, E79, E84, E86: one ledger, seen by period, as charts and as files (http-api 7.11, 11)."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tests.support.screen_rows import Host, a_client, at, change
from tests.support.server import Site, Tenant

LEGACY = {"X-Response-Shape": "legacy"}
MONTHS = ("April", "May", "June", "July", "August", "September", "October", "November", "December", "January",
          "February", "March")  # fmt: skip


def on(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


@pytest.fixture
def tenant(shared_site: Site, request: pytest.FixtureRequest) -> Tenant:
    return a_client(shared_site, request.node.name)


@pytest.fixture
def host(tenant: Tenant) -> Host:
    return Host(tenant)


def savings(tenant: Tenant, query: str = "", **more: Any) -> list[tuple[Any, ...]]:
    answer = tenant.get(f"/api/client/{tenant.client_id}/savings{query}", **more)
    assert answer.status == 200, answer
    rows = answer.body if more else answer.data
    return [(row["name"], row["savings"], row["onDemandCost"], row["modelCost"]) for row in rows]


def charts(tenant: Tenant, **more: Any) -> Any:
    answer = tenant.get(f"/api/client/{tenant.client_id}/stats/charts", **more)
    assert answer.status == 200, answer
    return answer.body if more else answer.data


def cells(answer: Any) -> list[list[str]]:
    assert answer.status == 200, answer
    return list(csv.reader(io.StringIO(answer.body, newline="")))


# ---- E77


def test_e77_twelve_months_end_with_this_one_and_older_lines_are_outside(tenant: Tenant, host: Host) -> None:
    host.line(on(2025, 3, 31, 23), 1, "50", "1")  # the thirteenth
    host.line(on(2025, 4, 1), 1, "4", "1")
    host.line(on(2026, 3, 2), 1, "3", "1")
    rows = savings(tenant)
    assert tuple(row[0] for row in rows) == MONTHS
    assert rows[0] == ("April", 3, 4, 1)
    assert rows[-1] == ("March", 2, 3, 1)
    assert {row[1:] for row in rows[1:-1]} == {(0, 0, 0)}


def test_e77_monthly_is_what_comes_without_a_range(tenant: Tenant, host: Host) -> None:
    host.line(on(2026, 2, 1), 1, "4", "1")
    assert savings(tenant) == savings(tenant, "?range=monthly") == savings(tenant, "?range=MONTHLY")
    assert savings(tenant, "?range=") == [("February", 3, 4, 1), ("March", 0, 0, 0)]


def test_e77_a_line_counts_in_the_month_in_which_it_begins_in_utc(tenant: Tenant, host: Host) -> None:
    host.line(on(2026, 1, 31, 23, 30), 0.5, "1", "0.5")
    host.line(on(2026, 2, 1), 0.5, "2", "0.5")
    assert savings(tenant)[:2] == [("January", 0.5, 1, 0.5), ("February", 1.5, 2, 0.5)]


def test_e77_thirty_days_by_their_date(tenant: Tenant, host: Host) -> None:
    host.line(on(2026, 1, 31, 23), 1, "9", "1")  # the thirty-first
    host.line(on(2026, 2, 1), 1, "4", "1")
    rows = savings(tenant, "?range=daily")
    assert [row[0] for row in rows] == [(date(2026, 2, 1) + timedelta(days=n)).isoformat() for n in range(30)]
    assert rows[0] == ("2026-02-01", 3, 4, 1)
    assert {row[1:] for row in rows[1:]} == {(0, 0, 0)}


def test_e77_twelve_iso_weeks_name_the_year_the_week_belongs_to(tenant: Tenant, host: Host) -> None:
    host.line(on(2025, 12, 14, 23), 1, "9", "1")  # the thirteenth week back
    host.line(on(2025, 12, 15), 1, "4", "1")
    host.line(on(2025, 12, 29), 1, "2", "1")  # a Monday of December, and the first day of week 1 of 2026
    host.line(on(2026, 3, 1, 23), 1, "1", "0.5")  # the last hour of week 9
    rows = savings(tenant, "?range=weekly")
    weeks = ["2025-W51", "2025-W52", *(f"2026-W{week:02d}" for week in range(1, 11))]
    assert [row[0] for row in rows] == weeks
    assert [(row[0], row[1]) for row in rows if row[1]] == [("2025-W51", 3), ("2026-W01", 1), ("2026-W09", 0.5)]


def test_e77_five_years(tenant: Tenant, host: Host) -> None:
    host.line(on(2021, 12, 31, 23), 1, "9", "1")  # the sixth
    host.line(on(2022, 1, 1), 1, "4", "1")
    host.line(on(2025, 12, 31, 23), 1, "5", "1")
    assert savings(tenant, "?range=yearly") == [
        ("2022", 3, 4, 1), ("2023", 0, 0, 0), ("2024", 0, 0, 0), ("2025", 4, 5, 1), ("2026", 0, 0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["daily", "weekly", "monthly", "yearly"])
def test_e77_nothing_before_the_first_line_and_nothing_at_all_without_one(
    tenant: Tenant, host: Host, kind: str
) -> None:
    assert savings(tenant, f"?range={kind}") == []
    host.line(on(2026, 3, 2, 1), 1, "4", "1")
    assert [row[1:] for row in savings(tenant, f"?range={kind}")] == [(3, 4, 1)]


@pytest.mark.parametrize("word", ["hourly", "month", "1", "monthly,yearly"])
def test_e77_any_other_range_is_refused_by_name(tenant: Tenant, word: str) -> None:
    answer = tenant.get(f"/api/client/{tenant.client_id}/savings?range={word}")
    assert (answer.status, answer.body["code"]) == (400, "VALIDATION_ERROR")
    assert answer.body["details"] == {"range": ["use daily, weekly, monthly, yearly"]}


def test_e77_legacy_cuts_months_alone_to_the_newest_six_c55(tenant: Tenant, host: Host) -> None:
    host.line(on(2021, 1, 1), 1, "9", "1")
    assert tuple(row[0] for row in savings(tenant, headers=LEGACY)) == MONTHS[-6:]
    assert len(savings(tenant, "?range=daily", headers=LEGACY)) == 30
    assert len(savings(tenant, "?range=weekly", headers=LEGACY)) == 12
    assert len(savings(tenant, "?range=yearly", headers=LEGACY)) == 5


def test_e77_hours_without_a_price_add_no_money_sv4(tenant: Tenant, host: Host) -> None:
    host.line(on(2026, 3, 1), 2, None, None, quality="unpriced")
    host.line(on(2026, 3, 1, 2), 2, "1", "2.5")
    assert savings(tenant) == [("March", -1.5, 1, 2.5)]


def test_e77_amounts_have_four_decimals_of_an_exact_sum_p12(tenant: Tenant, host: Host) -> None:
    for hour in range(3):
        host.line(on(2026, 3, 1, hour), 1, "0.00005", "0.00001")
    assert savings(tenant) == [("March", 0.0001, 0.0002, 0)]  # 0.00012, 0.00015 to even, 0.00003


# ---- E79


def test_e79_of_a_new_client(tenant: Tenant) -> None:
    data = charts(tenant)
    days = [(date(2026, 2, 1) + timedelta(days=n)).isoformat() for n in range(30)]
    assert data == {
        "savingsTrend": [], "modeDistribution": [], "switchFrequency": [{"date": day, "switches": 0} for day in days],
        "downtimeDistribution": {"manual": 0, "model": 0, "emergency": 0},
    }  # fmt: skip
    assert charts(tenant, headers=LEGACY) == data  # T26: the pie needs its array


def test_e79_the_trend_repeats_the_months_of_e77_also_in_the_legacy_shape(tenant: Tenant, host: Host) -> None:
    host.line(on(2025, 1, 5), 1, "9", "1")
    host.line(on(2026, 2, 1), 1, "4", "1")
    trend = charts(tenant)["savingsTrend"]
    assert [(one["month"], one["savings"], one["baseline"], one["actual"]) for one in trend] == savings(tenant)
    assert [one["month"] for one in charts(tenant, headers=LEGACY)["savingsTrend"]] == list(MONTHS)


def test_e79_counts_active_machines_by_mode(tenant: Tenant, host: Host) -> None:
    for status, mode in (
        ("launching", "ondemand"), ("running_replica", "spot"), ("zombie", "ondemand"), ("terminated", "unknown"),
        ("released", "spot"), ("launching", "unknown"),
    ):  # fmt: skip
        host.machine_row(status, mode=mode)
    assert charts(tenant)["modeDistribution"] == [
        {"mode": "ondemand", "name": "ondemand", "count": 1}, {"mode": "spot", "name": "spot", "count": 2},
        {"mode": "unknown", "name": "unknown", "count": 1},
    ]  # fmt: skip


def test_e79_counts_completed_switches_by_the_utc_day_of_their_receipt(tenant: Tenant, host: Host) -> None:
    host.switch(recorded_at=on(2026, 2, 1))
    host.switch(recorded_at=on(2026, 2, 1, 23, 59))
    host.switch(recorded_at=on(2026, 1, 31, 23, 59))
    host.switch(recorded_at=on(2026, 3, 2, 11))
    host.switch(state="failed")
    host.switch(state="superseded")
    days = {one["date"]: one["switches"] for one in charts(tenant)["switchFrequency"]}
    assert {day: count for day, count in days.items() if count} == {"2026-02-01": 2, "2026-03-02": 1}
    assert (min(days), max(days), len(days)) == ("2026-02-01", "2026-03-02", 30)


def test_e79_sums_known_downtime_by_the_three_triggers(tenant: Tenant, host: Host) -> None:
    for trigger, seconds in (
        ("manual", "2"), ("manual_promotion", "3.5"), ("auto", None), ("scheduled", "4"), ("emergency", "30"),
        ("rehome", "1"),
    ):  # fmt: skip
        host.switch(trigger=trigger, downtime_seconds=seconds)
    host.switch(state="failed", downtime_seconds="99")
    assert charts(tenant)["downtimeDistribution"] == {"manual": 5.5, "model": 4, "emergency": 31}


# ---- E84


def test_e84_one_row_a_month_newest_first_however_old(tenant: Tenant, host: Host) -> None:
    host.line(on(2019, 12, 31, 23), 1, "4.126", "1")
    host.line(on(2025, 1, 1), 1, "1000", "0.005")
    host.line(on(2026, 3, 2), 1, "1", "3")
    answer = tenant.get(f"/api/client/{tenant.client_id}/export/savings")
    assert cells(answer)[1:] == [
        ["2026", "3", "March", "1.00", "3.00", "-2.00"], ["2025", "1", "January", "1000.00", "0.00", "1000.00"],
        ["2019", "12", "December", "4.13", "1.00", "3.13"],
    ]  # fmt: skip


def test_e84_is_the_same_file_for_a_session_and_for_a_token_s23(tenant: Tenant, host: Host) -> None:
    host.line(on(2026, 3, 2), 1, "1", "3")
    path = f"/api/client/{tenant.client_id}/export/savings"
    plain, bare = tenant.get(path), tenant.get(path, headers=LEGACY)
    assert plain.body == bare.body
    assert plain.headers["content-type"] == "text/csv; charset=utf-8"
    assert plain.headers["content-disposition"] == f"attachment; filename=client_{tenant.client_id}_savings.csv"
    assert plain.body.startswith("Year,Month,Month Name,On-Demand Cost ($),Actual Cost ($),Savings ($)\r\n2026,3,")


# ---- E86: one row of many, since the module's other clients are listed too


def mine(site: Site, *tenants: Tenant) -> list[list[str]]:
    ids = [tenant.client_id for tenant in tenants]
    return [row for row in cells(site.call("GET", "/api/admin/export/global-stats")) if row[0] in ids]


def test_e86_every_cell(shared_site: Site) -> None:
    body = {"name": 'Big, "Co"', "email": "big@co.example"}
    created = shared_site.call("POST", "/api/admin/clients/create", body).data["client"]
    tenant = Tenant(shared_site, created["id"], created["token"])
    host, off, gone = Host(tenant, "one"), Host(tenant, "off"), Host(tenant, "gone")
    Host(tenant, "two")
    off.change(enabled=False)
    tenant.call("DELETE", f"/api/client/agents/{gone.agent_id}")
    for status in ("launching", "running_replica", "zombie", "terminated"):
        host.machine_row(status)
    host.line(on(2026, 3, 1), 1, "5.005", "1")
    change(shared_site, "clients", {"client_id": tenant.client_id}, total_savings="77", created_at=at(24))
    assert mine(shared_site, tenant) == [
        [tenant.client_id, 'Big, "Co"', "big@co.example", "4.00", "5", "2", "2026-03-01T12:00:00Z"]
    ]  # Z16: 4.005 by the ledger, not the estimate of 77


def test_e86_by_realised_savings_highest_first_and_losses_last(shared_site: Site) -> None:
    names = {"none": None, "loss": ("1", "3"), "most": ("9", "1"), "some": ("4", "2")}
    tenants = {}
    for name, line in names.items():
        tenants[name] = shared_site.client(f"e86 {name}")
        if line is not None:
            Host(tenants[name]).line(on(2026, 3, 1), 1, *line)
    rows = mine(shared_site, *tenants.values())
    assert [(row[1], row[3]) for row in rows] == [
        ("e86 most", "8.00"), ("e86 some", "2.00"), ("e86 none", "0.00"), ("e86 loss", "-2.00"),
    ]  # fmt: skip


def test_e86_lists_no_suspended_and_no_deleted_client(shared_site: Site) -> None:
    paused, gone = shared_site.client("e86 paused"), shared_site.client("e86 gone")
    shared_site.plane.clients.suspend(paused.client_id)  # type: ignore[arg-type]
    shared_site.call("DELETE", f"/api/admin/clients/{gone.client_id}")
    assert mine(shared_site, paused, gone) == []
    shared_site.plane.clients.resume(paused.client_id)  # type: ignore[arg-type]
    assert len(mine(shared_site, paused)) == 1


@pytest.mark.parametrize("name", ["=SUM(A1)", "+1", "-1", "@x", "plain"])
def test_e86_a_name_is_never_run_by_a_spreadsheet_s15(shared_site: Site, name: str) -> None:
    tenant = shared_site.client(name)
    Host(tenant).line(on(2026, 3, 1), 1, "1", "2")
    (row,) = mine(shared_site, tenant)
    assert row[1] == (name if name == "plain" else "'" + name)
    assert row[3] == "-1.00"  # a number stays one
