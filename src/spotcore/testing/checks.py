"""What must hold of an agent after every step, and what may never happen between two (section 13)."""

from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

from attrs import evolve

from spotcore import endings, liveness, upkeep
from spotcore.agents import Life
from spotcore.aggregate import Aggregate, differs_in_signs_alone, violations
from spotcore.ids import AgentId, ClientId, is_cloud_id
from spotcore.incidents import Incident, Severity
from spotcore.instances import InstanceStatus
from spotcore.ledger import HORIZON, accrue, effective, merged
from spotcore.liveness import Heartbeat
from spotcore.ports.ledger import OndemandPrices
from spotcore.ports.storage import UnitOfWork
from spotcore.pricing import EVER, HELD, NO_PRICES, Series, ondemand_series, spot_series
from spotcore.service.agents import MOMENT
from spotcore.steady import steady_of, with_signs
from spotcore.switches import SwitchState
from spotcore.tenure import Tenure


class Watch:
    """Remembers what it has seen, and fails when something impossible follows it."""

    def __init__(self) -> None:
        self._looked: dict[AgentId, tuple[datetime, Aggregate]] = {}
        self._versions: dict[AgentId, int] = {}
        self._seen: dict[AgentId, Aggregate] = {}
        self._ended: dict[str, str] = {}
        self._incidents: dict[str, Incident] = {}

    def look(self, aggregate: Aggregate, now: datetime) -> None:
        """I1…I14 as far as one agent shows them, GR-4, and what was true before and must still be."""
        if self._looked.get(aggregate.agent.agent_id) == (now, aggregate):
            return  # a step that touched another agent: everything below is a function of the two
        self._looked[aggregate.agent.agent_id] = (now, aggregate)
        assert not list(violations(aggregate))
        config = aggregate.agent.config
        assert not (config.auto_switch_enabled and config.manual_replica_enabled)  # I3
        version = aggregate.agent.config_version
        assert version >= self._versions.get(aggregate.agent.agent_id, 1)  # I6
        self._versions[aggregate.agent.agent_id] = version
        _check_machines(aggregate)
        _check_terminate_list(aggregate, now)
        _check_history(aggregate)
        _check_steady(aggregate, now)
        self._check_terminal(aggregate)
        self._check_incidents(aggregate)
        self._check_revision(aggregate)

    def _check_terminal(self, aggregate: Aggregate) -> None:
        """GR-4: what has ended stays as it ended."""
        states: dict[str, tuple[str, bool]] = {
            **{key: (row.status.value, row.is_terminal) for key, row in aggregate.instances.items()},
            **{key: (row.state.value, not row.is_live) for key, row in aggregate.replicas.items()},
            **{key: (row.state.value, not row.is_open) for key, row in aggregate.commands.items()},
            **{key: (row.state.value, not row.is_open) for key, row in aggregate.incidents.items()},
        }
        for key, (word, is_terminal) in states.items():
            assert self._ended.get(key, word) == word
            if is_terminal:
                self._ended[key] = word

    def _check_incidents(self, aggregate: Aggregate) -> None:
        """Failure 12: severity never falls, a deadline never moves later (EM-3, EM-5)."""
        for key, row in aggregate.incidents.items():
            before = self._incidents.get(key)
            assert (row.deadline is not None) == (row.severity is Severity.TERMINATION)
            if before is not None:
                assert before.severity is Severity.REBALANCE or row.severity is Severity.TERMINATION
                assert before.deadline is None or (row.deadline is not None and row.deadline <= before.deadline)
                assert before.promoted_at in (None, row.promoted_at)  # failure 4
            self._incidents[key] = row

    def _check_revision(self, aggregate: Aggregate) -> None:
        """Whatever is more than a sign of life has a revision of its own."""
        before = self._seen.get(aggregate.agent.agent_id)
        if before is not None and aggregate.agent.revision == before.agent.revision:
            assert _only_aged(before, aggregate)
        self._seen[aggregate.agent.agent_id] = aggregate


def _check_machines(aggregate: Aggregate) -> None:
    """Failures 7, 25: who serves has a confirmed name, and only what has ended has an end."""
    primary = aggregate.primary
    assert primary is None or (is_cloud_id(primary.cloud_id) and primary.confirmed_at is not None)
    for row in aggregate.instances.values():
        assert (row.terminated_at is not None) == (row.status is InstanceStatus.TERMINATED)
        assert (row.released_at is not None) == (row.status is InstanceStatus.RELEASED)
        assert row.status is not InstanceStatus.ZOMBIE or row.zombie_since is not None
    for replica in aggregate.replicas.values():
        assert (replica.ended_at is not None) == (not replica.is_live)
        stands_on = aggregate.instances[replica.instance_id].status
        assert not replica.is_live or stands_on in (InstanceStatus.LAUNCHING, InstanceStatus.RUNNING_REPLICA)


