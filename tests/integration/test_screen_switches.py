"""E78, E81, E85: one history of switches, worked out by hand from its records (http-api 7.11, 11)."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest

from tests.support.screen_rows import Host, a_client, at
from tests.support.server import Site, Tenant
from tests.support.world import START

LEGACY = {"X-Response-Shape": "legacy"}
HEADER = (
    "Timestamp,Old Instance ID,New Instance ID,From Mode,To Mode,From Pool,To Pool,Trigger,Price ($),"
    "Savings Impact ($/hr)"
)


@pytest.fixture
def tenant(shared_site: Site, request: pytest.FixtureRequest) -> Tenant:
    return a_client(shared_site, request.node.name)


@pytest.fixture
def host(tenant: Tenant) -> Host:
    return Host(tenant)


def history(tenant: Tenant, query: str = "", **more: Any) -> Any:
    answer = tenant.get(f"/api/client/{tenant.client_id}/switch-history{query}", **more)
    assert answer.status == 200, answer
    return answer.body if more else answer.data


def sheet(tenant: Tenant) -> list[list[str]]:
    answer = tenant.get(f"/api/client/{tenant.client_id}/export/switch-history")
    assert answer.status == 200, answer
    return list(csv.reader(io.StringIO(answer.body, newline="")))


def downtime(tenant: Tenant, query: str = "") -> Any:
    answer = tenant.get(f"/api/client/{tenant.client_id}/analytics/downtime{query}")
    assert answer.status == 200, answer
    return answer.data


# ---- E78


def test_e78_every_field_of_a_record_where_all_is_known(tenant: Tenant, host: Host) -> None:
    switch_id = host.switch(
        new_cloud_id="i-0aa", new_mode="ondemand", old_pool_id=host.pool("a"), old_price="0.02", new_price="0.0416",
        savings_impact="-0.0216", downtime_seconds="1.5", times={"launched_at": "2026-03-02T11:00:00+00:00"},
    )  # fmt: skip
    assert history(tenant) == [
        {
            "id": switch_id, "oldInstanceId": host.machine, "newInstanceId": "i-0aa", "instanceId": "i-0aa",
            "agentId": host.agent_id, "timestamp": "2026-03-02T11:00:00Z", "fromMode": "spot", "toMode": "ondemand",
            "fromPool": host.pool("a"), "toPool": "n/a", "trigger": "manual", "price": 0.0416,
            "savingsImpact": -0.0216, "downtimeSeconds": 1.5, "success": True,
        }
    ]  # fmt: skip


def test_e78_what_is_unknown_is_null_and_padded_in_the_legacy_shape_alone_t26_t42(tenant: Tenant, host: Host) -> None:
    host.switch(old_cloud_id=None, old_instance_id=None, old_mode="unknown", new_mode="unknown", recorded_at=at(1))
    (row,) = history(tenant)
    names = ("oldInstanceId", "newInstanceId", "instanceId", "timestamp", "price", "savingsImpact", "downtimeSeconds")
    assert {row[name] for name in names} == {None}
    assert (row["fromMode"], row["toMode"], row["fromPool"], row["toPool"]) == ("unknown", "unknown", "n/a", "n/a")
    (padded,) = history(tenant, headers=LEGACY)
    assert padded == {**row, "price": 0, "savingsImpact": 0, "timestamp": "2026-03-02T11:00:00Z"}


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        (("launched_at", "image_created_at", "initiated_at"), "2026-03-02T10:03:00Z"),
        (("image_created_at", "initiated_at"), "2026-03-02T10:02:00Z"),
        (("initiated_at",), "2026-03-02T10:01:00Z"),
        (("ready_at", "old_ended_at"), None),
        ((), None),
    ],
)
def test_e78_the_time_is_launched_else_image_else_initiated(
    tenant: Tenant, host: Host, known: tuple[str, ...], shown: str | None
) -> None:
    minutes = {"initiated_at": 1, "image_created_at": 2, "launched_at": 3, "ready_at": 4, "old_ended_at": 5}
    host.switch(times={name: f"2026-03-02T10:0{minutes[name]}:00+00:00" for name in known})
    assert history(tenant)[0]["timestamp"] == shown


@pytest.mark.parametrize(
    ("core", "wire"),
    [
        ("auto", "model"), ("scheduled", "model"), ("manual", "manual"), ("manual_promotion", "manual"),
        ("emergency", "emergency"), ("rehome", "emergency"),
    ],
)  # fmt: skip
def test_e78_and_e85_tell_triggers_in_the_three_words_of_the_wire_z1(
    tenant: Tenant, host: Host, core: str, wire: str
) -> None:
    host.switch(trigger=core)
    assert history(tenant)[0]["trigger"] == wire
    assert sheet(tenant)[1][7] == wire


def test_e78_is_newest_first_by_the_time_of_receipt_sw3(tenant: Tenant, host: Host) -> None:
    late = host.switch(recorded_at=at(1), times={"initiated_at": "2026-01-01T00:00:00+00:00"})
    early = host.switch(recorded_at=at(3), times={"initiated_at": "2026-03-02T11:59:00+00:00"})
    middle = host.switch(recorded_at=at(2))
    assert [row["id"] for row in history(tenant)] == [late, middle, early]
    assert [row["id"] for row in history(tenant, "?limit=2")] == [late, middle]
    assert [row["id"] for row in history(tenant, "?limit=0")] == [late]


def test_e78_a_machine_is_found_as_the_old_and_as_the_new_one(tenant: Tenant, host: Host) -> None:
    first = host.switch(new_cloud_id="i-0bb", recorded_at=at(2))
    second = host.switch(old_cloud_id="i-0bb", old_instance_id=None, new_cloud_id="i-0cc", recorded_at=at(1))
    assert [row["id"] for row in history(tenant, "?instance_id=i-0bb")] == [second, first]
    assert [row["id"] for row in history(tenant, f"?instance_id={host.machine}")] == [first]
    assert [row["id"] for row in history(tenant, "?instance_id=i-0cc")] == [second]
    assert history(tenant, "?instance_id=i-0dd") == []
    assert history(tenant, "?instance_id=i-0b%25") == []
    assert len(history(tenant, "?instance_id=")) == 2


def test_e78_a_failed_switch_is_told_but_a_superseded_one_is_none(tenant: Tenant, host: Host) -> None:
    failed = host.switch(state="failed", recorded_at=at(1))
    host.switch(state="superseded")
    done = host.switch(recorded_at=at(2))
    assert [(row["id"], row["success"]) for row in history(tenant)] == [(failed, False), (done, True)]
    assert [row["id"] for row in history(tenant, headers=LEGACY)] == [done]


def test_e78_legacy_counts_its_limit_over_what_it_shows_t42(tenant: Tenant, host: Host) -> None:
    done = [host.switch(recorded_at=at(hours)) for hours in (5, 6)]
    for hours in (1, 2, 3):
        host.switch(state="failed", recorded_at=at(hours))
    assert [row["id"] for row in history(tenant, "?limit=2", headers=LEGACY)] == done


def test_e78_shows_a_hundred_unless_asked_for_more(tenant: Tenant, host: Host) -> None:
    with tenant.site.connections.connection() as connection:
        connection.execute(
            """insert into switches (client_id, switch_id, agent_id, state, trigger, recorded_at, old_mode, new_mode,
                   credited, times, unsolicited, reported, data_loss_possible)
               select %(client_id)s, 'many-' || n, %(agent_id)s, 'completed', 'auto',
                   '2026-03-01T00:00Z'::timestamptz - n * interval '1 minute', 'spot', 'spot', 0, '{}', false, true, false
               from generate_series(1, 1005) n""",
            host.keys,
        )
    assert len(history(tenant)) == 100
    assert len(history(tenant, "?limit=250")) == 250
    assert len(history(tenant, "?limit=99999")) == 1000
    assert len(sheet(tenant)) == 1 + 1005  # E85: all of them


def test_e78_of_a_client_without_switches_is_an_empty_list_in_every_shape(tenant: Tenant) -> None:
    assert history(tenant) == history(tenant, headers=LEGACY) == []


# ---- E85


def test_e85_is_a_file_with_the_header_also_when_there_is_nothing(tenant: Tenant) -> None:
    path = f"/api/client/{tenant.client_id}/export/switch-history"
    for headers in ({}, LEGACY):
        answer = tenant.get(path, headers=headers)
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        name = f"client_{tenant.client_id}_switch_history.csv"
        assert answer.headers["content-disposition"] == f"attachment; filename={name}"
        assert answer.body == HEADER + "\r\n"


def test_e85_money_has_six_decimals_and_what_is_missing_says_so(tenant: Tenant, host: Host) -> None:
    host.switch(
        new_cloud_id="i-0ee", new_mode="ondemand", old_pool_id=host.pool("b"), new_price="0.1", savings_impact="-0.05",
        times={"initiated_at": "2026-03-02T11:00:00.25+00:00"}, recorded_at=at(1),
    )  # fmt: skip
    host.switch(old_cloud_id=None, old_instance_id=None, recorded_at=at(2))
    assert sheet(tenant)[1:] == [
        [
            "2026-03-02T11:00:00.250Z", host.machine, "i-0ee", "spot", "ondemand", host.pool("b"), "N/A", "manual",
            "0.100000", "-0.050000",
        ],
        ["", "N/A", "N/A", "spot", "spot", "N/A", "N/A", "manual", "N/A", "N/A"],
    ]  # fmt: skip


def test_e85_text_that_a_spreadsheet_would_run_or_split_stays_text_s15(tenant: Tenant, host: Host) -> None:
    host.switch(old_cloud_id="=1+1", new_cloud_id='a,"b"', old_pool_id="@pool", new_pool_id="line\r\nbreak")
    answer = tenant.get(f"/api/client/{tenant.client_id}/export/switch-history")
    line = answer.body.split("\r\n", 1)[1]
    assert line.startswith(',\'=1+1,"a,""b""",spot,spot,\'@pool,"line\r\nbreak",')
    assert sheet(tenant)[1][1:3] == ["'=1+1", 'a,"b"']


