"""A launched v5 host that registers before its launch is confirmed belongs to the agent that launched it (Z22)."""

from spotcore.builds import Evidence
from spotcore.dispatch import Dialect
from spotcore.ids import CloudId, launch_placeholder
from spotcore.incidents import Outcome
from spotcore.standby import MachineFacts
from tests.support.world import World


def v5(world: World, machine: str) -> str:
    agent_id = world.register(machine, machine, evidence=(Evidence.CLOUD_ACCOUNT,)).agent_id
    world.beat(agent_id)
    world.report_prices(agent_id, {"us-east-1a": "0.03"})
    return agent_id


def test_a_host_that_registers_before_its_confirmation_is_merged_and_takes_over(world: World) -> None:
    agent_id = v5(world, "i-0a")
    assert world.notice(agent_id, "i-0a").outcome is Outcome.LAUNCH
    (launch,) = world.fetch(agent_id, Dialect.MODERN)
    world.clock.advance(20)
    early = world.register("i-0b", "i-0b", evidence=(Evidence.CLOUD_ACCOUNT,))
    assert (early.role, early.agent_id != agent_id) == ("primary", True)  # RG-1: nobody could know better
    world.clock.advance(5)
    temp = launch_placeholder(launch.target_instance_id)  # type: ignore[arg-type]
    facts = MachineFacts(cloud_id=CloudId("i-0b"))
    world.plane.commands.launched(world.agent_caller, agent_id, temp, facts, launch.request_id)  # type: ignore[arg-type]
    assert world.primary(agent_id) == "i-0b"  # I1, and nobody is left without a primary
    beat = world.beat(early.agent_id)  # the host keeps the id it was given
    assert (beat.agent_id, beat.role) == (agent_id, "primary")
    assert {one.kind.value for one in world.fetch(early.agent_id, Dialect.MODERN)} == {"promote"}
    assert world.register("i-0b", "i-0b").agent_id == agent_id


def test_a_host_of_another_agent_is_never_taken(world: World) -> None:
    other = v5(world, "i-0b")
    agent_id = v5(world, "i-0a")
    world.notice(agent_id, "i-0a")
    (launch,) = world.fetch(agent_id, Dialect.MODERN)
    temp = launch_placeholder(launch.target_instance_id)  # type: ignore[arg-type]
    facts = MachineFacts(cloud_id=CloudId("i-0b"))
    try:
        world.plane.commands.launched(world.agent_caller, agent_id, temp, facts, launch.request_id)  # type: ignore[arg-type]
    except Exception as refusal:
        assert getattr(refusal, "code", None) == "NOT_FOUND"
    assert world.primary(other) == "i-0b"
    assert world.primary(agent_id) == "i-0a"
