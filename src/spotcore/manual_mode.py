"""Manual replica mode (section 6): while it is on and a primary serves, one replica lives or is being retried."""

from spotcore import placement, standby
from spotcore.agents import REPLICA_BACKOFF
from spotcore.aggregate import Aggregate
from spotcore.change import Change
from spotcore.commands import Origin
from spotcore.placement import Via
from spotcore.replicas import ReplicaKind


def wants_replica(aggregate: Aggregate) -> bool:
    """True when the promise asks for a launch, back-off aside: MR-1, MR-2, MR-4, MR-5, MR-12, MR-13."""
    agent = aggregate.agent
    return (
        agent.is_live
        and agent.config.manual_replica_enabled
        and agent.abilities.can_launch_replica  # Z27
        and aggregate.primary is not None  # MR-13
        and aggregate.live_replica is None  # I2
        and aggregate.open_failover is None  # section 5 launches then
        and not aggregate.client.is_suspended  # CL-5
    )


def reconcile(change: Change) -> None:
    """Launch the replica that is missing, in the cheapest eligible pool (MR-1), once the back-off is over (MR-4)."""
    due = change.agent.next_replica_at
    if not wants_replica(change.aggregate) or (due is not None and change.now < due):
        return
    place = placement.cheapest_replica_pool(change.aggregate, change.market, change.now)
    if place.via in (Via.REPLICA_LIST, Via.LAUNCH_COMMAND):
        change.set_agent(next_replica_at=None)
        standby.launch(change, place, ReplicaKind.MANUAL, Origin.MANUAL_MODE)
    else:  # every pool is excluded, or none is known: the promise is a retry
        change.set_agent(next_replica_at=change.now + REPLICA_BACKOFF[-1])
