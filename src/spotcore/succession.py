"""One workload under two identities (RG-10): a classic agent without a configured logical id that switches comes back
as a new agent, and only its report says that the two are one. The new agent takes over, the old one is retired."""

from attrs import evolve, frozen

from spotcore import dispatch, endings, modes, retirement, roles, switching
from spotcore.aggregate import Aggregate
from spotcore.change import Change
from spotcore.commands import Command, CommandState
from spotcore.config import AgentConfig, ConfigChange, as_values
from spotcore.instances import Instance, InstanceEvent, moved
from spotcore.switches import Switch, SwitchTrigger
from spotcore.switching import SwitchReport


@frozen(kw_only=True)
class Estate:
    """What the old agent leaves to the new one."""

    machine: Instance  # its primary, as it was
    command: Command
    config: AgentConfig


def is_succession(old: Aggregate, heir: Aggregate, report: SwitchReport) -> bool:
    """True when ``report`` of the old agent names the heir's machine, and the switch it answers was handed out before
    the heir registered. Nothing is inferred without that report."""
    primary, successor = old.primary, heir.primary
    if not report.success or primary is None or successor is None:
        return False
    unconfigured = old.agent.logical_agent_id == primary.cloud_id and heir.agent.logical_agent_id == successor.cloud_id
    named = primary.cloud_id == report.old.cloud_id and successor.cloud_id == report.new.cloud_id
    return (
        old.agent.is_live
        and heir.agent.is_live
        and not old.agent.abilities.modern
        and unconfigured
        and named
        and any(
            command.delivered_at is not None and heir.agent.registered_at >= command.delivered_at
            for command in old.open_commands
            if command.state is CommandState.EXECUTING
        )
    )


def leave(change: Change, heir: Aggregate, report: SwitchReport) -> Estate | None:
    """The old agent's side: its switch is done, its machine a zombie and never released, the agent retired. None when
    the report is no succession after all."""
    command = switching.matched_command(change, report)
    machine = change.aggregate.primary
    if command is None or machine is None or not is_succession(change.aggregate, heir, report):
        return None
    config = change.agent.config
    done = dispatch.complete(change, command, {"finished_by": "report", "succeeded_by": heir.agent.agent_id})
    roles.lose_primary(change)
    said = roles.word_on_old(change, None, command)
    change.put(evolve(moved(machine, InstanceEvent.DEMOTE, change.now), end_reason=said))  # IN-6
    retirement.retire(change, heir=heir.agent.agent_id)
    if report.times.old_ended_at is not None:
        endings.confirm_end(change, change.aggregate.instances[machine.instance_id])  # SW-8, IN-13
    return Estate(machine=machine, command=done, config=config)


def inherit(change: Change, estate: Estate, report: SwitchReport) -> Switch:
    """The new agent's side: the switch stands in its history, with the settings and the cooldown of the old one."""
    trigger = SwitchTrigger(estate.command.trigger) if estate.command.trigger else report.trigger
    switch = roles.record_succession(
        change,
        estate.machine,
        trigger=trigger,
        command=estate.command,
        prices=report.prices,
        times=switching.ordered(report.times),
        downtime_seconds=switching.reported_downtime(report),
    )
    modes.apply(change, ConfigChange(wanted=as_values(estate.config)))
    change.set_agent(last_switch_at=change.now)
    return switch
