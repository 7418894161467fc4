"""Steady heartbeats and idle polls over HTTP: the same answers as by the ordinary way, and never after anything happened."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from spotadapters.http.groups import Groups
from spotadapters.http.limits import AGENT, Limits
from spotadapters.http.pulse import MAX_WORDS, words_of
from spotcore.errors import Unavailable
from spotcore.ids import AgentId, ClientId
from tests.support.server import Site
from tests.support.wire_agents import V2, V5, V4c, V4n

MACHINE = "i-0aaaaaaaaaaaaaaa1"
BUILDS = [V2, V4c, V4n, V5]


class Counting:
    """How many transactions a use case began."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ordinary = 0
        inside = site.storage._connections.connection

        def counted(*, urgent: bool = False) -> Any:
            self.ordinary += 1
            return inside(urgent=urgent)

        monkeypatch.setattr(site.storage._connections, "connection", counted)


def known(site: Site, build: Any) -> Any:
    agent = build(site.client("Acme"), MACHINE, logical="web")
    agent.register()
    for _ in range(3):
        agent.heartbeat()
    return agent


@pytest.mark.parametrize("build", BUILDS)
def test_every_builds_heartbeat_goes_the_short_way_and_reads_the_same(
    site: Site, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = known(site, build)
    ordinary = agent.heartbeat().body
    site.clock.advance(7.5)
    counting = Counting(site, monkeypatch)
    short = agent.heartbeat()
    assert (short.status, counting.ordinary) == (200, 0)
    now = site.clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert short.body == {**ordinary, "server_time": now, "data": {**ordinary["data"], "server_time": now}}
    assert agent.tenant.aggregate(agent.agent_id).agent.last_heartbeat_at == site.clock.now()


@pytest.mark.parametrize("build", [V2, V4c, V5])
def test_an_idle_poll_goes_the_short_way_until_a_command_waits_cm4(
    site: Site, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = known(site, build)
    for _ in range(2):
        assert agent.commands() == []
    counting = Counting(site, monkeypatch)
    assert agent.commands() == []
    assert counting.ordinary == 0
    path = f"/api/client/instances/{MACHINE}/force-switch"
    assert agent.tenant.post(path, {"target": "ondemand"}).status == 200
    assert len(agent.commands()) == 1


@pytest.mark.parametrize("path", ["/config", "/replicas?status=launching", "/replicas?status=terminated"])
def test_what_an_agent_reads_all_day_is_not_looked_up_again_while_nothing_has_happened(
    site: Site, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    agent = known(site, V4c)
    first = agent.tenant.get(agent.at(path))
    again = agent.tenant.get(agent.at(path))
    counting = Counting(site, monkeypatch)
    third = agent.tenant.get(agent.at(path))
    assert counting.ordinary == 0
    assert first.body == again.body == third.body
    assert third.headers.get("etag") == first.headers.get("etag")


def test_cv_6_a_changed_setting_is_in_the_very_next_settings_and_an_etag_is_answered_as_ever(site: Site) -> None:
    agent = known(site, V4c)
    for _ in range(2):
        before = agent.tenant.get(agent.at("/config"))
    headers = {"Authorization": f"Bearer {agent.tenant.token}", "If-None-Match": before.headers["etag"]}
    assert site.http.get(agent.at("/config"), headers=headers).status_code == 304
    agent.tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"minSavingsPercent": 33})
    after = agent.tenant.get(agent.at("/config"))
    assert after.data["min_savings_percent"] == 33
    assert after.data["config_version"] == before.data["config_version"] + 1
    assert after.headers["etag"] != before.headers["etag"]


def test_t14_a_replica_to_launch_is_in_the_very_next_list_and_leaves_it_with_the_put(site: Site) -> None:
    agent = known(site, V4c)
    for _ in range(2):
        assert agent.to_launch() == []
    agent.tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"manualReplicaEnabled": True})
    (entry,) = agent.to_launch()
    assert [one["id"] for one in agent.to_launch()] == [entry["id"]]  # as long as it has no machine
    agent.launch_replica(entry, site.new_machine())
    for _ in range(2):
        assert agent.to_launch() == []


