"""E74: prices in every shape, item by item, and whose word counts (DQ-1, DQ-2, DQ-8, P1, P3, P16, T06)."""

from typing import Any

import pytest

from tests.support.server import Reply, Tenant
from tests.support.wire_agents import ONDEMAND, TYPE
from tests.unit.endpoints.desk import BUILDS, Desk, mirrored, problems, refusal

A, B, C = (f"{TYPE}.us-east-1{zone}" for zone in "abc")
NOW = "2026-03-02T12:00:00Z"


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    """A host that has said nothing of prices yet."""
    agent: Any = BUILDS["v4c"](tenant, desk.new_machine(), logical="web")
    agent.register()
    agent.heartbeat()
    return agent


def report(host: Any, body: Any) -> Reply:
    answer: Reply = host.post("/pricing-report", body)
    return answer


def items(host: Any, *found: Any, **more: Any) -> Reply:
    return report(host, {"instance": {"instance_id": host.machine}, "pricing": {"spot_pools": list(found)}, **more})


def counts(answer: Reply) -> tuple[int, int]:
    data = mirrored(answer)
    assert set(data) == {"success", "records_inserted", "records_rejected"}
    assert data["success"] is True
    return data["records_inserted"], data["records_rejected"]


def stored(desk: Desk) -> dict[str, float]:
    return {row.pool_id: float(row.price) for _, row in desk.tables.raw.values()}


def observed(desk: Desk) -> list[str]:
    return sorted({row.observed_at.isoformat() for _, row in desk.tables.raw.values()})


# ---- one item

