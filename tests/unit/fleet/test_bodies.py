"""Every body of every build, whole: what stands in it, in which spelling, and that it is plain JSON (agent-wire 1 to 5)."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from spotadapters.fleet import VirtualClock
from spotcore.builds import Build
from spotcore.pools import Mode, Pool
from tests.support.scripted_server import HERE, POOL_HERE, POOL_THERE, THERE, TYPE, Fleet, ScriptedServer, a_fleet

BUILDS = (Build.V2, Build.V4C, Build.V4N, Build.V5)
WORDS = {Build.V2: "3.2.0", Build.V4C: "4.0.0", Build.V4N: "4.0.0", Build.V5: "5.0.1-production"}


def own(fleet: Fleet) -> Any:
    return fleet.world.cloud.machine(fleet.instance_id)


def a_busy_fleet(build: Build) -> Fleet:
    """A fleet that has sent everything its build can send, as far as one host does it in its life."""
    server = ScriptedServer()
    server.always("POST termination-imminent", {"success": False})
    fleet = a_fleet(build, server, logical_id="web-1", shutdown_seconds=30)
    neighbour = fleet.world.cloud.launch(instance_type=TYPE, az=THERE, mode=Mode.SPOT, ami_id=own(fleet).ami_id)
    fleet.world.advance(26)
    fleet.world.kill_agent(neighbour.instance_id)  # it would read the lists as well
    switch = {"id": "c-1", "target_mode": "spot", "target_pool_id": POOL_THERE, "priority": 50}
    server.once("GET pending-commands", {"commands": [{**switch, "terminate_wait_seconds": 0}]})
    server.once(
        "GET replicas?status=launching", {"replicas": [{"id": "replica-1", "pool_id": POOL_THERE, "az": THERE}]}
    )
    ended = {"replicas": [{"id": "replica-0", "instance_id": neighbour.instance_id}]}
    server.once("GET replicas?status=terminated", ended)
    server.once("GET instances-to-terminate", {"auto_terminate_enabled": True, "instances": [{"instance_id": "i-0"}]})
    commands = [
        {"command_type": word, "request_id": f"q-{word}", "instance_id": "i-pending-1", "params": params}
        for word, params in (
            ("LAUNCH_INSTANCE", {"instance_type": TYPE, "target_pool": f"spot.{POOL_HERE}"}),
            ("PROMOTE_REPLICA_TO_PRIMARY", {"replica_instance_id": neighbour.instance_id}),
            ("TERMINATE_INSTANCE", {"instance_id": neighbour.instance_id}),
            ("switch", {}),
        )
    ]
    server.once("GET commands/pending", {"commands": commands})
    fleet.world.advance(400)
    fleet.world.rebalance(fleet.instance_id)
    fleet.world.cloud.interrupt(fleet.instance_id)
    fleet.world.advance(100)
    fleet.world.stop_agent(fleet.instance_id)
    fleet.world.advance(1)
    return fleet


EVERYTHING: dict[Build, set[str]] = {
    Build.V2: {"register", "heartbeat", "pricing-report", "switch-report", "mark-command-executed"},
    Build.V4C: {
        "register", "heartbeat", "pricing-report", "switch-report", "commands/c-1/executed", "cleanup-report",
        "replicas/replica-1", "replicas/replica-1/status", "replicas/replica-0/status", "termination-report",
        "create-emergency-replica", "rebalance-recommendation", "termination-imminent",
    },
    Build.V4N: {"register", "heartbeat", "decide", "rebalance-recommendation"},
    Build.V5: {
        "register", "heartbeat", "pricing-report", "instance-launched", "instance-terminated", "action-result",
        "termination-report", "shutdown",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def busy() -> dict[Build, Fleet]:
    return {build: a_busy_fleet(build) for build in BUILDS}


def bodies(fleet: Fleet) -> Iterator[tuple[str, Any]]:
    for one in fleet.world.journal.exchanges(instance_id=fleet.instance_id):
        if one.body is not None:
            yield one.name, one.body


@pytest.mark.parametrize("build", BUILDS)
def test_a_build_sends_these_bodies_and_no_others(busy: dict[Build, Fleet], build: Build) -> None:
    assert {name for name, _ in bodies(busy[build])} == EVERYTHING[build]


@pytest.mark.parametrize("build", BUILDS)
def test_every_body_is_an_object_of_plain_json(busy: dict[Build, Fleet], build: Build) -> None:
    for name, body in bodies(busy[build]):
        assert json.loads(json.dumps(body, allow_nan=False)) == body, name
        assert isinstance(body, dict), name


SPELLINGS = {
    Build.V2: r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",
    Build.V4C: r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00",
    Build.V4N: r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",  # quoted from AWS
    Build.V5: r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}",
}
QUOTED = ("termination_time", "notice_time")  # AWS's own words, whatever the build writes itself
FROM_AWS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def texts(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from texts(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, field)
    elif isinstance(value, str):
        yield field, value


@pytest.mark.parametrize("build", BUILDS)
def test_every_time_is_in_the_builds_own_spelling_and_aws_s_where_it_is_quoted_t24(
    busy: dict[Build, Fleet], build: Build
) -> None:
    seen = 0
    for name, body in bodies(busy[build]):
        for field, text in texts(body):
            if re.match(r"\d{4}-\d\d-\d\dT", text):
                wanted = FROM_AWS if field in QUOTED else SPELLINGS[build]
                assert re.fullmatch(wanted, text), (name, field, text)
                seen += 1
    assert seen >= {Build.V2: 3, Build.V4C: 15, Build.V4N: 5, Build.V5: 20}[build]


@pytest.mark.parametrize("build", BUILDS)
def test_modes_are_spelled_without_a_hyphen_and_pools_by_type_and_zone_t25(
    busy: dict[Build, Fleet], build: Build
) -> None:
    for name, body in bodies(busy[build]):
        for field, text in texts(body):
            if field in ("mode", "current_mode"):
                assert text in ("spot", "ondemand", "unknown"), name
            if field in ("pool_id", "pool", "current_pool_id"):
                assert text in (POOL_HERE, POOL_THERE), name


@pytest.mark.parametrize("build", BUILDS)
def test_no_other_header_goes_out_than_the_token_the_content_type_and_a_v4n_s_notice_id(
    busy: dict[Build, Fleet], build: Build
) -> None:
    names = {name for one in busy[build].world.journal.exchanges() for name in one.headers}
    assert names == {"Authorization", "Content-Type"} | ({"X-Request-ID"} if build is Build.V4N else set())


# --- registrations --------------------------------------------------------------------------------------------------


def a_registration(build: Build, machine: Any) -> dict[str, Any]:
    facts = {
        "hostname": f"ip-{machine.private_ip.replace('.', '-')}",
        "instance_id": machine.instance_id,
        "instance_type": TYPE,
        "region": "us-east-1",
        "az": HERE,
        "ami_id": machine.ami_id,
        "agent_version": WORDS[build],
        "logical_agent_id": "web-1",
    }
    addresses = {"private_ip": machine.private_ip, "public_ip": None}
    return {
        Build.V2: {**facts, "client_token": "token-1"},
        Build.V4C: {**facts, **addresses, "client_token": "token-1", "mode": machine.mode.value},
        Build.V4N: {**facts, **addresses, "mode": machine.mode.value},
        Build.V5: {
            **facts, "cloud_account": "4711", "project_id": "default", "mode": "unknown",
            "logical_agent_id": machine.instance_id,
        },
    }[build]  # fmt: skip


@pytest.mark.parametrize("mode", [Mode.SPOT, Mode.ONDEMAND])
@pytest.mark.parametrize("build", BUILDS)
def test_a_registration_whole(build: Build, mode: Mode) -> None:
    fleet = a_fleet(build, mode=mode, logical_id="web-1", cloud_account="4711")
    (body,) = fleet.sent("register")
    assert body == a_registration(build, own(fleet))


# --- switch reports -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [Build.V2, Build.V4C])
@pytest.mark.parametrize(
    ("mode", "target", "pool"),
    [(Mode.SPOT, "spot", POOL_THERE), (Mode.SPOT, "ondemand", None), (Mode.ONDEMAND, "spot", POOL_HERE)],
)
def test_a_switch_report_whole(build: Build, mode: Mode, target: str, pool: str | None) -> None:
    fleet = a_fleet(build, mode=mode, auto_terminate=False)
    command = {"id": "c-1", "target_mode": target, "target_pool_id": pool, "priority": 49, "terminate_wait_seconds": 0}
    fleet.server.once("GET pending-commands", [command])
    fleet.world.advance(100)
    old, new = own(fleet), fleet.world.cloud.machine(fleet.launched()[0])
    spot = {POOL_HERE: 0.04, POOL_THERE: 0.03}
    sides = [
        {
            "instance_id": machine.instance_id, "instance_type": TYPE, "region": "us-east-1", "az": machine.az,
            "ami_id": old.ami_id, "mode": machine.mode.value, "pool_id": machine.pool_id,
        }
        for machine in (old, new)
    ]  # fmt: skip
    prices = {"on_demand": 0.096}
    if mode is Mode.SPOT:
        prices["old_spot"] = spot[POOL_HERE]
    if pool is not None:
        prices["new_spot"] = spot[pool]
    (report,) = fleet.sent("switch-report")
    timing = report["timing"]
    assert {**report, "timing": None} == {
        "old_instance": sides[0], "new_instance": sides[1], "snapshot": {"used": False}, "prices": prices,
        "timing": None, "trigger": "model",
    }  # fmt: skip
    start = VirtualClock().now().replace(tzinfo=None)
    seconds = {
        name: (VirtualClock().now().fromisoformat(text).replace(tzinfo=None) - start).total_seconds()
        for name, text in timing.items()
        if text is not None
    }
    initiated = seconds["switch_initiated_at"]
    assert initiated in (25 + 15, 25)
    assert seconds["new_instance_ready_at"] == initiated + 25
    assert seconds["traffic_switched_at"] == initiated + 27
    if build is Build.V4C:
        assert seconds["new_instance_launched_at"] == initiated
        assert "old_instance_terminated_at" not in timing
    else:
        assert timing["old_instance_terminated_at"] is None


def test_an_acknowledgement_of_v4c_says_what_happened_in_words() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.cloud.exhaust(Pool(TYPE, THERE))
    command = {"target_mode": "spot", "priority": 0, "terminate_wait_seconds": 0}
    fleet.server.once("GET pending-commands", [{**command, "id": "c-1", "target_pool_id": POOL_THERE}])
    fleet.server.once("GET pending-commands", [{**command, "id": "c-2", "target_pool_id": POOL_HERE}])
    fleet.server.once(
        "GET pending-commands", [{**command, "id": "c-3", "target_pool_id": POOL_HERE, "priority": "high"}]
    )
    fleet.world.advance(200)
    told = {one.name: one.body for one in fleet.world.journal.exchanges() if one.name.endswith("/executed")}
    assert told == {
        "commands/c-1/executed": {
            "success": False, "message": "InsufficientInstanceCapacity: no spot capacity in m5.large.us-east-1b",
        },
        "commands/c-2/executed": {"success": True, "message": "switched"},
        "commands/c-3/executed": {"success": False, "message": "the priority is not a number"},
    }  # fmt: skip


# --- small ones, whole ------------------------------------------------------------------------------------------------


def test_the_small_bodies_of_a_v4c_whole(busy: dict[Build, Fleet]) -> None:
    fleet = busy[Build.V4C]
    machine = fleet.instance_id
    (put,) = fleet.sent("replicas/replica-1", by=machine)
    assert set(put) == {"instance_id", "status"}
    assert fleet.sent("termination-report", by=machine)[0] == {
        "instance_id": "i-0", "success": False, "error": "InvalidInstanceID.NotFound: no machine i-0", "terminated_at": None,
    }  # fmt: skip
    asked = [body["signal_type"] for body in fleet.sent("create-emergency-replica", by=machine)]
    assert sorted(asked) == ["rebalance-recommendation", "termination-notice"]
    (cleanup,) = fleet.sent("cleanup-report", by=machine)
    at = cleanup["timestamp"]
    assert cleanup == {
        "timestamp": at,
        "snapshots": {"type": "snapshots", "deleted": [], "failed": [], "cutoff_date": at},
        "amis": {"type": "amis", "deleted_amis": [], "deleted_snapshots": [], "failed": [], "cutoff_date": at},
    }


def test_the_results_of_a_v5_whole(busy: dict[Build, Fleet]) -> None:
    fleet = busy[Build.V5]
    (launched,) = fleet.launched()
    neighbour = fleet.deeds("ended")[0]["machine"]
    plain = {"agent_id": "agent-1", "result": "SUCCESS", "error_message": None}
    assert fleet.sent("action-result", by=fleet.instance_id) == [
        {**plain, "request_id": "q-LAUNCH_INSTANCE", "cloud_instance_id": launched, "metadata": {"confirmed": True}},
        {
            **plain, "request_id": "q-PROMOTE_REPLICA_TO_PRIMARY", "cloud_instance_id": neighbour,
            "metadata": {"request_id": "q-PROMOTE_REPLICA_TO_PRIMARY"},
        },
        {**plain, "request_id": "q-TERMINATE_INSTANCE", "cloud_instance_id": neighbour, "metadata": {}},
        {
            "agent_id": "agent-1", "request_id": "q-switch", "result": "FAILURE", "cloud_instance_id": None,
            "error_message": "Unknown command type", "metadata": {},
        },
    ]  # fmt: skip


def test_the_shutdown_of_a_v5_tells_its_uptime_and_how_it_felt() -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.advance(95)
    fleet.world.stop_agent(fleet.instance_id)
    fleet.world.advance(0)
    assert fleet.sent("shutdown") == [
        {
            "cloud_instance_id": fleet.instance_id,
            "timestamp": "2026-01-01T00:02:00.000000",
            "metadata": {"uptime": 95.0, "final_state": "ONLINE"},
        }
    ]


def test_the_health_of_a_v5_counts_from_the_start_of_the_program() -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.advance(45)
    fleet.world.restart_agent(fleet.instance_id)
    fleet.world.advance(31)
    assert [body["health_metrics"]["uptime"] for body in fleet.sent("heartbeat")] == [0, 30, 0, 0, 30]


def test_the_inventory_of_a_v5_lists_machines_in_every_state_with_their_tags() -> None:
    fleet = a_fleet(Build.V5)
    cloud, image = fleet.world.cloud, own(fleet).ami_id
    facts = {"instance_type": TYPE, "az": HERE, "ami_id": image}
    cloud.set_boot_seconds(Pool(TYPE, THERE), 3_600)
    pending = cloud.launch(instance_type=TYPE, az=THERE, mode=Mode.ONDEMAND, ami_id=image, tags={"Name": "b"})
    gone = cloud.launch(**facts, mode=Mode.SPOT)
    cloud.terminate(gone.instance_id)
    fleet.world.advance(30)
    snapshot = fleet.sent("heartbeat")[-1]["inventory_snapshot"]
    told = {one["instance_id"]: (one["state"], one["pool"], one["tags"]) for one in snapshot["instances"]}
    assert told == {
        fleet.instance_id: ("running", POOL_HERE, {}),
        pending.instance_id: ("pending", None, {"Name": "b"}),
        gone.instance_id: ("terminated", POOL_HERE, {}),
    }
    assert snapshot["count"] == 3
    assert "error" not in snapshot