def test_z19_an_ended_replica_is_listed_when_time_alone_allows_it(site: Site) -> None:
    agent = known(site, V4c)
    agent.tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"manualReplicaEnabled": True})
    machine = site.new_machine()
    agent.launch_replica(agent.to_launch()[0], machine)
    notice = {"instance_id": machine, "termination_time": None}
    assert agent.tenant.post(agent.at("/termination-imminent"), notice).status == 200  # RP-16: it ends at once
    for _ in range(2):
        assert agent.to_end() == []  # AWS is about to end it itself
    with agent.tenant.site.storage.transactions() as uow:
        row = uow.agents.get(ClientId(agent.tenant.client_id), AgentId(agent.agent_id)).machine(machine)
    assert row is not None
    assert row.protected_until is not None
    site.clock.at = row.protected_until - timedelta(seconds=1)
    assert agent.to_end() == []
    site.clock.at = row.protected_until
    assert [one["instance_id"] for one in agent.to_end()] == [machine]


def refused_in_the_end(site: Site, agent: V4c, call: Callable[[], int]) -> bool:
    """600 a minute are let through, most of which are counted here, and a few more when the minute changes meanwhile."""
    for _ in range(550):
        Limits(site.counted).count(AGENT, agent.agent_id)
    assert {call() for _ in range(20)} == {200}
    statuses = (call() for _ in range(1_300))
    return next(status for status in statuses if status != 200) == 429


def test_s24_reading_settings_in_a_flood_is_refused_as_ever(site: Site) -> None:
    agent = known(site, V4c)
    assert refused_in_the_end(site, agent, lambda: agent.tenant.get(agent.at("/config")).status)


def test_two_hosts_of_one_agent_both_go_the_short_way_and_each_hears_its_own_role(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary = known(site, V4c)
    primary.tenant.post(f"/api/client/agents/{primary.agent_id}/config", {"manualReplicaEnabled": True})
    entry, machine = primary.to_launch()[0], site.new_machine()
    primary.launch_replica(entry, machine)
    standby = V4c(primary.tenant, machine, logical="web")
    standby.register()
    assert standby.agent_id == primary.agent_id
    hosts = (primary, standby)
    for _ in range(2):
        before = [host.heartbeat().body for host in hosts]
    site.clock.advance(10)
    counting = Counting(site, monkeypatch)
    for _ in range(2):
        told = [host.heartbeat().body for host in hosts]
    assert counting.ordinary == 0
    assert [one["role"] for one in told] == ["primary", "replica"]
    unchanged = [{**one, "server_time": None, "data": None} for one in (*before, *told)]
    assert unchanged[:2] == unchanged[2:]
    after = primary.tenant.aggregate(primary.agent_id)
    assert [after.machine(host.machine).last_seen_at for host in hosts] == [site.clock.now()] * 2


def test_of_many_things_that_an_agent_says_by_turns_the_latest_are_known(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = known(site, V4c)

    def say(mode: str) -> None:
        body = {"status": "online", "instance_id": MACHINE, "mode": "spot", "availability_zone": mode}
        assert agent.tenant.post(agent.at("/heartbeat"), body).status == 200

    for number in range(MAX_WORDS + 1):
        for _ in range(2):
            say(f"words {number}")
    counting = Counting(site, monkeypatch)
    for number in range(1, MAX_WORDS + 1):
        say(f"words {number}")
    assert counting.ordinary == 0
    say("words 0")
    assert counting.ordinary == 1


def test_a_change_is_in_the_very_next_answer_cv4(site: Site) -> None:
    agent = known(site, V4c)
    agent.tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"minSavingsPercent": 33})
    first, second = agent.heartbeat().body, agent.heartbeat().body
    assert (first["config_changed"], second["config_changed"]) == (True, False)
    assert first["config"]["min_savings_percent"] == second["config"]["min_savings_percent"] == 33


