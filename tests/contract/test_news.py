"""What one web process moves, the others hear of: a new primary may ask any of them first (AG-4, design 3)."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from spotadapters.postgres.listen import MOVES
from spotadapters.postgres.news import LARGEST, MovesNews
from spotadapters.postgres.pool import Connections
from spotapp.settings import load_settings
from spotapp.wiring import open_wiring
from spotcore.errors import Unavailable
from tests.support.rows import Connection

PROMOTED = SimpleNamespace(new_instance_id="i-0b", duplicate=False)
GIVE_UP = 10.0


@pytest.fixture
def ear(connections: Connections) -> Iterator[Connection]:
    with closing(psycopg.connect(connections.database_url, autocommit=True)) as connection:
        connection.execute(f"listen {MOVES}")
        yield connection


def test_the_others_are_told_of_each_agent_and_who_told_them_knows_already(
    connections: Connections, ear: Connection
) -> None:
    mine, theirs = MovesNews(connections, "p1"), MovesNews(connections, "p2")
    assert set(mine.tell(["a1", "a2"])) == {0, 1}
    (told,) = [one.payload for one in ear.notifies(timeout=GIVE_UP, stop_after=1)]
    assert theirs.elsewhere(told) == ["a1", "a2"]
    assert list(mine.elsewhere(told)) == []


def test_the_largest_group_fits_into_a_message(connections: Connections, ear: Connection) -> None:
    agent_ids = [f"{number:0128d}" for number in range(LARGEST)]  # the longest that are served
    MovesNews(connections, "0" * 36).tell(agent_ids)
    (told,) = [one.payload for one in ear.notifies(timeout=GIVE_UP, stop_after=1)]
    assert MovesNews(connections, "p2").elsewhere(told) == agent_ids


def test_a_database_that_is_away_is_said_so() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    with Connections(nowhere, size=1, reserve=1, standing=False) as away, pytest.raises(Unavailable):
        MovesNews(away, "p1").tell(["a1"])


def test_ag_4_a_move_of_one_process_concerns_its_agent_in_the_other(connections: Connections, tmp_path: Path) -> None:
    settings = load_settings({"SPOTCORE_DATA_DIR": str(tmp_path)})

    async def main() -> tuple[bool, bool]:
        with (
            open_wiring(settings, connections.database_url) as mine,
            open_wiring(settings, connections.database_url) as theirs,
        ):
            for one in (mine, theirs):
                one.parts.moves.attach()
                one.listener.start()
            try:
                until = asyncio.get_running_loop().time() + GIVE_UP
                while not theirs.parts.moves.concern("a1") and asyncio.get_running_loop().time() < until:
                    mine.parts.moves.noticed("a1", PROMOTED)  # again, until both listen
                    await asyncio.sleep(0.05)
                heard = theirs.parts.moves.concern("a1")
                mine.parts.moves.answered("a1", SimpleNamespace(role="primary"))
                await asyncio.sleep(0.2)  # its own words have come back by now
                return heard, mine.parts.moves.concern("a1")
            finally:
                for one in (mine, theirs):
                    one.listener.stop()

    assert asyncio.run(main()) == (True, False)
