"""What is deleted leaves every list and count at once, and nobody sees what is another client's (CL-6, GR-8, 2.3)."""

from typing import Any

import pytest
from attrs import frozen

from tests.support.screen_rows import Host, at
from tests.support.server import Reply, Site, Tenant
from tests.support.world import START

LEGACY = {"X-Response-Shape": "legacy"}


@frozen
class Story:
    """A client with something in every table that a screen reads."""

    tenant: Tenant
    host: Host
    replica: str  # cloud id

    @property
    def marks(self) -> set[str]:
        """What a screen that shows anything of it would name."""
        return {
            self.tenant.client_id,
            self.host.agent_id,
            self.host.machine,
            self.replica,
            self.host.type,
            self.host.logical,
        }


def told(site: Site, name: str) -> Story:
    """Prices, a replica, a switch, money, an emergency, a decision, an alert and notifications."""
    tenant = site.client(f"client {name}")
    host = Host(tenant, f"agent-{name}")
    host.beat()
    host.price("a", "0.02")
    host.ondemand("0.04")
    replica = site.new_machine()
    row = host.machine_row("running_replica", replica, pool_id=host.pool("b"), confirmed_at=START)
    host.put("replicas", instance_id=row, state="ready", pool_id=host.pool("b"), az="us-east-1b", ready_at=START)
    host.switch(new_cloud_id=replica, new_instance_id=row, downtime_seconds="2", recorded_at=at(1))
    host.line(at(2), 1, "4", "1")
    host.put("incidents", instance_id=host.row_id, pool_id=host.pool("a"), opened_at=at(1))
    host.put(
        "decisions",
        body={"action": "stay", "risk": "0.1", "savings_per_hour": "0", "confidence": "0.6", "snapshot": {"current_mode": "spot"}},
    )  # fmt: skip
    alert = {"threshold": 0.01, "pool_id": host.pool("a")}
    assert tenant.post(f"/api/client/{tenant.client_id}/pricing-alerts", alert).status == 201
    return Story(tenant, host, replica)


@pytest.fixture(scope="module")
def stories(module_site: Site) -> dict[str, Story]:
    known = {name: told(module_site, name) for name in ("mine", "other", "gone", "agentless")}
    gone, agentless = known["gone"].tenant, known["agentless"]
    assert module_site.call("DELETE", f"/api/admin/clients/{gone.client_id}").status == 200
    assert agentless.tenant.call("DELETE", f"/api/client/agents/{agentless.host.agent_id}").status == 200
    return known


def seen(answer: Reply) -> str:
    assert answer.status == 200, answer
    return str(answer.body)


OF_CLIENT = {
    "E15": "", "E22": "/agents", "E23": "/agents/decisions", "E24": "/agents/history", "E29": "/instances",
    "E42": "/replicas", "E77": "/savings", "E78": "/switch-history", "E79": "/stats/charts",
    "E81": "/analytics/downtime", "E82": "/pricing-alerts", "E84": "/export/savings", "E85": "/export/switch-history",
}  # fmt: skip
OF_MACHINE = {
    "E30": "/pricing", "E31": "/metrics", "E32": "/price-history", "E33": "/available-options", "E35": "/logs",
    "E36": "/pool-volatility",
}  # fmt: skip
OF_ALL = {
    "E04": "/clients", "E08": "/instances?limit=1000", "E09": "/agents?limit=1000", "E09 deleted": "/agents?status=deleted",
    "E86": "/export/global-stats", "E93": "/search?q=client%20gone", "E93 agent": "/search?q=agent-gone",
    "E95": "/agents/health-summary", "E99": "/emergency-events",
}  # fmt: skip


@pytest.mark.parametrize("number", OF_CLIENT)
def test_a_client_sees_its_own_and_nothing_of_another(
    shared_site: Site, stories: dict[str, Story], number: str
) -> None:
    mine, path = stories["mine"], f"/api/client/{{}}{OF_CLIENT[number]}"
    for headers in ({}, LEGACY):
        text = seen(mine.tenant.get(path.format(mine.tenant.client_id), headers=headers))
        assert not [mark for mark in stories["other"].marks if mark in text]
    foreign = mine.tenant.get(path.format(stories["other"].tenant.client_id))
    assert (foreign.status, foreign.body["code"], foreign.body["data"]) == (403, "FORBIDDEN", None)
    assert seen(shared_site.call("GET", path.format(mine.tenant.client_id))) == seen(
        mine.tenant.get(path.format(mine.tenant.client_id))
    )