def test_z4_a_rotated_token_ends_the_short_way_at_once(site: Site) -> None:
    agent = known(site, V4c)
    with psycopg.connect(site.connections.database_url) as connection:
        connection.execute("update tokens set expires_at = %s where client_id is not null", (site.clock.now(),))
    assert agent.heartbeat().status == 401


def test_z25_a_deleted_agent_hears_that_it_is_gone(site: Site) -> None:
    agent = known(site, V4c)
    assert agent.tenant.call("DELETE", f"/api/client/agents/{agent.agent_id}").status == 200
    site.clock.advance(86_500)
    site.tick()
    assert agent.heartbeat().status in (200, 404)
    assert agent.tenant.aggregate(agent.agent_id).agent.life != "live"


def test_another_word_in_the_body_is_judged(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = known(site, V4c)
    assert agent.stop().status == 200
    assert agent.tenant.aggregate(agent.agent_id).agent.link == "offline"
    counting = Counting(site, monkeypatch)
    agent.heartbeat()
    assert counting.ordinary > 0
    assert agent.tenant.aggregate(agent.agent_id).agent.link == "online"


def test_the_legacy_shape_and_other_tokens_never_get_a_remembered_answer(site: Site) -> None:
    agent = known(site, V4c)
    stranger = site.client("Stranger")
    body = {
        "status": "online", "monitored_instances": [MACHINE], "instance_id": MACHINE, "instance_type": "m5.large",
        "mode": agent.mode, "az": agent.az,
    }  # fmt: skip
    path = agent.at("/heartbeat")
    assert stranger.post(path, body).status == 404
    legacy = agent.tenant.post(path, body, headers={"X-Response-Shape": "legacy"})
    assert "status" in legacy.body
    assert "data" not in legacy.body
    assert "data" in agent.tenant.post(path, body).body


def test_a_storm_of_heartbeats_from_many_agents_is_noted_for_each(site: Site) -> None:
    tenant = site.client("Acme")
    fleet = [V4c(tenant, f"i-0aaaaaaaaaaaaaa{number:02d}", logical=f"web-{number}") for number in range(12)]
    for agent in fleet:
        agent.register()
        for _ in range(3):
            agent.heartbeat()
    site.clock.advance(20)
    threads = [threading.Thread(target=agent.heartbeat) for agent in fleet for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    heard = {tenant.aggregate(agent.agent_id).agent.last_heartbeat_at for agent in fleet}
    assert heard == {site.clock.now()}


# price reports


@pytest.mark.parametrize("build", [V2, V4c, V5])
def test_a_price_report_goes_the_short_way_and_counts_the_same(
    site: Site, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = known(site, build)
    ordinary = [agent.prices().body for _ in range(2)][-1]
    stored = rows_of(site)
    site.clock.advance(300)
    counting = Counting(site, monkeypatch)
    short = agent.prices()
    assert (short.status, counting.ordinary) == (200, 0)
    assert (short.body["data"], short.body["status"]) == (ordinary["data"], ordinary["status"])
    assert short.body["data"]["records_inserted"] > 0
    assert rows_of(site) == {table: 2 * count for table, count in stored.items()}


def rows_of(site: Site) -> dict[str, int]:
    counts = {}
    with psycopg.connect(site.connections.database_url) as connection:
        for table in ("raw_prices", "price_buckets"):
            row = connection.execute(f"select count(*) from {table}").fetchone()  # type: ignore[call-overload]
            counts[table] = row[0]
    return counts


def test_dq2_an_item_that_is_wrong_is_refused_on_the_short_way_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = known(site, V4c)
    body: dict[str, Any] = {
        "instance": {"instance_id": MACHINE, "instance_type": "m5.large", "az": "us-east-1a"},
        "spot_pools": [
            {"pool_id": "m5.large.us-east-1a", "price": 0.02},
            {"pool_id": "m5.large.us-east-1b", "price": -1},
        ],
    }
    answers = []
    for _ in range(3):
        site.clock.advance(300)
        answers.append(agent.post("/pricing-report", body).body["data"])
    site.clock.advance(300)
    counting = Counting(site, monkeypatch)
    assert agent.post("/pricing-report", body).body["data"] == answers[-1]
    assert (counting.ordinary, answers[-1]["records_inserted"], answers[-1]["records_rejected"]) == (0, 1, 1)


@pytest.mark.parametrize("change", ["another mode", "an alert", "a command", "a doubtful price"])
def test_a_report_that_needs_more_than_storing_goes_the_ordinary_way(
    site: Site, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = known(site, V4c)
    for _ in range(2):
        assert agent.prices().status == 200
    tenant, sent = agent.tenant, agent.prices
    if change == "another mode":
        agent.mode = "ondemand"
    elif change == "an alert":
        alert = {"pool_id": "t3.medium.us-east-1a", "threshold": 0.001, "alert_type": "price_above"}
        assert tenant.post(f"/api/client/{tenant.client_id}/pricing-alerts", alert).status in (200, 201)
    elif change == "a command":
        path = f"/api/client/instances/{MACHINE}/force-switch"
        assert tenant.post(path, {"target": "ondemand"}).status == 200
    else:
        machine = {"instance_id": MACHINE, "instance_type": "m5.large", "az": "us-east-1a", "current_mode": "spot"}

        def sent() -> Any:
            return agent.post("/pricing-report", {"instance": machine, "on_demand_price": {"price": 0.1}})

    site.clock.advance(300)
    counting = Counting(site, monkeypatch)
    assert sent().status == 200
    assert counting.ordinary > 0
    if change == "an alert":
        with psycopg.connect(site.connections.database_url) as connection:
            assert connection.execute("select 1 from audit_events where kind = 'price_alert'").fetchone() == (1,)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b'["nonsense"]', 400),
        (b"[" * 8_000, 400),
        (b'{"a":' * 2_500 + b"1" + b"}" * 2_500, 400),
        (b"\xff\xfe", 400),
        (b'{"spot_pools":[{"pool_id":"m5.large.us-east-1a","price":NaN}]}', 400),
        (b'{"instance":1e999999999,"spot_pools":[{"price":1e99999999}]}', 200),
        (b'{"spot_pools":[[1]],"instance":{"instance_id":"\\u0000\\ud800"}}', 200),
        (b'{"spot_pools":"x","pricing_data_array":5,"instance":[]}', 200),
    ],
)
def test_t03_nonsense_after_good_reports_is_judged_as_ever(site: Site, raw: bytes, status: int) -> None:
    agent = known(site, V4c)
    for _ in range(3):
        assert agent.prices().status == 200
    headers = {"Authorization": f"Bearer {agent.tenant.token}", "Content-Type": "application/json"}
    stored = rows_of(site)
    assert site.http.post(agent.at("/pricing-report"), content=raw, headers=headers).status_code == status
    assert rows_of(site) == stored


def test_s24_a_flood_of_reports_is_still_refused(site: Site) -> None:
    agent = known(site, V4c)
    assert refused_in_the_end(site, agent, lambda: agent.prices().status)


@pytest.mark.parametrize(
    ("body", "other", "are_alike"),
    [
        (b'{"status":"online","health_metrics":{"cpu":1}}', b'{"status": "online"}', True),
        (b'{"timestamp":"x"}', b"{}", True),
        (b'{"a":1,"b":2}', b'{"b":2,"a":1}', True),
        (b'{"a":1}', b'{"a":2}', False),
        (b'{"a":1}', b'{"a":true}', False),
        (b'{"a":null}', b"{}", False),
        (b'{"a":{"timestamp":1}}', b'{"a":{"timestamp":2}}', False),
        (b"{}", b"", False),
    ],
)
def test_only_what_rules_read_is_compared(body: bytes, other: bytes, are_alike: bool) -> None:
    assert (words_of(body) == words_of(other)) is are_alike


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"nonsense",
        b'{"a":NaN}',
        b'{"a":"\\ud800"}',
        b'{"a":"' + b"x" * 20_000 + b'"}',
        b"[" * 15_000,
        b'{"a":' + b"[" * 300 + b"]" * 300 + b"}",
    ],
)
def test_what_may_be_refused_is_not_remembered(body: bytes) -> None:
    assert words_of(body) is None