GOOD: dict[str, tuple[Any, str, float]] = {
    "with all": ({"pool_id": B, "instance_type": TYPE, "az": "us-east-1b", "price": 0.02}, B, 0.02),
    "pool alone": ({"pool_id": B, "price": 0.02}, B, 0.02),
    "no pool but type and zone": ({"instance_type": TYPE, "az": "us-east-1c", "price": 0.02}, C, 0.02),
    "the longer spelling of a pool": ({"pool_id": f"{TYPE}.us-east-1.us-east-1b", "price": 0.02}, B, 0.02),
    "spot_price": ({"pool_id": B, "spot_price": 0.03}, B, 0.03),
    "spot_price wins": ({"pool_id": B, "spot_price": 0.03, "price": 0.9}, B, 0.03),
    "null pool": ({"pool_id": None, "instance_type": TYPE, "az": "us-east-1b", "price": 0.02}, B, 0.02),
    "six decimals": ({"pool_id": B, "price": 0.012345}, B, 0.012345),
    "rounded half-even": ({"pool_id": B, "price": 0.0123455}, B, 0.012346),
    "the dearest": ({"pool_id": B, "price": 1000}, B, 1000),
    "the cheapest": ({"pool_id": B, "price": 0.000001}, B, 0.000001),
    "an integer": ({"pool_id": B, "price": 3}, B, 3),
    "unknown fields": ({"pool_id": B, "price": 0.02, "colour": "red", "is_current": True}, B, 0.02),
}  # fmt: skip
BAD: dict[str, Any] = {
    "no pool and no zone": {"price": 0.02},
    "zone without a type of its own or the report's": {"az": "us-east-1b", "price": 0.02},
    "nonsense for a pool": {"pool_id": "nonsense", "price": 0.02},
    "a pool that is no text": {"pool_id": 7, "price": 0.02},
    "zero": {"pool_id": B, "price": 0},
    "negative": {"pool_id": B, "price": -0.01},
    "above 1000": {"pool_id": B, "price": 1000.000001},
    "rounds to zero": {"pool_id": B, "price": 0.0000001},
    "a text": {"pool_id": B, "price": "0.02"},
    "a boolean": {"pool_id": B, "price": True},
    "null": {"pool_id": B, "price": None},
    "a list": {"pool_id": B, "price": [0.02]},
    "missing": {"pool_id": B},
    "a time that is none": {"pool_id": B, "price": 0.02, "timestamp": "yesterday"},
    "a time that is no text": {"pool_id": B, "price": 0.02, "timestamp": 1_700_000_000},
    "older than 7 days": {"pool_id": B, "price": 0.02, "timestamp": "2026-02-23T11:59:59Z"},
    "more than 2 min ahead": {"pool_id": B, "price": 0.02, "timestamp": "2026-03-02T12:02:01Z"},
    "an empty object": {},
    "no object": "junk",
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_an_item_is_taken_as_its_pool_and_its_price(desk: Desk, host: Any, case: str) -> None:
    item, pool_id, price = GOOD[case]
    assert counts(items(host, item)) == (1, 0)
    assert stored(desk) == {pool_id: price}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_item_is_rejected_alone_dq_2(desk: Desk, host: Any, case: str) -> None:
    assert counts(items(host, BAD[case], {"pool_id": C, "price": 0.04})) == (1, 1)
    assert stored(desk) == {C: 0.04}


# ---- when


@pytest.mark.parametrize(
    ("stamp", "at"),
    [
        (None, "2026-03-02T12:00:00+00:00"), ("2026-03-02T11:58:00Z", "2026-03-02T11:58:00+00:00"),
        ("2026-03-02T11:58:00", "2026-03-02T11:58:00+00:00"), ("2026-03-02T12:58:00+01:00", "2026-03-02T11:58:00+00:00"),
        ("2026-03-02 11:58:00", "2026-03-02T11:58:00+00:00"), ("2026-02-23T12:00:00Z", "2026-02-23T12:00:00+00:00"),
        ("2026-03-02T12:02:00Z", "2026-03-02T12:00:00+00:00"), ("2026-03-02T12:00:01Z", "2026-03-02T12:00:00+00:00"),
    ],
)  # fmt: skip
def test_a_price_is_as_old_as_its_own_time_and_never_from_the_future(
    desk: Desk, host: Any, stamp: str | None, at: str
) -> None:
    assert counts(items(host, {"pool_id": B, "price": 0.02, "timestamp": stamp})) == (1, 0)
    assert observed(desk) == [at]


@pytest.mark.parametrize("place", ["collected_at in pricing", "collected_at", "timestamp"])
def test_a_report_without_times_of_its_items_is_as_old_as_it_says(desk: Desk, host: Any, place: str) -> None:
    at = "2026-03-02T11:50:00+00:00"
    inside = {"collected_at": at} if place == "collected_at in pricing" else {}
    outside = {} if inside else {place: at}
    body = {"pricing": {"spot_pools": [{"pool_id": B, "price": 0.02}], **inside}, **outside}
    assert counts(report(host, body)) == (1, 0)
    assert observed(desk) == [at]


def test_the_time_of_an_item_wins_over_the_reports(desk: Desk, host: Any) -> None:
    early = {"pool_id": B, "price": 0.02, "timestamp": "2026-03-02T11:40:00Z"}
    items(host, early, collected_at="2026-03-02T11:50:00Z")
    assert observed(desk) == ["2026-03-02T11:40:00+00:00"]


# ---- lists


@pytest.mark.parametrize(
    "body",
    [None, {}, {"pricing": {}}, {"pricing": {"spot_pools": []}}, {"spot_pools": []}, {"pricing_data_array": []},
     {"spot_pools": None, "pools": None, "spot_prices": None}, {"pricing": None, "instance": None}, {"spot_pools": {}},
     {"pricing": "x", "instance": 7, "on_demand_price": "y"}, {"pricing_data_array": "all"}, {"on_demand_price": []}],
)  # fmt: skip
def test_a_report_may_be_empty_or_half_broken_and_is_no_error_t06(host: Any, body: Any) -> None:
    assert counts(report(host, body)) == (0, 0)


def test_all_shapes_may_be_mixed_in_one_report(desk: Desk, host: Any) -> None:
    body = {
        "pricing": {"spot_pools": [{"pool_id": A, "price": 0.01}]}, "spot_pools": [{"pool_id": B, "price": 0.02}],
        "spot_prices": [{"pool_id": C, "price": 0.03}], "pools": [{"pool_id": f"{TYPE}.us-east-1d", "price": 0.04}],
        "pricing_data_array": [{"instance_type": TYPE, "az": "us-east-1e", "spot_price": 0.05}],
    }  # fmt: skip
    assert counts(report(host, body)) == (5, 0)
    assert sorted(stored(desk).values()) == [0.01, 0.02, 0.03, 0.04, 0.05]


@pytest.mark.parametrize("raw", [b"[]", b"{", b'"x"', b'{"pricing": {"spot_pools": [{"price": NaN}]}}', b"\xff"])
def test_what_is_no_json_object_is_400(host: Any, raw: bytes) -> None:
    assert problems(report(host, raw)) == ["body"]


def test_the_same_observation_again_counts_as_inserted_and_is_stored_once_p1_p16(desk: Desk, host: Any) -> None:
    item = {"pool_id": B, "price": 0.02, "timestamp": NOW}
    assert [counts(items(host, item)) for _ in range(3)] == [(1, 0)] * 3
    assert len(desk.tables.raw) == 1
    assert counts(items(host, {**item, "price": 0.03})) == (1, 0)
    assert len(desk.tables.raw) == 2


def test_the_current_price_and_the_cheapest_pool_are_no_observations_of_their_own_p16(desk: Desk, host: Any) -> None:
    body = {"pricing": {"current_spot_price": 0.5, "cheapest_pool": {"pool_id": C, "price": 0.4}, "spot_pools": []},
            "current_spot_price": 0.6, "cheapest_pool": {"pool_id": B, "price": 0.3}}  # fmt: skip
    assert counts(report(host, body)) == (0, 0)
    assert stored(desk) == {}


def test_a_pool_is_made_on_sight_and_can_then_be_chosen(host: Any) -> None:
    path, body = f"/api/client/instances/{host.machine}/force-switch", {"pool_id": f"{TYPE}.us-east-1f"}
    assert refusal(host.tenant.post(path, body)) == (404, "NOT_FOUND")
    items(host, {"pool_id": f"{TYPE}.us-east-1f", "price": 0.02})
    assert host.tenant.post(path, body).data["success"] is True


# ---- on-demand prices

OWN = {"instance_type": TYPE}
ONDEMAND_SHAPES: dict[str, Any] = {
    "v2": {"instance": OWN, "on_demand_price": {"price": ONDEMAND}}, "v4c": {"instance": OWN, "pricing": {"on_demand_price": ONDEMAND}},
    "v5": {"pricing_data_array": [{"instance_type": TYPE, "price_type": "ondemand", "price": ONDEMAND, "timestamp": NOW}]},
    "notes": {"instance_type": TYPE, "on_demand_price": ONDEMAND}, "notes, other word": {"instance_type": TYPE, "ondemand_price": ONDEMAND},
}  # fmt: skip


@pytest.mark.parametrize("shape", ONDEMAND_SHAPES)
def test_an_on_demand_price_is_read_in_every_shape_and_is_no_spot_item(desk: Desk, host: Any, shape: str) -> None:
    assert counts(report(host, ONDEMAND_SHAPES[shape])) == (0, 0)
    [found] = desk.tables.ondemand.values()
    assert (float(found.price), found.flagged) == (ONDEMAND, False)
    assert desk.tables.raw == {}


@pytest.mark.parametrize("price", [0, -1, 1000.5, "0.1", True, [], {}])
def test_an_on_demand_price_that_is_none_is_ignored(desk: Desk, host: Any, price: Any) -> None:
    assert counts(report(host, {"instance": OWN, "pricing": {"on_demand_price": price}})) == (0, 0)
    assert desk.tables.ondemand == {}


def test_what_agents_say_when_they_do_not_know_is_flagged_dq_8(desk: Desk, host: Any) -> None:
    report(host, {"instance": OWN, "pricing": {"on_demand_price": 0.1}})
    [found] = desk.tables.ondemand.values()
    assert found.flagged is True


def test_three_times_the_mean_spot_price_is_flagged_too_dq_8(desk: Desk, host: Any) -> None:
    pools = [{"pool_id": A, "price": 0.02}, {"pool_id": B, "price": 0.04}]
    report(host, {"instance": OWN, "pricing": {"on_demand_price": 0.09, "spot_pools": pools}})
    [found] = desk.tables.ondemand.values()
    assert found.flagged is True


# ---- whose word counts (DQ-2, 2.3)


def test_a_report_about_anybody_elses_machine_is_rejected_item_by_item(desk: Desk, tenant: Tenant, host: Any) -> None:
    sibling, foreign = desk.host("v4c", tenant, logical="api"), desk.host("v4c", desk.client("Other"))
    before = len(desk.tables.raw)
    for name in ("i-0none", sibling.machine, foreign.machine):
        body = {"instance": {"instance_id": name}, "pricing": {"spot_pools": [{"pool_id": B, "price": 0.9}]}}
        assert counts(report(host, body)) == (0, 1)
    assert len(desk.tables.raw) == before


@pytest.mark.parametrize("name", [None, "unknown", 7, [], ""])
def test_a_report_that_names_no_machine_is_the_primarys_z23(host: Any, name: Any) -> None:
    body = {"instance": {"instance_id": name}, "pricing": {"spot_pools": [{"pool_id": B, "price": 0.02}]}}
    assert counts(report(host, body)) == (1, 0)


def test_a_zombie_is_not_heard_dq_2(desk: Desk, tenant: Tenant, host: Any) -> None:
    desk.tick(121)
    new: Any = BUILDS["v4c"](tenant, desk.new_machine(), logical="web")
    assert new.register().data["agent_id"] == host.agent_id
    assert counts(items(host, {"pool_id": B, "price": 0.02})) == (0, 1)
    assert counts(items(new, {"pool_id": B, "price": 0.02})) == (1, 0)


def test_a_v2_tells_its_mode_here_alone_and_it_fills_an_unknown_one_ag_3(desk: Desk, tenant: Tenant) -> None:
    host: Any = BUILDS["v2"](tenant, desk.new_machine(), mode="spot")
    host.register()
    assert tenant.aggregate(host.agent_id).primary.mode == "unknown"
    host.prices()
    found = tenant.aggregate(host.agent_id).primary
    assert (found.mode, found.pool_id) == ("spot", A)


def test_a_retiring_agents_prices_are_not_wanted_and_an_unknown_agents_neither(tenant: Tenant, host: Any) -> None:
    tenant.call("DELETE", f"/api/client/agents/{host.agent_id}")
    for agent_id in (host.agent_id, "None"):
        assert refusal(tenant.post(f"/api/agents/{agent_id}/pricing-report", {})) == (404, "NOT_FOUND")
