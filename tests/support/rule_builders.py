"""Aggregates by hand, for tests of pure rules: one agent ``a`` of client ``c``, its primary ``m`` in zone a."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from attrs import evolve

from spotcore import commands, upkeep
from spotcore.agents import Agent
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Change, Outcome
from spotcore.clients import Client
from spotcore.commands import Command, CommandKind, CommandState, Origin
from spotcore.config import AgentConfig
from spotcore.events import Event, EventKind
from spotcore.ids import AgentId, ClientId, CloudId, CommandId, IncidentId, InstanceId, ReplicaId, SwitchId
from spotcore.incidents import Incident, IncidentState, Severity
from spotcore.instances import Instance, InstanceStatus
from spotcore.market import UNKNOWN_MARKET, Market, OndemandQuote, PoolRecord, SpotQuote
from spotcore.pools import Mode
from spotcore.replicas import Replica, ReplicaKind, ReplicaState
from spotcore.switches import PrimaryPeriod, Switch, SwitchState, SwitchTrigger
from tests.support.world import START, TYPE

D = Decimal
CLIENT, AGENT, PRIMARY = ClientId("c"), AgentId("a"), InstanceId("m")
WHO = {"client_id": CLIENT, "agent_id": AGENT}
REGION = "us-east-1"
POOL_A, POOL_B, POOL_C = (f"{TYPE}.{REGION}{zone}" for zone in "abc")
LONG_AGO = START - timedelta(days=3)


def later(seconds: float) -> datetime:
    """That many seconds after the tests' start."""
    return START + timedelta(seconds=seconds)


def a_machine(
    name: str = "m",
    status: InstanceStatus = InstanceStatus.RUNNING_PRIMARY,
    *,
    mode: Mode = Mode.SPOT,
    zone: str = "a",
    **facts: Any,
) -> Instance:
    """A machine named ``i-0<name>`` of the tests' type."""
    known = {"cloud_id": CloudId(f"i-0{name}"), "created_at": LONG_AGO, "confirmed_at": LONG_AGO, **facts}
    if status is InstanceStatus.ZOMBIE:
        known.setdefault("zombie_since", START)
    if status is InstanceStatus.TERMINATING:
        known.setdefault("terminating_since", START)
    return Instance(
        instance_id=InstanceId(name), status=status, instance_type=TYPE, region=REGION, az=f"{REGION}{zone}", **WHO, **known
    ).with_mode(mode)  # fmt: skip


def a_command(
    kind: CommandKind = CommandKind.SWITCH, origin: Origin = Origin.USER, name: str = "k", **facts: Any
) -> Command:
    """A command as the queue makes it: its TTL from its creation."""
    created = facts.pop("created_at", START)
    lifetime = commands.ttl(kind, origin)
    known = {"expires_at": created + lifetime if lifetime else None, "target_mode": Mode.SPOT, **facts}
    return Command(
        command_id=CommandId(name), request_id=f"q-{name}", kind=kind, origin=origin, created_at=created, **WHO, **known
    )  # fmt: skip


def executing(command: Command, at: datetime = START) -> Command:
    """The command as handed out at that instant."""
    return commands.moved(command, commands.CommandEvent.HAND_OUT, at)


def a_switch_command(zone: str = "b", name: str = "k", origin: Origin = Origin.USER, **facts: Any) -> Command:
    """A classic switch to a spot pool."""
    return a_command(
        CommandKind.SWITCH, origin, name, target_pool_id=f"{TYPE}.{REGION}{zone}",
        **{"trigger": "manual", "terminate_wait_seconds": 300, **facts},
    )  # fmt: skip


def a_replica(
    machine: str = "r", kind: ReplicaKind = ReplicaKind.MANUAL, state: ReplicaState = ReplicaState.READY, **facts: Any
) -> Replica:
    """A replica on the machine of that name."""
    known = {"created_at": LONG_AGO, "pool_id": POOL_B, "az": f"{REGION}b", "instance_type": TYPE, **facts}
    return Replica(
        replica_id=ReplicaId(f"rep-{machine}"), instance_id=InstanceId(machine), kind=kind, state=state, **WHO, **known
    )