def test_e85_lists_failed_switches_and_no_other_clients(shared_site: Site, tenant: Tenant, host: Host) -> None:
    other = Host(shared_site.client(f"other than {tenant.client_id}"))
    other.switch(new_cloud_id="i-0other")
    host.switch(state="failed", recorded_at=at(1))
    host.switch(new_cloud_id="i-0mine", recorded_at=at(2))
    assert [row[2] for row in sheet(tenant)[1:]] == ["N/A", "i-0mine"]
    assert [row["newInstanceId"] for row in history(tenant)] == [None, "i-0mine"]
    assert downtime(tenant)["total_switches"] == 2


# ---- E81


def test_e81_without_switches_is_zeros_and_two_unknowns(tenant: Tenant) -> None:
    assert downtime(tenant) == {
        "total_switches": 0, "successful_switches": 0, "failed_switches": 0, "avg_downtime_seconds": 0,
        "p95_downtime_seconds": 0, "min_downtime_seconds": 0, "max_downtime_seconds": 0, "trend": None,
        "total_downtime_seconds": 0, "average_downtime_per_switch": 0, "switches_with_downtime": 0,
        "switches_without_downtime": 0, "downtime_by_trigger": {}, "longest_downtime": None,
    }  # fmt: skip


def test_e81_averages_are_over_switches_whose_downtime_is_known(tenant: Tenant, host: Host) -> None:
    host.switch(downtime_seconds="2", recorded_at=at(1))
    longest = host.switch(downtime_seconds="9", trigger="emergency", recorded_at=at(2), reason="AWS took it")
    host.switch(downtime_seconds="4", trigger="manual_promotion", recorded_at=at(3))
    host.switch(trigger="auto", recorded_at=at(4))
    host.switch(state="failed", recorded_at=at(5))
    host.switch(state="superseded", downtime_seconds="500")
    assert downtime(tenant) == {
        "total_switches": 5, "successful_switches": 4, "failed_switches": 1, "avg_downtime_seconds": 5,
        "p95_downtime_seconds": 9, "min_downtime_seconds": 2, "max_downtime_seconds": 9, "trend": None,
        "total_downtime_seconds": 15, "average_downtime_per_switch": 5, "switches_with_downtime": 3,
        "switches_without_downtime": 2,
        "downtime_by_trigger": {
            "emergency": {"total_seconds": 9, "average_seconds": 9, "count": 1},
            "manual": {"total_seconds": 6, "average_seconds": 3, "count": 2},
        },
        "longest_downtime": {
            "switch_id": longest, "downtime_seconds": 9, "timestamp": "2026-03-02T10:00:00Z", "reason": "AWS took it",
        },
    }  # fmt: skip


