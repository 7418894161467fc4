"""A classic agent without a configured logical id that switches comes back under another id (RG-10)."""

from decimal import Decimal

import pytest

from spotcore.agents import Life
from spotcore.commands import CommandState
from spotcore.dispatch import Dialect
from spotcore.errors import SpotError
from spotcore.ids import AgentId, CloudId
from spotcore.instances import InstanceStatus
from spotcore.pools import Mode
from spotcore.roles import ReportedPrices
from spotcore.service.machines import SwitchRequest
from spotcore.switches import SwitchState, SwitchTimes
from spotcore.switching import MachineReport, SwitchReport
from tests.support.world import TYPE, World

OLD, NEW = CloudId("i-0a"), CloudId("i-0b")


def report(**facts: object) -> SwitchReport:
    given: dict[str, object] = {
        "old": MachineReport(cloud_id=OLD, instance_type=TYPE, az="us-east-1a", mode=Mode.SPOT),
        "new": MachineReport(cloud_id=NEW, instance_type=TYPE, az="us-east-1b", mode=Mode.SPOT),
        "prices": ReportedPrices(ondemand=Decimal("0.096"), old_spot=Decimal("0.05"), new_spot=Decimal("0.03")),
        **facts,
    }
    return SwitchReport(**given)  # type: ignore[arg-type]


def switching_agent(world: World, *, logical: str = OLD, end_old: bool | None = None) -> AgentId:
    """A v2 or v4c whose ``switch`` is executing."""
    agent_id = world.register(logical, OLD).agent_id
    world.beat(agent_id, OLD)
    world.report_prices(agent_id, {"us-east-1a": "0.05", "us-east-1b": "0.03"})
    world.set(agent_id, min_savings_percent=22, auto_switch_enabled=False)
    wanted = SwitchRequest(target_mode=Mode.SPOT, pool_id=f"{TYPE}.us-east-1b", terminate_old=end_old)
    world.plane.machines.force_switch(world.user, OLD, wanted)
    world.clock.advance(5)
    assert world.fetch(agent_id, Dialect.CLASSIC)
    return agent_id


def heir_of(world: World, *, az: str = "us-east-1b") -> AgentId:
    world.clock.advance(60)
    answer = world.register(NEW, NEW, az=az)
    assert answer.role == "primary"
    return answer.agent_id


def send(world: World, agent_id: AgentId, what: SwitchReport) -> object:
    return world.plane.commands.switch_report(world.agent_caller, agent_id, what)


def test_the_report_joins_the_two_rg10(world: World) -> None:
    agent_id = switching_agent(world)
    heir_id = heir_of(world)
    world.clock.advance(30)
    switch = world.plane.commands.switch_report(world.agent_caller, agent_id, report())
    old, heir = world.aggregate(agent_id), world.aggregate(heir_id)
    assert old.agent.life is Life.RETIRING
    assert old.primary is None
    assert old.machine(OLD).status is InstanceStatus.ZOMBIE  # type: ignore[union-attr] # never released
    assert [one.state for one in old.commands.values() if one.kind.value == "switch"] == [CommandState.COMPLETED]
    assert heir.agent.life is Life.LIVE
    assert heir.primary is not None
    assert heir.primary.cloud_id == NEW
    assert (switch.agent_id, switch.state, switch.old_cloud_id, switch.new_cloud_id) == (
        heir_id, SwitchState.COMPLETED, OLD, NEW,
    )  # fmt: skip


def test_the_heir_takes_over_settings_and_cooldown_with_one_version_step_rg10_cv1(world: World) -> None:
    agent_id = switching_agent(world)
    heir_id = heir_of(world)
    send(world, agent_id, report())
    heir = world.aggregate(heir_id).agent
    assert (heir.config.min_savings_percent, heir.config.auto_switch_enabled) == (22, False)
    assert heir.config_version == 2
    assert heir.last_switch_at == world.clock.now()


