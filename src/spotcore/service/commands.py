"""Agents fetch commands and report results: E40, E41, E55, E56, E69…E73, E75."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from attrs import field, frozen

from spotcore import dispatch, endings, reports, retirement, succession, switching
from spotcore.agents import Life
from spotcore.builds import VERDICTS, Evidence
from spotcore.change import Change
from spotcore.commands import Command, CommandKind
from spotcore.dispatch import Dialect
from spotcore.endings import Listed
from spotcore.errors import NotFound, SpotError
from spotcore.ids import AgentId, InstanceId
from spotcore.instances import Instance
from spotcore.liveness import observe
from spotcore.ports.storage import Keys, UnitOfWork
from spotcore.reports import CommandReport
from spotcore.service.kernel import Caller, Kernel, require_live, require_not_deleted
from spotcore.standby import MachineFacts
from spotcore.switches import Switch
from spotcore.switching import SwitchReport

_EVIDENCE: Final[Mapping[Dialect, Evidence]] = {
    Dialect.CLASSIC: Evidence.FETCHED_COMMANDS,
    Dialect.MODERN: Evidence.MODERN_CALL,
}


@frozen(kw_only=True)
class HandedOut:
    """Commands under lease, with the words the wire needs for their machines."""

    commands: tuple[Command, ...] = ()
    machines: Mapping[InstanceId, Instance] = field(factory=dict)
    idle_at: int | None = None  # the agent's revision at which a poll like this one finds nothing and changes nothing
    idle_until: datetime | None = None  # from here on time alone may change that


@frozen(kw_only=True)
class TerminateList:
    """E55 (IN-25)."""

    entries: tuple[Listed, ...]
    auto_terminate_enabled: bool
    terminate_wait_seconds: int


@frozen
class Commands:
    """Hand-out and results."""

    kernel: Kernel

    def fetch(self, caller: Caller, agent_id: AgentId, dialect: Dialect) -> HandedOut:
        """What the agent is to do now, leased to it (CM-4). One cheap statement when there is nothing."""
        evidence = _EVIDENCE[dialect]
        with self.kernel.transactions() as uow:
            view = uow.agents.poll(caller.client_id, agent_id)
            if view.life is Life.DELETED:
                raise NotFound("unknown agent")
            known = view.build is VERDICTS.get(evidence, view.build) and view.able_since_registration
            if known and not view.has_open_commands:
                return HandedOut(idle_at=view.revision if view.life is Life.LIVE else None)

            def rule(change: Change) -> HandedOut:
                require_not_deleted(change.aggregate)
                observe(change, (evidence,))
                revision = (
                    change.agent.revision
                )  # whatever changes here moves it on, and ends the idleness it stands for
                handed = dispatch.hand_out(change, dialect)
                machines = dict(change.aggregate.instances)
                if handed or change.agent.life is not Life.LIVE or change.client.is_suspended:  # Z26 ends unseen
                    return HandedOut(commands=handed, machines=machines)
                return HandedOut(idle_at=revision, idle_until=dispatch.quiet_until(change))

            answer = self.kernel.within(uow, caller, agent_id, rule)
        assert isinstance(answer, HandedOut)
        return answer

    def of_agent(self, caller: Caller, agent_id: AgentId) -> tuple[Command, ...]:
        """Open commands and those that ended in the last eight days, newest first. Raises ``NotFound``."""
        with self.kernel.transactions() as uow:
            found = uow.agents.get(caller.client_id, agent_id).commands.values()
        return tuple(sorted(found, key=lambda one: (one.created_at, one.command_id), reverse=True))

    def withdraw(self, caller: Caller, agent_id: AgentId, command_id: str) -> Command:
        """Take back a planned move that no agent has fetched yet. Raises ``NotFound``, ``StateConflict``."""

        def rule(change: Change) -> Command:
            require_not_deleted(change.aggregate)
            return dispatch.withdraw(change, command_id)

        return self.kernel.run(caller, agent_id, rule, keys=Keys(command_ids=(command_id,)))

    def result(
        self, caller: Caller, agent_id: AgentId, report: CommandReport, evidence: tuple[Evidence, ...] = ()
    ) -> Command | None:
        """E70, E72, E73: the command after the report; None when no command of this agent has that id (CM-6)."""

        def rule(change: Change) -> Command | None:
            require_not_deleted(change.aggregate)
            observe(change, evidence)
            return reports.command_result(change, report)

        machine = (report.machine.cloud_id,) if report.machine else ()
        keys = Keys(command_ids=(report.command,), cloud_ids=machine)
        if report.machine is not None:
            self._claim(caller, agent_id, report.machine.cloud_id)
        return self.kernel.run(caller, agent_id, rule, keys=keys, market=True)

    def launched(
        self, caller: Caller, agent_id: AgentId, temp_id: str, facts: MachineFacts, request_id: str | None
    ) -> Instance:
        """E40: the machine's row after the confirmation. Raises ``NotFound`` for an unknown temporary id."""

        def rule(change: Change) -> Instance:
            require_live(change.aggregate)
            observe(change, (Evidence.MODERN_CALL,))
            return reports.launch_confirmed(change, temp_id, facts, request_id)

        keys = Keys(
            cloud_ids=(facts.cloud_id,), instance_ids=(temp_id,), command_ids=(request_id,) if request_id else ()
        )
        self._claim(caller, agent_id, facts.cloud_id)
        return self.kernel.run(caller, agent_id, rule, keys=keys, market=True)

    def _claim(self, caller: Caller, agent_id: AgentId, cloud_id: str) -> None:
        """A launched host may have registered as an agent of its own before its launch was confirmed. The confirmation
        says whose it is: that agent is merged into the one that launched it. Anybody else's machine is left alone."""
        with self.kernel.transactions() as uow:
            rows = [row for row in uow.agents.bindings(cloud_id) if not row.is_terminal]
            strangers = [row for row in rows if row.agent_id != agent_id]
            if not strangers or strangers[0].client_id != caller.client_id:
                return
            launcher = uow.agents.get(caller.client_id, agent_id)
            launches = [one for one in launcher.open_commands if one.kind is CommandKind.LAUNCH and one.delivered_at]
            began = min((one.delivered_at for one in launches if one.delivered_at), default=None)
            stranger = uow.agents.get(caller.client_id, strangers[0].agent_id)
            alone = len(stranger.instances) == 1 and stranger.agent.agent_id != launcher.agent.agent_id
            if began is None or stranger.agent.registered_at <= began or not alone:
                return
            into = launcher.agent.agent_id
            self.kernel.within(uow, caller, stranger.agent.agent_id, lambda change: retirement.merge_into(change, into))

    def terminated(self, caller: Caller, agent_id: AgentId, cloud_id: str) -> Instance:
        """E41: the machine's row after the confirmation. Raises ``NotFound``."""

        def rule(change: Change) -> Instance:
            require_not_deleted(change.aggregate)
            machine = change.aggregate.machine(cloud_id)
            if machine is None:
                raise NotFound("unknown instance")
            return reports.machine_ended(change, machine)

        return self.kernel.run(caller, agent_id, rule, keys=Keys(cloud_ids=(cloud_id,)), market=True)

    def termination_result(
        self, caller: Caller, agent_id: AgentId, cloud_id: str, success: bool, error: str | None
    ) -> Instance:
        """E56, result form. Raises ``NotFound``."""

        def rule(change: Change) -> Instance:
            require_not_deleted(change.aggregate)
            return reports.termination_result(change, cloud_id, success, error)

        return self.kernel.run(caller, agent_id, rule, keys=Keys(cloud_ids=(cloud_id,)), market=True)

    def terminate_list(self, caller: Caller, agent_id: AgentId) -> TerminateList:
        """E55: re-judged at every call (I7); reading it changes nothing but what we know of the build."""

        def rule(change: Change) -> TerminateList:
            require_not_deleted(change.aggregate)
            observe(change, (Evidence.CLASSIC_CALL,))
            entries = endings.terminate_list(change.aggregate, change.now)
            explicit = any(entry.reason is not endings.EndReason.ZOMBIE_TIMEOUT for entry in entries)
            config = change.agent.config
            return TerminateList(
                entries=entries,
                auto_terminate_enabled=config.auto_terminate_enabled or explicit,
                terminate_wait_seconds=config.terminate_wait_seconds,
            )

        return self.kernel.run(caller, agent_id, rule)

    def switch_report(self, caller: Caller, agent_id: AgentId, report: SwitchReport) -> Switch:
        """E75. Raises ``NotFound`` when a machine it names belongs to somebody else."""

        def rule(change: Change) -> Switch:
            require_live(change.aggregate)
            return switching.judge_report(change, report)

        keys = Keys(
            cloud_ids=(report.old.cloud_id, report.new.cloud_id),
            command_ids=(report.command_id,) if report.command_id else (),
        )
        with self.kernel.transactions() as uow:
            owners = [
                row
                for cloud_id in (report.old.cloud_id, report.new.cloud_id)
                for row in uow.agents.bindings(cloud_id)
                if not row.is_terminal
            ]
            if any(row.client_id != caller.client_id for row in owners):
                raise NotFound("unknown instance")
            heirs = [row.agent_id for row in owners if row.cloud_id == report.new.cloud_id and row.agent_id != agent_id]
            answer = self._succession(uow, caller, agent_id, heirs[0], report) if heirs else None
            if answer is None:
                answer = self.kernel.within(uow, caller, agent_id, rule, keys=keys, market=True)
        if isinstance(answer, SpotError):
            raise answer
        return answer

    def _succession(
        self, uow: UnitOfWork, caller: Caller, agent_id: AgentId, heir_id: AgentId, report: SwitchReport
    ) -> Switch | SpotError | None:
        """RG-10, both agents locked in the order of their ids; None when the report is nothing of the kind."""
        locked = {one: uow.agents.lock(caller.client_id, one) for one in sorted((agent_id, heir_id))}
        heir = locked[heir_id]
        if not succession.is_succession(locked[agent_id], heir, report):
            return None
        estate = self.kernel.within(
            uow, caller, agent_id, lambda change: succession.leave(change, heir, report), market=True
        )
        if estate is None or isinstance(estate, SpotError):
            return estate
        return self.kernel.within(
            uow, caller, heir_id, lambda change: succession.inherit(change, estate, report), market=True
        )
