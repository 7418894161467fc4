"""Hosts that behave like the deployed builds, at the level of the control plane's use cases.

A host has loops; each does one thing every so many seconds. It reports what it sees and does what it is told; it
decides nothing. What a build sends over the wire is another matter.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Protocol

from attrs import define, field

from spotcore.builds import Build, Evidence
from spotcore.commands import Command, CommandKind
from spotcore.control_plane import ControlPlane
from spotcore.dispatch import Dialect
from spotcore.emergencies import Signal
from spotcore.ids import AgentId, CloudId, launch_placeholder
from spotcore.incidents import Severity
from spotcore.liveness import Heartbeat
from spotcore.pools import Mode
from spotcore.registration import Registration
from spotcore.replicas import ReplicaState
from spotcore.reports import CommandReport, ReplicaStatusReport
from spotcore.service.kernel import Caller
from spotcore.service.prices import PriceItem, PriceSheet
from spotcore.simulation.cloud import Cloud, Machine
from spotcore.simulation.scenario import Scenario
from spotcore.standby import MachineFacts
from spotcore.switches import SwitchTimes
from spotcore.switching import MachineReport, SwitchReport

HEARTBEAT, PRICES, TERMINATE_LIST, REPLICAS, REBALANCE = 30.0, 300.0, 60.0, 30.0, 30.0
CLASSIC_COMMANDS, MODERN_COMMANDS = 15.0, 5.0
CLASSIC_NOTICE, OTHER_NOTICE = 5.0, 10.0
EVIDENCE = {
    Build.V2: Evidence.MARK_EXECUTED,
    Build.V4C: Evidence.CLASSIC_CALL,
    Build.V4N: Evidence.NOTICE_ONLY,
    Build.V5: Evidence.CLOUD_ACCOUNT,
}


class Surroundings(Protocol):
    """What a host can reach."""

    @property
    def plane(self) -> ControlPlane: ...
    @property
    def cloud(self) -> Cloud: ...
    @property
    def seconds(self) -> float: ...
    def now(self) -> datetime: ...
    @property
    def scenario(self) -> Scenario: ...
    def call(self, host: "Host", what: str, report: Callable[[], Any], *, may_be_lost: bool = True) -> Any: ...
    def later(self, seconds: float, act: Callable[[], None]) -> None: ...
    def start(self, host: "Host") -> None: ...
    def tell(self, host: "Host", what: str, detail: str = "") -> None: ...
    def price_of(self, az: str) -> Decimal: ...


@define(kw_only=True, eq=False)
class Host:
    """An agent program on a machine."""

    world: Surroundings
    caller: Caller
    build: Build
    number: int
    machine: Machine
    logical: str
    agent_id: AgentId | None = None
    role: str = "primary"
    launched: set[str] = field(factory=set)  # replicas and requests it has launched for, so it launches once

    @property
    def is_alive(self) -> bool:
        """True while its machine is up."""
        return self.machine.is_up(self.world.seconds)

    @property
    def me(self) -> CloudId:
        """Its machine's id."""
        return self.machine.cloud_id

    def loops(self) -> Iterator[tuple[float, Callable[[], None]]]:
        """What it does, and how often."""
        yield HEARTBEAT, self.heartbeat
        yield PRICES, self.report_prices
        match self.build:
            case Build.V2:
                yield CLASSIC_COMMANDS, self.run_classic_commands
            case Build.V4C:
                yield CLASSIC_COMMANDS, self.run_classic_commands
                yield CLASSIC_NOTICE, self.watch_notices
                yield REBALANCE, self.watch_rebalance
                yield REPLICAS, self.launch_replicas
                yield REPLICAS, self.end_replicas
                yield TERMINATE_LIST, self.end_listed
            case Build.V5:
                yield MODERN_COMMANDS, self.run_modern_commands
                yield OTHER_NOTICE, self.watch_notices
                yield OTHER_NOTICE, self.watch_rebalance
            case _:
                yield OTHER_NOTICE, self.watch_notices
                yield OTHER_NOTICE, self.watch_rebalance

    def register(self) -> bool:
        """E16; False when it was refused and its supervisor has to start it again."""
        wanted = Registration(
            cloud_id=self.me, logical_agent_id=self.logical, instance_type=self.world.scenario.instance_type,
            region=self.world.scenario.region, az=self.machine.az, mode=self._shown_mode(), ami_id="ami-1",
            evidence=(EVIDENCE[self.build],) if self.build is Build.V5 else (),
        )  # fmt: skip
        answer = self.world.call(self, "register", lambda: self.world.plane.agents.register(self.caller, wanted),
                                 may_be_lost=False)  # fmt: skip
        if answer is None:
            return False
        self.agent_id, self.role = answer.agent_id, answer.role
        return True

    def _shown_mode(self) -> Mode:
        return self.machine.mode if self.build in (Build.V4C, Build.V4N) else Mode.UNKNOWN

    def _agent(self) -> AgentId:
        assert self.agent_id is not None  # loops begin after registration
        return self.agent_id

    def heartbeat(self) -> None:
        """E17. What it answers tells the host whether it may act."""
        named = self.me if self.build in (Build.V2, Build.V4C) else None
        beat = Heartbeat(cloud_id=named, evidence=(EVIDENCE[self.build],) if self.build is not Build.V5 else ())
        answer = self.world.call(self, "heartbeat", lambda: self.world.plane.agents.heartbeat(
            self.caller, self._agent(), beat))  # fmt: skip
        if answer is not None:
            self.role = answer.role

    def report_prices(self) -> None:
        """E74: the price of every pool of its type."""
        scenario = self.world.scenario
        kind = scenario.instance_type
        spot = tuple(PriceItem(pool=f"{kind}.{one.az}", price=self.world.price_of(one.az)) for one in scenario.pools)
        sheet = PriceSheet(
            cloud_id=self.me if self.build is not Build.V5 else None, spot=spot, mode=self.machine.mode,
            ondemand=(PriceItem(instance_type=kind, price=Decimal(scenario.ondemand_price)),),
        )  # fmt: skip
        self.world.call(self, "prices", lambda: self.world.plane.prices.report(self.caller, self._agent(), sheet))

    # ---- notices

    def watch_notices(self) -> None:
        """E52, E53 immediate or E56, again and again while AWS says so."""
        if self.machine.has_notice(self.world.seconds):
            self._signal(Severity.TERMINATION)

    def watch_rebalance(self) -> None:
        """E53."""
        if self.machine.has_rebalance(self.world.seconds):
            self._signal(Severity.REBALANCE)

    def _signal(self, severity: Severity) -> None:
        world = self.world
        now = world.now()
        ends_at = self.machine.ends_at
        deadline = None
        if severity is Severity.TERMINATION and ends_at is not None and self.build is not Build.V4N:
            deadline = now + timedelta(seconds=ends_at - world.seconds)
        named = self.me if self.build is not Build.V4N else None
        signal = Signal(severity=severity, cloud_id=named, deadline=deadline, received_at=now)
        answer = world.call(
            self, severity.value, lambda: world.plane.emergencies.signal(self.caller, self._agent(), signal)
        )
        if answer is not None and not answer.duplicate:
            world.tell(self, f"{severity.value} notice", f"{self.me} {answer.outcome.value}")

    # ---- v2, v4c

    def run_classic_commands(self) -> None:
        """E69: a ``switch`` launches the new machine, which registers by itself; then E75 and the acknowledgement."""
        if self.role != "primary" and self.build is Build.V4C:
            return
        fetched = self.world.call(self, "poll", lambda: self.world.plane.commands.fetch(
            self.caller, self._agent(), Dialect.CLASSIC))  # fmt: skip
        for command in fetched.commands if fetched is not None else ():
            self._switch(command)

    def _switch(self, command: Command) -> None:
        mode = command.target_mode or Mode.SPOT
        az = command.target_pool_id.rpartition(".")[2] if command.target_pool_id else self.machine.az
        machine = self.world.cloud.launch(az, mode, self.world.seconds)
        if machine is None:
            self._acknowledge(command, success=False)
            return
        started = self.world.now()

        def up() -> None:
            self.world.start(self._sibling(machine))
            self.world.later(45, lambda: self._switched(command, machine, started))

        self.world.later(machine.up_at - self.world.seconds, up)

    def _sibling(self, machine: Machine) -> "Host":
        own_name = self.build is Build.V5
        return Host(
            world=self.world, caller=self.caller, build=self.build, number=self.number, machine=machine,
            logical=machine.cloud_id if own_name else self.logical,
        )  # fmt: skip

    def _switched(self, command: Command, machine: Machine, started: datetime) -> None:
        if not self.is_alive:
            return
        world, kind = self.world, self.world.scenario.instance_type

        def seen(one: Machine) -> MachineReport:
            return MachineReport(cloud_id=one.cloud_id, instance_type=kind, az=one.az, mode=one.mode)

        ended = world.now() if command.terminate_old else None
        report = SwitchReport(
            old=seen(self.machine), new=seen(machine), times=SwitchTimes(initiated_at=started, old_ended_at=ended)
        )
        self.world.call(
            self, "switch report", lambda: world.plane.commands.switch_report(self.caller, self._agent(), report)
        )
        self._acknowledge(command, success=True)
        if command.terminate_old:
            self.world.cloud.end(self.me)

    def _acknowledge(self, command: Command, *, success: bool) -> None:
        said = None if self.build is Build.V2 else success
        report = CommandReport(command=command.command_id, success=said)
        self.world.call(self, "executed", lambda: self.world.plane.commands.result(self.caller, self._agent(), report))

    def launch_replicas(self) -> None:
        """E43 ``status=launching``, then E48 and ``ready``."""
        if self.role != "primary":
            return
        views = self.world.call(self, "replicas", lambda: self.world.plane.replicas.to_launch(
            self.caller, self._agent()))  # fmt: skip
        for view in views or ():
            replica = view.replica
            if replica.replica_id in self.launched:
                continue
            machine = self.world.cloud.launch(replica.az or self.machine.az, Mode.SPOT, self.world.seconds)
            if machine is None:
                self._replica_is(replica.replica_id, ReplicaState.FAILED)
                continue
            self.launched.add(replica.replica_id)
            self._replica_started(replica.replica_id, machine)

    def _replica_started(self, replica_id: str, machine: Machine) -> None:
        facts = MachineFacts(cloud_id=machine.cloud_id, az=machine.az)

        def tell() -> None:
            self.world.call(self, "replica machine", lambda: self.world.plane.replicas.update(
                self.caller, self._agent(), replica_id, machine=facts, state=ReplicaState.SYNCING),
                may_be_lost=False)  # fmt: skip
            self.world.start(self._sibling(machine))
            self.world.later(20, lambda: self._replica_is(replica_id, ReplicaState.READY))

        self.world.later(machine.up_at - self.world.seconds, lambda: tell() if self.is_alive else None)

    def _replica_is(self, replica_id: str, state: ReplicaState) -> None:
        if self.is_alive:
            report = ReplicaStatusReport(state=state)
            self.world.call(self, "replica state", lambda: self.world.plane.replicas.report_status(
                self.caller, self._agent(), replica_id, report))  # fmt: skip

    def end_replicas(self) -> None:
        """E43 ``status=terminated``."""
        if self.role != "primary":
            return
        views = self.world.call(self, "replicas", lambda: self.world.plane.replicas.to_end(
            self.caller, self._agent()))  # fmt: skip
        for view in views or ():
            if view.instance.cloud_id is not None:
                self.world.cloud.end(view.instance.cloud_id)
                self._replica_is(view.replica.replica_id, ReplicaState.TERMINATED)

    def end_listed(self) -> None:
        """E55, then E56."""
        if self.role != "primary":
            return
        listed = self.world.call(self, "terminate list", lambda: self.world.plane.commands.terminate_list(
            self.caller, self._agent()))  # fmt: skip
        for entry in listed.entries if listed is not None else ():
            self.world.cloud.end(entry.instance.cloud_id)
            report = partial(
                self.world.plane.commands.termination_result,
                self.caller, self._agent(), entry.instance.cloud_id, True, None,
            )  # fmt: skip
            self.world.call(self, "terminated", report)

    # ---- v5

    def run_modern_commands(self) -> None:
        """E71: every item in order, each answered with E72."""
        fetched = self.world.call(self, "poll", lambda: self.world.plane.commands.fetch(
            self.caller, self._agent(), Dialect.MODERN))  # fmt: skip
        for command in fetched.commands if fetched is not None else ():
            target = fetched.machines.get(command.target_instance_id)
            match command.kind:
                case CommandKind.LAUNCH:
                    self._launch(command)
                case CommandKind.TERMINATE if target is not None and target.cloud_id is not None:
                    self.world.cloud.end(target.cloud_id)
                    self.world.later(30, partial(self._ended, command, target.cloud_id))
                case _:
                    self._result(command)

    def _launch(self, command: Command) -> None:
        az = command.target_az or self.machine.az
        machine = self.world.cloud.launch(az, command.target_mode or Mode.SPOT, self.world.seconds)
        if machine is None:
            self._result(command, success=False)
            return
        facts = MachineFacts(cloud_id=machine.cloud_id, az=machine.az)
        assert command.target_instance_id is not None  # every launch has a row
        temp = launch_placeholder(command.target_instance_id)

        def up() -> None:
            if self.is_alive:
                self.world.call(self, "launched", lambda: self.world.plane.commands.launched(
                    self.caller, self._agent(), temp, facts, command.request_id))  # fmt: skip
                self._result(command, machine=facts)
            self.world.start(self._sibling(machine))

        self.world.later(machine.up_at - self.world.seconds, up)

    def _ended(self, command: Command, cloud_id: str) -> None:
        if self.is_alive:
            self.world.call(self, "terminated", lambda: self.world.plane.commands.terminated(
                self.caller, self._agent(), cloud_id))  # fmt: skip
            self._result(command)

    def _result(self, command: Command, *, success: bool = True, machine: MachineFacts | None = None) -> None:
        report = CommandReport(command=command.request_id, success=success, machine=machine)
        evidence = (Evidence.MODERN_CALL,)
        self.world.call(self, "result", lambda: self.world.plane.commands.result(
            self.caller, self._agent(), report, evidence))  # fmt: skip
