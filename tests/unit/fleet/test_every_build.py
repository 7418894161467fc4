"""What holds for all four builds (section 1 of what deployed agents send and read)."""

from collections.abc import Mapping
from typing import Any

import pytest

from spotadapters.fleet import NO_ANSWER, Content, Response, json_answer
from spotcore.builds import Build
from tests.support.scripted_server import WELCOME, ScriptedServer, a_fleet

BUILDS = (Build.V2, Build.V4C, Build.V4N, Build.V5)
LEAVERS = (Build.V2, Build.V4C, Build.V5)
READERS_OF_ENABLED = (Build.V2, Build.V4C, Build.V4N)
REFUSALS = [json_answer({"error": "x"}, status=code) for code in (400, 401, 403, 404, 409, 422, 429, 500, 503)]
HTML = Response(status=200, content=Content.OTHER)
LAST_WORDS = {Build.V2: "heartbeat", Build.V4C: "heartbeat", Build.V4N: "heartbeat", Build.V5: "shutdown"}


def _welcome(**changes: Any) -> Mapping[str, Any]:
    return {**WELCOME, **changes}


@pytest.mark.parametrize("build", BUILDS)
def test_every_request_carries_the_clients_token_and_a_json_content_type_gets_too(build: Build) -> None:
    fleet = a_fleet(build)
    fleet.world.advance(400)
    exchanges = fleet.world.journal.exchanges()
    assert {one.headers["Authorization"] for one in exchanges} == {"Bearer token-1"}
    assert {one.headers["Content-Type"] for one in exchanges} == {"application/json"}
    assert all(one.body is None for one in exchanges if one.method == "GET")
    assert all(one.body is not None for one in exchanges if one.method == "POST")


@pytest.mark.parametrize(
    ("build", "repeats"), [(Build.V2, True), (Build.V4C, True), (Build.V4N, False), (Build.V5, False)]
)
def test_only_v2_and_v4c_repeat_the_token_in_the_registration(build: Build, repeats: bool) -> None:
    (registration,) = a_fleet(build).sent("register")
    assert ("client_token" in registration) is repeats


@pytest.mark.parametrize("build", BUILDS)
def test_the_id_is_read_at_the_top_level_only_t02(build: Build) -> None:
    server = ScriptedServer()
    server.always("POST register", {"status": "success", "data": WELCOME})
    fleet = a_fleet(build, server)
    assert fleet.wrongs() == ["T02"]
    assert fleet.world.running(fleet.instance_id) is (build is Build.V4N)


@pytest.mark.parametrize("build", BUILDS)
def test_an_envelope_beside_the_top_level_fields_does_no_harm(build: Build) -> None:
    server = ScriptedServer()
    server.always("POST register", {**WELCOME, "status": "success", "data": WELCOME, "error": None})
    fleet = a_fleet(build, server)
    assert fleet.world.agent(fleet.instance_id).agent_id == "agent-1"
    assert fleet.wrongs() == []


@pytest.mark.parametrize("build", BUILDS)
def test_a_null_config_in_the_registration_answer_makes_every_build_give_up(build: Build) -> None:
    server = ScriptedServer()
    server.always("POST register", dict(_welcome(config=None)))
    fleet = a_fleet(build, server)
    assert not fleet.world.running(fleet.instance_id)
    assert fleet.wrongs() == ["T02"]


@pytest.mark.parametrize("build", BUILDS)
def test_an_absent_config_in_the_registration_answer_is_fine(build: Build) -> None:
    server = ScriptedServer()
    server.always("POST register", {"agent_id": "agent-1"})
    fleet = a_fleet(build, server)
    assert fleet.world.running(fleet.instance_id)
    assert fleet.world.agent(fleet.instance_id).enabled


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("answer", [*REFUSALS, NO_ANSWER, HTML])
def test_after_a_refused_registration_one_last_request_goes_to_agent_none(build: Build, answer: Response) -> None:
    server = ScriptedServer()
    server.always("POST register", answer)
    fleet = a_fleet(build, server)
    assert [one.path for one in fleet.world.journal.exchanges()] == [
        "/api/agents/register",
        f"/api/agents/None/{LAST_WORDS[build]}",
    ]
    assert not fleet.world.running(fleet.instance_id)


@pytest.mark.parametrize("build", BUILDS)
def test_a_supervisor_starts_an_agent_again_whose_registration_failed(build: Build) -> None:
    server = ScriptedServer()
    server.once("POST register", json_answer({}, status=503))
    fleet = a_fleet(build, server)
    fleet.world.advance(11)
    assert fleet.world.running(fleet.instance_id)
    assert len(fleet.sent("register")) == 2


