"""The world: a virtual clock, a queue of what happens next, and the control plane that is put to the test."""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from spotcore.aggregate import Aggregate, violations
from spotcore.builds import ABILITIES, Build
from spotcore.config import ConfigChange
from spotcore.control_plane import ControlPlane, control_plane
from spotcore.errors import NotFound, SpotError
from spotcore.ids import AgentId
from spotcore.incidents import Severity
from spotcore.pools import Mode
from spotcore.ports.storage import Transactions
from spotcore.service.kernel import Caller
from spotcore.service.machines import SwitchRequest
from spotcore.simulation.agents import Host
from spotcore.simulation.cloud import Cloud
from spotcore.simulation.history import Failover, Happening, History
from spotcore.simulation.identity import CountedIdentity
from spotcore.simulation.market import PoolPrices
from spotcore.simulation.scenario import START, Scenario, UserAct, UserAction
from spotcore.simulation.seeds import Stream

TICK_SECONDS: Final = 2.0
ROUND_SECONDS: Final = 60.0
RESTART_SECONDS: Final = 10.0  # a supervisor starts a refused agent again

CONFIG_ACTS: Final = {
    UserAction.MANUAL_REPLICA_ON: {"manual_replica_enabled": True},
    UserAction.MANUAL_REPLICA_OFF: {"manual_replica_enabled": False},
    UserAction.AUTO_SWITCH_ON: {"auto_switch_enabled": True},
}


