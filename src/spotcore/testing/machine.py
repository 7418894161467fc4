"""The stateful machine (section 13): agents, AWS and users do whatever they like in any order, over either storage.

After every step I1…I14 hold for every agent, terminal rows are as they were, and tenants see only their own.
"""

import uuid
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from spotcore import endings
from spotcore.agents import Life
from spotcore.aggregate import Aggregate
from spotcore.builds import ABILITIES, Build, Evidence
from spotcore.commands import CommandKind, CommandState
from spotcore.config import ConfigChange
from spotcore.control_plane import ControlPlane, control_plane
from spotcore.dispatch import Dialect
from spotcore.emergencies import Signal
from spotcore.errors import NotFound, SpotError
from spotcore.ids import AgentId, ClientId, CloudId, launch_placeholder
from spotcore.incidents import QUIET_AFTER, Severity
from spotcore.instances import InstanceStatus
from spotcore.liveness import Heartbeat
from spotcore.pools import Mode
from spotcore.ports.storage import Transactions
from spotcore.registration import Registration
from spotcore.replicas import ReplicaState
from spotcore.reports import CommandReport, ReplicaStatusReport
from spotcore.service.kernel import Caller
from spotcore.service.machines import SwitchRequest
from spotcore.service.prices import PriceItem, PriceSheet
from spotcore.service.replicas import ReplicaRequest
from spotcore.simulation.identity import CountedIdentity
from spotcore.simulation.scenario import START
from spotcore.standby import MachineFacts
from spotcore.switches import SwitchState, SwitchTimes
from spotcore.switching import MachineReport, SwitchReport
from spotcore.testing.breaking import FailingStorage
from spotcore.testing.checks import Watch, check_ledger
from spotcore.testing.clock import ManualClock

TYPE = "m5.large"
REGION = "us-east-1"
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
BUILD_EVIDENCE = {
    Build.V2: (Evidence.MARK_EXECUTED,),
    Build.V4C: (Evidence.CLASSIC_CALL,),
    Build.V4N: (Evidence.NOTICE_ONLY,),
    Build.V5: (Evidence.CLOUD_ACCOUNT,),
}
picks = st.integers(min_value=0, max_value=7)
zones = st.sampled_from(ZONES)
wishes = st.sampled_from((None, True, False))