def _check_terminate_list(aggregate: Aggregate, now: datetime) -> None:
    """I7, I10, IN-25."""
    live = aggregate.live_replica
    for entry in endings.terminate_list(aggregate, now):
        assert entry.instance.cloud_id is not None
        assert not entry.instance.is_primary
        assert live is None or live.instance_id != entry.instance.instance_id
        assert not entry.instance.notice_protects(now)  # Z19


def _check_history(aggregate: Aggregate) -> None:
    """I14: one completed switch per primary period but the first."""
    made = {row.switch_id for row in aggregate.switches.values() if row.state is SwitchState.COMPLETED}
    used = {period.switch_id for period in aggregate.periods if period.switch_id is not None}
    recent = {row.switch_id for row in aggregate.switches.values()}
    assert made == used & recent
    assert len(used) == sum(period.switch_id is not None for period in aggregate.periods)


def _check_steady(aggregate: Aggregate, now: datetime) -> None:
    """The short way of a heartbeat does what the ordinary one would (steady.py)."""
    agent_id = aggregate.agent.agent_id
    if aggregate.agent.life is Life.DELETED:
        return
    for beat in (Heartbeat(), *(Heartbeat(cloud_id=row.cloud_id) for row in aggregate.instances.values())):
        rule = partial(liveness.heartbeat, beat=beat)
        first = upkeep.decide(aggregate, now, rule, actor="agent")
        probe = upkeep.decide(first.after, now + MOMENT, rule, actor="agent")
        steady = steady_of(probe, agent_id, upkeep.signs(probe.after))
        for seconds in (1, 100, 119):
            later = now + timedelta(seconds=seconds)
            if steady is None or (steady.until is not None and later >= steady.until):
                continue
            again = upkeep.decide(first.after, later, rule, actor="agent")
            noted = with_signs(first.after, steady, later)
            assert not again.events
            assert evolve(again.answer, server_time=probe.answer.server_time) == probe.answer
            assert _without_due(noted) == _without_due(again.after)
            assert again.after.agent.revision == steady.revision
            due = again.after.agent.due_at
            assert noted.agent.due_at == due or (not steady.is_agents and noted.agent.due_at in (None, due))


def _without_due(aggregate: Aggregate) -> Aggregate:
    return evolve(aggregate, agent=evolve(aggregate.agent, due_at=None))


def _only_aged(before: Aggregate, after: Aggregate) -> bool:
    """True when rows that have grown old are no longer loaded, and nothing else is different but signs of life."""
    names = ("instances", "replicas", "commands", "incidents", "switches")
    rows: dict[str, Any] = {
        name: {key: getattr(before, name).get(key) for key in getattr(after, name)} for name in names
    }
    old = evolve(before, client=after.client, periods=after.periods, **rows)
    return None not in [row for some in rows.values() for row in some.values()] and differs_in_signs_alone(old, after)


def check_ledger(uow: UnitOfWork, client_id: ClientId, now: datetime) -> None:
    """A client's lines are what a computation from scratch gives, role by role and price by price (7.3, SV-8, I9)."""
    store, until = uow.ledger, now - HORIZON
    tenures = [one.tenure for one in store.accruing(client_id, EVER, None, 100_000)]
    entries = store.entries(client_id, [one.instance.instance_id for one in tenures], EVER)
    pools = {pool for one in tenures if (pool := one.instance.pool_id) is not None}
    spot = {pool: spot_series(found) for pool, found in store.spot(pools, EVER + HELD, now).items()}
    types = {(row.instance_type, row.region) for one in tenures if (row := one.instance).instance_type and row.region}
    listed = store.ondemand(types)

    def ondemand(tenure: Tenure) -> Series:
        known = listed.get((str(tenure.instance.instance_type), str(tenure.instance.region)), OndemandPrices())
        return ondemand_series(known.listed, known.observed, tenure.registered_ondemand_price)

    for tenure in tenures:
        standing = [one.line for one in effective(entries.get(tenure.instance.instance_id, ()))]
        assert merged(standing) == merged(accrue(tenure, lambda pool: spot.get(pool, NO_PRICES), ondemand, EVER, until))
        for earlier, later in pairwise(sorted(standing, key=lambda line: line.started_at)):
            assert earlier.ended_at <= later.started_at  # I9
    periods = [one for tenure in tenures for one in tenure.periods]
    for agent_id in {one.agent_id for one in periods}:
        mine = sorted((one.started_at, one.ended_at or now) for one in periods if one.agent_id == agent_id)
        for (_, ended), (started, _) in pairwise(mine):
            assert ended <= started  # I8: at most one baseline hour an hour (SV-3)
