"""E75, E76: what a v2 or v4c says of a switch it made and of what it tidied away (SW-1…SW-9, C11, T20, T21)."""

from datetime import UTC, datetime
from typing import Any

import pytest

from spotcore.events import EventKind
from tests.support.server import Reply, Tenant
from tests.support.wire_agents import ONDEMAND, POOLS, TYPE
from tests.unit.endpoints.desk import Desk, mirrored, problems, refusal

HERE, THERE = "us-east-1a", "us-east-1b"
IMPACT = round(POOLS[HERE] - POOLS[THERE], 6)


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v4c", tenant, logical="web")


def ordered(host: Any, **target: Any) -> Any:
    """A switch the agent has fetched."""
    wanted = target or {"target": "pool", "pool_id": f"{TYPE}.{THERE}"}
    assert host.tenant.post(f"/api/client/instances/{host.machine}/force-switch", wanted).data["success"] is True
    [item] = host.commands()
    return item


def machine(name: str, az: str, mode: str) -> dict[str, Any]:
    pool_id = f"{TYPE}.{az}" if mode == "spot" else None
    return {"instance_id": name, "instance_type": TYPE, "region": "us-east-1", "az": az, "ami_id": "ami-0abc", "mode": mode,
            "pool_id": pool_id}  # fmt: skip


def body(host: Any, new: str, **changes: Any) -> dict[str, Any]:
    return {
        "old_instance": machine(host.machine, HERE, "spot"), "new_instance": machine(new, THERE, "spot"),
        "snapshot": {"used": False}, "prices": {"on_demand": ONDEMAND, "old_spot": POOLS[HERE], "new_spot": POOLS[THERE]},
        "timing": {"switch_initiated_at": "2026-03-02T11:59:00+00:00"}, "trigger": "manual", **changes,
    }  # fmt: skip


def tell(host: Any, sent: Any) -> Reply:
    answer: Reply = host.post("/switch-report", sent)
    return answer


def records(host: Any) -> list[Any]:
    return list(host.tenant.aggregate(host.agent_id).switches.values())


def test_the_answer_names_the_record_and_its_impact_and_the_role_has_moved(desk: Desk, host: Any) -> None:
    item, new = ordered(host), desk.new_machine()
    answer = tell(host, body(host, new))
    [record] = records(host)
    assert mirrored(answer) == {"success": True, "switch_id": record.switch_id, "savings_impact": IMPACT}
    assert host.tenant.statuses(host.agent_id) == {host.machine: "zombie", new: "running_primary"}
    assert host.tenant.aggregate(host.agent_id).commands[item["id"]].state == "completed"
    assert len(desk.events(EventKind.SWITCH_COMPLETED)) == 1


def test_a_report_repeated_is_the_same_record_and_counts_nothing_twice_sw_5(desk: Desk, host: Any) -> None:
    ordered(host)
    new = desk.new_machine()
    first, again = tell(host, body(host, new)), tell(host, body(host, new))
    assert first.data == again.data
    assert len(records(host)) == 1


@pytest.mark.parametrize("word", ["prices", "pricing"])
def test_prices_under_both_words_c11(desk: Desk, host: Any, word: str) -> None:
    ordered(host)
    sent = body(host, desk.new_machine())
    sent[word] = sent.pop("prices")
    assert tell(host, sent).data["savings_impact"] == IMPACT


def test_the_flat_names_of_the_notes_say_the_same_c11(desk: Desk, host: Any) -> None:
    ordered(host)
    prices = {"old_price": 0.05, "new_price": 0.01, "ondemand_price": ONDEMAND}
    sent = body(host, desk.new_machine(), prices=None, **prices)
    assert tell(host, sent).data["savings_impact"] == 0.04


def test_machines_by_flat_names_are_enough_to_move_the_role_and_what_is_not_said_stays_unknown(
    desk: Desk, host: Any
) -> None:
    ordered(host)
    new = desk.new_machine()
    answer = tell(host, {"old_instance_id": host.machine, "new_instance_id": new})
    assert (answer.status, answer.data["savings_impact"]) == (200, None)
    assert host.tenant.primary(host.agent_id) == new


def test_to_on_demand_the_new_price_is_the_on_demand_one_and_the_impact_negative(desk: Desk, host: Any) -> None:
    ordered(host, target="ondemand")
    new = machine(desk.new_machine(), HERE, "ondemand")
    sent = body(host, "", new_instance=new, prices={"on_demand": ONDEMAND, "old_spot": POOLS[HERE]})
    assert tell(host, sent).data["savings_impact"] == round(POOLS[HERE] - ONDEMAND, 6)


@pytest.mark.parametrize("price", [0.0, None, "0.1", -1, 1001, True])
def test_a_price_that_is_none_is_unknown_and_the_last_known_one_is_taken(desk: Desk, host: Any, price: Any) -> None:
    ordered(host)
    sent = body(host, desk.new_machine(), prices={"on_demand": price, "old_spot": price, "new_spot": price})
    assert tell(host, sent).data["savings_impact"] == IMPACT  # from the agent's own report (E74)