class Simulation:
    """One run of a scenario. Use ``run``; this is for whoever wants to look in between (``step``)."""

    def __init__(self, scenario: Scenario, transactions: Transactions) -> None:
        self.scenario = scenario
        self.seconds = 0.0
        self.cloud = Cloud(scenario)
        self.plane: ControlPlane = control_plane(
            transactions=transactions, clock=self, identity=CountedIdentity(scenario.seed)
        )
        self._transactions = transactions
        self._prices = {one.az: PoolPrices(one, scenario.seed, scenario.prices) for one in scenario.pools}
        self._faults = Stream(scenario.seed, "faults")
        self._phases = Stream(scenario.seed, "phases")
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._happenings: list[Happening] = []
        self._calls: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._violations: dict[str, None] = {}
        self._told: set[tuple[int, str, str]] = set()
        self._noticed: dict[tuple[int, str], float] = {}
        self._agents: dict[int, AgentId] = {}
        self._caller = Caller(client_id=self.plane.clients.create("simulated").client.client_id)
        self._begin()

    # ---- what hosts reach (``agents.Surroundings``)

    def now(self) -> datetime:
        """The clock of the control plane."""
        return START + timedelta(seconds=self.seconds)

    def price_of(self, az: str) -> Decimal:
        """The spot price of a zone now, $/h."""
        return self._prices[az].at(self.seconds)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do it so many seconds from now."""
        heapq.heappush(self._queue, (self.seconds + max(0.0, seconds), next(self._order), act))

    def call(self, host: Host, what: str, report: Callable[[], Any], *, may_be_lost: bool = True) -> Any:
        """A call to the control plane: counted, perhaps lost or doubled on the way; None when lost or refused."""
        faults = self.scenario.faults
        self._calls[what] += 1
        if may_be_lost and self._faults.chance(faults.report_lost):
            return None
        answer = self._tried(report)
        if self._faults.chance(faults.report_doubled):
            self._tried(report)
        if host.agent_id is not None:
            self._check(host.number, host.agent_id)
        return answer

    def _tried(self, report: Callable[[], Any]) -> Any:
        try:
            return report()
        except SpotError as refusal:
            self._refusals[refusal.code] += 1
            if refusal.code == "SERVER_ERROR":
                self._violations[f"{self.seconds:.0f} s: {refusal.message}"] = None
            return None

    def tell(self, host: Host, what: str, detail: str = "") -> None:
        """Note what happened."""
        if (host.number, what, detail) not in self._told:
            self._told.add((host.number, what, detail))
            self._note(host.number, what, detail)
        if what.startswith(Severity.TERMINATION.value):
            self._noticed.setdefault((host.number, host.me), self.seconds)

    def start(self, host: Host) -> None:
        """The agent program of a machine that is up: it registers and goes round, until its machine ends."""
        if not host.is_alive:
            return
        if not host.register():
            self.later(RESTART_SECONDS, lambda: self.start(host))
            return
        assert host.agent_id is not None  # it is registered
        self._agents.setdefault(host.number, host.agent_id)
        self._note(host.number, "registered", f"{host.me} {host.role}")
        for every, act in host.loops():
            self.later(self._phases.between(0, every), partial(self._round, host, every, act))

    def _round(self, host: Host, every: float, act: Callable[[], None]) -> None:
        if host.is_alive:
            act()
            self.later(every, partial(self._round, host, every, act))

    # ---- the run

    def _begin(self) -> None:
        for number, spec in enumerate(self.scenario.agents):
            machine = self.cloud.launch(spec.az, spec.mode, 0.0, booted=True)
            assert machine is not None  # what is there from the start is not launched
            logical = machine.cloud_id if spec.build is Build.V5 else f"agent-{number}"
            host = Host(
                world=self, caller=self._caller, build=spec.build, number=number, machine=machine, logical=logical
            )
            self.start(host)
            host.heartbeat()
            host.report_prices()
            wanted = {"auto_switch_enabled": spec.auto_switch} | (
                {"manual_replica_enabled": True, "auto_switch_enabled": False} if spec.manual_replica else {}
            )
            self._configure(number, wanted)
        for act in self.scenario.users:
            self.later(act.after.total_seconds(), partial(self._user, act))
        self.later(TICK_SECONDS, self._tick)
        self.later(ROUND_SECONDS, self._decide)

    def step(self) -> bool:
        """Let the next thing happen; False when the time is over."""
        if not self._queue or self._queue[0][0] > self.scenario.lasts.total_seconds():
            return False
        at, _, act = heapq.heappop(self._queue)
        self.seconds = at
        act()
        return True

    def _tick(self) -> None:
        for agent_id, reason in self.plane.upkeep.tick().failed:
            self._violations[f"{self.seconds:.0f} s: upkeep of {agent_id}: {reason}"] = None
        self.later(TICK_SECONDS, self._tick)

    def _decide(self) -> None:
        for agent_id, reason in self.plane.decisions.round().failed:
            self._violations[f"{self.seconds:.0f} s: decision for {agent_id}: {reason}"] = None
        self.later(ROUND_SECONDS, self._decide)

    def _configure(self, number: int, wanted: dict[str, Any]) -> None:
        caller = Caller(client_id=self._caller.client_id, actor="client")
        self._tried(lambda: self.plane.agents.configure(caller, self._agents[number], ConfigChange(wanted=wanted)))

    def _user(self, act: UserAct) -> None:
        caller, agent_id = Caller(client_id=self._caller.client_id, actor="client"), self._agents[act.agent]
        self._note(act.agent, "user", act.action.value)
        if act.action in CONFIG_ACTS:
            self._configure(act.agent, dict(CONFIG_ACTS[act.action]))
            return
        aggregate = self._load(agent_id)
        live, primary = aggregate.live_replica, aggregate.primary
        match act.action:
            case UserAction.ENABLE | UserAction.DISABLE:
                self._tried(lambda: self.plane.agents.toggle(caller, agent_id, act.action is UserAction.ENABLE))
            case UserAction.PROMOTE if live is not None:
                self._tried(lambda: self.plane.replicas.promote(caller, agent_id, live.replica_id))
            case UserAction.DELETE_REPLICA if live is not None:
                self._tried(lambda: self.plane.replicas.delete(caller, agent_id, live.replica_id))
            case UserAction.SWITCH_TO_ONDEMAND | UserAction.SWITCH_TO_SPOT if primary is not None:
                to_spot = act.action is UserAction.SWITCH_TO_SPOT
                wanted = SwitchRequest(target_mode=Mode.SPOT if to_spot else Mode.ONDEMAND, pool_id=None)
                self._tried(lambda: self.plane.machines.force_switch(caller, str(primary.cloud_id), wanted))
            case _:
                return  # there is nothing to do it to
        self._check(act.agent, agent_id)

    def _load(self, agent_id: AgentId) -> Aggregate:
        with self._transactions() as uow:
            return uow.agents.get(self._caller.client_id, agent_id)

    def _check(self, number: int, agent_id: AgentId) -> None:
        try:
            aggregate = self._load(agent_id)
        except NotFound:
            return
        for broken in violations(aggregate):
            self._violations[f"agent {number}: {broken}"] = None

    def _note(self, number: int, what: str, detail: str) -> None:
        self._happenings.append(Happening(at=round(self.seconds, 3), agent=number, what=what, detail=detail))

    def history(self) -> History:
        """What has happened so far."""
        finals = {agent_id: self._load(agent_id) for agent_id in self._agents.values()}
        return History(
            happenings=tuple(self._happenings),
            failovers=tuple(self._failover(key, at, finals) for key, at in self._noticed.items()),
            switches=sum(len(one.switches) for one in finals.values()),
            violations=tuple(self._violations),
            calls=dict(sorted(self._calls.items())),
            refusals=dict(sorted(self._refusals.items())),
            finals=finals,
        )

    def _failover(self, key: tuple[int, str], at: float, finals: dict[AgentId, Aggregate]) -> Failover:
        number, machine = key
        aggregate = finals[self._agents[number]]
        taken = [
            switch.recorded_at for switch in aggregate.switches.values()
            if switch.old_cloud_id == machine and switch.recorded_at >= START + timedelta(seconds=at)
        ]  # fmt: skip
        row = aggregate.machine(machine)
        stands_by = row is None or row.instance_id not in {one.instance_id for one in aggregate.periods}
        later = round((min(taken) - START).total_seconds() - at, 3) if taken else None
        seconds = 0.0 if stands_by else later
        able = ABILITIES[self.scenario.agents[number].build].can_launch_replica
        return Failover(agent=number, machine=machine, noticed_at=round(at, 3), seconds=seconds, able=able)


def run(scenario: Scenario, transactions: Transactions) -> History:
    """The history of a scenario over a storage that is empty, or used by other simulations of other seeds alone."""
    simulation = Simulation(scenario, transactions)
    while simulation.step():
        pass
    return simulation.history()
