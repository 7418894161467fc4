"""When each build sends what: first and next times of every request, alone and side by side (agent-wire 2 to 5)."""

from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from spotadapters.fleet import NO_ANSWER, Content, Response, VirtualClock, json_answer
from spotcore.builds import Build
from spotcore.pools import Mode
from tests.support.scripted_server import Fleet, ScriptedServer, a_fleet

ORIGIN = VirtualClock().now()
BOOT = 25.0  # seconds until the agent starts
Times = list[float]


def since_start(at: datetime) -> float:
    return (at - ORIGIN).total_seconds() - BOOT


def times(fleet: Fleet, request: str) -> Times:
    """When a request was sent, in seconds after the agent's start; ``<METHOD> <path below the agent>``."""
    method, _, below = request.partition(" ")
    return [
        since_start(one.at)
        for one in fleet.world.journal.exchanges()
        if one.method == method and one.path.partition("/api/agents/")[2].split("/", 1)[-1] == below
    ]


TABLE: dict[Build, dict[str, Times]] = {
    Build.V2: {
        "POST register": [0],
        "POST heartbeat": [0, 30, 60, 90, 120],
        "GET pending-commands": [0, 15, 30, 45, 60, 75, 90, 105, 120],
        "GET config": [0, 60, 120],
        "POST pricing-report": [0, 300, 600],
    },
    Build.V4C: {
        "POST register": [0],
        "POST heartbeat": [0, 30, 60, 90, 120],
        "GET pending-commands": [0, 15, 30, 45, 60, 75, 90, 105, 120],
        "GET config": [0, 60, 120],
        "POST pricing-report": [0, 300, 600],
        "GET replicas?status=launching": [0, 30, 60, 90, 120],
        "GET replicas?status=terminated": [0, 30, 60, 90, 120],
        "GET instances-to-terminate": [60, 120, 180],
        "POST cleanup-report": [60, 3660],
    },
    Build.V4N: {
        "POST register": [0],
        "POST heartbeat": [0, 30, 60, 90, 120],
        "GET config": [0, 30, 60, 90, 120],
        "POST decide": [60, 360, 660],
    },
    Build.V5: {
        "POST register": [0],
        "POST heartbeat": [0, 30, 60, 90, 120],
        "GET commands/pending": [0, 5, 10, 15, 20, 25, 30],
        "POST pricing-report": [60, 360, 660],
    },
}


@pytest.mark.parametrize("build", TABLE)
def test_every_request_has_its_first_time_and_its_rhythm(build: Build) -> None:
    fleet = a_fleet(build)
    fleet.world.advance(3_700)
    for request, wanted in TABLE[build].items():
        assert times(fleet, request)[: len(wanted)] == wanted, request
    sent = {
        (one.method, one.path.partition("/api/agents/")[2].split("/", 1)[-1]) for one in fleet.world.journal.exchanges()
    }
    assert sent == {tuple(request.split(" ")) for request in TABLE[build]}


@pytest.mark.parametrize("build", [Build.V2, Build.V4C, Build.V4N])
def test_a_disabled_build_goes_on_at_the_same_times_without_what_it_is_told_to_leave(build: Build) -> None:
    server = ScriptedServer()
    server.always("POST register", {"agent_id": "agent-1", "config": {"enabled": False}})
    server.always("GET config", {"enabled": False})
    fleet = a_fleet(build, server)
    fleet.world.advance(700)
    left = {"GET pending-commands", "POST decide"}
    for request, wanted in TABLE[build].items():
        seen = [at for at in wanted if at <= 700]
        assert times(fleet, request)[: len(seen)] == ([] if request in left else seen), request


REFUSED = [json_answer({"error": "x"}, status=code) for code in (400, 401, 403, 404, 409, 422, 429, 500, 503)]
UNANSWERED = [NO_ANSWER, Response(status=200, content=Content.OTHER), Response(status=502, content=Content.OTHER)]
LOOPS = [
    (build, request)
    for build in (Build.V2, Build.V4C, Build.V4N)
    for request in TABLE[build]
    if request not in ("POST register", "POST cleanup-report")
]


@pytest.mark.parametrize(("build", "request_"), LOOPS)
def test_an_error_is_logged_and_the_next_turn_comes_at_its_time_whatever_the_status(
    build: Build, request_: str
) -> None:
    """All statuses one after the other, a hundred turns of the loop long."""
    fleet = a_fleet(build)
    answers = [*REFUSED, *UNANSWERED]
    for answer in answers:
        fleet.server.once(request_, answer)
    fleet.world.advance(12 * 300 + 60)
    usual = TABLE[build][request_]
    pause = usual[2] - usual[1]
    gaps = [after - before for before, after in pairwise(times(fleet, request_))]
    assert len(gaps) >= 11
    assert set(gaps) == {pause}
    assert fleet.world.running(fleet.instance_id)
    assert len(fleet.sent("register")) == 1
    assert fleet.wrongs() == []