def test_without_any_price_the_impact_is_null_and_not_0_gr_7(desk: Desk, host: Any) -> None:
    ordered(host)
    desk.tables.buckets.clear()
    desk.tables.own.clear()
    desk.tables.ondemand.clear()
    assert tell(host, body(host, desk.new_machine(), prices={})).data["savings_impact"] is None


# ---- times


TIMES = {  # the canonical word, then the agents' word: the record's field
    "initiated_at": "initiated_at", "switch_initiated_at": "initiated_at", "instance_launched_at": "launched_at",
    "new_instance_launched_at": "launched_at", "instance_ready_at": "ready_at", "new_instance_ready_at": "ready_at",
    "traffic_switched_at": "traffic_switched_at", "old_terminated_at": "old_ended_at",
    "old_instance_terminated_at": "old_ended_at", "ami_created_at": "image_created_at",
}  # fmt: skip


@pytest.mark.parametrize("word", TIMES)
@pytest.mark.parametrize(
    "spelling", ["2026-03-02T11:59:00.000001+00:00", "2026-03-02T11:59:00Z", "2026-03-02T11:59:00"]
)
def test_a_time_under_both_words_and_in_all_three_spellings_t24(
    desk: Desk, host: Any, word: str, spelling: str
) -> None:
    ordered(host)
    tell(host, body(host, desk.new_machine(), timing={word: spelling}))
    found = getattr(records(host)[0].times, TIMES[word])
    assert found is not None
    assert found.replace(microsecond=0) == datetime(2026, 3, 2, 11, 59, tzinfo=UTC)


@pytest.mark.parametrize("value", [None, "soon", 7, [], {}, ""])
def test_a_time_that_is_none_is_unknown_and_refuses_nothing_sw_3(desk: Desk, host: Any, value: Any) -> None:
    ordered(host)
    answer = tell(host, body(host, desk.new_machine(), timing=dict.fromkeys(TIMES, value)))
    assert answer.status == 200
    assert records(host)[0].times.old_ended_at is None


@pytest.mark.parametrize(("ended", "status"), [("2026-03-02T12:00:00Z", "terminated"), (None, "zombie")])
def test_the_old_machine_is_gone_only_if_the_report_says_when_sw_8(
    desk: Desk, host: Any, ended: str | None, status: str
) -> None:
    ordered(host)
    tell(host, body(host, desk.new_machine(), timing={"old_instance_terminated_at": ended}))
    assert host.tenant.statuses(host.agent_id)[host.machine] == status


@pytest.mark.parametrize(
    ("more", "timing", "downtime"),
    [
        ({"downtime_seconds": 12}, {}, 12), ({"downtime_seconds": 1.5}, {}, 1.5),
        ({}, {"new_instance_ready_at": "2026-03-02T11:59:00Z", "traffic_switched_at": "2026-03-02T11:59:07Z"}, 7),
        ({"downtime_seconds": "x"}, {}, None), ({}, {}, None),
    ],
)  # fmt: skip
def test_downtime_is_given_or_derived_or_unknown_sw_1(
    desk: Desk, host: Any, more: Any, timing: Any, downtime: float | None
) -> None:
    ordered(host)
    tell(host, body(host, desk.new_machine(), timing=timing, **more))
    found = records(host)[0].downtime_seconds
    assert found is None if downtime is None else float(found) == downtime


# ---- which switch it was


@pytest.mark.parametrize(
    ("word", "trigger"),
    [("manual", "manual"), ("model", "auto"), ("automatic", "auto"), ("ML", "auto"), ("emergency", "emergency"),
     ("interruption", "emergency"), ("automatic-interruption-failover", "emergency"), ("odd", "manual"), (None, "manual"), (7, "manual")],
)  # fmt: skip
def test_an_unsolicited_report_brings_its_own_trigger_4_3(desk: Desk, host: Any, word: Any, trigger: str) -> None:
    assert tell(host, body(host, desk.new_machine(), trigger=word)).status == 200
    assert records(host)[0].trigger == trigger


def test_the_servers_own_record_wins_over_the_agents_label_4_2(desk: Desk, host: Any) -> None:
    ordered(host)
    tell(host, body(host, desk.new_machine(), trigger="model"))
    assert records(host)[0].trigger == "manual"


@pytest.mark.parametrize("value", [False, 0])
def test_a_failed_switch_is_a_row_and_a_message_and_moves_nothing_sw_9(desk: Desk, host: Any, value: Any) -> None:
    item, new = ordered(host), desk.new_machine()
    answer = tell(host, body(host, new, success=value, error_message="no capacity"))
    assert answer.status == 200
    [record] = records(host)
    assert (record.state, answer.data["switch_id"]) == ("failed", record.switch_id)
    assert host.tenant.primary(host.agent_id) == host.machine
    assert host.tenant.aggregate(host.agent_id).commands[item["id"]].state == "failed"
    assert len(desk.events(EventKind.SWITCH_FAILED)) == 1


