"""What each command asks of the server, with each of its options: method, path, query and body, and nothing more."""

from typing import Any

import click
import pytest

from spotapp.cli import main
from spotapp.commands.reference import SHARED_NAMES, leaves
from spotcore.config import SETTINGS
from tests.unit.cli.conftest import Cli

POST_CONFIG = "POST /api/client/agents/a/config"
SWITCH = "POST /api/client/instances/i-0/force-switch"
SIMULATE = "POST /api/client/instances/i-0/simulate-switch"
POOL = "m5.large.us-east-1b"

ASKED: list[tuple[str, str, dict[str, str], Any]] = [
    # words, request, query, body (None: there is none)
    ("clients create Acme", "POST /api/admin/clients/create", {}, {"name": "Acme"}),
    ("clients create Acme --email a@b.example", "POST /api/admin/clients/create", {}, {"name": "Acme", "email": "a@b.example"}),
    ("clients list", "GET /api/admin/clients", {}, None),
    ("clients show c", "GET /api/client/c", {}, None),
    ("clients token c", "GET /api/admin/clients/c/token", {}, None),
    ("clients rotate c", "POST /api/admin/clients/c/regenerate-token", {}, {"grace_seconds": 0}),
    ("clients rotate c --grace 86400", "POST /api/admin/clients/c/regenerate-token", {}, {"grace_seconds": 86_400}),
    ("clients delete c --yes", "DELETE /api/admin/clients/c", {}, None),
    ("agents list", "GET /api/admin/agents", {"limit": "1000"}, None),
    ("agents list --client c", "GET /api/client/c/agents", {}, None),
    ("agents show a", "GET /api/admin/search", {"q": "a", "types": "agents"}, None),
    ("agents show a --client c", "GET /api/client/c/agents", {}, None),
    ("agents config get a", "GET /api/admin/search", {"q": "a", "types": "agents"}, None),
    ("agents config get a --client c", "GET /api/client/c/agents", {}, None),
    ("agents config get a --whole", "GET /api/agents/a/config", {}, None),
    ("agents config get a --client c --whole", "GET /api/agents/a/config", {}, None),
    ("agents config set a risk_threshold=0.5", POST_CONFIG, {}, {"risk_threshold": 0.5}),
    ("agents config set a risk_threshold=0.5 --expect 0", POST_CONFIG, {}, {"risk_threshold": 0.5, "expected_version": 0}),
    ("agents config set a terminate_wait_minutes=10 preferred_azs=a,b --expect 4", POST_CONFIG, {}, {"terminate_wait_minutes": 10, "preferred_azs": ["a", "b"], "expected_version": 4}),
    ("agents config diff a risk_threshold=0.5", "GET /api/admin/search", {"q": "a", "types": "agents"}, None),
    ("agents config diff a risk_threshold=0.5 --client c", "GET /api/client/c/agents", {}, None),
    ("agents config diff a risk_threshold=0.5 --whole", "GET /api/agents/a/config", {}, None),
    ("agents enable a", "POST /api/client/agents/a/toggle-enabled", {}, {"enabled": True}),
    ("agents disable a", "POST /api/client/agents/a/toggle-enabled", {}, {"enabled": False}),
    ("agents delete a --yes", "DELETE /api/client/agents/a", {}, None),
    ("instances list", "GET /api/admin/instances", {"limit": "1000"}, None),
    ("instances list --status all", "GET /api/admin/instances", {"limit": "1000", "status": "all"}, None),
    ("instances list --status terminated", "GET /api/admin/instances", {"limit": "1000", "status": "terminated"}, None),
    ("instances list --mode all", "GET /api/admin/instances", {"limit": "1000"}, None),  # E08 has no word for all modes
    ("instances list --mode ondemand", "GET /api/admin/instances", {"limit": "1000", "mode": "ondemand"}, None),
    ("instances list --search m5&x=1", "GET /api/admin/instances", {"limit": "1000", "search": "m5&x=1"}, None),
    ("instances list --client c", "GET /api/client/c/instances", {}, None),
    ("instances list --client c --status active --mode all --search x", "GET /api/client/c/instances", {"status": "active", "mode": "all", "search": "x"}, None),
    ("instances show i-0", "GET /api/client/instances/i-0/metrics", {}, None),
    ("instances terminate i-0 --yes", "POST /api/client/instances/i-0/terminate", {}, {"force": False}),
    ("instances terminate i-0 --yes --force", "POST /api/client/instances/i-0/terminate", {}, {"force": True}),
    (f"switch i-0 --to {POOL}", SWITCH, {}, {"target": "pool", "pool_id": POOL}),
    (f"switch i-0 --to {POOL} --terminate-old", SWITCH, {}, {"target": "pool", "pool_id": POOL, "auto_terminate": True}),
    (f"switch i-0 --to {POOL} --keep-old", SWITCH, {}, {"target": "pool", "pool_id": POOL, "auto_terminate": False}),
    ("switch i-0 --ondemand", SWITCH, {}, {"target": "ondemand"}),
    (f"switch i-0 --to {POOL} --simulate", SIMULATE, {}, {"target_type": "spot", "target_pool": POOL}),
    ("switch i-0 --ondemand --simulate", SIMULATE, {}, {"target_type": "ondemand"}),
    ("replicas list c", "GET /api/client/c/replicas", {}, None),
    ("replicas create a", "POST /api/agents/a/replicas", {}, {}),
    (f"replicas create a --pool {POOL}", "POST /api/agents/a/replicas", {}, {"pool_id": POOL}),
    ("replicas create a --exclude-zone z", "POST /api/agents/a/replicas", {}, {"exclude_zones": ["z"]}),
    ("replicas create a --max-hourly-cost 0", "POST /api/agents/a/replicas", {}, {"max_hourly_cost": 0.0}),
    ("replicas create a --exclude-zone y --exclude-zone z --max-hourly-cost 0.05", "POST /api/agents/a/replicas", {}, {"exclude_zones": ["y", "z"], "max_hourly_cost": 0.05}),
    ("replicas promote a r --yes", "POST /api/agents/a/replicas/r/promote", {}, {}),
    ("replicas promote a r --yes --demote-old", "POST /api/agents/a/replicas/r/promote", {}, {"demote_old_primary": True}),
    ("replicas promote a r --yes --end-old", "POST /api/agents/a/replicas/r/promote", {}, {"demote_old_primary": False}),
    ("replicas delete a r --yes", "DELETE /api/agents/a/replicas/r", {}, None),
    ("incidents emergencies", "GET /api/admin/emergency-events", {"days": "30"}, None),
    ("incidents emergencies --days 365", "GET /api/admin/emergency-events", {"days": "365"}, None),
    ("incidents status a", "GET /api/agents/a/emergency-status", {}, None),
    ("notifications list", "GET /api/notifications", {"limit": "20"}, None),
    ("notifications list --unread", "GET /api/notifications", {"limit": "20", "unread": "true"}, None),
    ("notifications list --client c --limit 100", "GET /api/notifications", {"limit": "100", "client_id": "c"}, None),
    ("notifications read n", "POST /api/notifications/n/mark-read", {}, {}),
    ("notifications read-all", "POST /api/notifications/mark-all-read", {}, {}),
    ("notifications read-all --client c", "POST /api/notifications/mark-all-read", {}, {"client_id": "c"}),
    ("events show", "GET /api/admin/activity", {"limit": "50"}, None),
    ("events show --limit 100", "GET /api/admin/activity", {"limit": "100"}, None),
    ("events show --follow", "GET /api/events/stream", {}, None),
    ("events show --follow --client c", "GET /api/events/stream", {"client_id": "c"}, None),
    ("models list", "GET /api/admin/ml-models/sessions", {}, None),
    ("models activate s", "POST /api/admin/ml-models/activate", {}, {"sessionId": "s"}),
    ("models fallback", "POST /api/admin/ml-models/fallback", {}, {}),
    ("pools list", "GET /api/admin/pools/statistics", {}, None),
    ("stats", "GET /api/admin/stats", {}, None),
    ("health", "GET /api/admin/system-health", {}, None),
    ("jobs runs", "GET /api/admin/consolidation-jobs", {"days": "7"}, None),
    ("jobs runs --days 90", "GET /api/admin/consolidation-jobs", {"days": "90"}, None),
    *(
        (f"savings show c --range {span}", "GET /api/client/c/savings", {"range": span}, None)
        for span in ("daily", "weekly", "monthly", "yearly")
    ),
    ("savings show c", "GET /api/client/c/savings", {"range": "monthly"}, None),
    ("export savings c", "GET /api/client/c/export/savings", {}, None),
    ("export switches c --to never.csv", "GET /api/client/c/export/switch-history", {}, None),
    ("export savings c --to never.csv", "GET /api/client/c/export/savings", {}, None),
    ("export stats --to never.csv", "GET /api/admin/export/global-stats", {}, None),
    ("export switches c", "GET /api/client/c/export/switch-history", {}, None),
    ("export stats", "GET /api/admin/export/global-stats", {}, None),
]  # fmt: skip
UPLOADS = "models upload"  # files and fields, see test_uploads