@pytest.mark.parametrize("build", BUILDS)
def test_nobody_restarts_an_agent_on_a_machine_that_has_gone(build: Build) -> None:
    server = ScriptedServer()
    server.always("POST register", NO_ANSWER)
    fleet = a_fleet(build, server)
    fleet.world.cloud.terminate(fleet.instance_id)
    fleet.world.advance(60)
    assert len(fleet.sent("register")) == 1


@pytest.mark.parametrize("build", [Build.V2, Build.V4C, Build.V4N])
@pytest.mark.parametrize("answer", [*REFUSALS, NO_ANSWER, HTML, Response(status=204)])
def test_no_answer_to_a_heartbeat_stops_a_v2_v4c_or_v4n(build: Build, answer: Response) -> None:
    fleet = a_fleet(build)
    fleet.server.always("POST heartbeat", answer)
    before = len(fleet.sent("heartbeat"))
    fleet.world.advance(90)
    assert len(fleet.sent("heartbeat")) == before + 3
    assert len(fleet.sent("register")) == 1, "a 401 or 404 brings no new registration"


@pytest.mark.parametrize("build", BUILDS)
def test_nothing_is_retried_and_nothing_is_kept_for_later(build: Build) -> None:
    fleet = a_fleet(build)
    name = "decide" if build is Build.V4N else "pricing-report"
    fleet.world.advance(61)
    fleet.server.always(f"POST {name}", NO_ANSWER)
    before = len(fleet.sent(name))
    fleet.world.advance(299)
    assert len(fleet.sent(name)) <= before + 1


@pytest.mark.parametrize("build", READERS_OF_ENABLED)
def test_enabled_is_read_at_the_top_level_and_missing_means_true(build: Build) -> None:
    fleet = a_fleet(build)
    agent = fleet.world.agent(fleet.instance_id)
    for answer, enabled in (
        ({"enabled": False}, False),
        ({"data": {"enabled": False}}, True),
        ({"enabled": False, "data": {"enabled": True}}, False),
        ({}, True),
    ):
        fleet.server.always("GET config", answer)
        fleet.world.advance(61)
        assert agent.enabled is enabled


@pytest.mark.parametrize("build", READERS_OF_ENABLED)
def test_a_failed_config_fetch_changes_nothing(build: Build) -> None:
    fleet = a_fleet(build)
    fleet.server.always("GET config", {"enabled": False})
    fleet.world.advance(61)
    fleet.server.always("GET config", json_answer({"enabled": True}, status=500))
    fleet.world.advance(61)
    assert not fleet.world.agent(fleet.instance_id).enabled


@pytest.mark.parametrize("build", READERS_OF_ENABLED)
def test_a_registration_answer_can_disable_an_agent(build: Build) -> None:
    server = ScriptedServer()
    server.always("POST register", dict(_welcome(config={"enabled": False})))
    server.always("GET config", {"enabled": False})
    fleet = a_fleet(build, server)
    fleet.world.advance(31)
    assert fleet.sent("heartbeat")[-1]["status"] == "disabled"


@pytest.mark.parametrize(
    ("build", "kept"), [(Build.V2, False), (Build.V4C, False), (Build.V4N, True), (Build.V5, True)]
)
def test_v2_and_v4c_drop_the_path_of_the_base_url_v4n_and_v5_keep_it(build: Build, kept: bool) -> None:
    fleet = a_fleet(build, base_path="/spot/")
    paths = {one.path for one in fleet.world.journal.exchanges()}
    assert all(path.startswith("/spot/api/" if kept else "/api/") for path in paths)


@pytest.mark.parametrize("build", BUILDS)
def test_a_redirected_post_becomes_a_get_without_its_body(build: Build) -> None:
    server = ScriptedServer()
    server.always("POST register", Response(status=301, location="https://h/api/agents/registration?x=1"))
    server.always("GET registration?x=1", WELCOME)
    fleet = a_fleet(build, server)
    first, second = fleet.world.journal.exchanges()[:2]
    assert (first.method, first.status) == ("POST", 301)
    assert (second.method, second.path, second.body) == ("GET", "/api/agents/registration?x=1", None)


def test_a_307_keeps_method_and_body() -> None:
    server = ScriptedServer()
    server.always("POST register", Response(status=307, location="/api/agents/enrol"))
    server.always("POST enrol", WELCOME)
    fleet = a_fleet(Build.V4C, server)
    assert fleet.sent("enrol") == fleet.sent("register")
    assert fleet.world.running(fleet.instance_id)


def test_redirects_in_a_circle_count_as_no_answer() -> None:
    server = ScriptedServer()
    server.always("POST register", Response(status=307, location="/api/agents/register"))
    fleet = a_fleet(Build.V4C, server)
    assert not fleet.world.running(fleet.instance_id)


