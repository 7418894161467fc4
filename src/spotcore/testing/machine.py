"""The stateful machine (section 13): agents, AWS and users do whatever they like in any order, over either storage.

After every step I1…I14 hold for every agent, terminal rows are as they were, and tenants see only their own.
"""

import uuid
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from spotcore import endings, liveness, upkeep
from spotcore.agents import Life
from spotcore.aggregate import Aggregate, differs_in_signs_alone, violations
from spotcore.builds import ABILITIES, Build, Evidence
from spotcore.commands import CommandKind, CommandState
from spotcore.config import ConfigChange
from spotcore.control_plane import control_plane
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
from spotcore.service.agents import MOMENT
from spotcore.service.kernel import Caller
from spotcore.service.machines import SwitchRequest
from spotcore.service.prices import PriceItem, PriceSheet
from spotcore.service.replicas import ReplicaRequest
from spotcore.simulation.identity import CountedIdentity
from spotcore.simulation.scenario import START
from spotcore.standby import MachineFacts
from spotcore.steady import steady_of, with_signs
from spotcore.switches import SwitchState, SwitchTimes
from spotcore.switching import MachineReport, SwitchReport
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


def _without_due(aggregate: Aggregate) -> Aggregate:
    return evolve(aggregate, agent=evolve(aggregate.agent, due_at=None))


def _only_aged(before: Aggregate, after: Aggregate) -> bool:
    """True when rows that have grown old are no longer loaded, and nothing else is different but signs of life."""
    names = ("instances", "replicas", "commands", "incidents", "switches")
    rows: dict[str, Any] = {
        name: {key: getattr(before, name).get(key) for key in getattr(after, name)} for name in names
    }
    old = evolve(before, client=after.client, periods=after.periods, **rows)
    return None not in [row for some in rows.values() for row in some.values()] and differs_in_signs_alone(old, after)


