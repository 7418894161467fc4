"""What other teams need to test a fleet: strategies, whole scenarios, and the stateful machine (extra ``testing``).

The one place in the core that imports Hypothesis.
"""

from spotcore.testing.clock import ManualClock
from spotcore.testing.machine import FleetMachine
from spotcore.testing.strategies import agents, builds, faults, pools, scenarios, settings_changes

__all__ = ["FleetMachine", "ManualClock", "agents", "builds", "faults", "pools", "scenarios", "settings_changes"]
