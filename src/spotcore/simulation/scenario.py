"""What is simulated: frozen, comparable, and all that a history depends on."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from attrs import frozen

from spotcore.builds import Build
from spotcore.pools import Mode
from spotcore.simulation.market import PoolSpec, PriceChange

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@frozen(kw_only=True)
class AgentSpec:
    """An agent that is there from the start."""

    build: Build = Build.V4C
    az: str = "us-east-1a"
    mode: Mode = Mode.SPOT
    manual_replica: bool = False
    auto_switch: bool = True


class UserAction(StrEnum):
    """What a user does to an agent."""

    MANUAL_REPLICA_ON = "manual_replica_on"
    MANUAL_REPLICA_OFF = "manual_replica_off"
    AUTO_SWITCH_ON = "auto_switch_on"
    DISABLE = "disable"
    ENABLE = "enable"
    SWITCH_TO_ONDEMAND = "switch_to_ondemand"
    SWITCH_TO_SPOT = "switch_to_spot"
    PROMOTE = "promote"
    DELETE_REPLICA = "delete_replica"


@frozen(kw_only=True)
class UserAct:
    """One of them, to the agent of that number, so long after the start."""

    after: timedelta
    agent: int
    action: UserAction


@frozen(kw_only=True)
class Faults:
    """What goes wrong beside interruptions: probabilities per occasion."""

    report_lost: float = 0.0  # an agent's report never arrives
    report_doubled: float = 0.0  # it arrives twice
    launch_fails: float = 0.0  # a spot launch finds no capacity
    dies_silently: float = 0.0  # an interruption that nobody announced


@frozen(kw_only=True)
class Scenario:
    """A world. Interruptions stop ``settling`` before the end, so that what began can finish."""

    seed: int = 0
    lasts: timedelta = timedelta(hours=2)
    settling: timedelta = timedelta(minutes=20)
    instance_type: str = "m5.large"
    region: str = "us-east-1"
    ondemand_price: str = "0.096"
    pools: tuple[PoolSpec, ...] = (
        PoolSpec(az="us-east-1a"),
        PoolSpec(az="us-east-1b", price="0.036"),
        PoolSpec(az="us-east-1c", price="0.041"),
    )
    agents: tuple[AgentSpec, ...] = (AgentSpec(), AgentSpec(build=Build.V5), AgentSpec(manual_replica=True))
    users: tuple[UserAct, ...] = ()
    faults: Faults = Faults()
    prices: tuple[PriceChange, ...] = ()  # a trace instead of generated prices
    interruptions: tuple[tuple[timedelta, str], ...] = ()  # after the start, in that zone: beside the generated ones
    boot_seconds: tuple[float, float] = (25.0, 70.0)
