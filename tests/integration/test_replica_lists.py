"""E42 and E43 name the same cost of the same replica (http-api 7.6, P8, SV-5)."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support.screen_rows import Host, a_client, at
from tests.support.server import Site
from tests.support.world import START


@pytest.fixture
def host(shared_site: Site, request: pytest.FixtureRequest) -> Host:
    shared_site.clock.at = START
    return Host(a_client(shared_site, request.node.name))


def both(host: Host) -> tuple[Any, Any]:
    """``cost`` as people and as agents read it."""
    (shown,) = host.tenant.get(f"/api/client/{host.tenant.client_id}/replicas").data
    answer = host.tenant.get(f"/api/agents/{host.agent_id}/replicas")
    (listed,) = answer.data["replicas"]
    assert answer.body["replicas"] == [listed]
    return shown["replica"]["cost"], listed["cost"]


def replica(host: Host, mode: str = "spot") -> str:
    pool_id = host.pool("b") if mode == "spot" else None
    row = host.machine_row("running_replica", host.site.new_machine(), pool_id=pool_id, az="us-east-1b", mode=mode)
    host.put(
        "replicas", instance_id=row, pool_id=pool_id, az="us-east-1b", instance_type=host.type, state="ready", mode=mode
    )
    return row


def test_e42_e43_show_the_price_in_force_and_the_ledgers_sum(host: Host) -> None:
    host.price("b", "0.0125")
    row = replica(host)
    host.line(at(3), 2, "0", "0.025", role="replica", instance_id=row)
    host.line(at(1), 1, "0", "0.0125", role="zombie", instance_id=row)
    assert both(host) == ({"hourly": 0.0125, "total": 0.025}, {"hourly": 0.0125, "total": 0.025})


@pytest.mark.parametrize(("seconds", "hourly"), [(3_599, 0.0125), (3_600, None)])
def test_e42_e43_a_bucket_is_in_force_for_60_minutes_p8(host: Host, seconds: int, hourly: float | None) -> None:
    host.price("b", "0.0125", START + timedelta(seconds=200))  # in the bucket of START
    replica(host)
    host.site.clock.advance(seconds)
    assert both(host) == ({"hourly": hourly, "total": 0}, {"hourly": hourly, "total": 0})


@pytest.mark.parametrize("known", [0.0416, None])
def test_e42_e43_on_demand_costs_the_on_demand_price_or_nobody_knows_sv_5(host: Host, known: float | None) -> None:
    replica(host, "ondemand")
    host.change(registered_ondemand_price=known)
    assert both(host) == ({"hourly": known, "total": 0}, {"hourly": known, "total": 0})


@pytest.mark.parametrize("status", ["launching", "terminated"])
def test_e43_a_price_is_read_anew_at_every_poll_and_an_empty_list_holds_none(host: Host, status: str) -> None:
    def polled() -> list[Any]:
        found: list[Any] = host.tenant.get(f"/api/agents/{host.agent_id}/replicas?status={status}").data["replicas"]
        return [one["cost"]["hourly"] for one in found]

    host.beat()
    host.price("b", "0.0125")
    assert [polled(), polled()] == [[], []]
    if status == "launching":
        row = host.machine_row("launching", pool_id=host.pool("b"), az="us-east-1b")
        facts = {"state": "launching"}
    else:
        row = host.machine_row(
            "terminating", host.site.new_machine(), pool_id=host.pool("b"), az="us-east-1b", terminating_since=START
        )
        facts = {"state": "terminated", "ended_at": START}
    host.put("replicas", instance_id=row, pool_id=host.pool("b"), az="us-east-1b", instance_type=host.type, **facts)
    host.change(revision=1_000)  # as every change of an agent does
    assert [polled(), polled()] == [[0.0125], [0.0125]]
    host.site.clock.advance(300)
    host.price("b", "0.0375", host.site.clock.now())
    assert polled() == [0.0375]
    host.site.clock.advance(3_600)
    assert polled() == [None]
