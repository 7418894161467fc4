"""Money end to end: what agents report over HTTP becomes the figures of E15, E31, E77, E79, E84, E86 and the commands."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from spotapp.cli import main
from tests.support.server import Site, Tenant, site_on
from tests.support.wire_agents import ONDEMAND, POOLS, V4c

D = Decimal


HOURS = 10
"""How long the shared story lasts."""


@pytest.fixture
def tenant(site: Site) -> Tenant:
    return site.client("Money")


@pytest.fixture(scope="module")
def story(module_site: Site) -> V4c:
    """The agent of the only client, for tests that read what became of it."""
    return lived(module_site.client("Money"), HOURS)


def lived(tenant: Tenant, hours: float) -> V4c:
    """A v4c on Spot that reports prices every half hour, with a replica from the second hour on."""
    site = tenant.site
    agent = V4c(tenant, site.new_machine(), logical="web")
    agent.register()
    agent.heartbeat()
    for number in range(round(hours * 2)):
        if number == 4:
            body = {"manualReplicaEnabled": True}
            assert tenant.post(f"/api/client/agents/{agent.agent_id}/config", body).status == 200
            agent.launch_replica(agent.to_launch()[0], site.new_machine())
        agent.prices()
        site.clock.advance(1800)
    done = site.plane.savings.accrue()
    assert done.failed == ()
    return agent


def expected(hours: float) -> dict[str, Decimal]:
    """The same story by hand: on-demand less spot for the primary, less the replica in the cheapest other pool."""
    accrued = D(str(hours)) - D("0.25")
    primary, replica = D(str(POOLS["us-east-1a"])), D(str(POOLS["us-east-1b"]))
    baseline = D(str(ONDEMAND)) * accrued
    replica_cost = replica * (accrued - 2)
    cost = primary * accrued + replica_cost
    return {"baseline": baseline, "cost": cost, "replica": replica_cost, "saving": baseline - cost}


def money(value: Any) -> Decimal:
    return D(str(value)).quantize(D("0.0001"))


def near(value: Any, wanted: Decimal) -> bool:
    return abs(D(str(value)) - wanted) <= D("0.0001")


def test_e15_the_month_s_account_is_the_ledger_s(story: V4c) -> None:
    tenant = story.tenant
    wanted, found = expected(HOURS), tenant.get(f"/api/client/{tenant.client_id}").data["savings"]
    assert near(found["baseline_cost"], wanted["baseline"])
    assert near(found["actual_cost"], wanted["cost"])
    assert near(found["realised_savings_period"], wanted["saving"])
    assert near(found["replica_cost"], wanted["replica"])
    assert D(str(found["unpriced_hours"])) == 0
    rate = wanted["saving"] / (HOURS - D("0.25"))
    assert near(found["projected_monthly"], rate * 730) or abs(D(str(found["projected_monthly"])) - rate * 730) < 1


def test_e77_e79_e84_e86_tell_the_same(story: V4c) -> None:
    tenant, wanted = story.tenant, expected(HOURS)
    (period,) = tenant.get(f"/api/client/{tenant.client_id}/savings?range=monthly").data
    assert near(period["savings"], wanted["saving"])
    assert near(period["onDemandCost"], wanted["baseline"])
    assert near(period["modelCost"], wanted["cost"])
    charts = json.dumps(tenant.get(f"/api/client/{tenant.client_id}/stats/charts").data)
    assert str(float(money(wanted["saving"])))[:4] in charts
    sheet = tenant.get(f"/api/client/{tenant.client_id}/export/savings").body
    (month,) = csv.DictReader(io.StringIO(sheet))
    assert abs(D(month["Savings ($)"]) - wanted["saving"]) <= D("0.01")
    assert abs(D(month["On-Demand Cost ($)"]) - wanted["baseline"]) <= D("0.01")
    overall = tenant.site.call("GET", "/api/admin/export/global-stats").body
    assert tenant.client_id in overall or "Money" in overall


def test_e31_a_machine_s_savings_are_its_own_lines(story: V4c) -> None:
    accrued = HOURS - D("0.25")
    alone = (D(str(ONDEMAND)) - D(str(POOLS["us-east-1a"]))) * accrued
    found = story.tenant.get(f"/api/client/instances/{story.machine}/metrics").data
    assert near(found["savingsLast30Days"], alone) or near(found.get("totalSavings"), alone)


def test_the_realised_figure_and_the_legacy_estimate_stand_side_by_side_7_4(story: V4c) -> None:
    (row,) = story.tenant.site.call("GET", "/api/admin/clients").data
    assert near(row["realisedSavings"], expected(HOURS)["saving"])
    assert D(str(row["totalSavings"])) == 0  # no switch was credited


def run(site: Site, *words: str) -> Result:
    return CliRunner().invoke(main, list(words), env={"SPOTCORE_DATABASE_URL": site.connections.database_url})


def test_explain_goes_from_the_total_down_to_price_rows(story: V4c) -> None:
    tenant, wanted = story.tenant, expected(HOURS)
    told = run(tenant.site, "ledger", "explain", tenant.client_id, "2026-03", "--output", "json")
    assert told.exit_code == 0, told.output
    data = json.loads(told.stdout)
    assert near(data["totals"]["saving"], wanted["saving"])
    assert sum(D(one["saving"]) for one in data["lines"]) == D(data["totals"]["saving"])
    one = run(
        tenant.site, "ledger", "explain", tenant.client_id, "2026-03", "--machine", story.machine, "--output", "json"
    )
    behind = json.loads(one.stdout)["prices"]
    assert {row["pool_id"] for row in behind} == {"t3.medium.us-east-1a"}
    assert len(behind) == 2 * HOURS
    table = run(tenant.site, "ledger", "explain", tenant.client_id, "2026-03")
    assert story.machine in table.stdout
    assert run(tenant.site, "ledger", "explain", tenant.client_id, "March").exit_code == 2
    nothing = run(tenant.site, "ledger", "explain", tenant.client_id, "2025-01", "--output", "json")
    assert set(json.loads(nothing.stdout)["totals"].values()) == {"0.00000000"}  # and not 0E-8
    assert run(tenant.site, "ledger", "explain", "nobody", "2026-03").exit_code == 1


def test_verify_fails_when_a_final_line_was_changed(tenant: Tenant) -> None:
    lived(tenant, 6)
    tenant.site.clock.advance(5 * 86_400)
    tenant.site.plane.savings.accrue()
    well = run(tenant.site, "ledger", "verify", tenant.client_id, "--output", "json")
    assert well.exit_code == 0, well.output
    (head,) = json.loads(well.stdout)["heads"]
    assert (head["client"], head["lines"] > 0) == (tenant.client_id, True)
    assert json.loads(run(tenant.site, "ledger", "verify", "--output", "json").stdout) == json.loads(well.stdout)
    assert run(tenant.site, "ledger", "verify", "nobody").exit_code == 1
    with closing(psycopg.connect(tenant.site.connections.database_url, autocommit=True)) as root:
        root.execute("alter table ledger_lines disable trigger sv7_final_lines_stay")
        root.execute("update ledger_lines set paid_price = paid_price / 2 where entry_no = 1")
    for whose in ([tenant.client_id], []):
        ill = run(tenant.site, "ledger", "verify", *whose)
        assert (ill.exit_code, "a line was changed" in ill.stdout) == (1, True)


def test_focus_columns_for_cost_tools(story: V4c, tmp_path: Path) -> None:
    file = tmp_path / "focus.csv"
    done = run(story.tenant.site, "export", "focus", story.tenant.client_id, "2026-03", "--to", str(file))
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    primary = [row for row in rows if row["x_Role"] == "primary"]
    assert {row["ResourceId"] for row in primary} == {story.machine}
    assert {(row["BilledCost"], row["BillingCurrency"], row["PricingCategory"]) for row in rows} == {
        ("", "USD", "Dynamic")
    }
    assert rows[0]["BillingPeriodStart"] == "2026-03-01T00:00:00Z"
    assert rows[0]["BillingPeriodEnd"] == "2026-04-01T00:00:00Z"
    wanted = expected(HOURS)
    assert near(sum(D(row["EffectiveCost"]) for row in rows), wanted["cost"])
    assert near(sum(D(row["ListCost"]) for row in primary), wanted["baseline"])


@contextmanager
def a_copy(url: str) -> Iterator[str]:
    """The database as it is now, under another name: what a backup brings back."""
    server, _, name = url.rpartition("/")
    with closing(psycopg.connect(f"{server}/postgres", autocommit=True)) as connection:
        connection.execute(f"alter database {name} allow_connections false")
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        connection.execute(f"create database {name}_copy template {name} strategy file_copy")
        connection.execute(f"alter database {name} allow_connections true")
        yield f"{server}/{name}_copy"
        connection.execute(f"drop database {name}_copy with (force)")


def test_a_ledger_restored_from_yesterday_goes_on_and_makes_nothing_up(tenant: Tenant, database_url: str) -> None:
    site, hours = tenant.site, 10
    agent = lived(tenant, hours)
    with a_copy(database_url) as url, site_on(url, is_new=False) as restored:
        restored.clock.advance(3_600 * (hours + 24))  # a day is lost, with all that agents said in it
        again = Tenant(restored, tenant.client_id, tenant.token)
        host = V4c(again, agent.machine, logical="web")
        assert host.register().body["agent_id"] == agent.agent_id
        for _ in range(8):
            host.prices()
            restored.clock.advance(1_800)
        assert restored.plane.savings.accrue().failed == ()
        assert restored.plane.savings.accrue().added == 0
        found = again.get(f"/api/client/{tenant.client_id}").data["savings"]
        checked = CliRunner().invoke(main, ["ledger", "verify", tenant.client_id], env={"SPOTCORE_DATABASE_URL": url})
        kept = lines_until(url, site.clock.now())
    assert checked.exit_code == 0, checked.output
    assert D(str(found["unpriced_hours"])) > 20  # the lost day has no prices, and gets none
    assert kept == lines_until(database_url, site.clock.now())


def lines_until(url: str, end: datetime) -> list[tuple[Any, ...]]:
    """Lines that ended half an hour before ``end``: what is younger was provisional when the copy was made."""
    with closing(psycopg.connect(url)) as connection:
        return connection.execute(
            "select agent_id, instance_id, started_at, ended_at, role, paid_price, ondemand_price, cost, saving"
            " from ledger_lines where ended_at <= %s::timestamptz - interval '30 minutes' order by 1, 2, 3",
            (end,),
        ).fetchall()