@pytest.mark.parametrize(("words", "name", "query", "body"), ASKED, ids=[case[0] for case in ASKED])
def test_a_command_asks_for_what_was_typed_and_nothing_else(
    cli: Cli, words: str, name: str, query: dict[str, str], body: Any
) -> None:
    assert cli(*words.split()).exit_code == 1  # the server knows nothing: 404
    (asked,) = cli.server.asked
    assert (asked.name, asked.query) == (name, query)
    assert (asked.body if asked.raw else None) == body


REMOTE = {
    path.removeprefix("spotcore "): command
    for path, command in leaves(main, "spotcore")
    if any(one.name == "url" for one in command.params)
}


@pytest.mark.parametrize("path", REMOTE)
def test_every_option_of_every_command_stands_in_the_table_above(path: str) -> None:
    rows = [words for words, *_ in ASKED if words == path or words.startswith(f"{path} ")]
    assert rows or path == UPLOADS
    own = [one for one in REMOTE[path].params if isinstance(one, click.Option) and one.name not in SHARED_NAMES]
    for option in own if path != UPLOADS else ():
        for name in (*option.opts, *option.secondary_opts):
            assert any(name in words.split() for words in rows), name


def test_every_request_says_who_asks_and_in_which_shape_1_2(cli: Cli) -> None:
    for words, *_ in ASKED[::9]:
        cli(*words.split())
    for asked in cli.server.asked:
        assert asked.headers["Authorization"].startswith("Bearer ")
        assert asked.headers["X-Response-Shape"] == "envelope"
        assert "Cookie" not in asked.headers


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("clients show {}", "/api/client/{}"),
        ("clients token {}", "/api/admin/clients/{}/token"),
        ("clients delete {} --yes", "/api/admin/clients/{}"),
        ("agents list --client {}", "/api/client/{}/agents"),
        ("agents delete {} --yes", "/api/client/agents/{}"),
        ("agents config get {} --whole", "/api/agents/{}/config"),
        ("instances list --client {}", "/api/client/{}/instances"),
        ("instances show {}", "/api/client/instances/{}/metrics"),
        ("switch {} --ondemand", "/api/client/instances/{}/force-switch"),
        ("replicas list {}", "/api/client/{}/replicas"),
        ("replicas create {}", "/api/agents/{}/replicas"),
        ("replicas delete a {} --yes", "/api/agents/a/replicas/{}"),
        ("replicas promote {} r --yes", "/api/agents/{}/replicas/r/promote"),
        ("incidents status {}", "/api/agents/{}/emergency-status"),
        ("notifications read {}", "/api/notifications/{}/mark-read"),
        ("savings show {}", "/api/client/{}/savings"),
        ("export savings {}", "/api/client/{}/export/savings"),
        ("export switches {}", "/api/client/{}/export/switch-history"),
    ],
)
@pytest.mark.parametrize(
    ("typed", "sent"), [("../../admin", "..%2F..%2Fadmin"), ("a?b=1#c", "a%3Fb%3D1%23c"), ("ü", "%C3%BC")]
)
def test_no_id_reaches_another_path_than_its_own(cli: Cli, words: str, path: str, typed: str, sent: str) -> None:
    cli(*(word.replace("{}", typed) for word in words.split()))
    (asked,) = cli.server.asked
    assert asked.name.partition(" ")[2] == path.replace("{}", sent)
    assert set(asked.query) <= {"range"}