@pytest.mark.parametrize("number", OF_MACHINE)
def test_a_machine_of_another_client_is_an_unknown_one(stories: dict[str, Story], number: str) -> None:
    mine, other = stories["mine"], stories["other"]
    path = f"/api/client/instances/{{}}{OF_MACHINE[number]}"
    assert not [mark for mark in other.marks if mark in seen(mine.tenant.get(path.format(mine.host.machine)))]
    foreign = mine.tenant.get(path.format(other.host.machine))
    unknown = mine.tenant.get(path.format("i-0nobodys"))
    assert (foreign.status, foreign.body) == (unknown.status, unknown.body)
    assert (foreign.status, foreign.body["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("number", OF_CLIENT)
def test_a_deleted_client_is_unknown_to_the_operator_too_cl_6(
    shared_site: Site, stories: dict[str, Story], number: str
) -> None:
    path = f"/api/client/{{}}{OF_CLIENT[number]}"
    gone = shared_site.call("GET", path.format(stories["gone"].tenant.client_id))
    unknown = shared_site.call("GET", path.format("nobody"))
    assert (gone.status, gone.body) == (unknown.status, unknown.body)
    assert (gone.status, gone.body["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("number", OF_ALL)
def test_a_deleted_client_is_in_no_list_of_the_operator_cl_6(
    shared_site: Site, stories: dict[str, Story], number: str
) -> None:
    text = seen(shared_site.call("GET", f"/api/admin{OF_ALL[number]}"))
    named = {"client gone", "agent-gone"} if number.startswith("E93") else set()  # the question is repeated
    assert not [mark for mark in stories["gone"].marks - named if mark in text]


def test_a_deleted_client_has_no_notifications_in_anybodys_list_e11(
    shared_site: Site, stories: dict[str, Story]
) -> None:
    text = seen(shared_site.call("GET", "/api/notifications?limit=100"))
    assert stories["mine"].tenant.client_id in text
    assert stories["gone"].tenant.client_id not in text
    named = shared_site.call("GET", f"/api/notifications?client_id={stories['gone'].tenant.client_id}")
    assert (named.data, named.headers["x-unread-count"]) == ([], "0")


@pytest.mark.usefixtures("stories")
def test_a_deleted_client_counts_in_no_total_e03_e07_e95(module_site: Site) -> None:
    def totals() -> list[Any]:
        stats = module_site.call("GET", "/api/admin/stats").data
        health = module_site.call("GET", "/api/admin/system-health").data["agents"]
        summary = module_site.call("GET", "/api/admin/agents/health-summary").data
        growth = module_site.call("GET", "/api/admin/clients/growth?days=1").data[0]
        growth.pop("new")  # who came today came today
        wanted = ("total_agents", "online", "offline", "deleted", "total", "heartbeat_distribution")
        pools = stats.pop("poolsCovered")
        assert pools > 0  # a pool is nobody's
        return [stats, health, {name: summary[name] for name in wanted}, growth]

    before = totals()
    late = told(module_site, "late")
    assert totals() != before
    module_site.call("DELETE", f"/api/admin/clients/{late.tenant.client_id}")
    assert totals() == before


@pytest.mark.parametrize("number", ["E22", "E23"])
def test_a_deleted_agent_leaves_the_lists_of_its_client_at_once(stories: dict[str, Story], number: str) -> None:
    story = stories["agentless"]
    assert story.tenant.get(f"/api/client/{story.tenant.client_id}{OF_CLIENT[number]}").data == []


def test_a_deleted_agent_stays_in_the_history_e24_and_its_money_and_switches_stay(stories: dict[str, Story]) -> None:
    story = stories["agentless"]
    (row,) = story.tenant.get(f"/api/client/{story.tenant.client_id}/agents/history").data
    assert (row["id"], row["status"], row["instanceId"]) == (story.host.agent_id, "deleted", story.host.machine)
    assert len(story.tenant.get(f"/api/client/{story.tenant.client_id}/switch-history").data) == 1
    assert story.tenant.get(f"/api/client/{story.tenant.client_id}").data["realisedSavings"] == 3


def test_the_machine_of_a_deleted_agent_is_released_and_neither_active_nor_ended_4_1(stories: dict[str, Story]) -> None:
    story = stories["agentless"]
    path = f"/api/client/{story.tenant.client_id}/instances"
    rows = {row["id"]: row for row in story.tenant.get(path).data}
    assert (rows[story.host.machine]["instanceStatus"], rows[story.host.machine]["isActive"]) == ("released", False)
    for status in ("active", "terminated"):
        assert story.host.machine not in str(story.tenant.get(f"{path}?status={status}").data)


def test_the_name_of_a_deleted_client_is_free_again_and_the_new_one_starts_empty_cl_6(
    shared_site: Site, stories: dict[str, Story]
) -> None:
    again = shared_site.client("client gone")
    assert again.client_id != stories["gone"].tenant.client_id
    data = again.get(f"/api/client/{again.client_id}").data
    assert (data["realisedSavings"], data["instances"], data["agentsTotal"]) == (None, 0, 0)
    found = shared_site.call("GET", "/api/admin/search?q=client%20gone").data["clients"]
    assert [row["id"] for row in found] == [again.client_id]
