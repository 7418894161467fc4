"""Live events from the commit to the stream (E90, E91, GR-10, NT-4) on a real database."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from starlette.types import Message

from spotadapters.http.live import QUEUE
from spotadapters.postgres.live import KEPT, PAGE, REPLAY, LiveFeed, LiveRelay
from spotadapters.wire.frames import Published
from spotcore.change import Change
from spotcore.ids import AgentId, ClientId
from spotcore.liveness import Heartbeat, go_offline, heartbeat
from spotcore.service.kernel import Caller
from tests.support.server import ADMIN_TOKEN, Site, Tenant
from tests.support.wire_agents import V5, V4c
from tests.unit.http.asgi import GIVE_UP, Exchange

PATH = "/api/events/stream"
Heard = list[tuple[str, dict[str, Any]]]


class Ear:
    """An open stream that remembers what it heard. Use it inside ``asyncio.run``."""

    def __init__(
        self, site: Site, token: str, path: str = PATH, last: int | str | None = None, kind: type[Exchange] = Exchange
    ) -> None:
        site.live.attach()
        self._site = site
        headers = {"last-event-id": str(last)} if last is not None else None
        self.exchange = kind(site.app, "GET", path, token, headers=headers).body()

    async def begin(self) -> dict[str, str]:
        """``CONNECTED``, once it listens."""
        status, _ = await self.exchange.head()
        assert status == 200
        connected = await self.exchange.frame()
        assert connected["event"] == "CONNECTED"
        return connected

    async def rest(self) -> list[dict[str, str]]:
        """What is sent up to a mark that is set now, heartbeats left out; then hang up."""
        until = time.monotonic() + GIVE_UP
        while any(one.is_suspect for one in self._site.live.listeners) or not self._site.live.listeners:
            assert time.monotonic() < until
            await asyncio.sleep(0.005)
        self._site.live.lost(datetime(2000, 1, 1, tzinfo=UTC))
        found = []
        while True:
            frame = await self.exchange.frame()
            if "2000-01-01" in frame["data"]:
                await self.exchange.hang_up().ended()
                return found
            found.append(frame)


def heard(
    site: Site, token: str, act: Callable[[], Any] = lambda: None, *, path: str = PATH, last: int | str | None = None
) -> list[dict[str, str]]:
    """Every frame after ``CONNECTED`` that one stream hears of what ``act`` does."""

    async def main() -> list[dict[str, str]]:
        site.live.attach()
        await asyncio.to_thread(site.relay.step)
        await asyncio.sleep(0)
        ear = Ear(site, token, path, last)
        await ear.begin()
        await asyncio.to_thread(act)
        await asyncio.to_thread(site.relay.step)
        return await ear.rest()

    return asyncio.run(main())


def payloads(frames: Sequence[dict[str, str]], *, without: str = "NOTIFICATION") -> Heard:
    return [(one["event"], json.loads(one["data"])["data"]) for one in frames if one["event"] != without]


def published(site: Site) -> None:
    """Everything committed so far has its place."""

    async def main() -> None:
        site.live.attach()
        await asyncio.to_thread(site.relay.step)

    asyncio.run(main())


@pytest.fixture
def tenant(site: Site) -> Tenant:
    return site.client("Acme")


@pytest.fixture
def agent(tenant: Tenant) -> V4c:
    host = V4c(tenant, tenant.site.new_machine(), logical="web")
    assert host.register().status == 200
    assert host.heartbeat().status == 200
    assert host.prices().status == 200
    return host


@pytest.fixture
def modern(tenant: Tenant) -> V5:
    host = V5(tenant, tenant.site.new_machine())
    assert host.register().status == 200
    assert host.heartbeat().status == 200
    assert host.prices().status == 200
    return host


# ---- each frame, with its facts (12.3)


def test_an_agent_goes_offline_and_comes_back(site: Site, agent: V4c) -> None:
    def act() -> None:
        agent.stop()
        agent.heartbeat()

    changes = payloads(heard(site, agent.tenant.token, act))
    assert changes == [
        ("AGENT_STATUS_CHANGED", {"agent_id": agent.agent_id, "old_status": "online", "new_status": "offline"}),
        ("AGENT_STATUS_CHANGED", {"agent_id": agent.agent_id, "old_status": "offline", "new_status": "online"}),
    ]


def test_a_deleted_agent_says_what_it_was_before(site: Site, agent: V4c) -> None:
    agent.stop()
    (change,) = payloads(
        heard(site, agent.tenant.token, lambda: agent.tenant.call("DELETE", f"/api/client/agents/{agent.agent_id}"))
    )
    assert change == (
        "AGENT_STATUS_CHANGED", {"agent_id": agent.agent_id, "old_status": "offline", "new_status": "deleted"}
    )  # fmt: skip


def test_every_notification_is_a_frame_as_e87_lists_it(site: Site, agent: V4c) -> None:
    site.clock.advance(1)
    frames = heard(site, agent.tenant.token, agent.stop)
    (told,) = [json.loads(one["data"])["data"] for one in frames if one["event"] == "NOTIFICATION"]
    listed = agent.tenant.get("/api/notifications?limit=1").data
    assert [told] == listed
    assert [int(one["id"]) % 2 for one in frames] == [0, 1]


def test_a_switch_moves_both_machines_and_ends_its_command(site: Site, agent: V4c) -> None:
    new = V4c(agent.tenant, site.new_machine(), logical="web", mode="ondemand")
    command: dict[str, Any] = {}

    def act() -> None:
        agent.tenant.post(f"/api/client/instances/{agent.machine}/force-switch", {"target": "ondemand"})
        command.update(agent.commands()[0])
        new.register()
        new.heartbeat()

    assert payloads(heard(site, agent.tenant.token, act)) == [
        (
            "COMMAND_EXECUTED",
            {"command_id": command["id"], "command_type": "switch", "status": "completed", "instance_id": None},
        ),
        (
            "INSTANCE_STATE_CHANGED",
            {"instance_id": agent.machine, "old_status": "running_primary", "new_status": "zombie"},
        ),
        (
            "INSTANCE_STATE_CHANGED",
            {"instance_id": new.machine, "old_status": "launching", "new_status": "running_primary"},
        ),
    ]


@pytest.mark.parametrize("role", ["replica", "primary"])
def test_a_launch_that_a_user_asked_for_e38_e40(site: Site, modern: V5, role: str) -> None:
    machine, command = site.new_machine(), {}
    wanted = {"agent_id": modern.agent_id, "role_hint": role, "target_pool_id": "t3.medium.us-east-1b"}

    def act() -> None:
        ordered = modern.tenant.post("/api/client/instances/launch", wanted)
        assert ordered.status == 201, ordered
        command.update(next(one for one in modern.commands() if one["command_type"] == "LAUNCH_INSTANCE"))
        site.clock.advance(41)
        modern.launched(command, machine, az="us-east-1b")

    frames = payloads(heard(site, modern.tenant.token, act))
    launching = {
        "instance_id": command["instance_id"], "instance_type": "t3.medium", "status": "launching",
        "target_mode": "spot", "az": "us-east-1b", "role_hint": role, "command_id": command["id"],
    }  # fmt: skip
    running = {
        "instance_id": machine, "status": "running", "launch_duration_seconds": 41, "instance_type": "t3.medium",
        "final_status": f"running_{role}", "az": "us-east-1b",
    }  # fmt: skip
    executed = {
        "command_id": command["id"], "command_type": "LAUNCH_INSTANCE", "status": "completed",
        "instance_id": machine if role == "primary" else command["instance_id"],  # as it was known when it ended
    }  # fmt: skip
    assert frames[0] == ("INSTANCE_LAUNCHING", launching)
    assert ("COMMAND_EXECUTED", executed) in frames
    assert ("INSTANCE_RUNNING", running) in frames
    moved = [data["new_status"] for name, data in frames if name == "INSTANCE_STATE_CHANGED"]
    assert moved == (["zombie", "running_primary"] if role == "primary" else [])


def test_a_machine_is_ended_by_a_user_e39_e41(site: Site, modern: V5) -> None:
    tenant, machine, command = modern.tenant, site.new_machine(), {}
    tenant.post("/api/client/instances/launch", {"agent_id": modern.agent_id})
    launch = modern.commands()[0]
    modern.launched(launch, machine)

    def act() -> None:
        ordered = tenant.post(f"/api/client/instances/{machine}/terminate")
        command["id"] = ordered.data["command_id"]
        modern.commands()
        site.clock.advance(30)
        modern.post("/instance-terminated", {"instance_id": machine, "confirmed_at": "2026-03-02T12:07:00"})

    frames = payloads(heard(site, tenant.token, act))
    assert command["id"] is not None
    assert frames == [
        ("INSTANCE_TERMINATING", {"instance_id": machine, "status": "terminating", "command_id": command["id"]}),
        ("INSTANCE_TERMINATED", {"instance_id": machine, "status": "terminated", "termination_duration_seconds": 30}),
        (
            "COMMAND_EXECUTED",
            {
                "command_id": command["id"], "command_type": "TERMINATE_INSTANCE", "status": "completed",
                "instance_id": machine,
            },
        ),
    ]  # fmt: skip


def test_a_classic_agents_machine_ends_without_a_command(site: Site, agent: V4c) -> None:
    tenant, machine = agent.tenant, site.new_machine()
    tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"manualReplicaEnabled": True})
    (entry,) = agent.to_launch()
    agent.launch_replica(entry, machine)
    frames = heard(site, tenant.token, lambda: tenant.post(f"/api/client/instances/{machine}/terminate"))
    assert ("INSTANCE_TERMINATING", {"instance_id": machine, "status": "terminating", "command_id": None}) in payloads(
        frames
    )


@pytest.mark.parametrize(("demote", "becomes"), [(False, "zombie"), (True, "running_replica")])
def test_a_promotion_by_a_user_moves_both_machines_once_e46(site: Site, agent: V4c, demote: bool, becomes: str) -> None:
    tenant, machine = agent.tenant, site.new_machine()
    tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"manualReplicaEnabled": True})
    (entry,) = agent.to_launch()
    agent.launch_replica(entry, machine)
    promote = f"/replicas/{entry['id']}/promote"
    frames = heard(site, tenant.token, lambda: agent.post(promote, {"demote_old_primary": demote}))
    moved = [data for name, data in payloads(frames) if name == "INSTANCE_STATE_CHANGED"]
    assert moved == [
        {"instance_id": agent.machine, "old_status": "running_primary", "new_status": becomes},
        {"instance_id": machine, "old_status": "running_replica", "new_status": "running_primary"},
    ]


def test_an_emergency_is_told_step_by_step_em(site: Site, agent: V4c) -> None:
    machine, entry = site.new_machine(), {}

    def act() -> None:
        agent.termination("2026-03-02T12:02:00+00:00")
        entry.update(agent.to_launch()[0])
        agent.launch_replica(entry, machine)

    frames = [data for name, data in payloads(heard(site, agent.tenant.token, act)) if name == "EMERGENCY_EVENT"]
    of_agent = {"agent_id": agent.agent_id}
    assert frames == [
        {
            "event_type": "termination_notice", **of_agent, "instance_id": agent.machine, "replica_id": None,
            "action": "detected",
        },
        {
            "event_type": "emergency_replica_created", **of_agent, "instance_id": f"replica-{entry['id'].replace('-', '')[:8]}",
            "replica_id": entry["id"], "action": frames[1]["action"],
        },
        {
            "event_type": "failover_completed", **of_agent, "instance_id": machine, "replica_id": entry["id"],
            "action": "replica_promoted",
        },
    ]  # fmt: skip


# ---- who hears what


def test_two_tenants_hear_nothing_of_each_other_failure_96(site: Site, agent: V4c) -> None:
    other = site.client("Other")
    foreign = V4c(other, site.new_machine())
    foreign.register()

    def act() -> None:
        for host in (agent, foreign, agent):
            host.stop()
            host.heartbeat()

    async def main() -> list[list[dict[str, str]]]:
        site.live.attach()
        await asyncio.to_thread(site.relay.step)
        ears = [Ear(site, tenant.token) for tenant in (agent.tenant, other)] + [Ear(site, ADMIN_TOKEN)]
        for ear in ears:
            await ear.begin()
        await asyncio.to_thread(act)
        await asyncio.to_thread(site.relay.step)
        return list(await asyncio.gather(*(ear.rest() for ear in ears)))

    mine, theirs, everything = asyncio.run(main())
    assert {data["agent_id"] for _, data in payloads(mine)} == {agent.agent_id}
    assert {data["agent_id"] for _, data in payloads(theirs)} == {foreign.agent_id}
    assert (len(mine), len(theirs)) == (8, 4)
    assert sorted(mine + theirs, key=lambda one: int(one["id"])) == everything


def test_k_listeners_each_hear_all_events_in_their_order_failure_102(site: Site, agent: V4c) -> None:
    def act() -> None:
        for _ in range(10):
            agent.stop()
            agent.heartbeat()

    async def main() -> list[list[dict[str, str]]]:
        site.live.attach()
        await asyncio.to_thread(site.relay.step)
        ears = [Ear(site, agent.tenant.token) for _ in range(5)]
        for ear in ears:
            await ear.begin()
        await asyncio.to_thread(act)
        await asyncio.to_thread(site.relay.step)
        return list(await asyncio.gather(*(ear.rest() for ear in ears)))

    first, *others = asyncio.run(main())
    assert [data["new_status"] for _, data in payloads(first)] == ["offline", "online"] * 10
    numbers = [int(one["id"]) for one in first]
    assert numbers == sorted(set(numbers))
    assert all(one == first for one in others)


def test_the_operator_may_listen_to_one_client_e91(site: Site, agent: V4c) -> None:
    other = site.client("Other")
    frames = heard(site, ADMIN_TOKEN, agent.stop, path=f"{PATH}/{other.client_id}")
    assert frames == []
    agent.heartbeat()
    frames = heard(site, ADMIN_TOKEN, agent.stop, path=f"{PATH}?client_id={agent.tenant.client_id}")
    assert [name for name, _ in payloads(frames)] == ["AGENT_STATUS_CHANGED"]


def test_nobody_hears_of_a_deleted_client_e11(site: Site, agent: V4c) -> None:
    def act() -> None:
        site.call("DELETE", f"/api/admin/clients/{agent.tenant.client_id}")

    assert heard(site, ADMIN_TOKEN, act) == []


@pytest.mark.parametrize("act", ["rotate", "delete", "suspend"])
def test_a_stream_ends_when_its_client_loses_access_z4(site: Site, agent: V4c, act: str) -> None:
    async def main() -> list[dict[str, str]]:
        site.live.attach()
        await asyncio.to_thread(site.relay.step)
        ear = Ear(site, agent.tenant.token)
        await ear.begin()
        await asyncio.to_thread(agent.stop)
        await asyncio.to_thread(site.relay.step)
        heard = [await ear.exchange.frame(), await ear.exchange.frame()]
        await asyncio.to_thread(getattr(site.plane.clients, act), ClientId(agent.tenant.client_id))
        await asyncio.to_thread(site.relay.step)
        assert (await ear.exchange.next())["body"] == b""
        await ear.exchange.ended()
        return heard

    assert [one["event"] for one in asyncio.run(main())] == ["AGENT_STATUS_CHANGED", "NOTIFICATION"]
    assert site.live.connections() == {}
    refused = agent.tenant.get(PATH)
    assert refused.status == (403 if act == "suspend" else 401)


def test_a_frame_is_one_line_whatever_a_message_holds(site: Site) -> None:
    odd = "a\u2028b\u0085c\u2029d"
    frames = heard(site, ADMIN_TOKEN, lambda: site.plane.clients.create(odd))
    (told,) = [json.loads(one["data"])["data"] for one in frames]
    assert told["message"] == f"Client {odd} created"


# ---- resuming


def flaps(site: Site, agent: V4c, count: int, seconds: float = 1) -> None:
    for _ in range(count):
        agent.stop()
        agent.heartbeat()
        site.clock.advance(seconds)


def test_a_resumed_stream_hears_what_it_missed_and_then_what_happens(site: Site, agent: V4c) -> None:
    before = heard(site, agent.tenant.token, lambda: flaps(site, agent, 3))
    for cut in range(len(before)):
        missed = before[cut + 1 :]
        again = heard(site, agent.tenant.token, last=before[cut]["id"])
        assert again == missed
    both = heard(site, agent.tenant.token, lambda: flaps(site, agent, 1), last=before[4]["id"])
    assert both[: len(before) - 5] == before[5:]
    assert len(both) == len(before) - 5 + 4


def test_connected_alone_is_enough_to_resume_from(site: Site, agent: V4c) -> None:
    async def connected() -> str:
        site.live.attach()
        await asyncio.to_thread(site.relay.step)
        await asyncio.sleep(0)
        ear = Ear(site, agent.tenant.token)
        first = await ear.begin()
        await ear.rest()
        return first["id"]

    place = asyncio.run(connected())
    flaps(site, agent, 1)
    assert len(heard(site, agent.tenant.token, last=place)) == 4


def test_a_long_absence_of_a_busy_client_is_replayed_page_by_page(site: Site, agent: V4c) -> None:
    published(site)
    place = LiveFeed(site.connections, site.clock).position() + 1

    def flapped(change: Change) -> None:
        for _ in range(PAGE // 2 + 30):
            heartbeat(change, Heartbeat(cloud_id=agent.machine, going_offline=True))
            heartbeat(change, Heartbeat(cloud_id=agent.machine))

    with site.storage.transactions() as uow:
        caller = Caller(client_id=ClientId(agent.tenant.client_id))
        site.plane.agents.kernel.within(uow, caller, AgentId(agent.agent_id), flapped)
    frames = heard(site, agent.tenant.token, last=place)
    assert len(frames) == 4 * (PAGE // 2 + 30) > QUEUE
    assert "RESYNC" not in {one["event"] for one in frames}


def test_a_replay_reaches_back_15_minutes_and_says_when_that_is_not_enough_nt4(site: Site, agent: V4c) -> None:
    first = heard(site, agent.tenant.token, lambda: flaps(site, agent, 1, seconds=0))
    site.clock.advance(REPLAY.total_seconds())
    agent.heartbeat()
    assert len(heard(site, agent.tenant.token, last=first[0]["id"])) == 3
    second = heard(site, agent.tenant.token, lambda: flaps(site, agent, 1, seconds=0))
    site.clock.advance(1)
    again = heard(site, agent.tenant.token, last=first[0]["id"])
    assert again[0]["event"] == "RESYNC"
    assert again[1:] == second
    assert heard(site, agent.tenant.token, last=first[-1]["id"]) == second  # nothing of its own is missing


def test_another_clients_events_are_nothing_to_miss(site: Site, agent: V4c) -> None:
    other = site.client("Other")
    published(site)
    place = LiveFeed(site.connections, site.clock).position() + 1
    flaps(site, agent, 2)
    published(site)
    site.clock.advance(REPLAY.total_seconds() + 1)
    assert heard(site, other.token, last=place) == []
    assert heard(site, agent.tenant.token, last=place)[0]["event"] == "RESYNC"


def test_what_is_no_longer_kept_is_announced_nt4(site: Site, agent: V4c) -> None:
    frames = heard(site, agent.tenant.token, lambda: flaps(site, agent, 2))
    feed = LiveFeed(site.connections, site.clock)
    site.clock.advance(KEPT.total_seconds() + 10)
    feed.prune()
    assert [one["event"] for one in heard(site, agent.tenant.token, last=frames[0]["id"])] == ["RESYNC"]
    assert heard(site, agent.tenant.token, last=frames[-1]["id"]) == []


@pytest.mark.parametrize("last", ["999999999", "nonsense", "-1", "1e3", "٣", "9" * 40])
def test_an_id_that_nobody_was_given_means_reload(site: Site, agent: V4c, last: str) -> None:
    if not last.isascii():
        last = "x"
    frames = heard(site, agent.tenant.token, agent.stop, last=last)
    assert [one["event"] for one in frames] == ["RESYNC", "AGENT_STATUS_CHANGED", "NOTIFICATION"]


# ---- a reader that does not read


class Stalled(Exchange):
    """A caller whose connection takes nothing while it is told not to."""

    def __init__(self, *args: Any, **more: Any) -> None:
        self.flows = asyncio.Event()
        self.flows.set()
        super().__init__(*args, **more)

    async def _send(self, message: Message) -> None:
        await self.flows.wait()
        await super()._send(message)


def test_a_slow_reader_gets_a_resync_in_place_of_what_it_missed_and_others_get_all_nt4(site: Site, agent: V4c) -> None:
    async def main() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        site.live.attach()
        await asyncio.to_thread(site.relay.step)
        await asyncio.sleep(0)
        quick, slow = Ear(site, agent.tenant.token), Ear(site, agent.tenant.token, kind=Stalled)
        await quick.begin()
        await slow.begin()
        assert isinstance(slow.exchange, Stalled)
        slow.exchange.flows.clear()
        for _ in range(QUEUE // 2):
            await asyncio.to_thread(flaps, site, agent, 1)
            await asyncio.to_thread(site.relay.step)
            await asyncio.sleep(0.001)  # the quick one reads on
        slow.exchange.flows.set()
        return await slow.rest(), await quick.rest()

    late, all_of_it = asyncio.run(main())
    assert len(all_of_it) == 2 * QUEUE
    assert "RESYNC" not in {one["event"] for one in all_of_it}
    resync = next(number for number, one in enumerate(late) if one["event"] == "RESYNC")
    assert late[:resync] == all_of_it[:resync]  # what was on its way already
    assert 0 < len(late) <= QUEUE + 1
    after = [one["id"] for one in late[resync + 1 :]]
    expected = [one["id"] for one in all_of_it if int(one["id"]) > int(late[resync]["id"])]
    assert after == expected  # whoever resumes from the RESYNC loses nothing more


# ---- places


def went_offline(change: Change) -> None:
    go_offline(change, "late")


def test_a_commit_that_comes_late_gets_a_later_place_and_is_skipped_by_nobody_gr10(site: Site, agent: V4c) -> None:
    """Two transactions: the one that began first, and so has the lower outbox row, commits last."""
    other = V4c(agent.tenant, site.new_machine(), logical="other")
    other.register()
    feed = LiveFeed(site.connections, site.clock)
    published(site)
    start = feed.position()
    holding, release = threading.Event(), threading.Event()

    def first() -> None:
        with site.storage.transactions() as uow:
            site.plane.agents.kernel.within(
                uow, Caller(client_id=ClientId(agent.tenant.client_id)), AgentId(agent.agent_id), went_offline
            )
            holding.set()
            release.wait(GIVE_UP)

    thread = threading.Thread(target=first)
    thread.start()
    assert holding.wait(GIVE_UP)
    other.stop()
    feed.publish()
    seen = feed.after(start)
    assert [one.agent_id for one in seen] == [other.agent_id]
    release.set()
    thread.join()
    feed.publish()
    assert [one.agent_id for one in feed.after(seen[-1].position)] == [agent.agent_id]
    with psycopg.connect(site.connections.database_url) as connection:
        rows = connection.execute("select agent_id from outbox join audit_events using (event_id) where position > %s "
                                  "order by outbox_id", (start,)).fetchall()  # fmt: skip
    assert [row[0] for row in rows] == [agent.agent_id, other.agent_id]  # the order in which they were written


def test_publishers_that_compete_give_every_event_one_place_gr10(site: Site, agent: V4c) -> None:
    feed = LiveFeed(site.connections, site.clock)
    published(site)
    start = feed.position()
    stop = threading.Event()

    def publish() -> None:
        while not stop.is_set():
            feed.publish()

    threads = [threading.Thread(target=publish) for _ in range(2)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    flaps(site, agent, 20)
    until = time.monotonic() + GIVE_UP
    while len(seen) < 40 and time.monotonic() < until:
        seen += [one.position for one in feed.after(seen[-1] if seen else start)]
    stop.set()
    for thread in threads:
        thread.join()
    assert seen == [start + 2 * number for number in range(1, 41)]
    with psycopg.connect(site.connections.database_url) as connection:
        (waiting,) = connection.execute("select count(*) from outbox where delivered_at is null").fetchone() or (None,)
    assert waiting == 0


class Notes:
    """An audience that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def begin(self, place: int) -> None:
        self.told.append("begin")

    def tell(self, events: Sequence[Published], at: datetime) -> None:
        self.told += [event.kind for event in events]

    def lost(self, at: datetime) -> None:
        self.told.append("lost")