# ---- KEY=VALUE

VALUES: list[tuple[str, Any]] = [
    ("auto_switch_enabled=true", True),
    ("auto_switch_enabled=false", False),
    ("manual_replica_enabled=1", 1),
    ("auto_terminate_enabled=false", False),
    ("terminate_wait_seconds=300", 300),
    ("terminate_wait_minutes=5", 5),
    ("replica_enabled=true", True),
    ("min_savings_percent=15.5", 15.5),
    ("risk_threshold=0", 0),
    ("max_switches_per_week=168", 168),
    ("max_switches_per_day=-1", -1),
    ("min_pool_duration_hours=2", 2),
    ("cleanup_enabled=false", False),
    ("emergency_rebalance_only=true", True),
    ("preferred_azs=us-east-1a", ["us-east-1a"]),
    ("preferred_azs=a,b", ["a", "b"]),
    ("preferred_azs=a, b ,,c", ["a", "b", "c"]),
    ("preferred_azs=", []),
    ('preferred_azs=["a"]', ["a"]),
    ("excluded_pools=m5.large.us-east-1a,c5.xlarge.us-east-1b", ["m5.large.us-east-1a", "c5.xlarge.us-east-1b"]),
    ("emergency_min_risk=0.25", 0.25),
    ("failover_on_heartbeat_loss_seconds=null", None),
    ("failover_on_heartbeat_loss_seconds=600", 600),
    ("risk_threshold=low", "low"),  # not for us to judge: the server names the field
    ("risk_threshold=NaN", "NaN"),
    ("risk_threshold=-Infinity", "-Infinity"),
    ("risk_threshold=1e400", "1e400"),
    ("preferred_azs=[NaN]", ["[NaN]"]),
    ("auto_switch_enabled=yes", "yes"),
    ("auto_switch_enabled=", ""),
    ("risk_threshold=0.5=0.6", "0.5=0.6"),
]  # fmt: skip


