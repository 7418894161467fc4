"""A simulated world: pools, machines, agents of every build, users and faults, on a virtual clock.

The same scenario gives the same history, in any process. It drives any control plane: give it storage, it brings the
clock and the ids.
"""

from spotcore.simulation.history import Failover, Happening, History
from spotcore.simulation.market import PoolSpec, PriceChange
from spotcore.simulation.scenario import AgentSpec, Faults, Scenario, UserAct, UserAction
from spotcore.simulation.world import Simulation, run

__all__ = [
    "AgentSpec",
    "Failover",
    "Faults",
    "Happening",
    "History",
    "PoolSpec",
    "PriceChange",
    "Scenario",
    "Simulation",
    "UserAct",
    "UserAction",
    "run",
]
