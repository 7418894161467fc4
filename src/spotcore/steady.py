"""What a heartbeat does that is like the one before it, while nothing else happens to the agent: a moment is noted.

Nearly all heartbeats are such. ``steady_of`` finds it out from a decision of the ordinary rules; from then on storage
may note the moment without loading the agent, as long as its revision is the same and ``until`` has not come. A test
holds the short way and the ordinary one to the same states.
"""

from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from spotcore.aggregate import Aggregate, differs_in_signs_alone
from spotcore.change import Outcome
from spotcore.ids import AgentId, ClientId, InstanceId
from spotcore.instances import InstanceStatus

SERVING: Final = frozenset({InstanceStatus.RUNNING_PRIMARY, InstanceStatus.RUNNING_REPLICA})


@frozen(kw_only=True)
class Steady:
    """A heartbeat that would only be noted. True for the agent's ``revision`` and before ``until`` alone."""

    client_id: ClientId
    agent_id: AgentId
    revision: int
    instance_id: InstanceId | None  # the machine that was seen
    is_agents: bool  # the agent itself was heard
    until: datetime | None  # from here on time alone may change something
    silence: timedelta | None  # so long after a heartbeat time may change something

    def due_at(self, now: datetime) -> datetime | None:
        """When time alone may change something, after a heartbeat at ``now``."""
        ends = [
            end for end in (self.until, now + self.silence if self.silence is not None else None) if end is not None
        ]
        return min(ends, default=None)


def with_signs(aggregate: Aggregate, steady: Steady, at: datetime) -> Aggregate:
    """The agent after a steady heartbeat at ``at``, as storage notes it; it may leave ``due_at`` earlier than this."""
    after = aggregate
    if steady.instance_id is not None:
        machine = evolve(after.instances[steady.instance_id], last_seen_at=at)
        after = evolve(after, instances={**after.instances, steady.instance_id: machine})
    if steady.is_agents:
        after = evolve(after, agent=evolve(after.agent, last_heartbeat_at=at, due_at=steady.due_at(at)))
    return after


@frozen(kw_only=True)
class Signs:
    """When time may change an agent: by itself, and after the last heartbeat."""

    until: datetime | None
    silence: timedelta | None


def steady_of(outcome: Outcome, requested: AgentId, signs: Signs) -> Steady | None:
    """What this heartbeat does, which came a moment after one just like it; None when that is more than being noted."""
    before, after = outcome.before, outcome.after
    if before is None or outcome.events or after.agent.agent_id != requested:
        return None
    seen = [row for key, row in after.instances.items() if before.instances.get(key) is not row]
    if not differs_in_signs_alone(before, after) or len(seen) > 1 or any(row.status not in SERVING for row in seen):
        return None
    return Steady(
        client_id=after.client.client_id,
        agent_id=after.agent.agent_id,
        revision=after.agent.revision,
        instance_id=seen[0].instance_id if seen else None,
        is_agents=before.agent.last_heartbeat_at != after.agent.last_heartbeat_at,
        until=signs.until,
        silence=signs.silence,
    )