def test_s24_what_is_remembered_of_a_caller_is_small_however_much_it_says(site: Site) -> None:
    agent = known(site, V5)
    path, body = f"/api/agents/{agent.agent_id}/heartbeat", {"monitored_instances": [], "note": "x" * 15_000}
    for _ in range(2):
        assert agent.tenant.post(path, body).status == 200
    said = [one.words for told in site.short_way._known.values() for one in told]
    assert len(said) > 1
    assert {len(words) for words in said} == {16}


def test_s24_queries_that_no_agent_sends_take_nobody_s_place(site: Site) -> None:
    agent = known(site, V4c)
    before = set(site.short_way._known)
    for number in range(3):
        path = f"/api/agents/{agent.agent_id}/heartbeat?x={number}"
        assert agent.tenant.post(path, {"instance_id": MACHINE, "status": "online"}).status == 200
    assert set(site.short_way._known) == before


# groups


def in_groups(write: Any, count: int, **more: int) -> list[bool | None]:
    async def main() -> list[bool | None]:
        groups: Groups[int, bool] = Groups(write, "test", **more)
        try:
            return list(await asyncio.gather(*(groups.done(number) for number in range(count))))
        finally:
            await asyncio.to_thread(groups.close)

    return asyncio.run(main())


def test_calls_that_arrive_together_share_a_write_and_each_gets_its_own_answer() -> None:
    sizes: list[int] = []

    def write(group: Sequence[int]) -> dict[int, bool]:
        sizes.append(len(group))
        return {place: True for place, number in enumerate(group) if number % 2}

    assert in_groups(write, 1_200) == [True if number % 2 else None for number in range(1_200)]
    assert len(sizes) < 40
    assert max(sizes) <= 500


