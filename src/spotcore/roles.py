"""Who serves: the one step that moves the primary role (PR-4…PR-7). Nothing else writes ``primary_id`` or periods.

It demotes before it promotes, inside one change, so that I1, I5, I8 and I14 hold before and after and never between.
"""

from datetime import datetime
from decimal import Decimal
from typing import Final

from attrs import evolve, frozen

from spotcore import dispatch
from spotcore.change import Change
from spotcore.commands import Command, CommandKind, Origin
from spotcore.events import EventKind, Level
from spotcore.ids import SwitchId
from spotcore.incidents import IncidentEvent, Outcome
from spotcore.incidents import moved as incident_moved
from spotcore.instances import EndReason, Instance, InstanceEvent, InstanceStatus, moved
from spotcore.market import Market
from spotcore.pools import Mode
from spotcore.switches import CREDITED, PrimaryPeriod, Switch, SwitchState, SwitchTimes, SwitchTrigger

SAID_OF_OLD: Final = "terminate_old"  # in a command's params: a person's own word, not the setting's


@frozen(kw_only=True)
class ReportedPrices:
    """Prices an agent names in its switch report, $/h; unknown ones are None (E75)."""

    ondemand: Decimal | None = None
    old_spot: Decimal | None = None
    new_spot: Decimal | None = None


def price_paid(
    market: Market, mode: Mode, pool_id: str | None, now: datetime, *, spot: Decimal | None, ondemand: Decimal | None
) -> Decimal | None:
    """What a machine of this mode pays per hour: the reported price, else the last known one, else None (7.1, GR-7)."""
    match mode:
        case Mode.SPOT:
            return spot if spot is not None else market.spot_price(pool_id, now)
        case Mode.ONDEMAND:
            return ondemand if ondemand is not None else market.ondemand_price()
        case Mode.UNKNOWN:
            return None


def change_primary(
    change: Change,
    new: Instance,
    *,
    trigger: SwitchTrigger,
    command: Command | None = None,
    keep_old_as_replica: bool = False,
    terminate_old: bool | None = None,
    prices: ReportedPrices = ReportedPrices(),
    times: SwitchTimes = SwitchTimes(),
    downtime_seconds: Decimal | None = None,
    data_loss_possible: bool = False,
    unsolicited: bool = False,
    reported: bool = False,
    reason: str | None = None,
) -> Switch:
    """Make ``new`` the primary and give the switch record. ``new`` is ``launching`` or ``running_replica``.

    ``command`` is the one this fulfils, closed by the caller before; open role-changing commands are cancelled (I4).
    ``terminate_old`` is a person's word on the machine that loses the role; None: the command's, else the setting's.
    """
    old = change.aggregate.primary
    at = _close_period(change)
    if old is not None:
        demoted = InstanceEvent.DEMOTE_TO_REPLICA if keep_old_as_replica else InstanceEvent.DEMOTE  # PR-4
        stepped_down = moved(old, demoted, change.now)
        if stepped_down.status is InstanceStatus.ZOMBIE:
            stepped_down = evolve(stepped_down, end_reason=word_on_old(change, terminate_old, command))
        change.put(stepped_down)
        change.event(
            EventKind.INSTANCE_STATE_CHANGED,
            instance=stepped_down,
            old_status=old.status.value,
            new_status=stepped_down.status.value,
        )
    became = evolve(moved(new, InstanceEvent.BECOME_PRIMARY, change.now), bound_command_id=None, end_reason=None)
    change.put(became)  # PR-5
    switch = _record(
        change,
        old,
        became,
        was=new.status,
        trigger=trigger,
        command=command,
        prices=prices,
        times=times,
        downtime_seconds=downtime_seconds,
        data_loss_possible=data_loss_possible,
        unsolicited=unsolicited,
        reported=reported,
        reason=reason,
    )  # PR-6
    _open_period(change, became, at, switch.switch_id)
    change.set_agent(primary_id=became.instance_id, last_switch_at=change.now, no_primary_since=None)
    _settle_commands(change, became, old, trigger)
    _mark_incidents(change, old, became, switch)
    return switch


def word_on_old(change: Change, said: bool | None, command: Command | None) -> EndReason | None:
    """What a person has said of the old machine's end; None leaves it to the agent's setting (CM-9, E34, E46)."""
    if said is None and command is not None:
        said = command.params.get(SAID_OF_OLD)
    if said is None:
        return None
    if not said:
        return EndReason.KEPT
    return None if change.agent.config.auto_terminate_enabled else EndReason.MANUAL_TERMINATE


def record_succession(
    change: Change,
    old: Instance,
    *,
    trigger: SwitchTrigger,
    command: Command,
    prices: ReportedPrices,
    times: SwitchTimes,
    downtime_seconds: Decimal | None,
) -> Switch:
    """The record of a switch whose new machine became the first primary of another agent (RG-10). Its first period
    belongs to this record from now on (I14)."""
    primary = change.aggregate.primary
    assert primary is not None  # the caller has seen it
    switch = _record(
        change,
        old,
        primary,
        was=InstanceStatus.LAUNCHING,
        trigger=trigger,
        command=command,
        prices=prices,
        times=times,
        downtime_seconds=downtime_seconds,
        data_loss_possible=False,
        unsolicited=False,
        reported=True,
        reason="the agent came back under the id of its new machine",
    )
    first, *later = change.aggregate.periods
    change.set_periods((evolve(first, switch_id=switch.switch_id), *later))
    return switch


def first_primary(change: Change, instance: Instance) -> None:
    """The first machine of a new agent serves from the start (RG-1); no switch record (I14)."""
    change.put(instance)
    _open_period(change, instance, change.now, None)
    change.set_agent(primary_id=instance.instance_id)


