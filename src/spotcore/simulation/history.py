"""What happened: in order, comparable, and with one digest."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from attrs import asdict, frozen

from spotcore.aggregate import Aggregate
from spotcore.ids import AgentId


@frozen(kw_only=True)
class Happening:
    """One thing that happened, so many seconds after the start."""

    at: float
    agent: int
    what: str
    detail: str = ""


@frozen(kw_only=True)
class Failover:
    """A primary that got its notice. ``seconds`` from notice to a new primary; None: it has none."""

    agent: int
    machine: str
    noticed_at: float
    seconds: float | None
    able: bool  # the build can launch a replacement


@frozen(kw_only=True)
class History:
    """A finished simulation."""

    happenings: tuple[Happening, ...]
    failovers: tuple[Failover, ...]
    switches: int
    violations: tuple[str, ...]  # broken invariants; empty, always
    calls: Mapping[str, int]
    refusals: Mapping[str, int]
    finals: Mapping[AgentId, Aggregate]

    @property
    def lost(self) -> tuple[Failover, ...]:
        """Noticed primaries of able builds that nobody replaced."""
        return tuple(one for one in self.failovers if one.able and one.seconds is None)

    def digest(self) -> str:
        """SHA-256 over everything that happened: equal histories, equal digests, in any process."""
        story: list[Any] = [*map(asdict, self.happenings), *map(asdict, self.failovers)]
        ends = {agent: {row.cloud_id or "": row.status.value for row in one.instances.values()}
                for agent, one in self.finals.items()}  # fmt: skip
        text = json.dumps([story, ends, self.switches, self.violations, self.calls], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
