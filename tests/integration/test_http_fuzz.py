"""Whatever a caller with a good token sends, no answer is a 5xx (1.5), and no heartbeat or notice fails (T03, T17)."""

import json
import re
from typing import Any

import pytest
from attrs import frozen
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spotadapters.http.app import ENDPOINTS
from spotadapters.http.routing import Endpoint
from tests.support.effort import fewer
from tests.support.server import Site, Tenant

NAMES = (
    "instance_id", "cloud_instance_id", "temp_instance_id", "instance_type", "region", "az", "mode", "current_mode",
    "logical_agent_id", "hostname", "private_ip", "launch_token", "status", "monitored_instances", "inventory_snapshot",
    "config_version_applied", "enabled", "autoSwitchEnabled", "manual_replica_enabled", "terminate_wait_seconds",
    "terminateWaitMinutes", "min_savings_percent", "risk_threshold", "max_switches_per_day", "preferred_azs",
    "excluded_pools", "failover_on_heartbeat_loss_seconds", "expected_version", "target", "pool_id", "target_pool_id",
    "auto_terminate", "agent_id", "role_hint", "request_id", "replica_id", "termination_time", "detected_at",
    "notice_time", "notice_type", "immediate", "signal_type", "exclude_zones", "preferred_zones", "success", "result",
    "message", "error", "execution_result", "command_id", "metadata", "instance", "pricing", "pricing_data_array",
    "spot_pools", "on_demand_price", "ondemand_price", "old_instance", "new_instance", "old_instance_id",
    "new_instance_id", "prices", "timing", "trigger", "downtime_seconds", "snapshots", "amis", "errors", "name", "email",
    "grace_seconds", "max_hourly_cost", "tags", "sync_progress", "sync_latency_ms", "state_transfer_progress",
    "sync_status", "error_message", "priority", "confidence", "current_state", "pricing_data", "force", "confirm",
    "timestamp", "price", "spot_price", "count", "instances", "reason", "started_at", "launched_at", "threshold",
    "alert_type", "notification_channels",
)  # fmt: skip
WORDS = (
    "", " ", "unknown", "None", "i-0a", "i-pending-00000000", "replica-00000000", "m5.large", "us-east-1a", "a" * 300,
    "m5.large.us-east-1a", "m5.large.us-east-1z", "spot", "ondemand", "pool", "primary", "replica", "SUCCESS", "failed",
    "2025-01-20T10:45:00Z", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "offline", "terminated", "ready",
    "\x00", "a\x00b", "\ud800", "\x1b[31m", "'; drop table agents; --", "%s", "{agent_id}", "žluťák", "promoted",
)  # fmt: skip
NUMBERS = ("0", "-0.0", "1", "-1", "0.05", "1e-7", "1e40", "1e999999999", "-1e999999999", "1e99999999999999999999",
           str(2**31), str(2**63), str(2**64), "1000", "1000.000001", "86400", "300", "0.5", "7" * 60)  # fmt: skip
SCALARS = (
    st.sampled_from(WORDS).map(json.dumps)
    | st.sampled_from(NUMBERS)
    | st.sampled_from(["null", "true", "false", "[]", "{}"])
)


def _object(fields: "dict[str, str]") -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items()) + "}"


OBJECTS = st.dictionaries(st.sampled_from(NAMES), SCALARS, max_size=6).map(_object)
VALUES = SCALARS | OBJECTS | st.lists(SCALARS | OBJECTS, max_size=3).map(lambda items: "[" + ",".join(items) + "]")
BODIES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=12).map(_object)
PLACES = st.sampled_from(
    ["none", "%00", "a%00b", "i-0a", "i-pending-00000000", "x" * 200, "%ff", "None", "..%2f", "%F0%9F%98%80"]
)
QUERIES = st.sampled_from(
    [
        "",
        "?limit=x",
        "?status=terminated",
        "?status=launching",
        "?status=%00",
        "?dialect=%00",
        "?limit=" + "9" * 60,
        "?client_id=%00",
        "?client_id=" + "x" * 200,
        "?unread=%00",
    ]
)
ALWAYS_200 = {"E17", "E52", "E53"}  # no field of theirs is required; E51, E56, E58 and E59 have one


def _path(row: Endpoint, known: "dict[str, str]", other: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda name: known.get(name[1], other), row.path)


@frozen
class Scene:
    """A client with an agent, and what paths call them."""

    tenant: Tenant
    known: dict[str, str]

    @classmethod
    def on(cls, site: Site) -> "Scene":
        tenant, machine = site.client(f"Acme {site.new_machine()}"), site.new_machine()
        place = {"instance_type": "m5.large", "region": "us-east-1", "az": "us-east-1a", "mode": "spot"}
        agent = tenant.post("/api/agents/register", {"instance_id": machine, **place}).body["agent_id"]
        return cls(tenant, {"agent_id": agent, "client_id": tenant.client_id, "instance_id": machine})

    def check(self, row: Endpoint, body: str, other: str, query: str, stray: bool) -> None:
        path = _path(row, {} if stray else self.known, other) + query
        caller: Any = self.tenant.site.call if row.access.needs == "A" else self.tenant.call
        answer = caller(row.method, path, body.encode("utf-8", "surrogatepass") if row.method != "GET" else None)
        assert answer.status < 500, (path, body, answer.body)
        assert answer.body, (path, body)
        if row.number in ALWAYS_200 and not stray:
            assert answer.status == 200, (path, body, answer.body)  # T17


@pytest.fixture(scope="module")
def standing(module_site: Site) -> Scene:
    """One scene for all calls that change nothing."""
    return Scene.on(module_site)


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: f"{row.number} {row.path}")
def test_no_body_or_path_ends_in_a_5xx(shared_site: Site, standing: Scene, row: Endpoint) -> None:
    scene = standing if row.method == "GET" else Scene.on(shared_site)

    @settings(max_examples=fewer(8), suppress_health_check=list(HealthCheck))
    @given(body=BODIES if row.method != "GET" else st.just(""), other=PLACES, query=QUERIES, stray=st.booleans())
    @example(body='{"config_version_applied":1e999999999}', other="x", query="", stray=False)
    @example(body='{"request_id":"\\u0000","name":"\\ud800"}', other="%00", query="?limit=%00", stray=False)
    @example(body='{"grace_seconds":100000000000000000}', other="x", query="", stray=False)
    def each(body: str, other: str, query: str, stray: bool) -> None:
        scene.check(row, body, other, query, stray)

    each()