@pytest.mark.parametrize("value", [True, 1, None, "no", []])
def test_anything_but_a_no_is_a_success(desk: Desk, host: Any, value: Any) -> None:
    ordered(host)
    tell(host, body(host, desk.new_machine(), success=value))
    assert records(host)[0].state == "completed"


def test_a_report_of_an_overtaken_switch_never_takes_the_role_back_sw_6(desk: Desk, tenant: Tenant, host: Any) -> None:
    desk.tick(121)
    taker = desk.host("v4c", tenant, logical="web")
    desk.tick(1)
    late = desk.new_machine()
    answer = tell(host, body(host, late))
    assert answer.status == 200
    assert tenant.primary(host.agent_id) == taker.machine
    assert tenant.statuses(host.agent_id)[late] in ("zombie", "terminating")
    assert {record.state for record in records(host)} >= {"superseded"}


# ---- what is refused


@pytest.mark.parametrize("side", ["old_instance", "new_instance"])
@pytest.mark.parametrize("value", [None, {}, {"instance_id": None}, {"instance_id": "unknown"}, {"instance_id": 7}, "i-0abc", [],
                                   {"instance_id": "x" * 129}])  # fmt: skip
def test_both_machines_must_be_named(desk: Desk, host: Any, side: str, value: Any) -> None:
    assert problems(tell(host, body(host, desk.new_machine(), **{side: value}))) == [f"{side}.instance_id"]
    assert records(host) == []


def test_nothing_at_all_names_the_first_machine(host: Any) -> None:
    assert problems(tell(host, {})) == ["old_instance.instance_id"]


@pytest.mark.parametrize("field", ["instance_type", "region", "az", "ami_id", "mode", "pool_id"])
def test_no_other_fact_of_a_machine_is_worth_losing_the_report(desk: Desk, host: Any, field: str) -> None:
    ordered(host)
    for value in (None, 7, [], "unknown"):
        sent = body(host, desk.new_machine())
        sent["new_instance"][field] = value
        assert tell(host, sent).status == 200, value


def test_another_tenants_machine_on_either_side_is_404_and_nothing_moves_s04(desk: Desk, host: Any) -> None:
    foreign = desk.host("v4c", desk.client("Other"))
    for sent in (
        body(host, foreign.machine),
        body(host, "i-0new", old_instance=machine(foreign.machine, HERE, "spot")),
    ):
        assert refusal(tell(host, sent)) == (404, "NOT_FOUND")
    assert records(host) == []
    assert host.tenant.primary(host.agent_id) == host.machine
    assert foreign.tenant.statuses(foreign.agent_id) == {foreign.machine: "running_primary"}


def test_a_retiring_and_an_unknown_agent_are_404(tenant: Tenant, host: Any) -> None:
    tenant.call("DELETE", f"/api/client/agents/{host.agent_id}")
    for path in ("switch-report", "cleanup-report"):
        for agent_id in (host.agent_id, "none"):
            answer = tenant.post(f"/api/agents/{agent_id}/{path}", body(host, "i-0new"))
            assert refusal(answer) == (404, "NOT_FOUND")


# ---- E76

CLEANED: dict[str, tuple[Any, tuple[int, int, int]]] = {
    "nothing": (None, (0, 0, 0)),
    "v4c": ({
        "timestamp": "2026-03-02T12:00:00+00:00",
        "snapshots": {"type": "snapshots", "deleted": ["s1", "s2"], "failed": [{"id": "s3", "error": "x"}], "cutoff_date": "x"},
        "amis": {"type": "amis", "deleted_amis": ["a1"], "deleted_snapshots": ["s4"], "failed": [{}, {}], "cutoff_date": "x"},
    }, (3, 1, 3)),
    "v4c in trouble": ({"snapshots": {"error": "denied"}, "amis": {"deleted": [], "error": "denied"}}, (0, 0, 0)),
    "notes": ({"amis_deleted": 2, "snapshots_deleted": 5, "errors": ["x"], "instances_cleaned": ["i"], "resources_freed": {}}, (5, 2, 1)),
    "lists win over counts": ({"snapshots": {"deleted": ["s"]}, "snapshots_deleted": 9}, (1, 0, 0)),
    "nonsense": ({"snapshots": [], "amis": "x", "errors": 3, "amis_deleted": -1, "snapshots_deleted": "9", "timestamp": []}, (0, 0, 0)),
    "booleans are no counts": ({"amis_deleted": True, "snapshots_deleted": 1.5}, (0, 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("case", CLEANED)
def test_e76_counts_what_was_tidied_away_and_refuses_nothing(desk: Desk, host: Any, case: str) -> None:
    sent, (snapshots, images, failed) = CLEANED[case]
    answer = host.post("/cleanup-report", sent)
    assert mirrored(answer) == {
        "success": True, "deleted_snapshots": snapshots, "deleted_amis": images, "failed_count": failed,
    }  # fmt: skip
    assert answer.body["message"]
    [event] = desk.events(EventKind.CLEANUP_COMPLETED)
    facts = {"deleted_snapshots": snapshots, "deleted_amis": images, "failed_count": failed}
    assert facts.items() <= event.facts.items()
