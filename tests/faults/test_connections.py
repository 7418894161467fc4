"""A PostgreSQL without a free connection: emergencies and heartbeats have theirs already, and nothing needs a restart."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from tests.faults.test_processes import a_client, ask, registration, rows, with_replica
from tests.support.processes import Installation, an_installation, until


@contextmanager
def none_left(shared: Installation) -> Iterator[int]:
    """Takes every connection the server has, also those kept for administrators."""
    with ExitStack() as taken:
        count = 0
        while True:
            try:
                taken.enter_context(psycopg.connect(shared.stack.database_url, connect_timeout=5))
            except psycopg.OperationalError:
                break
            count += 1
        yield count


def test_notices_are_answered_while_no_connection_is_free_and_all_is_well_afterwards(folder: Path) -> None:
    with an_installation(folder) as shared:
        web = shared.web()
        token = a_client(web)
        fleet = [with_replica(web, token, number) for number in range(1, 9)]
        with none_left(shared) as count:
            assert count > 10
            for number, (agent_id, machine) in enumerate(fleet, start=1):
                body = {"instance_id": machine, "termination_time": None}
                status, answer = ask(web, "POST", f"/api/agents/{agent_id}/termination-imminent", body, token)
                assert (status, answer["new_instance_id"]) == (200, f"i-{number + 0x10000:017x}")
            beat = {"status": "online", "monitored_instances": []}
            for agent_id, _ in fleet:
                assert ask(web, "POST", f"/api/agents/{agent_id}/heartbeat", beat, token)[0] == 200
            assert ask(web, "GET", "/livez")[0] == 200
        until(lambda: ask(web, "POST", "/api/agents/register", registration(99), token)[0] in (200, 201), 15)
        count_of = "select count(*) from instances where status = 'running_primary' group by agent_id"
        assert set(rows(shared, count_of)) == {(1,)}
        assert rows(shared, "select count(*) from switches where trigger = 'emergency'") == [(len(fleet),)]
