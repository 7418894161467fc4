"""The four deployed agent builds, as programs that can be stepped."""

from collections.abc import Mapping
from typing import Final

from spotadapters.fleet.agents.base import Agent, Installation
from spotadapters.fleet.agents.v2 import V2Agent
from spotadapters.fleet.agents.v4c import V4cAgent
from spotadapters.fleet.agents.v4n import V4nAgent
from spotadapters.fleet.agents.v5 import V5Agent
from spotcore.builds import Build

PROGRAMS: Final[Mapping[Build, type[Agent]]] = {
    Build.V2: V2Agent,
    Build.V4C: V4cAgent,
    Build.V4N: V4nAgent,
    Build.V5: V5Agent,
}

__all__ = ["PROGRAMS", "Agent", "Installation", "V2Agent", "V4cAgent", "V4nAgent", "V5Agent"]
