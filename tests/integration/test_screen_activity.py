"""E06, E35: what happened, in words, as the audit trail has it (http-api 7.2, 7.5, 12.2)."""

from datetime import timedelta
from typing import Any

import pytest

from spotcore.events import CATALOGUE, EventKind
from tests.support.screen_rows import Host, a_client, at, new_id, put
from tests.support.server import Site, Tenant
from tests.support.world import START


@pytest.fixture
def tenant(shared_site: Site, request: pytest.FixtureRequest) -> Tenant:
    return a_client(shared_site, request.node.name)


def newest(site: Site, count: int = 1) -> list[Any]:
    answer = site.call("GET", f"/api/admin/activity?limit={count}")
    assert answer.status == 200, answer
    rows: list[Any] = answer.data
    return rows


def logs(host: Host, machine: str | None = None, query: str = "", status: int = 200) -> list[Any]:
    answer = host.tenant.get(f"/api/client/instances/{machine or host.machine}/logs{query}")
    assert answer.status == status, answer
    rows: list[Any] = answer.data
    return rows


# ---- E06

CLASSES = {
    "switch_completed": "switch", "manual_switch_requested": "switch", "replica_promoted": "switch",
    "switch_failed": "event", "switch_superseded": "event", "switch_command_issued": "event",
    "agent_registered": "agent", "agent_marked_offline": "agent", "agent_deleted": "agent", "agent_uninstalled": "agent",
    "replica_created": "event", "client_created": "event", "token_viewed": "event", "termination_notice": "event",
    "failover_completed": "event", "data_cleanup": "event", "price_gap": "event", "auth_failed": "event",
    "something_of_a_later_release": "event",
}  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES)
def test_e06_sorts_events_into_three_classes(shared_site: Site, kind: str) -> None:
    put(shared_site, "audit_events", kind=kind)
    (row,) = newest(shared_site)
    assert (row["type"], row["eventType"]) == (CLASSES[kind], kind)


def test_e06_every_kind_of_the_catalogue_starts_as_its_name_says(shared_site: Site) -> None:
    kinds = list(EventKind)
    for kind in kinds:
        put(shared_site, "audit_events", kind=kind.value)
    shown = {row["eventType"]: row for row in newest(shared_site, 100)}
    for kind in kinds[-100:]:
        row = shown[kind.value]
        switch = kind.value in ("switch_completed", "manual_switch_requested", "replica_promoted")
        assert row["type"] == ("agent" if kind.value.startswith("agent_") else "switch" if switch else "event")
        assert row["text"].strip()
        assert "{" not in row["text"], f"{kind.value} shows a placeholder when a fact is missing"


def test_e06_every_field_with_and_without_a_client(shared_site: Site, tenant: Tenant) -> None:
    facts = {"name": "n", "logical_agent_id": "web", "machine": "i-0a"}
    put(
        shared_site, "audit_events", kind="agent_registered", at=at(1), level="info", client_id=tenant.client_id, facts=facts
    )  # fmt: skip
    put(shared_site, "audit_events", kind="data_cleanup", at=at(2), level="critical")
    nobodys, clients = newest(shared_site, 2)
    assert clients.pop("id") < nobodys.pop("id")
    assert clients == {
        "type": "agent", "text": "Agent web registered on i-0a", "time": "2026-03-02T11:00:00Z", "severity": "info",
        "eventType": "agent_registered", "clientId": tenant.client_id,
        "clientName": "test_e06_every_field_with_and_without_a_client",
    }  # fmt: skip
    assert nobodys == {
        "type": "event", "text": nobodys["text"], "time": "2026-03-02T10:00:00Z", "severity": "critical",
        "eventType": "data_cleanup", "clientId": None, "clientName": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({}, "Agent toggled"), ({"logical_agent_id": "web"}, "Agent toggled: web"), ({"name": "Acme"}, "Agent toggled: Acme"),
        ({"logical_agent_id": "web", "name": "Acme"}, "Agent toggled: web"), ({"logical_agent_id": ""}, "Agent toggled"),
    ],
)  # fmt: skip
def test_e06_an_event_without_a_text_of_its_own_says_its_name_and_whom_it_is_about(
    shared_site: Site, facts: dict[str, str], text: str
) -> None:
    assert not CATALOGUE[EventKind.AGENT_TOGGLED].text
    put(shared_site, "audit_events", kind="agent_toggled", facts=facts)
    assert newest(shared_site)[0]["text"] == text


@pytest.mark.parametrize("level", ["info", "warning", "error", "critical"])
def test_e06_shows_all_severities(shared_site: Site, level: str) -> None:
    put(shared_site, "audit_events", kind="agent_toggled", level=level)
    assert newest(shared_site)[0]["severity"] == level