def test_the_switch_is_credited_once_and_the_primary_period_belongs_to_it_i14(world: World) -> None:
    agent_id = switching_agent(world)
    heir_id = heir_of(world)
    switch = world.plane.commands.switch_report(world.agent_caller, agent_id, report())
    heir = world.aggregate(heir_id)
    assert [period.switch_id for period in heir.periods] == [switch.switch_id]
    assert heir.client.total_savings == Decimal("0.02") * 24
    with pytest.raises(SpotError) as again:
        send(world, agent_id, report())
    assert again.value.code == "NOT_FOUND"  # the old agent is retiring (Z25)
    assert world.aggregate(heir_id).client.total_savings == Decimal("0.02") * 24


def test_a_machine_that_was_ended_is_ended_and_the_old_agent_goes_rg10_sw8(world: World) -> None:
    agent_id = switching_agent(world)
    heir_of(world)
    send(world, agent_id, report(times=SwitchTimes(old_ended_at=world.clock.now())))
    assert world.aggregate(agent_id).machine(OLD) is None or (
        world.aggregate(agent_id).machine(OLD).status is InstanceStatus.TERMINATED  # type: ignore[union-attr]
    )
    world.clock.advance(60)
    world.plane.upkeep.tick()
    assert world.aggregate(agent_id).agent.life is Life.DELETED


def test_a_zombie_left_behind_is_never_released_also_after_a_day_rg10(world: World) -> None:
    agent_id = switching_agent(world)
    world.set(agent_id, auto_terminate_enabled=False)
    heir_of(world)
    send(world, agent_id, report())
    for _ in range(3):
        world.clock.advance(86_400)
        world.plane.upkeep.tick()
    left = world.aggregate(agent_id)
    assert left.agent.life is Life.RETIRING
    assert left.machine(OLD).status is InstanceStatus.ZOMBIE  # type: ignore[union-attr]
    world.plane.commands.termination_result(world.agent_caller, agent_id, OLD, True, None)
    world.plane.upkeep.tick()
    assert world.aggregate(agent_id).agent.life is Life.DELETED


@pytest.mark.parametrize(
    ("setting", "word", "ends"), [(True, None, True), (True, False, False), (False, None, False), (False, True, True)]
)
def test_a_persons_word_on_the_old_machine_goes_with_it_rg10_cm_9(
    world: World, setting: bool, word: bool | None, ends: bool
) -> None:
    agent_id = switching_agent(world, end_old=word)
    world.set(agent_id, auto_terminate_enabled=setting)
    heir_of(world)
    send(world, agent_id, report())
    world.clock.advance(300)
    listed = world.plane.commands.terminate_list(world.agent_caller, agent_id).entries
    assert [one.instance.cloud_id for one in listed] == [OLD] * ends


def test_without_a_report_nothing_is_inferred_rg10(world: World) -> None:
    agent_id = switching_agent(world)
    heir_id = heir_of(world)
    world.beat(heir_id, NEW)
    world.clock.advance(200)
    world.beat(heir_id, NEW)
    world.plane.upkeep.tick()
    assert world.aggregate(agent_id).agent.life is Life.LIVE
    assert world.primary(agent_id) == OLD
    assert world.aggregate(heir_id).agent.config.auto_switch_enabled


@pytest.mark.parametrize("case", ["configured name", "registered before", "other machine", "failed"])
def test_what_is_no_succession_moves_nobody_rg10(world: World, case: str) -> None:
    if case == "registered before":
        heir_id = heir_of(world)
        agent_id = switching_agent(world)
    else:
        agent_id = switching_agent(world, logical="web" if case == "configured name" else OLD)
        heir_id = heir_of(world)
    sent = {
        "other machine": report(old=MachineReport(cloud_id=CloudId("i-0z"))),
        "failed": report(success=False, error_message="capacity"),
    }.get(case, report())
    try:
        send(world, agent_id, sent)
    except SpotError as refusal:
        assert refusal.code == "INSTANCE_OWNED"
    assert world.aggregate(agent_id).agent.life is Life.LIVE
    assert world.primary(agent_id) == OLD
    assert world.primary(heir_id) == NEW
    assert world.aggregate(heir_id).agent.last_switch_at is None