def test_e81_the_95th_percentile_is_a_value_that_was_measured(tenant: Tenant, host: Host) -> None:
    for seconds in range(1, 21):
        host.switch(downtime_seconds=seconds, recorded_at=START - timedelta(minutes=seconds))
    assert downtime(tenant)["p95_downtime_seconds"] == 19
    host.switch(downtime_seconds=21, recorded_at=START - timedelta(minutes=21))
    assert downtime(tenant)["p95_downtime_seconds"] == 20


@pytest.mark.parametrize(
    ("before", "now", "trend"), [("4", "5", 25), ("4", "3", -25), ("4", "4", 0), (None, "4", None), ("4", None, None)]
)
def test_e81_the_trend_is_in_percent_against_the_period_before(
    tenant: Tenant, host: Host, before: str | None, now: str | None, trend: int | None
) -> None:
    host.switch(downtime_seconds=before, recorded_at=at(10 * 24))
    host.switch(downtime_seconds=now, recorded_at=at(24))
    host.switch(downtime_seconds="1000", recorded_at=at(15 * 24))  # in neither period
    assert downtime(tenant, "?days=7")["trend"] == trend


@pytest.mark.parametrize(
    ("query", "counted"),
    [("", 3), ("?days=1", 1), ("?days=0", 1), ("?days=7", 2), ("?days=365", 4), ("?days=100000", 4)],
)
def test_e81_counts_the_switches_of_so_many_days_30_unless_told(
    tenant: Tenant, host: Host, query: str, counted: int
) -> None:
    for days in (0.5, 6, 29, 364, 366):
        host.switch(recorded_at=at(days * 24))
    assert downtime(tenant, query)["total_switches"] == counted