def an_incident(machine: str = "m", severity: Severity = Severity.REBALANCE, **facts: Any) -> Incident:
    """An open incident of the machine of that name, first heard of at the start."""
    known = {"opened_at": START, "last_signal_at": START, "state": IncidentState.HANDLING, **facts}
    if severity is Severity.TERMINATION:
        known = {"notice_at": START, "deadline": later(120), **known}
    return Incident(
        incident_id=IncidentId(f"inc-{machine}"), instance_id=InstanceId(machine), severity=severity, **WHO, **known
    )


def a_switch(
    name: str,
    hours_ago: float,
    trigger: SwitchTrigger = SwitchTrigger.AUTO,
    state: SwitchState = SwitchState.COMPLETED,
    **facts: Any,
) -> Switch:
    """A record of history."""
    return Switch(
        switch_id=SwitchId(name), state=state, trigger=trigger, recorded_at=START - timedelta(hours=hours_ago), **WHO, **facts
    )  # fmt: skip


def an_aggregate(
    *rows: Instance | Replica | Command | Incident | Switch,
    mode: Mode = Mode.SPOT,
    build: Build = Build.V4C,
    client: dict[str, Any] | None = None,
    agent: dict[str, Any] | None = None,
    primary: Instance | None = None,
    **config: Any,
) -> Aggregate:
    """A live, online agent whose primary serves, with the rows and settings given."""
    serves = primary or a_machine(mode=mode)
    change = Change(
        Aggregate(
            client=Client(client_id=CLIENT, name="Acme", created_at=LONG_AGO, **(client or {})),
            agent=Agent(
                logical_agent_id="web",
                build=build,
                config=AgentConfig(**config),
                registered_at=LONG_AGO,
                updated_at=LONG_AGO,
                able_since_registration=True,
                primary_id=serves.instance_id,
                region=REGION,
                **WHO,
                **{"last_heartbeat_at": START, **(agent or {})},
            ),
            periods=(PrimaryPeriod(instance_id=serves.instance_id, started_at=LONG_AGO, **WHO),),
        ),
        START,
    )
    change.put(serves, *rows)
    return change.aggregate


def without_primary(aggregate: Aggregate, since: datetime = START) -> Aggregate:
    """The same agent after its primary has gone."""
    gone = evolve(aggregate.instances[PRIMARY], status=InstanceStatus.TERMINATED)
    return evolve(
        aggregate,
        agent=evolve(aggregate.agent, primary_id=None, no_primary_since=since),
        instances={**aggregate.instances, PRIMARY: gone},
        periods=(evolve(aggregate.periods[-1], ended_at=since),),
    )


def a_market(
    *, ondemand: str | None = "0.10", flagged: bool = False, at: datetime = START, risk: int = 0, **prices: str
) -> Market:
    """Measured prices by zone letter, observed at ``at``; every pool is known for days, with ``risk`` incidents."""
    spot = {
        f"{TYPE}.{REGION}{zone}": SpotQuote(pool_id=f"{TYPE}.{REGION}{zone}", price=D(price), observed_at=at)
        for zone, price in prices.items()
    }
    pools = {pool: PoolRecord(pool_id=pool, first_observed_at=LONG_AGO, incidents_7d=risk) for pool in spot}
    listed = OndemandQuote(price=D(ondemand), observed_at=at, flagged=flagged) if ondemand is not None else None
    return Market(spot=spot, pools=pools, ondemand=listed)


def decided(
    aggregate: Aggregate,
    rule: Callable[[Change], Any],
    at: datetime = START,
    market: Market = UNKNOWN_MARKET,
) -> Outcome:
    """What the rule makes of the aggregate, consequences and invariants included."""
    return upkeep.decide(aggregate, at, rule, market=market)


def told(outcome: Outcome, kind: EventKind) -> list[Event]:
    """The events of one kind."""
    return [event for event in outcome.events if event.kind is kind]


def open_kinds(aggregate: Aggregate) -> list[CommandKind]:
    """What is pending or executing."""
    return [command.kind for command in aggregate.open_commands]


def state_of(aggregate: Aggregate, name: str = "k") -> CommandState:
    """The state of the command of that name."""
    return aggregate.commands[CommandId(name)].state
