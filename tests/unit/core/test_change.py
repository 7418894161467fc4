"""A change in the making: pure, sealed with its invariants, and nothing in it happens twice (GR-1, GR-2, I6)."""

import pytest
from attrs import evolve

from spotcore.change import Change
from spotcore.config import AgentConfig
from spotcore.errors import IllegalTransition, InvariantViolated
from spotcore.events import EventKind
from spotcore.instances import InstanceEvent, InstanceStatus, moved
from tests.support.rule_builders import (
    PRIMARY,
    START,
    D,
    a_command,
    a_machine,
    a_replica,
    a_switch_command,
    an_aggregate,
    an_incident,
    decided,
    later,
)


def test_cv3_a_rule_that_changes_nothing_writes_nothing() -> None:
    aggregate = an_aggregate()
    change = Change(aggregate, START)
    change.put(aggregate.instances[PRIMARY])
    change.set_agent(region=aggregate.agent.region)
    outcome = change.seal("answer", None)
    assert outcome.after is aggregate
    assert (outcome.changed, outcome.events, outcome.answer) == (False, (), "answer")


def test_gr1_a_rule_that_raises_leaves_the_aggregate_as_it_was() -> None:
    aggregate = an_aggregate()
    before = dict(aggregate.instances)

    def rule(change: Change) -> None:
        change.put(moved(change.aggregate.instances[PRIMARY], InstanceEvent.DEMOTE, START))
        raise IllegalTransition("no")

    with pytest.raises(IllegalTransition):
        decided(aggregate, rule)
    assert aggregate.instances == before


def test_the_same_aggregate_and_rule_give_the_same_outcome_with_the_same_ids() -> None:
    def rule(change: Change) -> str:
        change.event(EventKind.AGENT_TOGGLED, reason="again")
        return change.new_id()

    assert decided(an_aggregate(), rule) == decided(an_aggregate(), rule)


def test_ids_of_one_change_are_all_different_and_the_counter_is_kept() -> None:
    change = Change(an_aggregate(), START)
    made = [change.new_id() for _ in range(5)]
    assert len(set(made)) == 5
    after = change.seal(None, due_at=None).after
    assert after.agent.sequence == 5
    assert Change(after, START).new_id() not in made


def test_12_2_an_event_carries_who_what_when_and_its_level() -> None:
    change = Change(an_aggregate(), later(3), actor="client")
    event = change.event(
        EventKind.REPLICA_FAILED, instance=a_machine("r", InstanceStatus.TERMINATING), reason="no sync"
    )
    assert (event.client_id, event.agent_id, event.instance_id, event.actor) == ("c", "a", "r", "client")
    assert (event.at, event.level) == (later(3), "error")
    assert event.facts == {"logical_agent_id": "web", "machine": "i-0r", "reason": "no sync"}


TWO_LIVE = (
    a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b"), a_replica("r"),
    a_machine("s", InstanceStatus.RUNNING_REPLICA, zone="c"), a_replica("s"),
)  # fmt: skip
BROKEN = {
    "I1": (a_machine("n", zone="b"),),
    "I2": TWO_LIVE,
    "I4": (a_switch_command(name="k"), a_command(name="l")),
    "I10": (a_machine("z", InstanceStatus.ZOMBIE, cloud_id="i-0m"),),
    "I11": (an_incident(), evolve(an_incident(), incident_id="second")),
}


@pytest.mark.parametrize(("number", "rows"), BROKEN.items(), ids=BROKEN.keys())
def test_gr2_an_outcome_that_breaks_an_invariant_is_refused_whole(number: str, rows: tuple[object, ...]) -> None:
    change = Change(an_aggregate(), START)
    change.put(*rows)  # type: ignore[arg-type]
    with pytest.raises(InvariantViolated, match=rf"^{number}:"):
        change.seal(None, None)


def test_i5_the_agents_primary_is_the_running_primary() -> None:
    change = Change(an_aggregate(), START)
    change.set_agent(primary_id=None)
    with pytest.raises(InvariantViolated, match="I5"):
        change.seal(None, None)


@pytest.mark.parametrize(
    ("config", "step", "fine"),
    [
        (AgentConfig(), 0, True),
        (AgentConfig(min_savings_percent=D(20)), 1, True),
        (AgentConfig(min_savings_percent=D(20)), 0, False),
        (AgentConfig(), 1, False),
        (AgentConfig(min_savings_percent=D(20)), 2, False),
        (AgentConfig(min_savings_percent=D(20)), -1, False),
    ],
    ids=["nothing", "one change", "not counted", "counted for nothing", "counted twice", "backwards"],
)
def test_i6_the_version_grows_by_exactly_one_per_effective_change(config: AgentConfig, step: int, fine: bool) -> None:
    change = Change(an_aggregate(), START)
    change.set_agent(config=config, config_version=1 + step, hostname="h")
    if fine:
        assert change.seal(None, None).after.agent.config == config
        return
    with pytest.raises(InvariantViolated, match="I6"):
        change.seal(None, None)
