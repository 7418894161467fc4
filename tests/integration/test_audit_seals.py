"""Sealed audit rows (design 6): a changed, missing or later row is found, and so is a missing seal."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest
from click.testing import CliRunner, Result

from spotadapters.postgres.audit import AuditSeals
from spotapp.cli import main
from tests.support.server import Site, Tenant
from tests.support.wire_agents import V4c


@pytest.fixture
def tenant(site: Site) -> Tenant:
    return site.client("Sealed")


@pytest.fixture
def seals(site: Site) -> AuditSeals:
    return AuditSeals(site.connections, site.clock)


def happen(tenant: Tenant, times: int = 3) -> V4c:
    """Some audited changes."""
    agent = V4c(tenant, tenant.site.new_machine())
    agent.register()
    for number in range(times):
        body = {"terminateWaitMinutes": 5 + number}
        assert tenant.post(f"/api/client/agents/{agent.agent_id}/config", body).status == 200
    return agent


def tamper(site: Site, statement: str) -> int:
    with closing(psycopg.connect(site.connections.database_url, autocommit=True)) as connection:
        return connection.execute(statement).rowcount  # type: ignore[call-overload]


def troubles(seals: AuditSeals) -> list[str]:
    return [one.trouble for one in seals.verify() if one.trouble is not None]


def test_every_row_gets_into_one_seal_and_all_fit(tenant: Tenant, seals: AuditSeals) -> None:
    assert list(seals.verify()) == []
    happen(tenant)
    first = seals.seal()
    assert first > 3
    assert seals.seal() == 0  # twice changes nothing
    happen(tenant)
    second = seals.seal()
    assert second == 3
    found = list(seals.verify())
    assert sum(one.rows for one in found) == first + second
    assert [one.trouble for one in found] == [None] * len(found)
    mine = [one for one in found if one.client_id == tenant.client_id]
    assert [one.seal_no for one in mine] == [1, 2]
    assert {one.client_id for one in found} >= {tenant.client_id}
    assert len(list(seals.verify(tenant.client_id))) == 2 == seals.count(tenant.client_id)


TAMPERING = {
    "a row's facts": (
        "update audit_events set facts = '{}' || jsonb_build_object('forged', 1) where kind = 'agent_registered'",
        "a row was changed",
    ),
    "a row's time": ("update audit_events set at = at - interval '1 second'", "a row was changed"),
    "a row's author": ("update audit_events set actor = 'admin' where actor = 'client'", "a row was changed"),
    "a row": ("delete from audit_events where kind = 'agent_registered'", "1 of its rows are missing"),
    "a seal": ("delete from audit_seals where seal_no = 1 and client_id <> ''", "does not follow"),
    "a digest": (
        "update audit_seals set digest = repeat('0', 64) where seal_no = 1 and client_id <> ''",
        "does not follow",
    ),
    "the order": ("update audit_seals set seal_no = 7 where seal_no = 2", "does not follow"),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_found(tenant: Tenant, seals: AuditSeals, what: str) -> None:
    happen(tenant)
    seals.seal()
    happen(tenant)
    seals.seal()
    assert troubles(seals) == []
    statement, words = TAMPERING[what]
    assert tamper(tenant.site, statement) >= 1
    assert any(words in one for one in troubles(seals))


def test_a_row_put_in_afterwards_is_under_no_seal(tenant: Tenant, seals: AuditSeals) -> None:
    happen(tenant)
    tenant.site.clock.advance(10_000)
    seals.seal()
    tenant.site.clock.advance(10_000)  # the rows are hours old, and sealed an hour ago
    happen(tenant)
    seals.seal()
    assert seals.loose() == []
    backdated = (
        "insert into audit_events (event_id, kind, at, client_id, actor, level, facts) overriding system value"
        f" select 'forged', kind, at, client_id, actor, level, facts from audit_events where client_id = '{tenant.client_id}'"
        " order by audit_id limit 1"
    )
    tamper(tenant.site, backdated)
    (found,) = seals.loose()
    assert (found.client_id, found.rows) == (tenant.client_id, 1)
    assert seals.loose("somebody-else") == []


def test_a_row_that_becomes_visible_late_is_sealed_later(tenant: Tenant, seals: AuditSeals) -> None:
    """Ids are given at insert and rows appear at commit."""
    insert = (
        "insert into audit_events (event_id, kind, at, actor, level, facts) values (%s, 'k', now(), 'a', 'info', '{}')"
    )
    with closing(psycopg.connect(tenant.site.connections.database_url)) as slow:
        slow.execute(insert, ("slow",))
        happen(tenant)
        before = seals.seal()
        slow.commit()
    assert before > 0
    assert seals.seal() == 1
    assert troubles(seals) == []


def test_sealers_at_once_seal_each_row_once(tenant: Tenant, seals: AuditSeals) -> None:
    happen(tenant, times=40)
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda _: seals.seal(), range(8)))
    rows = tenant.site.connections.rows("select count(*) from audit_events", {})[0][0]
    assert sum(counts) == rows == sum(one.rows for one in seals.verify())
    assert troubles(seals) == []


def test_pruned_rows_leave_their_digest_as_anchor(tenant: Tenant, seals: AuditSeals) -> None:
    happen(tenant)
    seals.seal()
    tenant.site.clock.advance(timedelta(days=181).total_seconds())
    happen(tenant)
    seals.seal()
    gone = seals.prune(tenant.site.clock.now() - timedelta(days=180))
    assert gone >= 4
    found = list(seals.verify(tenant.client_id))
    assert [(one.is_pruned, one.trouble) for one in found] == [(True, None), (False, None)]
    assert seals.prune(tenant.site.clock.now() - timedelta(days=180)) == 0
    assert seals.loose() == []


def run(site: Site, *arguments: str) -> Result:
    environment = {
        "SPOTCORE_DATABASE_URL": site.connections.database_url,
        "SPOTCORE_REDIS_URL": "redis://127.0.0.1:1/0",
    }
    return CliRunner().invoke(main, ["audit", *arguments], env=environment)


def test_the_command_tells_and_fails_when_something_is_wrong(tenant: Tenant) -> None:
    happen(tenant)
    sealed = run(tenant.site, "seal", "--output", "json")
    assert sealed.exit_code == 0, sealed.output
    assert json.loads(sealed.stdout)["sealed"] > 3
    well = run(tenant.site, "verify", "--output", "json")
    assert (well.exit_code, json.loads(well.stdout)["findings"]) == (0, [])
    assert tenant.client_id in well.stdout
    tamper(tenant.site, "delete from audit_events where kind = 'agent_registered'")
    ill = run(tenant.site, "verify")
    assert ill.exit_code == 1
    assert "1 of its rows are missing" in ill.stdout
    assert run(tenant.site, "verify", "--client", "somebody-else").exit_code == 0
