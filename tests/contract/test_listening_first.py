"""After an outage of our own everybody has been silent: nobody is judged by it until they could be heard again (GR-12)."""

from datetime import timedelta

from spotcore.agents import Link
from spotcore.replicas import ReplicaState
from tests.support.world import START, World, with_replica


def tick(world: World, seconds: float, deaf_until: float) -> None:
    world.clock.advance(seconds)
    result = world.plane.upkeep.tick(deaf_until=START + timedelta(seconds=deaf_until))
    assert not result.failed


def test_ag1_ag5_rp6_nobody_goes_offline_fails_or_moves_for_silence_while_we_are_deaf(world: World) -> None:
    ready = with_replica(world)
    world.set(ready.agent_id, failover_on_heartbeat_loss_seconds=300)
    tick(world, 3_600, deaf_until=3_720)
    found = world.aggregate(ready.agent_id)
    assert (found.agent.link, world.primary(ready.agent_id)) == (Link.ONLINE, ready.primary)
    assert found.live_replica is not None
    assert found.live_replica.state is ReplicaState.READY
    assert found.agent.due_at == START + timedelta(seconds=3_720)  # not looked at every second until then
    world.tick(119)
    assert world.aggregate(ready.agent_id).agent.link is Link.ONLINE
    world.tick(1)  # it could have been heard by now
    assert world.aggregate(ready.agent_id).agent.link is Link.OFFLINE


def test_whoever_is_heard_meanwhile_stays_online(world: World) -> None:
    ready = with_replica(world)
    tick(world, 3_600, deaf_until=3_720)
    world.clock.advance(60)
    world.beat(ready.agent_id, ready.primary)
    world.tick(60)
    assert world.aggregate(ready.agent_id).agent.link is Link.ONLINE


def test_5_4_what_waits_for_time_itself_goes_on_while_we_are_deaf(world: World) -> None:
    """A replica that has not come in sync is promoted when the notice's time runs out, deaf or not."""
    syncing = with_replica(world, ready=False)
    world.notice(syncing.agent_id, syncing.primary, ahead=120)
    assert world.primary(syncing.agent_id) == syncing.primary
    tick(world, 119, deaf_until=3_720)
    assert world.primary(syncing.agent_id) == syncing.standby
