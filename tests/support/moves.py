"""Every way in which a primary changes, as stories over a World."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from attrs import define

from spotcore.builds import Evidence
from spotcore.dispatch import Dialect
from spotcore.ids import AgentId, CloudId, launch_placeholder
from spotcore.liveness import Heartbeat
from spotcore.pools import Mode
from spotcore.standby import MachineFacts
from spotcore.switching import MachineReport, SwitchReport
from tests.support.world import ZONES, World, with_replica

PRICES: Final = dict(zip(ZONES, ("0.0300", "0.0310", "0.0350"), strict=True))
NAMED: Final = {Evidence.CLASSIC_CALL, Evidence.MARK_EXECUTED}  # builds whose heartbeats name their machine


def plain(world: World, evidence: Evidence = Evidence.CLASSIC_CALL, logical: str = "web", **facts: Any) -> AgentId:
    """An agent of the build that the evidence gives away, with prices and without a replica."""
    machine = world.new_machine()
    agent_id = world.register(logical, machine, evidence=(evidence,), **facts).agent_id
    beat = Heartbeat(cloud_id=machine if evidence in NAMED else None, evidence=(evidence,))
    world.plane.agents.heartbeat(world.agent_caller, agent_id, beat)
    world.report_prices(agent_id, PRICES)
    return agent_id


@define
class Moved:
    """A primary change that has happened."""

    agent_id: AgentId
    old: str
    new: str


def by_hand(world: World) -> Moved:
    """E46."""
    ready = with_replica(world)
    world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)
    return Moved(ready.agent_id, ready.primary, ready.standby)


def by_notice(world: World) -> Moved:
    """E51, E52: a ready replica takes over in the call."""
    ready = with_replica(world)
    world.notice(ready.agent_id, ready.primary)
    return Moved(ready.agent_id, ready.primary, ready.standby)


def by_sync_in_time(world: World) -> Moved:
    """A syncing replica at 95 %."""
    ready = with_replica(world, ready=False)
    world.plane.replicas.report_sync(
        world.agent_caller, ready.agent_id, ready.replica_id, status="syncing", latency_ms=5, progress=Decimal(95)
    )
    world.notice(ready.agent_id, ready.primary)
    return Moved(ready.agent_id, ready.primary, ready.standby)


def by_force(world: World) -> Moved:
    """A syncing replica when 30 s remain."""
    ready = with_replica(world, ready=False)
    world.notice(ready.agent_id, ready.primary, ahead=120)
    world.tick(90)
    return Moved(ready.agent_id, ready.primary, ready.standby)


def by_switch_report(world: World) -> Moved:
    """A classic switch, finished by E75."""
    agent_id = plain(world)
    old, new = str(world.primary(agent_id)), world.new_machine()
    world.switch(agent_id)
    world.fetch(agent_id)
    world.plane.commands.switch_report(world.agent_caller, agent_id, a_report(old, new))
    return Moved(agent_id, old, new)


def by_first_heartbeat(world: World) -> Moved:
    """A classic switch, finished by its machine's first heartbeat (Z21)."""
    agent_id = plain(world)
    old, new = str(world.primary(agent_id)), world.new_machine()
    world.switch(agent_id)
    world.fetch(agent_id)
    world.register("web", new, az=ZONES[1])
    world.beat(agent_id, new)
    return Moved(agent_id, old, new)


def by_chain(world: World) -> Moved:
    """A modern switch: the promotion follows the launch's confirmation."""
    agent_id = plain(world, Evidence.CLOUD_ACCOUNT)
    old, new = str(world.primary(agent_id)), world.new_machine()
    world.switch(agent_id, None)
    confirm_launch(world, agent_id, new)
    return Moved(agent_id, old, new)


def by_modern_emergency(world: World) -> Moved:
    """A modern agent without a replica: launched for the emergency, promoted when confirmed."""
    agent_id = plain(world, Evidence.CLOUD_ACCOUNT)
    old, new = str(world.primary(agent_id)), world.new_machine()
    world.notice(agent_id, old)
    confirm_launch(world, agent_id, new)
    return Moved(agent_id, old, new)


def by_takeover(world: World) -> Moved:
    """RG-7: a stranger registers while the agent is offline."""
    agent_id = plain(world)
    old, new = str(world.primary(agent_id)), world.new_machine()
    world.tick(121)
    world.register("web", new)
    return Moved(agent_id, old, new)


def by_lost_heartbeats(world: World) -> Moved:
    """AG-5 B, the opt-in."""
    ready = with_replica(world)
    world.set(ready.agent_id, failover_on_heartbeat_loss_seconds=300)
    world.tick(301)
    return Moved(ready.agent_id, ready.primary, ready.standby)


Move = Callable[[World], Moved]
MOVES: Final[tuple[Move, ...]] = (
    by_hand, by_notice, by_sync_in_time, by_force, by_switch_report, by_first_heartbeat, by_chain, by_modern_emergency,
    by_takeover, by_lost_heartbeats,
)  # fmt: skip
PROMOTIONS: Final[tuple[Move, ...]] = (by_hand, by_notice, by_sync_in_time, by_force, by_lost_heartbeats)
"""Those in which a replica record is promoted."""


def a_report(old: str, new: str, **facts: Any) -> SwitchReport:
    """E75 of a move to the second zone."""
    return SwitchReport(
        old=MachineReport(cloud_id=CloudId(old), mode=Mode.SPOT),
        new=MachineReport(cloud_id=CloudId(new), mode=Mode.SPOT, az=ZONES[1], instance_type="m5.large"),
        **facts,
    )


def confirm_launch(world: World, agent_id: AgentId, machine: str) -> None:
    """A modern agent fetches its launch and confirms it (E40)."""
    launch = next(one for one in world.fetch(agent_id, Dialect.MODERN) if one.kind.value == "launch_instance")
    assert launch.target_instance_id is not None
    temp, facts = launch_placeholder(launch.target_instance_id), MachineFacts(cloud_id=CloudId(machine))
    world.plane.commands.launched(world.agent_caller, agent_id, temp, facts, launch.request_id)
