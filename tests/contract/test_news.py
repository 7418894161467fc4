"""All processes hear of commands and of roles that have moved, once that is committed (design 3, AG-4)."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from spotadapters.postgres.listen import COMMANDS, MOVES
from spotadapters.postgres.news import MOST_AGENTS, moved_elsewhere, news_of
from spotadapters.postgres.storage import PostgresStorage
from spotcore.change import Outcome
from tests.contract.test_together import notice
from tests.support.databases import WarmDatabase
from tests.support.rows import Connection
from tests.support.world import ZONES, FakeClock, Ready, World, a_world, with_replica

PROCESS = "process-1"


@pytest.fixture
def told_world(warm_database: WarmDatabase) -> World:
    clock = FakeClock()
    return a_world(PostgresStorage(warm_database.connections, clock, process=PROCESS).transactions, clock)


@pytest.fixture
def ear(warm_database: WarmDatabase) -> Iterator[Connection]:
    with closing(psycopg.connect(warm_database.url, autocommit=True)) as connection:
        connection.execute(f"listen {COMMANDS}; listen {MOVES}")
        yield connection


def heard(ear: Connection) -> list[tuple[str, str]]:
    """Everything until now: what is committed is told before the next statement is answered."""
    ear.execute("select 1")
    return [(one.channel, one.payload) for one in ear.notifies(timeout=0)]


def test_ag_4_a_role_that_moves_is_told_with_the_process_that_knows_it(told_world: World, ear: Connection) -> None:
    fleet = [with_replica(told_world, name) for name in ("a", "b")]
    heard(ear)
    told_world.plane.emergencies.together(told_world.agent_caller, [notice(told_world, one) for one in fleet])
    (told,) = [payload for channel, payload in heard(ear) if channel == MOVES]
    assert told.split(" ") == [PROCESS, *(one.agent_id for one in fleet)]
    assert moved_elsewhere(told, "process-2") == [one.agent_id for one in fleet]
    assert moved_elsewhere(told, PROCESS) == []


def test_em_1_what_moves_no_role_tells_nobody(told_world: World, ear: Connection) -> None:
    ready = with_replica(told_world)
    told_world.notice(ready.agent_id, ready.primary)
    heard(ear)
    told_world.notice(ready.agent_id, ready.primary)
    told_world.beat(ready.agent_id, ready.standby)
    told_world.set(ready.agent_id, terminate_wait_seconds=77)
    assert heard(ear) == []


def test_z18_a_command_is_told_by_its_agent(told_world: World, ear: Connection) -> None:
    agent_id = told_world.register().agent_id
    told_world.report_prices(agent_id, {ZONES[0]: "0.0300", ZONES[1]: "0.0310"})
    told_world.switch(agent_id)
    assert heard(ear) == [(COMMANDS, agent_id)]


def test_many_moves_are_several_messages() -> None:
    world = a_world()
    (outcome,) = promoted(world, with_replica(world))
    news = news_of([outcome] * (MOST_AGENTS + 1), PROCESS)
    assert [len(moved_elsewhere(told, "")) for channel, told in news if channel == MOVES] == [MOST_AGENTS, 1]


def promoted(world: World, ready: Ready) -> list[Outcome]:
    return list(world.plane.emergencies.together(world.agent_caller, [notice(world, ready)]).values())