@pytest.mark.parametrize(("word", "value"), VALUES, ids=[case[0] for case in VALUES])
def test_a_setting_is_sent_as_the_json_it_looks_like_else_as_text(cli: Cli, word: str, value: Any) -> None:
    cli("agents", "config", "set", "a", word)
    (asked,) = cli.server.asked
    name = word.partition("=")[0]
    assert asked.body == {name: value}
    assert type(asked.body[name]) is type(value)


def test_every_setting_can_be_set_but_enabled_which_has_commands_of_its_own_e19() -> None:
    named = {word.partition("=")[0] for word, _ in VALUES}
    assert named == {*SETTINGS, "terminate_wait_minutes"} - {"enabled"}


@pytest.mark.parametrize(
    "name", ["config_version", "replica_count", "decision_engine_active", "Risk_Threshold", "", " "]
)
def test_what_cannot_be_written_is_refused_with_the_names_there_are_t06(cli: Cli, name: str) -> None:
    for verb in ("set", "diff"):
        result = cli("agents", "config", verb, "a", f"{name}=1")
        assert (result.exit_code, cli.server.asked) == (2, [])
        assert "risk_threshold" in result.stderr
        assert "terminate_wait_minutes" in result.stderr


def test_one_bad_word_among_good_ones_sends_nothing(cli: Cli) -> None:
    result = cli("agents", "config", "set", "a", "risk_threshold=0.5", "nonsense")
    assert (result.exit_code, cli.server.asked) == (2, [])
    assert "'nonsense' is not KEY=VALUE" in result.stderr
