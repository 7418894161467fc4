"""What the operator alone does to clients: limits, defaults, and the purge (CL-4, CL-6, CV-9), on both storages."""

from contextlib import closing
from decimal import Decimal

import psycopg
import pytest
from psycopg import sql

from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from spotcore.agents import Life
from spotcore.builds import Evidence
from spotcore.clients import Defaults
from spotcore.errors import LimitReached, NotFound, StateConflict, ValidationFailed
from spotcore.ids import ClientId
from spotcore.service.alerts import AlertRequest
from tests.support.world import FakeClock, World, a_world, with_replica


def gone(world: World, client_id: ClientId) -> None:
    """Delete the client and let its agents wind down."""
    world.plane.clients.delete(client_id)
    world.tick(90_000)  # Z25: at most a day


def test_a_limit_refuses_the_next_agent_and_none_lifts_it_cl4(world: World) -> None:
    world.register("web")
    limited = world.plane.clients.limit(world.client_id, max_agents=1, max_instances=None)
    assert (limited.max_agents, limited.max_instances) == (1, None)
    with pytest.raises(LimitReached):
        world.register("second")
    assert world.plane.clients.limit(world.client_id, max_agents=None, max_instances=None).max_agents is None
    assert world.register("second").role == "primary"
    with pytest.raises(ValidationFailed):
        world.plane.clients.limit(world.client_id, max_agents=-1, max_instances=None)


def test_defaults_reach_future_agents_only_until_they_are_applied_to_all_cv9(world: World) -> None:
    early = world.register("early").agent_id
    version = world.aggregate(early).agent.config_version
    wanted = Defaults(auto_switch=False, terminate_wait_seconds=600)
    client = world.plane.clients.set_defaults(world.client_id, wanted)
    assert (client.default_auto_switch, client.default_auto_terminate) == (False, True)
    late = world.register("late").agent_id
    assert world.aggregate(late).agent.config.terminate_wait_seconds == 600  # CL-7
    assert world.aggregate(early).agent.config.terminate_wait_seconds == 300
    assert world.plane.clients.apply_defaults(world.client_id) == (early,)  # the late one has them already
    agent = world.aggregate(early).agent
    assert (agent.config.auto_switch_enabled, agent.config.terminate_wait_seconds) == (False, 600)
    assert agent.config_version == version + 1  # CV-1
    assert world.plane.clients.apply_defaults(world.client_id) == ()


def test_defaults_out_of_range_change_nothing(world: World) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        world.plane.clients.set_defaults(world.client_id, Defaults(auto_switch=False, terminate_wait_seconds=5))
    assert list(refusal.value.details) == ["terminate_wait_seconds"]
    assert world.plane.clients.get(world.client_id).default_auto_switch


def test_a_purge_erases_the_deleted_client_and_nobody_else_cl6(world: World) -> None:
    with_replica(world)
    other = world.plane.clients.create("Other").client
    world.plane.alerts.add(world.user, AlertRequest(threshold=Decimal("0.01")))
    read = world.plane.notices.mark_all_read(None, of=world.client_id)
    assert read > 0
    gone(world, world.client_id)
    erased = world.plane.clients.purge(world.client_id, "Acme")
    assert {"agents", "audit_events", "clients", "notifications", "raw_prices", "tokens"} <= set(erased)
    assert erased["pricing_alerts"] == 1
    with pytest.raises(NotFound):
        world.plane.clients.get(world.client_id)
    with pytest.raises(NotFound):
        world.plane.clients.purge(world.client_id, "Acme")
    assert world.plane.clients.read_token(other.client_id).token is not None
    with world.transactions() as uow:
        assert uow.clients.agent_ids(world.client_id) == []
        assert uow.clients.current_token(world.client_id) is None
    assert world.plane.notices.mark_all_read(None) == 1  # that the other client was created, and nothing else


def test_a_purge_needs_the_exact_name_and_a_deleted_client_cl6(world: World) -> None:
    world.register("web")
    clients = world.plane.clients
    with pytest.raises(StateConflict):
        clients.purge(world.client_id, "Acme")
    clients.delete(world.client_id)
    with pytest.raises(ValidationFailed):
        clients.purge(world.client_id, "acme")
    gone(world, world.client_id)
    assert clients.purge(world.client_id, "Acme")["clients"] == 1


def test_a_purge_waits_for_agents_that_wind_down_z25(world: World) -> None:
    agent_id = world.register("web", evidence=(Evidence.CLOUD_ACCOUNT,)).agent_id
    world.plane.clients.delete(world.client_id)
    assert world.aggregate(agent_id).agent.life is Life.RETIRING
    with pytest.raises(StateConflict, match="winding down"):
        world.plane.clients.purge(world.client_id, "Acme")
    world.tick(90_000)
    assert world.plane.clients.purge(world.client_id, "Acme")["agents"] == 1


def test_no_table_names_a_purged_client_but_for_one_audit_row_cl6(database_url: str) -> None:
    clock = FakeClock()
    with Connections(database_url, size=3, reserve=1) as connections:
        world = a_world(PostgresStorage(connections, clock).transactions, clock)
        with_replica(world)
        with world.transactions() as uow:
            uow.idempotency.claim("scope", "key", "hash", clock.now())
            uow.idempotency.complete("scope", "key", 201, f'{{"id": "{world.client_id}"}}'.encode())
        gone(world, world.client_id)
        world.plane.clients.purge(world.client_id, "Acme")
    with closing(psycopg.connect(database_url)) as connection:
        tables = connection.execute(
            "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"
        ).fetchall()
        found = {
            table: rows
            for (table,) in tables
            if (rows := connection.execute(_naming(table), {"text": world.client_id}).fetchall())
        }
    ((row,),) = found.pop("audit_events")
    assert (found, row["client_id"], row["kind"]) == ({}, None, "client_purged")
    assert set(row["facts"]) == {"purged", "rows"}


def _naming(table: str) -> sql.Composed:
    """Rows whose text holds ``text``; bytes are looked into too."""
    return sql.SQL(
        "select to_jsonb(t) from {} t where position(%(text)s in to_jsonb(t)::text) > 0"
        " or position(encode(convert_to(%(text)s, 'UTF8'), 'hex') in to_jsonb(t)::text) > 0"
    ).format(sql.Identifier(table))