class CountedFeed(LiveFeed):
    """Counts how often it is read."""

    reads = 0

    def after(self, place: int) -> Sequence[Published]:
        self.reads += 1
        return super().after(place)


def test_a_relay_without_news_reads_nothing_and_with_news_once(site: Site, agent: V4c) -> None:
    feed, notes = CountedFeed(site.connections, site.clock), Notes()
    relay = LiveRelay(feed, notes, site.clock)
    published(site)
    for _ in range(3):
        relay.step()
    assert (feed.reads, notes.told) == (0, ["begin"])
    flaps(site, agent, 1)
    relay.step()
    assert (feed.reads, len(notes.told)) == (1, 3)


def test_what_another_process_published_is_told_too(site: Site, agent: V4c) -> None:
    feed, notes = LiveFeed(site.connections, site.clock), Notes()
    relay = LiveRelay(feed, notes, site.clock)
    published(site)
    relay.step()
    flaps(site, agent, 1)
    LiveFeed(site.connections, site.clock).publish()
    relay.step()
    assert len(notes.told) == 3


def test_an_older_database_under_a_running_server_means_reload_and_what_follows_is_told(site: Site, agent: V4c) -> None:
    notes = Notes()
    relay = LiveRelay(LiveFeed(site.connections, site.clock), notes, site.clock)
    published(site)
    relay.step()
    flaps(site, agent, 3)
    relay.step()
    notes.told.clear()
    with psycopg.connect(site.connections.database_url) as connection:  # as a copy from before the flaps
        connection.execute("delete from outbox")
        connection.execute("update live_feed set position = position - 12")
    relay.step()
    assert notes.told == ["begin", "lost"]
    flaps(site, agent, 1)
    relay.step()
    assert len(notes.told) == 4


