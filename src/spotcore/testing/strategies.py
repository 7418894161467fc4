"""Hypothesis strategies for fleets and what happens to them."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from spotcore.builds import Build
from spotcore.config import ConfigChange
from spotcore.pools import Mode
from spotcore.simulation import AgentSpec, Faults, PoolSpec, Scenario, UserAct, UserAction

ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
DEPLOYED = (Build.V2, Build.V4C, Build.V4N, Build.V5)


def builds(*, able_only: bool = False) -> st.SearchStrategy[Build]:
    """A deployed agent build; ``able_only``: one that can launch a replacement."""
    return st.sampled_from((Build.V4C, Build.V5) if able_only else DEPLOYED)


def pools() -> st.SearchStrategy[tuple[PoolSpec, ...]]:
    """The three pools of a region, calm or stormy, dear or cheap."""
    one = st.tuples(st.integers(2_000, 9_000), st.sampled_from((0.0, 0.5, 1.0, 4.0, 24.0)))
    made = st.tuples(one, one, one)
    return made.map(
        lambda facts: tuple(
            PoolSpec(az=az, price=f"0.0{price}"[:7], interruption_hours=hours)
            for az, (price, hours) in zip(ZONES, facts, strict=True)
        )
    )


def agents(*, able_only: bool = False) -> st.SearchStrategy[AgentSpec]:
    """An agent in one of the zones, in one of the modes."""
    return st.builds(
        AgentSpec,
        build=builds(able_only=able_only),
        az=st.sampled_from(ZONES),
        mode=st.sampled_from((Mode.SPOT, Mode.SPOT, Mode.ONDEMAND)),
        manual_replica=st.booleans(),
        auto_switch=st.booleans(),
    )


def faults() -> st.SearchStrategy[Faults]:
    """Lost and doubled reports, launches without capacity, machines that die unannounced."""
    some = st.sampled_from((0.0, 0.02, 0.2))
    return st.builds(Faults, report_lost=some, report_doubled=some, launch_fails=some, dies_silently=some)


def settings_changes() -> st.SearchStrategy[ConfigChange]:
    """Settings somebody may ask for, most of them allowed."""
    wanted: dict[str, st.SearchStrategy[Any]] = {
        "auto_switch_enabled": st.booleans(),
        "manual_replica_enabled": st.booleans(),
        "auto_terminate_enabled": st.booleans(),
        "terminate_wait_seconds": st.integers(0, 100_000),
        "max_switches_per_day": st.integers(-1, 30),
        "min_pool_duration_hours": st.integers(-1, 200),
    }
    return st.fixed_dictionaries({}, optional=wanted).map(lambda chosen: ConfigChange(wanted=chosen))


@st.composite
def scenarios(draw: st.DrawFn, *, able_only: bool = False, hours: float = 2.0, calm: bool = False) -> Scenario:
    """A whole world. ``able_only``: every build can launch; ``calm``: no faults beside announced interruptions."""
    fleet = tuple(draw(st.lists(agents(able_only=able_only), min_size=1, max_size=4)))
    lasts = timedelta(hours=hours)
    acts = st.builds(
        UserAct,
        after=st.integers(60, int(lasts.total_seconds()) - 1_800).map(lambda seconds: timedelta(seconds=seconds)),
        agent=st.integers(0, len(fleet) - 1),
        action=st.sampled_from(UserAction),
    )
    return Scenario(
        seed=draw(st.integers(0, 2**32)),
        lasts=lasts,
        pools=draw(pools()),
        agents=fleet,
        users=tuple(draw(st.lists(acts, max_size=4))),
        faults=Faults() if calm else draw(faults()),
    )