@pytest.mark.parametrize("request_", ["GET commands/pending", "POST pricing-report"])
@pytest.mark.parametrize(
    "answer",
    [*REFUSED, *UNANSWERED, Response(status=204), Response(status=200)],
    ids=lambda a: f"{a.status}-{a.content.value}",
)
def test_any_failed_request_of_a_v5_but_a_heartbeat_makes_its_loop_sleep_and_no_more(
    request_: str, answer: Response
) -> None:
    fleet = a_fleet(Build.V5)
    fleet.server.once(request_, answer)
    if request_.startswith("GET"):
        fleet.world.advance(6)
        fleet.server.once(request_, answer)
    fleet.world.advance(900)
    first, second, *_ = TABLE[Build.V5][request_]
    found = times(fleet, request_)
    if request_.startswith("GET"):
        assert found[:2] == [0, 5]  # the very first poll came before the answer was set
        assert found[2] - found[1] == 5 + 2
    else:
        assert found[1] - found[0] == second - first + 2
    assert (fleet.wrongs(), fleet.world.running(fleet.instance_id)) == ([], True)


def test_a_v5_that_cannot_reach_its_server_backs_off_in_all_loops_by_one_counter() -> None:
    """Polls fail at 5 (2 s), 12 (8 s) and 25, notices at 10 (4 s) and 24: each sleeps as long as all failures say."""
    fleet = a_fleet(Build.V5)
    fleet.server.always("GET commands/pending", NO_ANSWER)
    fleet.server.always("POST termination-report", NO_ANSWER)
    fleet.world.interrupt(fleet.instance_id)
    fleet.world.advance(28)
    assert times(fleet, "GET commands/pending") == [0, 5, 12, 25]
    assert times(fleet, "POST termination-report") == [10, 24]
    agent: Any = fleet.world.agent(fleet.instance_id)
    assert agent.failures == 5


@pytest.mark.parametrize(
    ("build", "mode", "wanted"),
    [
        (Build.V4C, Mode.SPOT, [5]),
        (Build.V4N, Mode.SPOT, [10, 20, 30, 40, 50, 60]),
        (Build.V5, Mode.SPOT, [10, 20, 30, 40, 50, 60]),
        (Build.V2, Mode.SPOT, []),
    ],
)
def test_a_termination_notice_is_seen_at_the_builds_own_rhythm(build: Build, mode: Mode, wanted: Times) -> None:
    server = ScriptedServer()
    server.always("POST termination-imminent", {"success": False})
    fleet = a_fleet(build, server, mode=mode)
    fleet.world.advance(0.5)
    fleet.world.interrupt(fleet.instance_id)
    fleet.world.advance(60)
    request = {Build.V4C: "termination-imminent", Build.V4N: "rebalance-recommendation", Build.V5: "termination-report"}
    assert times(fleet, f"POST {request.get(build, 'termination-imminent')}") == wanted


@pytest.mark.parametrize(("raised", "told"), [(0.5, 30), (29.5, 30), (30.5, 60)])
def test_a_v4c_sees_the_rebalance_signal_every_thirty_seconds(raised: float, told: float) -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.advance(raised)
    fleet.world.rebalance(fleet.instance_id)
    fleet.world.advance(90)
    assert times(fleet, "POST create-emergency-replica") == times(fleet, "POST rebalance-recommendation") == [told]


@pytest.mark.parametrize(("wait", "ended"), [(0, None), (1, 28.0), (300, 327.0), (86_400, None)])
def test_a_v4c_switch_takes_its_time_step_by_step(wait: float, ended: float | None) -> None:
    """Launch at 0, running after 25 s, traffic 2 s later; then the wait, the end, the report, the acknowledgement."""
    fleet = a_fleet(Build.V4C, shutdown_seconds=60, booted=False)
    command = {"id": "c-1", "target_mode": "spot", "target_pool_id": "m5.large.us-east-1b", "priority": 0}
    fleet.server.once("GET pending-commands", [{**command, "terminate_wait_seconds": wait}])
    fleet.world.advance(BOOT + 400)
    own = [since_start(one.at) for one in fleet.world.journal.deeds(instance_id=fleet.instance_id)]
    assert own[0] == 0  # launched
    reports = times(fleet, "POST switch-report")
    if wait == 0:
        assert (reports, times(fleet, "POST commands/c-1/executed")) == ([27.0], [27.0])
    elif ended is None:
        assert reports == []
    else:
        assert reports == times(fleet, "POST commands/c-1/executed") == [ended]
        assert since_start(fleet.world.journal.deeds("ended_itself")[0].at) == ended


@pytest.mark.parametrize("build", TABLE)
def test_a_slow_answer_delays_its_own_loop_by_as_much_and_no_other(build: Build) -> None:
    slow = "GET commands/pending" if build is Build.V5 else "POST heartbeat" if build is Build.V4N else "GET config"
    fleet = a_fleet(build)
    fleet.world.advance(1)
    fleet.server.once(slow, json_answer({"enabled": True}, seconds=20))
    fleet.world.advance(400)
    usual = TABLE[build][slow]
    found = times(fleet, slow)
    assert found[:3] == [usual[0], usual[1], usual[2] + 20]
    others = {request: wanted for request, wanted in TABLE[build].items() if request not in (slow, "GET config")}
    for request, wanted in others.items():
        seen = [at for at in wanted if at <= 400]
        assert times(fleet, request)[: len(seen)] == seen, request
