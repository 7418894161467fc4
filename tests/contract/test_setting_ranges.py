"""The ranges of section 3 are kept twice: by the core, and by whatever stores an agent or a client (GR-2)."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from spotcore.aggregate import Aggregate
from spotcore.change import Outcome
from spotcore.config import RANGES
from spotcore.errors import InvariantViolated
from tests.support.world import World

D = Decimal
STEP = {"min_savings_percent": D("0.01"), "risk_threshold": D("0.01"), "emergency_min_risk": D("0.01")}
TABLE: Mapping[str, tuple[Any, Any]] = {
    # setting: lowest and highest, as the table of section 3 has them
    "terminate_wait_seconds": (60, 86_400), "min_savings_percent": (D(0), D(90)), "risk_threshold": (D(0), D(1)),
    "max_switches_per_day": (0, 24), "max_switches_per_week": (0, 168), "min_pool_duration_hours": (0, 168),
    "emergency_min_risk": (D(0), D(1)), "failover_on_heartbeat_loss_seconds": (300, 86_400),
}  # fmt: skip
LISTS: Mapping[str, tuple[str, int]] = {
    "preferred_azs": ("us-east-1a", 20),
    "excluded_pools": ("m5.large.us-east-1a", 100),
}


def loaded(world: World) -> Aggregate:
    return world.aggregate(world.register().agent_id)


def saved(world: World, before: Aggregate, **settings: Any) -> Aggregate:
    """Past the core's judgement of a change, straight to the storage."""
    agent = before.agent
    config = evolve(agent.config, **settings)
    after = evolve(before, agent=evolve(agent, config=config, config_version=agent.config_version + 1))
    with world.transactions() as uow:
        uow.agents.save(Outcome(before=before, after=after))
    return world.aggregate(agent.agent_id)


@pytest.mark.parametrize("name", TABLE)
def test_gr2_a_setting_is_stored_up_to_both_ends_of_its_range_and_refused_beyond(
    shared_world: World, name: str
) -> None:
    agent = loaded(shared_world)
    step = STEP.get(name, 1)
    low, high = TABLE[name]
    for value in (low, high):
        agent = saved(shared_world, agent, **{name: value})
        assert getattr(agent.agent.config, name) == value
    for value in (low - step, high + step):
        with pytest.raises(InvariantViolated):
            saved(shared_world, agent, **{name: value})
    assert shared_world.aggregate(agent.agent.agent_id) == agent


@pytest.mark.parametrize("name", LISTS)
def test_gr2_a_list_is_stored_with_as_many_entries_as_it_may_have_and_refused_with_more(
    shared_world: World, name: str
) -> None:
    agent = loaded(shared_world)
    entry, most = LISTS[name]
    agent = saved(shared_world, agent, **{name: (entry,) * most})
    assert getattr(agent.agent.config, name) == (entry,) * most
    with pytest.raises(InvariantViolated):
        saved(shared_world, agent, **{name: (entry,) * (most + 1)})
    assert shared_world.aggregate(agent.agent.agent_id) == agent


CLIENT: Sequence[tuple[str, Any, bool]] = [
    ("default_terminate_wait_seconds", 59, False), ("default_terminate_wait_seconds", 60, True),
    ("default_terminate_wait_seconds", 86_400, True), ("default_terminate_wait_seconds", 86_401, False),
    ("max_agents", -1, False), ("max_agents", 0, True), ("max_agents", None, True),
    ("max_instances", -1, False), ("max_instances", 0, True), ("max_instances", None, True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "is_right"), CLIENT)
def test_cl4_cl7_a_clients_limits_and_defaults_are_in_their_ranges_whoever_stores_them(
    shared_world: World, name: str, value: Any, is_right: bool
) -> None:
    with shared_world.transactions() as uow:
        before = uow.clients.get(shared_world.client_id)
    changed = evolve(before, **{name: value})
    other = f"{name} {value} {before.client_id}"

    def put() -> None:
        with shared_world.transactions() as uow:
            uow.clients.put(changed)

    def add() -> None:
        with shared_world.transactions() as uow:
            uow.clients.add(evolve(changed, client_id=other, name=other, email=None))

    for store in (put, add):
        if is_right:
            store()
        else:
            with pytest.raises(InvariantViolated):
                store()
    with shared_world.transactions() as uow:
        assert uow.clients.get(before.client_id) == (changed if is_right else before)


def test_3_no_range_is_the_cores_alone(connections: Any) -> None:
    """Each is in the table above, and a constraint of the database names its column."""
    assert set(RANGES) == set(TABLE)
    found = connections.rows(
        "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'agents'::regclass and contype = 'c'", {}
    )
    bounded = {name for name in (*TABLE, *LISTS) if any(name in text and "<=" in text for (text,) in found)}
    assert bounded == {*TABLE, *LISTS}