def test_several_writers_work_at_the_same_time_on_groups_of_their_own() -> None:
    both = threading.Barrier(2, timeout=5)

    def write(group: Sequence[int]) -> dict[int, bool]:
        both.wait()  # raises unless two writers are here at once
        return dict.fromkeys(range(len(group)), True)

    assert in_groups(write, 2, writers=2, largest=1) == [True, True]


@pytest.mark.parametrize("trouble", [Unavailable("away"), ZeroDivisionError("a defect")])
def test_a_group_that_fails_sends_everybody_the_ordinary_way(trouble: Exception) -> None:
    def write(_: Sequence[int]) -> dict[int, bool]:
        raise trouble

    assert in_groups(write, 20) == [None] * 20


def test_a_caller_that_hangs_up_hurts_nobody_else() -> None:
    gate = threading.Event()

    def write(group: Sequence[int]) -> dict[int, bool]:
        gate.wait(5)
        return dict.fromkeys(range(len(group)), True)

    async def main() -> bool | None:
        groups: Groups[int, bool] = Groups(write, "test")
        gone, stays = asyncio.ensure_future(groups.done(1)), asyncio.ensure_future(groups.done(2))
        await asyncio.sleep(0.05)
        gone.cancel()
        gate.set()
        result = await stays
        await asyncio.to_thread(groups.close)
        return result

    assert asyncio.run(main()) is True
