"""What happens in the demo, and what must be true at its end."""

from collections.abc import Callable
from typing import Final

from attrs import define, field

from spotadapters.fleet import CloudRefusal, Installation, World
from spotapp.wiring import Wiring
from spotcore.aggregate import Aggregate, violations
from spotcore.builds import Build
from spotcore.config import ConfigChange
from spotcore.errors import SpotError
from spotcore.ids import AgentId, ClientId
from spotcore.instances import Instance
from spotcore.pools import Mode
from spotcore.replicas import ReplicaState
from spotcore.service.kernel import Caller
from spotcore.service.machines import SwitchRequest

CAST: Final[tuple[tuple[str, Build, str, str, Mode], ...]] = (
    # workload, build, instance type, zone, mode
    ("web-1", Build.V4C, "m5.large", "us-east-1a", Mode.SPOT),
    ("web-2", Build.V4C, "m5.large", "us-east-1b", Mode.SPOT),
    ("web-3", Build.V4C, "m5.large", "us-east-1c", Mode.SPOT),
    ("api-1", Build.V4C, "c5.xlarge", "us-east-1a", Mode.SPOT),
    ("api-2", Build.V4C, "c5.xlarge", "us-east-1b", Mode.ONDEMAND),
    ("queue-1", Build.V5, "r5.large", "us-east-1a", Mode.SPOT),
    ("queue-2", Build.V5, "r5.large", "us-east-1b", Mode.SPOT),
    ("cache-1", Build.V5, "m5.large", "us-east-1c", Mode.SPOT),
    ("cache-2", Build.V5, "m5.large", "us-east-1a", Mode.ONDEMAND),
    ("batch-1", Build.V2, "c5.xlarge", "us-east-1c", Mode.ONDEMAND),
    ("batch-2", Build.V2, "c5.xlarge", "us-east-1a", Mode.SPOT),
    ("legacy", Build.V4N, "m5.large", "us-east-1b", Mode.SPOT),
)
MANUAL: Final = ("web-1", "api-1", "queue-1", "cache-1")
SWITCHED: Final = ("web-2", "batch-1", "queue-2")
WARNED: Final = ("web-3", "legacy")
STORM: Final = ("web-1", "web-3", "api-1", "queue-1", "cache-1")
SECOND_STORM: Final = ("web-1", "api-1", "queue-1", "queue-2")