@pytest.mark.parametrize(
    ("query", "count"),
    [("", 50), ("?limit=1", 1), ("?limit=0", 1), ("?limit=-7", 1), ("?limit=1e9", 100), ("?limit=", 50)],
)
def test_e06_shows_50_unless_told_and_100_at_most(shared_site: Site, query: str, count: int) -> None:
    shared_site.connections.rows(
        "insert into audit_events (event_id, kind, at, actor, level, facts)"
        " select gen_random_uuid()::text, 'agent_toggled', %(at)s, 'system', 'info', '{}' from generate_series(1, 101)",
        {"at": START},
    )
    rows = shared_site.call("GET", f"/api/admin/activity{query}").data
    assert len(rows) == count
    ids = [row["id"] for row in rows]
    assert ids == sorted(ids, reverse=True)


def test_e06_is_a_bare_array_for_the_page_t26(shared_site: Site) -> None:
    bare = shared_site.call("GET", "/api/admin/activity?limit=3", headers={"X-Response-Shape": "legacy"}).body
    assert bare == newest(shared_site, 3)


# ---- E35


@pytest.fixture
def host(tenant: Tenant) -> Host:
    made = Host(tenant)
    with tenant.site.connections.connection() as connection:
        connection.execute("delete from audit_events where agent_id = %s", (made.agent_id,))
    return made


def test_e35_every_field_newest_first(host: Host) -> None:
    facts = {"logical_agent_id": "web", "machine": host.machine, "reason": "zombie"}
    host.put(
        "audit_events", kind="instance_termination_requested", at=at(2), level="info", instance_id=host.row_id, facts=facts
    )  # fmt: skip
    host.put(
        "audit_events",
        kind="instance_drift",
        at=at(1),
        level="warning",
        instance_id=host.row_id,
        facts={"a": [1, None]},
    )
    assert logs(host) == [
        {"timestamp": "2026-03-02T11:00:00Z", "event_type": "instance_drift", "message": "Instance drift",
         "severity": "warning", "metadata": {"a": [1, None]}},
        {"timestamp": "2026-03-02T10:00:00Z", "event_type": "instance_termination_requested",
         "message": f"{host.machine} of web is to end: zombie", "severity": "info", "metadata": facts},
    ]  # fmt: skip


@pytest.mark.parametrize("column", ["old_instance_id", "new_instance_id"])
def test_e35_shows_switches_to_and_from_a_machine(host: Host, column: str) -> None:
    machine = host.site.new_machine()
    row = host.machine_row("zombie", machine)
    switch_id = host.switch(**{"old_instance_id": None, column: row})
    host.put("audit_events", kind="switch_completed", instance_id=host.row_id, facts={"switch_id": switch_id})
    host.put("audit_events", kind="switch_completed", instance_id=host.row_id, facts={"switch_id": new_id()})
    assert [line["metadata"]["switch_id"] for line in logs(host, machine)] == [switch_id]
    assert len(logs(host)) == 2


def test_e35_leaves_out_what_is_about_other_machines_and_other_clients(shared_site: Site, host: Host) -> None:
    other = Host(shared_site.client(f"other than {host.tenant.client_id}"))
    host.put("audit_events", kind="agent_toggled")
    host.put("audit_events", kind="instance_drift", instance_id=host.machine_row("zombie"))
    put(shared_site, "audit_events", kind="instance_drift", instance_id=host.row_id, client_id=other.tenant.client_id)
    assert logs(host) == []


@pytest.mark.parametrize(
    ("query", "count"), [("", 100), ("?limit=7", 7), ("?limit=0", 1), ("?limit=2000", 1_000), ("?limit=", 100)]
)
def test_e35_shows_100_unless_told_and_1000_at_most(host: Host, query: str, count: int) -> None:
    with host.site.connections.connection() as connection:
        connection.execute(
            "insert into audit_events (event_id, kind, at, client_id, agent_id, instance_id, actor, level, facts)"
            " select %(row)s || n, 'instance_drift', %(at)s, %(client_id)s, %(agent_id)s, %(row)s, 'system', 'info', '{}'"
            " from generate_series(1, 1001) n",
            {**host.keys, "row": host.row_id, "at": START - timedelta(hours=1)},
        )
    assert len(logs(host, query=query)) == count


def test_e35_an_ended_machine_keeps_its_story_t41(host: Host) -> None:
    row = host.machine_row("terminated", "i-0ended35", terminated_at=at(1))
    host.put("audit_events", kind="instance_termination_confirmed", instance_id=row)
    assert [line["event_type"] for line in logs(host, "i-0ended35")] == ["instance_termination_confirmed"]