@pytest.mark.parametrize("build", BUILDS)
def test_an_answer_after_thirty_seconds_comes_too_late(build: Build) -> None:
    server = ScriptedServer()
    server.once("POST register", json_answer(WELCOME, seconds=31))
    fleet = a_fleet(build, server)
    fleet.world.advance(29)
    assert fleet.world.running(fleet.instance_id), "still waiting"
    fleet.world.advance(2)
    assert not fleet.world.running(fleet.instance_id)
    assert fleet.world.journal.exchanges("register")[0].status == 0


@pytest.mark.parametrize("build", BUILDS)
def test_an_answer_after_twenty_nine_seconds_is_read(build: Build) -> None:
    server = ScriptedServer()
    server.once("POST register", json_answer(WELCOME, seconds=29))
    fleet = a_fleet(build, server)
    assert fleet.world.agent(fleet.instance_id).agent_id is None
    fleet.world.advance(29)
    assert fleet.world.agent(fleet.instance_id).agent_id == "agent-1"


@pytest.mark.parametrize("build", BUILDS)
def test_a_clean_stop_says_farewell_and_nothing_follows(build: Build) -> None:
    fleet = a_fleet(build)
    fleet.world.stop_agent(fleet.instance_id)
    fleet.world.advance(300)
    last = fleet.world.journal.exchanges()[-1]
    assert last.name == LAST_WORDS[build]
    assert last.at == fleet.world.clock.now().replace(minute=0, second=25)
    if build is not Build.V5:
        assert last.body is not None
        assert last.body["status"] == "offline"
        assert "instance_id" not in last.body


@pytest.mark.parametrize("build", BUILDS)
def test_a_killed_agent_falls_silent_at_once(build: Build) -> None:
    fleet = a_fleet(build)
    before = len(fleet.world.journal.exchanges())
    fleet.world.kill_agent(fleet.instance_id)
    fleet.world.advance(600)
    assert len(fleet.world.journal.exchanges()) == before


@pytest.mark.parametrize("build", BUILDS)
def test_an_agent_goes_down_with_its_machine_without_a_word(build: Build) -> None:
    fleet = a_fleet(build)
    fleet.world.advance(3)
    before = len(fleet.world.journal.exchanges())
    fleet.world.cloud.terminate(fleet.instance_id)
    fleet.world.advance(600)
    assert len(fleet.world.journal.exchanges()) == before
    assert not fleet.world.running(fleet.instance_id)


@pytest.mark.parametrize(
    ("build", "version"),
    [(Build.V2, "3.2.0"), (Build.V4C, "4.0.0"), (Build.V4N, "4.0.0"), (Build.V5, "5.0.1-production")],
)
def test_versions_do_not_tell_v4c_and_v4n_apart_t22(build: Build, version: str) -> None:
    assert a_fleet(build).sent("register")[0]["agent_version"] == version


@pytest.mark.parametrize("build", [Build.V2, Build.V4C, Build.V4N])
def test_the_logical_id_is_configured_or_else_the_instance_id(build: Build) -> None:
    assert a_fleet(build, logical_id="web-1").sent("register")[0]["logical_agent_id"] == "web-1"
    fleet = a_fleet(build)
    assert fleet.sent("register")[0]["logical_agent_id"] == fleet.instance_id


def test_the_logical_id_of_a_v5_is_its_instance_id_whatever_was_configured() -> None:
    fleet = a_fleet(Build.V5, logical_id="web-1")
    assert fleet.sent("register")[0]["logical_agent_id"] == fleet.instance_id


@pytest.mark.parametrize(
    ("build", "counts"),
    [
        (Build.V2, {"heartbeat": 20, "pending-commands": 40, "config": 10, "pricing-report": 2}),
        (
            Build.V4C,
            {
                "heartbeat": 20,
                "pending-commands": 40,
                "config": 10,
                "pricing-report": 2,
                "replicas": 40,
                "instances-to-terminate": 9,
                "cleanup-report": 1,
            },
        ),
        (Build.V4N, {"heartbeat": 20, "config": 20, "decide": 2}),
        (Build.V5, {"heartbeat": 20, "commands/pending": 120, "pricing-report": 2}),
    ],
)
def test_ten_quiet_minutes_bring_exactly_these_requests(build: Build, counts: dict[str, int]) -> None:
    fleet = a_fleet(build)
    fleet.world.advance(599)
    names = [one.name for one in fleet.world.journal.exchanges()]
    assert {name: names.count(name) for name in set(names)} == {"register": 1, **counts}
    assert fleet.wrongs() == []