@define
class Story:
    """The script, by virtual seconds, over a running site and a simulated fleet."""

    wiring: Wiring
    world: World
    client_id: ClientId
    token: str
    told: Callable[[str], None]
    machines: dict[str, str] = field(factory=dict)  # workload → its first machine
    interrupted: dict[str, str] = field(factory=dict)  # machine → workload
    broken: list[str] = field(factory=list)
    _played: int = 0

    def begin(self) -> None:
        """The machines that are there from the start. A v5 always calls itself by its machine."""
        for name, build, kind, az, mode in CAST:
            logical = None if build is Build.V5 else name
            installation = Installation(build=build, client_token=self.token, logical_id=logical)
            self.machines[name] = self.world.start(installation, instance_type=kind, az=az, mode=mode)

    def scenes(self) -> list[tuple[float, str, Callable[[], None]]]:
        """When (virtual seconds), what people read, and what is done."""
        return [
            (120, "a user turns manual replicas on for " + ", ".join(MANUAL), self._manual_mode),
            (260, "a user moves " + ", ".join(SWITCHED) + " to other capacity", self._switches),
            (540, "AWS warns of a raised risk for " + ", ".join(WARNED), self._warnings),
            (
                720,
                f"interruption storm: {len(STORM)} primaries get their two-minute notice at once",
                lambda: self._storm(STORM),
            ),
            (1_380, "a second storm, over the successors", lambda: self._storm(SECOND_STORM)),
        ]

    def play(self, elapsed: float) -> None:
        """Play every scene that is due."""
        for at, title, act in self.scenes()[self._played :]:
            if elapsed < at:
                return
            self._played += 1
            self.told(title)
            act()

    @property
    def length(self) -> float:
        """Virtual seconds until everything has settled."""
        return self.scenes()[-1][0] + 420

    def agent_id(self, name: str) -> AgentId | None:
        """The agent of a workload, once it has registered."""
        build = next(row[1] for row in CAST if row[0] == name)
        logical = self.machines[name] if build is Build.V5 else name
        with self.wiring.storage.transactions() as uow:
            return uow.agents.find_logical(self.client_id, logical)

    def primary(self, name: str) -> Instance | None:
        """The machine that serves a workload."""
        agent_id = self.agent_id(name)
        return self.aggregate(agent_id).primary if agent_id is not None else None

    def aggregate(self, agent_id: AgentId) -> Aggregate:
        """Everything about an agent, read fresh."""
        with self.wiring.storage.transactions() as uow:
            return uow.agents.get(self.client_id, agent_id)

    def aggregates(self) -> dict[str, Aggregate]:
        """Every workload that has registered."""
        ids = {row[0]: self.agent_id(row[0]) for row in CAST}
        return {name: self.aggregate(agent_id) for name, agent_id in ids.items() if agent_id is not None}

    def watch(self) -> dict[str, Aggregate]:
        """Every workload, its invariants checked on the way."""
        seen = self.aggregates()
        for name, aggregate in seen.items():
            self.broken += [f"{name}: {text}" for text in violations(aggregate)]
        return seen

    def seen_on_the_wire(self) -> list[str]:
        """What the agents saw that must never happen."""
        return [f"{one.rule} on {one.instance_id}: {one.text}" for one in self.world.violations()]

    def failures(self) -> list[str]:
        """Requests that got no answer or a server error."""
        return [
            f"{one.method} {one.path} → {one.status or 'no answer'}"
            for one in self.world.journal.exchanges()
            if one.status == 0 or one.status >= 500
        ]

    def notice_times(self, rate: float) -> list[float]:
        """Real milliseconds from each first termination notice to its answer."""
        first: dict[str, float] = {}
        for one in self.world.journal.exchanges():
            body = one.body or {}
            word = str(body.get("signal_type") or body.get("notice_type") or "").lower()
            if word.startswith("termination") and one.instance_id not in first:
                first[one.instance_id] = (one.answered_at - one.at).total_seconds() * 1000 / rate
        return list(first.values())

    def unreplaced(self) -> list[str]:
        """Machines that got a notice as primary and still are the primary, or left nobody behind."""
        lost = []
        for name, aggregate in self.aggregates().items():
            primary = aggregate.primary
            noticed = {machine for machine, workload in self.interrupted.items() if workload == name}
            if noticed and (primary is None or primary.cloud_id in noticed):
                lost.append(name)
        return lost

    def _user(self) -> Caller:
        return Caller(client_id=self.client_id, actor="client")

    def _manual_mode(self) -> None:
        for name in MANUAL:
            agent_id = self.agent_id(name)
            if agent_id is not None:
                wanted = ConfigChange(wanted={"manual_replica_enabled": True})
                self.wiring.plane.agents.configure(self._user(), agent_id, wanted)

    def _switches(self) -> None:
        for name in SWITCHED:
            primary = self.primary(name)
            if primary is None or primary.cloud_id is None:
                continue
            target = Mode.SPOT if primary.mode is Mode.ONDEMAND else Mode.ONDEMAND
            try:
                self.wiring.plane.machines.force_switch(
                    self._user(), primary.cloud_id, SwitchRequest(target_mode=target)
                )
            except SpotError as refusal:
                self.told(f"{name} stays: {refusal.message}")

    def _warnings(self) -> None:
        for name in WARNED:
            primary = self.primary(name)
            if primary is not None and primary.cloud_id is not None:
                self.world.rebalance(primary.cloud_id)

    def _storm(self, names: tuple[str, ...]) -> None:
        for name in names:
            primary = self.primary(name)
            if primary is None or primary.cloud_id is None:
                continue
            try:
                self.world.interrupt(primary.cloud_id)
            except CloudRefusal:
                continue  # on-demand machines are not taken back
            self.interrupted[primary.cloud_id] = name


def replica_word(aggregate: Aggregate) -> str:
    """The live replica in a word, for the table."""
    live = aggregate.live_replica
    if live is None:
        return "–"
    mark = {ReplicaState.LAUNCHING: "…", ReplicaState.SYNCING: "sync", ReplicaState.READY: "ready"}[live.state]
    return f"{mark} {live.pool_id.rpartition('.')[2] if live.pool_id else 'ondemand'}"