def lose_primary(change: Change) -> None:
    """Nobody serves any more: close the period. The caller moves the machine itself on."""
    _close_period(change)
    change.set_agent(primary_id=None, no_primary_since=change.now)


def _close_period(change: Change) -> datetime:
    """End the open period, and give the instant at which the next one may start. Host clocks may step back (I8)."""
    periods = change.aggregate.periods
    if not periods:
        return change.now
    last = periods[-1]
    if last.ended_at is not None:
        return max(change.now, last.ended_at)
    at = max(change.now, last.started_at)
    change.set_periods((*periods[:-1], evolve(last, ended_at=at)))
    return at


def _open_period(change: Change, instance: Instance, at: datetime, switch_id: SwitchId | None) -> None:
    period = PrimaryPeriod(
        agent_id=change.agent.agent_id,
        client_id=change.agent.client_id,
        instance_id=instance.instance_id,
        started_at=at,
        switch_id=switch_id,
    )
    change.set_periods((*change.aggregate.periods, period))


def _record(
    change: Change,
    old: Instance | None,
    new: Instance,
    *,
    was: InstanceStatus,
    trigger: SwitchTrigger,
    command: Command | None,
    prices: ReportedPrices,
    times: SwitchTimes,
    downtime_seconds: Decimal | None,
    data_loss_possible: bool,
    unsolicited: bool,
    reported: bool,
    reason: str | None,
) -> Switch:
    ondemand = prices.ondemand if prices.ondemand is not None else change.market.ondemand_price()
    old_mode = old.mode if old else Mode.UNKNOWN
    old_pool = old.pool_id if old else None
    old_price = price_paid(change.market, old_mode, old_pool, change.now, spot=prices.old_spot, ondemand=ondemand)
    new_price = price_paid(change.market, new.mode, new.pool_id, change.now, spot=prices.new_spot, ondemand=ondemand)
    impact = old_price - new_price if old_price is not None and new_price is not None else None
    credited = impact * 24 if impact is not None and impact > 0 and trigger in CREDITED else Decimal(0)  # 7.1
    if downtime_seconds is None and old is None:
        downtime_seconds = _time_without_primary(change)  # SW-1
    incident = change.aggregate.incident_of(old.instance_id) if old else change.aggregate.open_failover
    switch = Switch(
        switch_id=SwitchId(change.new_id()),
        client_id=change.agent.client_id,
        agent_id=change.agent.agent_id,
        state=SwitchState.COMPLETED,
        trigger=trigger,
        recorded_at=change.now,
        old_instance_id=old.instance_id if old else None,
        new_instance_id=new.instance_id,
        old_cloud_id=old.cloud_id if old else None,
        new_cloud_id=new.cloud_id,
        old_mode=old_mode,
        new_mode=new.mode,
        old_pool_id=old_pool,
        new_pool_id=new.pool_id,
        old_price=old_price,
        new_price=new_price,
        ondemand_price=ondemand,
        savings_impact=impact,
        credited=credited,
        times=times,
        downtime_seconds=downtime_seconds,
        command_id=command.command_id if command else None,
        incident_id=incident.incident_id if incident else None,
        unsolicited=unsolicited,
        reported=reported,
        data_loss_possible=data_loss_possible,
        reason=reason,
    )
    change.put(switch)
    if credited:
        change.set_client(total_savings=change.client.total_savings + credited)
    change.event(
        EventKind.SWITCH_COMPLETED,
        instance=new,
        switch_id=switch.switch_id,
        trigger=trigger.value,
        target=new.pool_id or new.mode.value,
        old_machine=switch.old_cloud_id,
        savings_impact=impact,
        old_status=was.value,
        new_status=new.status.value,
    )
    return switch


def _time_without_primary(change: Change) -> Decimal | None:
    since = change.agent.no_primary_since
    return Decimal(str((change.now - since).total_seconds())) if since else None


def _settle_commands(change: Change, new: Instance, old: Instance | None, trigger: SwitchTrigger) -> None:
    """PR-6, CM-7, CM-8: what was ordered for the old primary is cancelled or re-addressed; modern agents are told."""
    for command in change.aggregate.open_commands:
        if command.kind is CommandKind.TERMINATE and command.target_instance_id == new.instance_id:
            dispatch.cancel(change, command, "its target became primary", level=Level.CRITICAL)  # CM-8, I7
        elif command.is_role_changing:
            dispatch.cancel(change, command, "overtaken by a primary change")
        elif command.kind is CommandKind.TERMINATE:
            change.put(evolve(command, addressed_to=new.instance_id))
    if change.agent.abilities.modern and trigger is not SwitchTrigger.REHOME:
        origin = Origin.EMERGENCY if trigger is SwitchTrigger.EMERGENCY else Origin.OPERATOR
        dispatch.queue(
            change,
            CommandKind.PROMOTE,
            origin,
            target=new,
            params={"old_primary_id": old.cloud_id if old else None},
        )


def _mark_incidents(change: Change, old: Instance | None, new: Instance, switch: Switch) -> None:
    """Every open incident of the machine that just lost the role has its successor now."""
    for incident in change.aggregate.open_incidents:
        lost_here = old is not None and incident.instance_id == old.instance_id
        if incident.promoted_at is None and (lost_here or incident.is_open_failover):
            handled = incident_moved(incident, IncidentEvent.HANDLE, change.now)
            change.put(
                evolve(
                    handled,
                    promoted_at=change.now,
                    new_instance_id=new.instance_id,
                    new_cloud_id=new.cloud_id,
                    switch_id=switch.switch_id,
                    outcome=Outcome.REPLICA_PROMOTED,
                    promote_on_ready=False,
                    next_attempt_at=None,
                    data_loss_possible=switch.data_loss_possible,
                    actions=(*incident.actions, f"{new.cloud_id} became primary"),
                )
            )