def test_a_notification_that_was_told_already_is_no_second_frame_nt1(site: Site, agent: V4c) -> None:
    def act() -> None:
        for machine in ("i-0aaaaaaaaaaaaaaa1", "i-0aaaaaaaaaaaaaaa1"):
            intruder = V4c(agent.tenant, machine, logical="web")
            assert intruder.register().status == 409

    frames = heard(site, agent.tenant.token, act)
    assert [one["event"] for one in frames] == ["NOTIFICATION"]


def test_a_running_relay_tells_within_a_moment_of_the_commit(site: Site, agent: V4c) -> None:
    published(site)  # what the registration left

    async def main() -> float:
        site.live.attach()
        site.relay.start()
        until = time.monotonic() + GIVE_UP
        while site.live.position is None and time.monotonic() < until:
            await asyncio.sleep(0.005)
        ear = Exchange(site.app, "GET", PATH, agent.tenant.token).body()
        await ear.head()
        assert (await ear.frame())["event"] == "CONNECTED"
        await asyncio.sleep(0.2)
        started = time.monotonic()
        await asyncio.to_thread(agent.stop)
        assert (await ear.frame())["event"] == "AGENT_STATUS_CHANGED"
        took = time.monotonic() - started
        await ear.hang_up().ended()
        return took

    assert asyncio.run(main()) < 1.5  # the fallback alone would take up to 2 s