class FleetMachine(RuleBasedStateMachine):
    """Subclass it, give it your storage, and run ``YourMachine.TestCase``: everything else is the same for all.

    The storage may hold other tenants already; the machine makes its own and touches no other."""

    agents = Bundle("agents")
    owns_storage: ClassVar[bool] = False  # True: nobody else is in it, so that jobs over all tenants can be judged too

    def open_storage(self, clock: ManualClock) -> Transactions:
        """The storage under test, for a control plane whose time is ``clock``'s."""
        # no abstract method: the metaclass is Hypothesis's own
        raise NotImplementedError("a subclass opens the storage it wants tested")

    @initialize(target=agents, builds=st.lists(st.sampled_from(sorted(BUILD_EVIDENCE)), min_size=2, max_size=3))
    def start(self, builds: list[Build]) -> Any:
        self.clock = ManualClock(START)
        self.transactions = self.open_storage(self.clock)
        self.plane = self._new_plane(self.transactions)
        self.tag = uuid.uuid4().hex[:8]
        self.machines = 0
        self.clients = [self.plane.clients.create(f"client {n} {self.tag}").client.client_id for n in range(2)]
        self.watch = Watch()
        made = [
            self._register(self.clients[n % 2], f"logical-{n}", build, ZONES[n % 3]) for n, build in enumerate(builds)
        ]
        return multiple(*made)

    # helpers

    def _new_plane(self, transactions: Transactions) -> ControlPlane:
        identity = CountedIdentity(uuid.uuid4().int)  # a storage may hold other runs already
        return control_plane(transactions=transactions, clock=self.clock, identity=identity)

    def _machine(self) -> CloudId:
        self.machines += 1
        return CloudId(f"i-{self.tag}{self.machines:09x}")

    def _register(self, client: ClientId, logical: str, build: Build, az: str) -> tuple[ClientId, AgentId]:
        evidence = BUILD_EVIDENCE[build]
        machine = self._machine()
        answer = self.plane.agents.register(
            Caller(client_id=client), self._registration(machine, logical, az, evidence=evidence)
        )
        beat = Heartbeat(cloud_id=machine if ABILITIES[build].names_machine else None, evidence=evidence)
        self.plane.agents.heartbeat(Caller(client_id=client), answer.agent_id, beat)
        self._prices(client, answer.agent_id)
        return client, answer.agent_id

    def _registration(self, machine: CloudId, logical: str, az: str, **facts: Any) -> Registration:
        return Registration(
            cloud_id=machine, logical_agent_id=logical, instance_type=TYPE, region=REGION, az=az, mode=Mode.SPOT,
            ami_id="ami-1", **facts,
        )  # fmt: skip

    def _prices(self, client: ClientId, agent: AgentId, *, minutes_old: int = 0) -> None:
        at = self.clock.now() - timedelta(minutes=minutes_old)
        spot = tuple(
            PriceItem(pool=f"{TYPE}.{az}", price=Decimal("0.03") + (n + minutes_old % 7) / Decimal(100), observed_at=at)
            for n, az in enumerate(ZONES)
        )
        sheet = PriceSheet(spot=spot, ondemand=(PriceItem(price=Decimal("0.096"), observed_at=at),))
        self._try(lambda: self.plane.prices.report(Caller(client_id=client), agent, sheet))

    def _try(self, call: Callable[[], Any]) -> Any:
        """A call may be refused; it must never fail as a server error."""
        try:
            return call()
        except SpotError as refusal:
            assert refusal.code != "SERVER_ERROR", repr(refusal)
            return None

    def _load(self, who: tuple[ClientId, AgentId]) -> Aggregate:
        with self.transactions() as uow:
            return uow.agents.get(*who)

    def _caller(self, who: tuple[ClientId, AgentId], actor: str = "agent") -> Caller:
        return Caller(client_id=who[0], actor=actor)

    def _pick_machine(self, who: tuple[ClientId, AgentId], pick: int) -> str | None:
        rows = sorted(
            (one for one in self._load(who).instances.values() if one.cloud_id), key=lambda one: one.created_at
        )
        return rows[pick % len(rows)].cloud_id if rows else None

    def _pick_replica(self, who: tuple[ClientId, AgentId], pick: int) -> Any:
        rows = sorted(self._load(who).replicas.values(), key=lambda one: (not one.is_live, one.replica_id))
        return rows[pick % len(rows)] if rows else None

    # agents

    @rule(who=agents, pick=picks, az=zones, stranger=st.booleans())
    def registers_again(self, who: Any, pick: int, az: str, stranger: bool) -> None:
        aggregate = self._load(who)
        machine = self._machine() if stranger else (self._pick_machine(who, pick) or self._machine())
        wanted = self._registration(CloudId(machine), aggregate.agent.logical_agent_id, az)
        before = aggregate.primary
        answer = self._try(lambda: self.plane.agents.register(self._caller(who), wanted))
        again = self._try(lambda: self.plane.agents.register(self._caller(who), wanted))
        if answer is not None and again is not None:
            assert answer.agent_id == again.agent_id  # registration is idempotent
        after = self._load(who)
        calm = aggregate.open_failover is None and not aggregate.is_offline(self.clock.now())
        if before is not None and after.agent.life is Life.LIVE and calm:
            assert after.agent.primary_id == before.instance_id  # failures 19, 57: none while online

    @rule(who=agents, pick=picks, named=st.booleans(), offline=st.booleans())
    def heartbeats(self, who: Any, pick: int, named: bool, offline: bool) -> None:
        beat = Heartbeat(cloud_id=self._pick_machine(who, pick) if named else None, going_offline=offline)
        self._try(lambda: self.plane.agents.heartbeat(self._caller(who), who[1], beat))

    @rule(who=agents)
    def primary_heartbeats(self, who: Any) -> None:
        primary = self._load(who).primary
        if primary is not None:
            beat = Heartbeat(cloud_id=primary.cloud_id)
            answer = self._try(lambda: self.plane.agents.heartbeat(self._caller(who), who[1], beat))
            assert answer is None or answer.role == "primary"  # failure 2

    @rule(who=agents, minutes_old=st.sampled_from([0, 4, 30, 3_000, 9_000, 11_000]), twice=st.booleans())
    def reports_prices(self, who: Any, minutes_old: int, twice: bool) -> None:
        for _ in range(2 if twice else 1):
            self._prices(*who, minutes_old=minutes_old)

    @rule(who=agents, modern=st.booleans())
    def polls(self, who: Any, modern: bool) -> None:
        aggregate = self._load(who)
        abilities = aggregate.agent.abilities
        if modern != abilities.modern or aggregate.agent.build is Build.V4N:
            return  # a poll of another dialect would make it another build
        dialect = Dialect.MODERN if modern else Dialect.CLASSIC
        first = self._try(lambda: self.plane.commands.fetch(self._caller(who), who[1], dialect))
        second = self._try(lambda: self.plane.commands.fetch(self._caller(who), who[1], dialect))
        if first is not None and second is not None:
            once = {command.command_id for command in first.commands}
            assert not once & {command.command_id for command in second.commands}  # failure 35
            for command in first.commands:
                assert command.expires_at is None or command.expires_at > self.clock.now()  # failure 36
                if command.kind is CommandKind.TERMINATE:
                    target = self._load(who).instances[command.target_instance_id]
                    assert not target.is_primary  # failure 20

    @rule(
        who=agents, pick=picks, success=st.sampled_from([True, False, None]), machine=st.booleans(), twice=st.booleans()
    )
    def reports_result(self, who: Any, pick: int, success: bool | None, machine: bool, twice: bool) -> None:
        commands = sorted(self._load(who).commands.values(), key=lambda one: (not one.is_open, one.command_id))
        if not commands:
            return
        command = commands[pick % len(commands)]
        facts = MachineFacts(cloud_id=self._machine()) if machine and command.kind is CommandKind.LAUNCH else None
        report = CommandReport(command=command.request_id, success=success, machine=facts)
        terminal = command if not command.is_open else None
        for _ in range(2 if twice else 1):
            after = self._try(lambda: self.plane.commands.result(self._caller(who), who[1], report))
            if terminal is not None and after is not None:
                assert after.state is terminal.state  # failure 37

    @rule(who=agents)
    def confirms_launch(self, who: Any) -> None:
        for row in self._load(who).instances.values():
            if row.status is InstanceStatus.LAUNCHING and row.cloud_id is None:
                facts = MachineFacts(cloud_id=self._machine())
                temp = launch_placeholder(row.instance_id)
                for _ in range(2):
                    self._try(lambda: self.plane.commands.launched(self._caller(who), who[1], temp, facts, None))
                return

    @rule(who=agents, pick=picks)
    def launches_replica(self, who: Any, pick: int) -> None:
        for view in self._try(lambda: self.plane.replicas.to_launch(self._caller(who), who[1])) or ():
            facts = MachineFacts(cloud_id=self._machine(), az=view.replica.az)
            self._try(
                lambda: self.plane.replicas.update(
                    self._caller(who), who[1], view.replica.replica_id, machine=facts, state=ReplicaState.SYNCING
                )
            )
            if pick % 2:
                report = ReplicaStatusReport(state=ReplicaState.READY)
                self._try(
                    lambda: self.plane.replicas.report_status(
                        self._caller(who), who[1], view.replica.replica_id, report
                    )
                )

    @rule(
        who=agents,
        pick=picks,
        state=st.sampled_from([ReplicaState.READY, ReplicaState.FAILED, ReplicaState.TERMINATED]),
    )
    def reports_replica(self, who: Any, pick: int, state: ReplicaState) -> None:
        replica = self._pick_replica(who, pick)
        if replica is None:
            return
        report = ReplicaStatusReport(state=state)
        self._try(lambda: self.plane.replicas.report_status(self._caller(who), who[1], replica.replica_id, report))
        if not replica.is_live:
            kept = self._load(who).replicas.get(replica.replica_id)
            assert kept is None or kept.state is replica.state  # failure 28

    @rule(who=agents, pick=picks, percent=st.integers(min_value=0, max_value=100))
    def reports_sync(self, who: Any, pick: int, percent: int) -> None:
        replica = self._pick_replica(who, pick)
        if replica is not None:
            self._try(
                lambda: self.plane.replicas.report_sync(
                    self._caller(who), who[1], replica.replica_id, status="syncing", latency_ms=5,
                    progress=Decimal(percent),
                )
            )  # fmt: skip

    @rule(who=agents, old=picks, new=picks, fresh=st.booleans(), ended=st.booleans(), success=st.booleans())
    def reports_switch(self, who: Any, old: int, new: int, fresh: bool, ended: bool, success: bool) -> None:
        old_id = self._pick_machine(who, old)
        new_id = self._machine() if fresh else self._pick_machine(who, new)
        if old_id is None or new_id is None or old_id == new_id:
            return
        times = SwitchTimes(old_ended_at=self.clock.now() if ended else None)
        report = SwitchReport(
            old=MachineReport(cloud_id=CloudId(old_id), mode=Mode.SPOT),
            new=MachineReport(cloud_id=CloudId(new_id), mode=Mode.SPOT, az=ZONES[1], instance_type=TYPE),
            times=times, success=success,
        )  # fmt: skip
        first = self._try(lambda: self.plane.commands.switch_report(self._caller(who), who[1], report))
        total = self._load(who).client.total_savings
        second = self._try(lambda: self.plane.commands.switch_report(self._caller(who), who[1], report))
        if first is not None and second is not None and first.state is SwitchState.COMPLETED:
            assert first.switch_id == second.switch_id  # SW-5
            assert self._load(who).client.total_savings == total  # failure 63

    @rule(who=agents, pick=picks, success=st.booleans())
    def reports_termination(self, who: Any, pick: int, success: bool) -> None:
        listed = self._try(lambda: self.plane.commands.terminate_list(self._caller(who), who[1]))
        entries = listed.entries if listed is not None else ()
        machine = entries[pick % len(entries)].instance.cloud_id if entries else self._pick_machine(who, pick)
        if machine is not None:
            self._try(lambda: self.plane.commands.termination_result(self._caller(who), who[1], machine, success, None))

    # AWS

    @rule(
        who=agents,
        pick=picks,
        severity=st.sampled_from(list(Severity)),
        repeats=st.integers(1, 4),
        named=st.sampled_from(["nobody", "its own", "unknown"]),
        ahead=st.sampled_from([None, -30, 20, 120, 700]),
    )
    def sends_notice(
        self, who: Any, pick: int, severity: Severity, repeats: int, named: str, ahead: int | None
    ) -> None:
        now = self.clock.now()
        before = self._load(who)
        machine = {"nobody": None, "unknown": self._machine(), "its own": self._pick_machine(who, pick)}[named]
        notice = Signal(
            severity=severity, cloud_id=machine, received_at=now,
            deadline=now + timedelta(seconds=ahead) if ahead is not None else None,
        )  # fmt: skip
        first = self._try(lambda: self.plane.emergencies.signal(self._caller(who), who[1], notice))
        once = self._load(who)
        for _ in range(repeats - 1):
            self._try(lambda: self.plane.emergencies.signal(self._caller(who), who[1], notice))
        after = self._load(who)
        assert after.agent.primary_id == once.agent.primary_id  # failure 4: n times is once
        assert len(after.switches) == len(once.switches)
        if machine is not None and before.primary is not None and before.primary.cloud_id != machine:
            live_before = before.live_replica
            touched = live_before is not None and before.instances[live_before.instance_id].cloud_id == machine
            if not touched and before.open_failover is None:
                assert after.agent.primary_id == before.agent.primary_id  # failure 5
        assert after.agent.config_version == before.agent.config_version  # MX-13, CV-3
        assert first is None or before.agent.life is Life.LIVE

    @rule(who=agents)
    def notice_with_a_ready_replica_moves_the_role(self, who: Any) -> None:
        before = self._load(who)
        live = before.live_replica
        if before.primary is None or live is None or live.state is not ReplicaState.READY or not before.agent.is_live:
            return
        notice = Signal(severity=Severity.TERMINATION, cloud_id=before.primary.cloud_id, received_at=self.clock.now())
        self._try(lambda: self.plane.emergencies.signal(self._caller(who), who[1], notice))
        assert self._load(who).agent.primary_id == live.instance_id  # failure 10: whatever the settings

    # users

    @rule(
        who=agents,
        auto=st.sampled_from([None, True, False]),
        manual=st.sampled_from([None, True, False]),
        enabled=st.booleans(),
    )
    def changes_settings(self, who: Any, auto: bool | None, manual: bool | None, enabled: bool) -> None:
        wanted = {"auto_switch_enabled": auto, "manual_replica_enabled": manual, "auto_terminate_enabled": enabled}
        change = ConfigChange(wanted={name: value for name, value in wanted.items() if value is not None})
        before = self._load(who)
        answer = self._try(lambda: self.plane.agents.configure(self._caller(who, "client"), who[1], change))
        after = self._load(who)
        step = after.agent.config_version - before.agent.config_version
        assert step == (after.agent.config != before.agent.config)  # CV-1
        if answer is not None:
            assert answer.config == after.agent.config  # MX-12
        if before.open_incidents and before.live_replica is not None and answer is not None:
            assert after.live_replica is not None  # failure 55

    @rule(who=agents, enabled=st.booleans())
    def toggles(self, who: Any, enabled: bool) -> None:
        self._try(lambda: self.plane.agents.toggle(self._caller(who, "client"), who[1], enabled))

    @rule(who=agents)
    def creates_replica(self, who: Any) -> None:
        self._try(lambda: self.plane.replicas.create(self._caller(who, "client"), who[1], ReplicaRequest()))

    @rule(who=agents, pick=picks, demote=st.booleans(), end_old=wishes, another=wishes)
    def promotes_replica(self, who: Any, pick: int, demote: bool, end_old: bool | None, another: bool | None) -> None:
        replica = self._pick_replica(who, pick)
        if replica is not None:
            self._try(
                lambda: self.plane.replicas.promote(
                    self._caller(who, "client"), who[1], replica.replica_id, demote_old_primary=demote,
                    terminate_old=end_old, create_next=another,
                )
            )  # fmt: skip

    @rule(who=agents, pick=picks)
    def deletes_replica(self, who: Any, pick: int) -> None:
        replica = self._pick_replica(who, pick)
        if replica is not None:
            self._try(lambda: self.plane.replicas.delete(self._caller(who, "client"), who[1], replica.replica_id))

    @rule(who=agents, az=zones, ondemand=st.booleans(), end_old=wishes)
    def forces_switch(self, who: Any, az: str, ondemand: bool, end_old: bool | None) -> None:
        primary = self._load(who).primary
        machine = primary.cloud_id if primary is not None else None
        if machine is None:
            return
        wanted = SwitchRequest(
            target_mode=Mode.ONDEMAND if ondemand else Mode.SPOT, pool_id=None if ondemand else f"{TYPE}.{az}",
            terminate_old=end_old,
        )  # fmt: skip
        self._try(lambda: self.plane.machines.force_switch(self._caller(who, "client"), machine, wanted))

    @rule(who=agents, pick=picks)
    def ends_machine(self, who: Any, pick: int) -> None:
        machine = self._pick_machine(who, pick)
        before = self._load(who).agent.primary_id
        if machine is not None:
            self._try(lambda: self.plane.machines.terminate(self._caller(who, "client"), machine))
        assert self._load(who).agent.primary_id == before  # failure 33

    @rule(who=agents)
    def decides(self, who: Any) -> None:
        self._try(lambda: self.plane.decisions.decide(self._caller(who), who[1]))

    @rule(who=agents, chance=st.integers(0, 9))
    def deletes_agent(self, who: Any, chance: int) -> None:
        if chance == 0:
            self._try(lambda: self.plane.agents.delete(self._caller(who, "client"), who[1]))

    @rule(suspend=st.booleans(), pick=picks)
    def suspends_or_resumes(self, suspend: bool, pick: int) -> None:
        client = self.clients[pick % 2]
        self._try(lambda: (self.plane.clients.suspend if suspend else self.plane.clients.resume)(client))

    # operator, time and trouble

    @rule(pick=picks)
    def rotates_token(self, pick: int) -> None:
        client = self.clients[pick % 2]
        issued = self._try(lambda: self.plane.clients.rotate(client))
        with self.transactions() as uow:
            current = uow.clients.current_token(client)
        assert issued is None or (current is not None and current.hint == issued.token[-4:])

    @precondition(lambda self: self.owns_storage)
    @rule(twice=st.booleans())
    def runs_jobs(self, twice: bool) -> None:
        totals = [self.plane.clients.get(client).total_savings for client in self.clients]
        for again in range(2 if twice else 1):
            decided = self.plane.decisions.round(limit=1_000)
            cleaned, accrued = self.plane.pipeline.run(), self.plane.savings.accrue()
            assert (decided.failed, cleaned.failed, accrued.failed) == ((), (), ())
            assert not again or (cleaned.fills_changed, accrued.added, accrued.removed) == (0, 0, 0)  # JB-1
        assert totals == [self.plane.clients.get(client).total_savings for client in self.clients]  # failure 66

    @rule()
    def restarts(self) -> None:
        self.plane = self._new_plane(self.transactions)

    @rule(
        who=agents,
        step=st.integers(1, 8),
        act=st.sampled_from(["notice", "promotion", "settings", "deletion of a replica", "switch", "time"]),
    )
    def breaks_off(self, who: Any, step: int, act: str) -> None:
        """A port raises or the commit fails: what was before is still so, and the same call again is accepted."""
        before, whole = self._load(who), self.plane
        live, machine = before.live_replica, before.primary.cloud_id if before.primary is not None else None
        replica = live.replica_id if live is not None else "none"
        caller, now = self._caller(who, "client"), self.clock.now()
        calls: dict[str, Callable[[], Any]] = {
            "notice": lambda: self.plane.emergencies.signal(
                caller, who[1], Signal(severity=Severity.TERMINATION, cloud_id=machine, received_at=now)
            ),
            "promotion": lambda: self.plane.replicas.promote(caller, who[1], replica),
            "settings": lambda: self.plane.agents.configure(
                caller, who[1], ConfigChange(wanted={"manual_replica_enabled": True})
            ),
            "deletion of a replica": lambda: self.plane.replicas.delete(caller, who[1], replica),
            "switch": lambda: self.plane.machines.force_switch(
                caller, str(machine), SwitchRequest(target_mode=Mode.ONDEMAND)
            ),
            "time": lambda: self.plane.upkeep.advance(*who),
        }
        self.plane = self._new_plane(FailingStorage(self.transactions, at=step).transactions)
        try:
            calls[act]()
        except SpotError as refusal:
            assert refusal.code != "SERVER_ERROR", repr(refusal)
            assert refusal.code != "UNAVAILABLE" or self._load(who) == before  # failure 1
        finally:
            self.plane = whole
        self._try(calls[act])

    @rule(seconds=st.sampled_from([1, 5, 31, 61, 121, 301, 901, 3_700, 7_300, 90_000]), twice=st.booleans())
    def time_passes(self, seconds: int, twice: bool) -> None:
        self.clock.advance(seconds)
        for _ in range(2 if twice else 1):
            result = self.plane.upkeep.tick(limit=1_000)
            assert not result.failed, result.failed
        with self.transactions() as uow:
            mine = set(self.clients)
            late = [turn for turn in uow.agents.due(self.clock.now(), 1_000) if turn.client_id in mine]
        assert not late, "an alarm still rings after it has been served"

    @rule(who=agents)
    def another_client_sees_nothing(self, who: Any) -> None:
        other = next(client for client in self.clients if client != who[0])
        for call in (
            lambda: self.plane.agents.config(Caller(client_id=other), who[1]),
            lambda: self.plane.agents.heartbeat(Caller(client_id=other), who[1], Heartbeat()),
            lambda: self.plane.commands.fetch(Caller(client_id=other), who[1], Dialect.CLASSIC),
            lambda: self.plane.agents.delete(Caller(client_id=other), who[1]),
            lambda: self.plane.agents.configure(
                Caller(client_id=other), who[1], ConfigChange(wanted={"enabled": False})
            ),
            lambda: self.plane.commands.result(Caller(client_id=other), who[1], CommandReport(command="any")),
            lambda: self.plane.emergencies.ended(Caller(client_id=other), who[1], None, "foreign"),
        ):
            try:
                call()
            except NotFound:
                continue
            raise AssertionError("another client's agent answered (GR-8)")

    # what must always hold

    def _everybody(self) -> list[Aggregate]:
        with self.transactions() as uow:
            ids = [(client, agent) for client in self.clients for agent in uow.clients.agent_ids(client)]
            return [uow.agents.get(*who) for who in ids]

    @invariant()
    def invariants_hold(self) -> None:
        if not hasattr(self, "plane"):
            return
        for aggregate in self._everybody():
            self.watch.look(aggregate, self.clock.now())

    def teardown(self) -> None:
        """Liveness: left alone long enough, nothing hangs."""
        if not hasattr(self, "plane"):
            return
        for client in self.clients:
            self._try(partial(self.plane.clients.resume, client))
        for seconds in (1, 400, 1_000, 7_300, 400):
            self.clock.advance(seconds)
            self.plane.upkeep.tick(limit=1_000)
        now = self.clock.now()
        for aggregate in self._everybody():
            for command in aggregate.open_commands:
                assert not command.expired_by(now) or command.state is CommandState.EXECUTING
                assert command.leased_until is None or command.leased_until > now
            for incident in aggregate.open_incidents:
                assert incident.severity is Severity.TERMINATION or now - incident.last_signal_at < QUIET_AFTER
            live = aggregate.live_replica
            ready = live is not None and live.state is ReplicaState.READY
            assert aggregate.primary is not None or not ready or not aggregate.agent.is_live
            listed = {entry.instance.instance_id for entry in endings.terminate_list(aggregate, now)}
            for row in aggregate.instances.values():
                due = endings.zombie_due_at(aggregate, row)
                assert due is None or due > now or row.instance_id in listed or row.last_end_attempt_at is not None
                kept = row.status is InstanceStatus.ZOMBIE and row.end_reason is endings.EndReason.KEPT
                assert not kept or row.instance_id not in listed  # CM-9
            wants = aggregate.agent.config.manual_replica_enabled and aggregate.agent.abilities.can_launch_replica
            if wants and aggregate.primary is not None and aggregate.agent.is_live and aggregate.open_failover is None:
                assert live is not None or aggregate.agent.next_replica_at is not None
        if self.owns_storage:
            assert not self.plane.savings.accrue().failed
            for client in self.clients:
                with self.transactions() as uow:
                    check_ledger(uow, client, now)
