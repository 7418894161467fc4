"""Groups of steady heartbeats and idle polls on PostgreSQL: what is noted, what is left to the ordinary way."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from attrs import asdict, evolve, frozen
from psycopg.types.json import Jsonb

from spotadapters.postgres.pulses import IDLE, NOTE, Pulses, Sign
from spotadapters.postgres.storage import PostgresStorage
from spotcore.agents import Link
from spotcore.aggregate import Aggregate
from spotcore.dispatch import Dialect
from spotcore.ids import AgentId, CloudId
from spotcore.liveness import Heartbeat
from spotcore.ports.storage import TokenRecord
from spotcore.prices import Observation, PriceReport, PriceSource
from spotcore.steady import Steady, with_signs
from tests.contract.test_prices import assert_buckets, history
from tests.support.databases import WarmDatabase
from tests.support.world import FakeClock, World, a_world

TOKEN = "hash-of-a-token"


@frozen(kw_only=True)
class Judged:
    """A report and who sends it."""

    sign: Sign
    report: PriceReport


@frozen
class Ward:
    """A world on PostgreSQL with one agent, and its heartbeats in groups."""

    world: World
    pulses: Pulses
    clock: FakeClock
    url: str
    agent_id: AgentId
    machine: CloudId

    def steady(self) -> Steady:
        pulse = self.world.plane.agents.pulse(self.world.agent_caller, self.agent_id, Heartbeat(cloud_id=self.machine))
        assert pulse.steady is not None
        return pulse.steady

    def sign(self, steady: Steady, **facts: Any) -> Sign:
        now = self.clock.now()
        sign = Sign(
            token_hash=TOKEN, client_id=steady.client_id, agent_id=steady.agent_id, revision=steady.revision, at=now,
            instance_id=steady.instance_id, is_agents=steady.is_agents, due_at=steady.due_at(now),
        )  # fmt: skip
        return evolve(sign, **facts)

    def report(self, source: PriceSource, seen: Observation) -> PriceReport:
        return PriceReport(
            client_id=self.world.client_id, agent_id=self.agent_id, instance_id=None, source=source,
            received_at=self.clock.now(), observations=(seen,),
        )  # fmt: skip

    def aggregate(self) -> Aggregate:
        return self.world.aggregate(self.agent_id)


@pytest.fixture
def ward(warm_database: WarmDatabase) -> Ward:
    clock = FakeClock()
    connections = warm_database.connections
    storage = PostgresStorage(connections, clock)
    world = a_world(storage.transactions, clock)
    with storage.transactions() as uow:
        uow.clients.add_token(
            TokenRecord(token_hash=TOKEN, hint="oken", sealed=None, client_id=world.client_id, created_at=clock.now())
        )
    agent_id = world.register().agent_id
    machine = world.aggregate(agent_id).instances[world.aggregate(agent_id).agent.primary_id].cloud_id  # type: ignore[index]
    assert machine is not None
    return Ward(world, Pulses(connections), clock, warm_database.url, agent_id, machine)


def test_a_noted_heartbeat_leaves_what_the_ordinary_one_would(ward: Ward) -> None:
    steady, before = ward.steady(), ward.aggregate()
    for _ in range(5):
        ward.clock.advance(30)
        assert ward.pulses.note([ward.sign(steady)]) == {0}
    wanted, found = with_signs(before, steady, ward.clock.now()), ward.aggregate()
    due = found.agent.due_at
    assert due is not None
    assert wanted.agent.due_at is not None
    assert ward.clock.now() + timedelta(seconds=40) <= due <= wanted.agent.due_at
    assert evolve(found, agent=evolve(found.agent, due_at=wanted.agent.due_at)) == wanted


def test_a_healthy_agent_never_comes_up_in_upkeep_and_a_silent_one_does_in_time_ag1(ward: Ward) -> None:
    steady = ward.steady()
    for _ in range(20):
        ward.clock.advance(30)
        assert ward.pulses.note([ward.sign(steady)]) == {0}
        assert ward.world.plane.upkeep.tick().due == 0
    ward.clock.advance(120.5)
    ward.world.plane.upkeep.tick()
    assert ward.aggregate().agent.link == "offline"


@pytest.mark.parametrize("change", ["config", "command", "delete", "switch off"])
def test_once_anything_has_happened_the_heartbeat_is_left_to_be_judged(ward: Ward, change: str) -> None:
    steady, plane = ward.steady(), ward.world.plane
    if change == "config":
        ward.world.set(ward.agent_id, auto_switch_enabled=False)
    elif change == "command":
        ward.world.switch(ward.agent_id, None)
    elif change == "delete":
        plane.agents.delete(ward.world.user, ward.agent_id)
    else:
        ward.world.set(ward.agent_id, enabled=False)
    before = ward.aggregate()
    ward.clock.advance(10)
    assert ward.pulses.note([ward.sign(steady)]) == frozenset()
    assert ward.aggregate() == before


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("delete from tokens where token_hash = 'hash-of-a-token'", "the token is gone"),
        ("update tokens set expires_at = timestamptz '2026-03-02 11:00Z' where token_hash = 'hash-of-a-token'", "over"),
        ("update tokens set client_id = null where token_hash = 'hash-of-a-token'", "an operator's token"),
        ("update clients set status = 'suspended'", "suspended"),
        ("update agents set revision = revision + 1", "changed by another process"),
        ("update agents set life = 'retiring'", "retiring"),
    ],
)  # fmt: skip
def test_z4_who_no_longer_may_is_left_to_the_ordinary_way(ward: Ward, statement: str, why: str) -> None:
    steady = ward.steady()
    with psycopg.connect(ward.url) as connection:
        connection.execute(statement)  # type: ignore[call-overload]
    assert ward.pulses.note([ward.sign(steady)]) == frozenset(), why
    assert ward.pulses.idle([ward.sign(steady)]) == frozenset(), why


def test_another_clients_token_opens_nothing_s1(ward: Ward) -> None:
    steady = ward.steady()
    stranger = ward.world.plane.clients.create("Stranger").client
    assert ward.pulses.note([ward.sign(steady, client_id=stranger.client_id)]) == frozenset()
    assert ward.pulses.note([ward.sign(steady, token_hash="unknown")]) == frozenset()


def test_an_agent_that_is_being_changed_waits_for_nobody_and_nobody_waits_for_it(ward: Ward) -> None:
    steady = ward.steady()
    other = ward.world.register("other").agent_id
    machine = next(iter(ward.world.aggregate(other).instances.values())).cloud_id
    second = ward.world.plane.agents.pulse(ward.world.agent_caller, other, Heartbeat(cloud_id=machine)).steady
    assert second is not None
    ward.clock.advance(10)
    with psycopg.connect(ward.url) as held:
        held.execute("select 1 from agents where agent_id = %s for no key update", (ward.agent_id,))
        assert ward.pulses.note([ward.sign(steady), ward.sign(second)]) == {1}
    assert ward.pulses.note([ward.sign(steady), ward.sign(second)]) == {0, 1}


def test_the_same_agent_twice_in_a_group_keeps_the_later_moment(ward: Ward) -> None:
    steady = ward.steady()
    early, late = ward.clock.now() + timedelta(seconds=5), ward.clock.now() + timedelta(seconds=9)
    assert ward.pulses.note([ward.sign(steady, at=late), ward.sign(steady, at=early)]) == {0, 1}
    assert ward.aggregate().agent.last_heartbeat_at == late
    assert ward.pulses.note([ward.sign(steady, at=early)]) == {0}
    assert ward.aggregate().agent.last_heartbeat_at == late


def test_ag1_after_a_clock_was_put_back_silence_counts_from_the_last_heartbeat(ward: Ward) -> None:
    """Not from the one that was noted in what is the future now: an agent that ends would stay online for an hour."""
    steady = ward.steady()
    assert ward.pulses.note([ward.sign(steady)]) == {0}
    ward.clock.advance(-60)  # as far as clocks of several machines may differ
    noted = ward.aggregate().agent.last_heartbeat_at
    assert ward.pulses.note([ward.sign(steady)]) == {0}
    assert ward.aggregate().agent.last_heartbeat_at == noted
    ward.clock.advance(-3_600)
    assert ward.pulses.note([ward.sign(steady)]) == {0}
    found, now = ward.aggregate(), ward.clock.now()
    assert found.agent.last_heartbeat_at == now
    assert [row.last_seen_at for row in found.instances.values()] == [now]
    ward.world.tick(119)
    assert ward.aggregate().agent.link is Link.ONLINE
    ward.world.tick(2)
    assert ward.aggregate().agent.link is Link.OFFLINE


@pytest.mark.parametrize("seed", range(5))
def test_dq4_dq6_reports_stored_in_groups_leave_the_same_buckets(ward: Ward, seed: int) -> None:
    rows, chance = history(seed, ward.clock.now()), random.Random(seed)
    arrival = rows + rows[::3]  # DQ-3: some twice
    chance.shuffle(arrival)
    sign = ward.sign(ward.steady())
    while arrival:
        size = chance.randrange(1, 12)
        group, arrival = arrival[:size], arrival[size:]
        reports = [Judged(sign=sign, report=ward.report(one.source, one.observation)) for one in group]
        assert ward.pulses.record(reports) == frozenset(range(len(group)))
    assert_buckets(ward.world, rows)
    with psycopg.connect(ward.url) as connection:
        assert connection.execute("select count(*) from raw_prices").fetchone() == (len(rows),)


def test_dq6_groups_of_several_processes_at_once_neither_lock_up_nor_lose_anything(ward: Ward) -> None:
    rows = history(77, ward.clock.now())
    sign = ward.sign(ward.steady())

    def some(seed: int) -> None:
        mine = list(rows)
        random.Random(seed).shuffle(mine)
        for start in range(0, len(mine), 10):
            group = [
                Judged(sign=sign, report=ward.report(one.source, one.observation)) for one in mine[start : start + 10]
            ]
            assert ward.pulses.record(group) == frozenset(range(len(group)))

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(some, seed) for seed in range(4)]:
            done.result(timeout=30)
    assert_buckets(ward.world, rows)


@pytest.mark.parametrize(
    "statement",
    [
        "update agents set revision = revision + 1",
        "update agents set life = 'retiring'",
        "update clients set status = 'suspended'",
        "delete from tokens",
    ],
)
def test_z4_a_report_of_who_no_longer_may_stores_nothing(ward: Ward, statement: str) -> None:
    sign = ward.sign(ward.steady())
    with psycopg.connect(ward.url) as connection:
        connection.execute(statement)  # type: ignore[call-overload]
        connection.commit()
        one = history(1, ward.clock.now())[0]
        assert ward.pulses.record([Judged(sign=sign, report=ward.report(one.source, one.observation))]) == frozenset()
        for table in ("raw_prices", "price_buckets", "pools"):
            found = connection.execute(f"select count(*) from {table}").fetchone()  # type: ignore[call-overload]
            assert found == (0,)


def test_an_idle_poll_stays_idle_until_a_command_is_queued(ward: Ward) -> None:
    commands, caller = ward.world.plane.commands, ward.world.agent_caller
    steady = ward.steady()
    commands.fetch(caller, ward.agent_id, Dialect.CLASSIC)
    handed = commands.fetch(caller, ward.agent_id, Dialect.CLASSIC)
    assert handed.idle_at == ward.aggregate().agent.revision
    poll = ward.sign(steady, revision=handed.idle_at)
    assert ward.pulses.idle([poll, evolve(poll, revision=handed.idle_at - 1)]) == {0}
    ward.world.switch(ward.agent_id, None)
    assert ward.pulses.idle([poll]) == frozenset()


def test_one_question_for_many_polls_names_those_that_may_find_something(ward: Ward) -> None:
    poll = ward.sign(ward.steady())
    signs = [
        poll,
        evolve(poll, revision=poll.revision - 1),  # the agent has moved on
        evolve(poll, agent_id="nobody"),
        evolve(poll, token_hash="another"),
        evolve(poll, client_id="another"),  # S1: a token speaks for its own client
        evolve(poll, until=ward.clock.now()),  # JB-5: time alone may give it something
        evolve(poll, until=ward.clock.now() + timedelta(seconds=1)),
    ]
    assert ward.pulses.changed(signs, ward.clock.now()) == {1, 2, 3, 4, 5}
    assert ward.pulses.changed([poll] * 3_000, ward.clock.now()) == frozenset()
    assert ward.pulses.changed([], ward.clock.now()) == frozenset()
    ward.world.switch(ward.agent_id, None)
    assert ward.pulses.changed([poll, poll], ward.clock.now()) == {0, 1}


@pytest.mark.parametrize(
    ("statement", "still_idle"),
    [
        ("update tokens set expires_at = '2020-01-01' where client_id is not null", False),
        ("update clients set status = 'deleted'", False),
        ("update agents set life = 'retiring'", False),
        ("update clients set status = 'suspended'", True),  # Z26: it may ask on
        ("update tokens set expires_at = '2100-01-01' where client_id is not null", True),
    ],
)
def test_z4_z25_who_no_longer_may_wait_is_named(ward: Ward, statement: str, still_idle: bool) -> None:
    poll = ward.sign(ward.steady())
    with psycopg.connect(ward.url) as connection:
        connection.execute(statement)  # type: ignore[call-overload]
    assert (ward.pulses.changed([poll], ward.clock.now()) == frozenset()) is still_idle


def test_z34_a_decision_that_orders_nothing_ends_no_short_way(ward: Ward) -> None:
    steady, before = ward.steady(), ward.aggregate().agent
    ward.clock.advance(30)
    ward.world.plane.decisions.decide(ward.world.agent_caller, ward.agent_id)
    after = ward.aggregate().agent
    assert (after.revision, after.last_decision_at) == (before.revision, ward.clock.now())
    assert ward.pulses.note([ward.sign(steady)]) == {0}
    assert ward.aggregate().agent.last_decision_at == after.last_decision_at


def test_a_group_of_one_is_found_by_its_keys_however_many_agents_there_are(ward: Ward) -> None:
    poll = ward.sign(ward.steady())
    with psycopg.connect(ward.url, autocommit=True) as connection:
        connection.execute(
            "insert into agents select (jsonb_populate_record(a, jsonb_build_object("
            "'agent_id', 'other-' || n, 'logical_agent_id', 'other-' || n, 'primary_id', null))).*"
            " from agents a, generate_series(1, 5000) n"
        )
        connection.execute("analyze agents")
        row = {
            "place": 0,
            "at": poll.at.isoformat(),
            "due_at": None,
            **asdict(poll, filter=lambda one, _: one.name in SENT),
        }
        before = _read(connection)
        for statement in (IDLE, NOTE) * 3:
            assert connection.execute(statement, {"doc": Jsonb([row])}).fetchall() == [(0,)]
        assert _read(connection) == before


SENT = {"token_hash", "client_id", "agent_id", "revision", "instance_id", "is_agents"}


def _read(connection: psycopg.Connection[Any]) -> int:
    """Rows of agents that scans of the whole table have read."""
    connection.execute("select pg_stat_force_next_flush()")
    with connection.transaction():
        connection.execute("select pg_stat_clear_snapshot()")
        row = connection.execute("select seq_tup_read from pg_stat_user_tables where relname = 'agents'").fetchone()
    return int(row[0]) if row else 0
