"""What other teams need to test a fleet: strategies, whole scenarios, and the stateful machine (extra ``testing``).

The one place in the core that imports Hypothesis.
"""

from spotcore.testing.breaking import FailingStorage
from spotcore.testing.checks import Watch, check_ledger
from spotcore.testing.clock import ManualClock
from spotcore.testing.machine import FleetMachine
from spotcore.testing.strategies import agents, builds, faults, pools, scenarios, settings_changes

__all__ = [
    "FailingStorage",
    "FleetMachine",
    "ManualClock",
    "Watch",
    "agents",
    "builds",
    "check_ledger",
    "faults",
    "pools",
    "scenarios",
    "settings_changes",
]
