"""What happens in the demo, and what must be true at its end."""

from collections.abc import Callable
from typing import Final

from attrs import define, field

from spotapp.demo.fleet import Fleet
from spotapp.demo.hosts import V2, V5, Host, V4c, V4n
from spotapp.wiring import Wiring
from spotcore.aggregate import Aggregate, violations
from spotcore.config import ConfigChange
from spotcore.errors import SpotError
from spotcore.ids import AgentId, ClientId
from spotcore.pools import Mode
from spotcore.replicas import ReplicaState
from spotcore.service.kernel import Caller
from spotcore.service.machines import SwitchRequest

CAST: Final[tuple[tuple[str, type[Host], str, str, str], ...]] = (
    # workload, build, instance type, zone, mode
    ("web-1", V4c, "m5.large", "us-east-1a", "spot"),
    ("web-2", V4c, "m5.large", "us-east-1b", "spot"),
    ("web-3", V4c, "m5.large", "us-east-1c", "spot"),
    ("api-1", V4c, "c5.xlarge", "us-east-1a", "spot"),
    ("api-2", V4c, "c5.xlarge", "us-east-1b", "ondemand"),
    ("queue-1", V5, "r5.large", "us-east-1a", "spot"),
    ("queue-2", V5, "r5.large", "us-east-1b", "spot"),
    ("cache-1", V5, "m5.large", "us-east-1c", "spot"),
    ("cache-2", V5, "m5.large", "us-east-1a", "ondemand"),
    ("batch-1", V2, "c5.xlarge", "us-east-1c", "ondemand"),
    ("batch-2", V2, "c5.xlarge", "us-east-1a", "spot"),
    ("legacy", V4n, "m5.large", "us-east-1b", "spot"),
)
MANUAL: Final = ("web-1", "api-1", "queue-1", "cache-1")
SWITCHED: Final = ("web-2", "batch-1", "queue-2")
WARNED: Final = ("web-3", "legacy")
STORM: Final = ("web-1", "web-3", "api-1", "queue-1", "cache-1")
SECOND_STORM: Final = ("web-1", "api-1", "queue-1", "queue-2")


@define
class Story:
    """The script, by virtual seconds, over a running site."""

    wiring: Wiring
    fleet: Fleet
    client_id: ClientId
    told: Callable[[str], None]
    interrupted: dict[str, str] = field(factory=dict)  # machine → workload
    broken: list[str] = field(factory=list)
    _played: int = 0

    def begin(self) -> None:
        """The machines that are there from the start."""
        cloud, now = self.fleet.cloud, self.fleet.clock.now()
        for name, build, kind, az, mode in CAST:
            machine = cloud.launch(kind, az, mode, now, running=True)
            logical = machine.cloud_id if build is V5 else name  # a v5 always says its instance id
            self.fleet.add(build(self.fleet.world, machine, logical))

    def scenes(self) -> list[tuple[float, str, Callable[[], None]]]:
        """When (virtual seconds), what people read, and what is done."""
        return [
            (60, "a user turns manual replicas on for " + ", ".join(MANUAL), self._manual_mode),
            (200, "a user moves " + ", ".join(SWITCHED) + " to other capacity", self._switches),
            (480, "AWS warns of a raised risk for " + ", ".join(WARNED), self._warnings),
            (
                720,
                f"interruption storm: {len(STORM)} primaries get their two-minute notice at once",
                lambda: self._storm(STORM),
            ),
            (1_320, "a second storm, over the successors", lambda: self._storm(SECOND_STORM)),
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

    def host_of(self, name: str) -> Host | None:
        """The host that serves a workload now."""
        agent_id = self.agent_id(name)
        primary = self.aggregate(agent_id).primary if agent_id else None
        return next((one for one in self.fleet.hosts if primary and one.machine.cloud_id == primary.cloud_id), None)

    def agent_id(self, name: str) -> AgentId | None:
        """The agent of a workload, found through its first host."""
        index = next(number for number, row in enumerate(CAST) if row[0] == name)
        agent_id = self.fleet.hosts[index].agent_id
        return AgentId(agent_id) if agent_id else None

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
            host = self.host_of(name)
            if host is None:
                continue
            to_spot = host.machine.mode == "ondemand"
            wanted = SwitchRequest(target_mode=Mode.SPOT if to_spot else Mode.ONDEMAND)
            try:
                self.wiring.plane.machines.force_switch(self._user(), host.machine.cloud_id, wanted)
            except SpotError as refusal:
                self.told(f"{name} stays: {refusal.message}")

    def _warnings(self) -> None:
        for name in WARNED:
            host = self.host_of(name)
            if host is not None:
                self.fleet.cloud.warn(host.machine.cloud_id)

    def _storm(self, names: tuple[str, ...]) -> None:
        cloud, now = self.fleet.cloud, self.fleet.clock.now()
        for name in names:
            host = self.host_of(name)
            if host is not None and host.machine.mode == "spot":
                self.interrupted[host.machine.cloud_id] = name
                cloud.interrupt(host.machine.cloud_id, now)


def replica_word(aggregate: Aggregate) -> str:
    """The live replica in a word, for the table."""
    live = aggregate.live_replica
    if live is None:
        return "–"
    mark = {ReplicaState.LAUNCHING: "…", ReplicaState.SYNCING: "sync", ReplicaState.READY: "ready"}[live.state]
    return f"{mark} {live.pool_id.rpartition('.')[2] if live.pool_id else 'ondemand'}"