class FleetMachine(RuleBasedStateMachine):
    """Subclass it, give it your storage, and run ``YourMachine.TestCase``: everything else is the same for all.

    The storage may hold other tenants already; the machine makes its own and touches no other."""

    agents = Bundle("agents")

    def open_storage(self, clock: ManualClock) -> Transactions:
        """The storage under test, for a control plane whose time is ``clock``'s."""
        # no abstract method: the metaclass is Hypothesis's own
        raise NotImplementedError("a subclass opens the storage it wants tested")

    @initialize(target=agents, builds=st.lists(st.sampled_from(sorted(BUILD_EVIDENCE)), min_size=2, max_size=3))
    def start(self, builds: list[Build]) -> Any:
        self.clock = ManualClock(START)
        self.transactions = self.open_storage(self.clock)
        identity = CountedIdentity(uuid.uuid4().int)  # a storage may hold other runs already
        self.plane = control_plane(transactions=self.transactions, clock=self.clock, identity=identity)
        self.tag = uuid.uuid4().hex[:8]
        self.machines = 0
        self.clients = [self.plane.clients.create(f"client {n} {self.tag}").client.client_id for n in range(2)]
        self.versions: dict[AgentId, int] = {}
        self.seen: dict[str, Aggregate] = {}
        self.ended: dict[str, InstanceStatus] = {}
        made = [
            self._register(self.clients[n % 2], f"logical-{n}", build, ZONES[n % 3]) for n, build in enumerate(builds)
        ]
        return multiple(*made)

    # helpers

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

    def _prices(self, client: ClientId, agent: AgentId) -> None:
        spot = tuple(
            PriceItem(pool=f"{TYPE}.{az}", price=Decimal("0.03") + n / Decimal(100)) for n, az in enumerate(ZONES)
        )
        sheet = PriceSheet(spot=spot, ondemand=(PriceItem(price=Decimal("0.096")),))
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

    @rule(who=agents)
    def reports_prices(self, who: Any) -> None:
        self._prices(*who)

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
        named=st.booleans(),
        ahead=st.sampled_from([None, -30, 20, 120, 700]),
    )
    def sends_notice(
        self, who: Any, pick: int, severity: Severity, repeats: int, named: bool, ahead: int | None
    ) -> None:
        now = self.clock.now()
        before = self._load(who)
        machine = self._pick_machine(who, pick) if named else None
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

    @rule(who=agents, pick=picks, demote=st.booleans())
    def promotes_replica(self, who: Any, pick: int, demote: bool) -> None:
        replica = self._pick_replica(who, pick)
        if replica is not None:
            self._try(
                lambda: self.plane.replicas.promote(
                    self._caller(who, "client"), who[1], replica.replica_id, demote_old_primary=demote
                )
            )

    @rule(who=agents, pick=picks)
    def deletes_replica(self, who: Any, pick: int) -> None:
        replica = self._pick_replica(who, pick)
        if replica is not None:
            self._try(lambda: self.plane.replicas.delete(self._caller(who, "client"), who[1], replica.replica_id))

    @rule(who=agents, az=zones, ondemand=st.booleans())
    def forces_switch(self, who: Any, az: str, ondemand: bool) -> None:
        primary = self._load(who).primary
        machine = primary.cloud_id if primary is not None else None
        if machine is None:
            return
        wanted = SwitchRequest(
            target_mode=Mode.ONDEMAND if ondemand else Mode.SPOT, pool_id=None if ondemand else f"{TYPE}.{az}"
        )
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

    # operator and time

    @rule(seconds=st.sampled_from([1, 5, 31, 61, 121, 301, 901, 3_700, 7_300, 90_000]), twice=st.booleans())
    def time_passes(self, seconds: int, twice: bool) -> None:
        self.clock.advance(seconds)
        for _ in range(2 if twice else 1):
            result = self.plane.upkeep.tick(limit=1_000)
            assert not result.failed, result.failed
        with self.transactions() as uow:
            mine = set(self.clients)
            late = [who for who in uow.agents.due(self.clock.now(), 1_000) if who[0] in mine]
        assert not late, "an alarm still rings after it has been served"

    @rule(who=agents)
    def another_client_sees_nothing(self, who: Any) -> None:
        other = next(client for client in self.clients if client != who[0])
        for call in (
            lambda: self.plane.agents.config(Caller(client_id=other), who[1]),
            lambda: self.plane.agents.heartbeat(Caller(client_id=other), who[1], Heartbeat()),
            lambda: self.plane.commands.fetch(Caller(client_id=other), who[1], Dialect.CLASSIC),
            lambda: self.plane.agents.delete(Caller(client_id=other), who[1]),
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
            assert not list(violations(aggregate))
            config = aggregate.agent.config
            assert not (config.auto_switch_enabled and config.manual_replica_enabled)  # I3
            version = aggregate.agent.config_version
            assert version >= self.versions.get(aggregate.agent.agent_id, 1)  # I6
            self.versions[aggregate.agent.agent_id] = version
            self._check_terminate_list(aggregate)
            self._check_history(aggregate)
            self._check_terminal(aggregate)
            self._check_steady(aggregate)
            self._check_revision(aggregate)

    def _check_steady(self, aggregate: Aggregate) -> None:
        """The short way of a heartbeat does what the ordinary one would (steady.py)."""
        now, agent_id = self.clock.now(), aggregate.agent.agent_id
        if aggregate.agent.life is Life.DELETED:
            return
        for beat in (Heartbeat(), *(Heartbeat(cloud_id=row.cloud_id) for row in aggregate.instances.values())):
            rule = partial(liveness.heartbeat, beat=beat)
            first = upkeep.decide(aggregate, now, rule, actor="agent")
            probe = upkeep.decide(first.after, now + MOMENT, rule, actor="agent")
            steady = steady_of(probe, agent_id, upkeep.signs(probe.after))
            for seconds in (1, 100, 119):
                later = now + timedelta(seconds=seconds)
                if steady is None or (steady.until is not None and later >= steady.until):
                    continue
                again = upkeep.decide(first.after, later, rule, actor="agent")
                noted = with_signs(first.after, steady, later)
                assert not again.events
                assert evolve(again.answer, server_time=probe.answer.server_time) == probe.answer
                assert _without_due(noted) == _without_due(again.after)
                assert again.after.agent.revision == steady.revision
                due = again.after.agent.due_at
                assert noted.agent.due_at == due or (not steady.is_agents and noted.agent.due_at in (None, due))

    def _check_revision(self, aggregate: Aggregate) -> None:
        """Whatever is more than a sign of life has a revision of its own."""
        before = self.seen.get(aggregate.agent.agent_id)
        if before is not None and aggregate.agent.revision == before.agent.revision:
            assert _only_aged(before, aggregate)
        self.seen[aggregate.agent.agent_id] = aggregate

    def _check_terminate_list(self, aggregate: Aggregate) -> None:
        """I7, I10, IN-25."""
        live = aggregate.live_replica
        for entry in endings.terminate_list(aggregate, self.clock.now()):
            assert entry.instance.cloud_id is not None
            assert not entry.instance.is_primary
            assert live is None or live.instance_id != entry.instance.instance_id
            assert not entry.instance.notice_protects(self.clock.now())  # Z19

    def _check_history(self, aggregate: Aggregate) -> None:
        """I14: one completed switch per primary period but the first."""
        made = {row.switch_id for row in aggregate.switches.values() if row.state is SwitchState.COMPLETED}
        used = {period.switch_id for period in aggregate.periods if period.switch_id is not None}
        recent = {row.switch_id for row in aggregate.switches.values()}
        assert made == used & recent
        assert len(used) == sum(period.switch_id is not None for period in aggregate.periods)

    def _check_terminal(self, aggregate: Aggregate) -> None:
        """GR-4."""
        for row in aggregate.instances.values():
            known = self.ended.get(row.instance_id)
            assert known is None or row.status is known
            if row.is_terminal:
                self.ended[row.instance_id] = row.status

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
            wants = aggregate.agent.config.manual_replica_enabled and aggregate.agent.abilities.can_launch_replica
            if wants and aggregate.primary is not None and aggregate.agent.is_live and aggregate.open_failover is None:
                assert live is not None or aggregate.agent.next_replica_at is not None
