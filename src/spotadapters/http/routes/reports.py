"""E74…E76: prices, switches, clean-ups, in every shape that is in the field (T06, C11, C12)."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from attrs import asdict, frozen

from spotadapters.http.envelope import Answer
from spotadapters.http.pulse import Repeat
from spotadapters.http.routes.agents import AGENT, SAFE
from spotadapters.http.routing import Call, Endpoint
from spotadapters.wire.answers import shown
from spotadapters.wire.parsing import instant, required, wire
from spotadapters.wire.shapes import shape
from spotadapters.wire.words import TRIGGER_IN, known, mode_of
from spotcore.builds import Evidence
from spotcore.errors import ValidationFailed
from spotcore.ids import CloudId, is_cloud_id
from spotcore.roles import ReportedPrices
from spotcore.service.prices import PriceAnswer, PriceItem, PriceSheet
from spotcore.switches import SwitchTimes, SwitchTrigger
from spotcore.switching import MachineReport, SwitchReport

MAX_ITEMS: Final = 5_000


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(*values: Any) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for value in values:
        if isinstance(value, list):
            found += [_object(item) for item in value[:MAX_ITEMS]]
    return found


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= 128 else None


def _at(value: Any) -> datetime | None:
    """A time an item gives; None when it gives none. Nonsense is not "now": the caller refuses the item."""
    return instant(value) if value is not None else None


def _spot_item(item: Mapping[str, Any], sheet_time: Any) -> PriceItem:
    price = _first(item.get("spot_price"), item.get("price"))
    try:
        observed_at = _at(_first(item.get("timestamp"), sheet_time))
    except ValueError:
        observed_at, price = None, None  # refused as a whole, alone (DQ-2)
    return PriceItem(
        pool=_text(item.get("pool_id")),
        instance_type=_text(item.get("instance_type")),
        az=_text(item.get("az")),
        price=price,
        observed_at=observed_at,
        product=_first(item.get("product_description"), item.get("ProductDescription")),
    )


def _ondemand_item(price: Any, instance_type: Any, at: Any) -> PriceItem:
    try:
        observed_at = _at(at)
    except ValueError:
        observed_at, price = None, None
    return PriceItem(instance_type=_text(instance_type), price=price, observed_at=observed_at)


def price_sheet(data: Mapping[str, Any]) -> PriceSheet:
    """E74's four shapes, also mixed."""
    instance, pricing = _object(data.get("instance")), _object(data.get("pricing"))
    records = _items(data.get("pricing_data_array"))
    time = _first(pricing.get("collected_at"), data.get("collected_at"), data.get("timestamp"))
    listed = _items(pricing.get("spot_pools"), data.get("spot_pools"), data.get("spot_prices"), data.get("pools"))
    own_type = _first(instance.get("instance_type"), data.get("instance_type"))
    spot = [_spot_item({"instance_type": own_type, **item}, time) for item in listed]
    spot += [_spot_item(item, time) for item in records if item.get("price_type") != "ondemand"]
    named = data.get("on_demand_price")
    nested = named.get("price") if isinstance(named, dict) else named
    price = _first(nested, pricing.get("on_demand_price"), data.get("ondemand_price"))
    ondemand = [_ondemand_item(price, own_type, time)] if price is not None else []
    ondemand += [
        _ondemand_item(item.get("price"), item.get("instance_type"), _first(item.get("timestamp"), time))
        for item in records
        if item.get("price_type") == "ondemand"
    ]
    evidence: tuple[Evidence, ...] = ()
    if "pricing_data_array" in data:
        evidence = (Evidence.MODERN_CALL,)
    elif "current_mode" in instance and "pricing" not in data:
        evidence = (Evidence.MARK_EXECUTED,)
    machine = _first(_text(instance.get("instance_id")), _text(data.get("instance_id")))
    mode = _first(_text(instance.get("mode")), _text(instance.get("current_mode")), _text(data.get("current_mode")))
    return PriceSheet(
        cloud_id=machine if is_cloud_id(machine) else None,
        instance_type=known(_text(own_type)),
        mode=mode_of(mode),
        spot=tuple(spot),
        ondemand=tuple(ondemand),
        evidence=evidence,
    )


def decision_sheet(data: Mapping[str, Any]) -> PriceSheet:
    """E62's shapes: v4n's flat one, and the nested ones of older notes."""
    nested, state = _object(data.get("pricing")), _object(data.get("pricing_data"))
    listed = _items(data.get("spot_pools"), nested.get("spot_pools"), state.get("available_pools"))
    price = _first(data.get("ondemand_price"), nested.get("on_demand_price"), state.get("ondemand_price"))
    flat = "spot_pools" in data or "ondemand_price" in data
    machine = _first(
        _text(_object(data.get("instance")).get("instance_id")),
        _text(_object(data.get("current_state")).get("instance_id")),
    )
    positive = isinstance(price, int | Decimal) and not isinstance(price, bool) and price > 0  # 0.0 is missing (DQ-8)
    return PriceSheet(
        cloud_id=machine if is_cloud_id(machine) else None,
        spot=tuple(_spot_item(item, None) for item in listed),
        ondemand=(_ondemand_item(price, None, None),) if positive else (),
        evidence=(Evidence.NOTICE_ONLY,) if flat else (),
    )


@shape
class PricesRecorded:
    """E74: spot items, a repeat counting as inserted (P16)."""

    success: bool = True
    records_inserted: int
    records_rejected: int


def pricing_report(call: Call) -> Answer:
    """E74."""
    caller = call.agent_caller()
    counted = call.plane.prices.report(caller, call.agent_id, price_sheet(call.data()))
    data, reporter = recorded(counted), counted.reporter
    if reporter is None:
        return Answer(data=data)
    repeat = Repeat(client_id=caller.client_id, agent_id=call.agent_id, revision=reporter.revision, reporter=reporter)
    return Answer(data=data, repeat=repeat, timeless=data)


def recorded(counted: PriceAnswer) -> PricesRecorded:
    """E74's answer."""
    return PricesRecorded(records_inserted=counted.inserted, records_rejected=counted.rejected)


@shape
class ReportedMachine:
    """A machine in E75. Lenient: only its id matters enough to refuse the report."""

    LENIENT = True
    instance_id: str = required(limit=128)
    instance_type: str | None = wire(limit=64)
    region: str | None = wire(limit=64)
    az: str | None = wire(limit=64)
    ami_id: str | None = wire(clip=True)
    mode: str | None = wire("current_mode", limit=32)


@shape
class ReportedTimes:
    """``timing`` of E75; null or nonsense is unknown (SW-3)."""

    LENIENT = True
    initiated_at: datetime | None = wire("switch_initiated_at")
    ami_created_at: datetime | None = wire()
    instance_launched_at: datetime | None = wire("new_instance_launched_at")
    instance_ready_at: datetime | None = wire("new_instance_ready_at")
    traffic_switched_at: datetime | None = wire()
    old_terminated_at: datetime | None = wire("old_instance_terminated_at")


@shape
class SwitchBody:
    """E75."""

    LENIENT = True
    old_instance: ReportedMachine | None = wire()
    new_instance: ReportedMachine | None = wire()
    old_instance_id: str | None = wire(limit=128)
    new_instance_id: str | None = wire(limit=128)
    pricing: Mapping[str, Any] | None = wire("prices")
    timing: ReportedTimes = wire(default=ReportedTimes())
    trigger: str | None = wire(limit=64)
    command_id: str | None = wire(limit=128)
    success: bool = wire(default=True)
    error_message: str | None = wire("error", clip=True)
    downtime_seconds: Decimal | None = wire()


def _machine(given: ReportedMachine | None, flat: str | None, name: str) -> MachineReport:
    cloud_id = given.instance_id if given is not None else flat
    if not is_cloud_id(cloud_id) or cloud_id is None:
        raise ValidationFailed(
            f"missing: {name}.instance_id", **{f"{name}.instance_id": ["an EC2 instance id is required"]}
        )
    if given is None:
        return MachineReport(cloud_id=CloudId(cloud_id))
    return MachineReport(
        cloud_id=CloudId(cloud_id),
        instance_type=known(given.instance_type),
        region=known(given.region),
        az=known(given.az),
        ami_id=known(given.ami_id),
        mode=mode_of(given.mode),
    )


def _price(value: Any) -> Decimal | None:
    """A price above 0; v2 says 0.0 for unknown."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return Decimal(value) if 0 < value <= 1_000 else None


@shape
class SwitchRecorded:
    """E75."""

    success: bool = True
    switch_id: str
    savings_impact: Decimal | None = shown(doc="$/h, may be negative; null when a price is unknown")


def switch_report(call: Call) -> Answer:
    """E75."""
    data, body = call.data(), call.parse(SwitchBody)
    pricing = body.pricing or {}
    report = SwitchReport(
        old=_machine(body.old_instance, body.old_instance_id, "old_instance"),
        new=_machine(body.new_instance, body.new_instance_id, "new_instance"),
        prices=ReportedPrices(
            ondemand=_price(_first(pricing.get("on_demand"), data.get("ondemand_price"))),
            old_spot=_price(_first(pricing.get("old_spot"), data.get("old_price"))),
            new_spot=_price(_first(pricing.get("new_spot"), data.get("new_price"))),
        ),
        times=SwitchTimes(
            initiated_at=body.timing.initiated_at,
            image_created_at=body.timing.ami_created_at,
            launched_at=body.timing.instance_launched_at,
            ready_at=body.timing.instance_ready_at,
            traffic_switched_at=body.timing.traffic_switched_at,
            old_ended_at=body.timing.old_terminated_at,
        ),
        trigger=TRIGGER_IN.get((body.trigger or "").lower(), SwitchTrigger.MANUAL),
        command_id=body.command_id,
        success=body.success,
        error_message=body.error_message,
        downtime_seconds=body.downtime_seconds,
    )
    switch = call.plane.commands.switch_report(call.agent_caller(), call.agent_id, report)
    return Answer(data=SwitchRecorded(switch_id=switch.switch_id, savings_impact=switch.savings_impact))


@frozen(kw_only=True)
class CleanupRecorded:
    """E76."""

    success: bool = True
    deleted_snapshots: int
    deleted_amis: int
    failed_count: int


def cleanup_report(call: Call) -> Answer:
    """E76."""
    data = call.data()
    snapshots, images = _object(data.get("snapshots")), _object(data.get("amis"))
    deleted = _length(snapshots.get("deleted")) + _length(images.get("deleted_snapshots"))
    gone = _length(images.get("deleted_amis"))
    failed = _length(snapshots.get("failed")) + _length(images.get("failed")) + _length(data.get("errors"))
    recorded = CleanupRecorded(
        deleted_snapshots=deleted or _count(data.get("snapshots_deleted")),
        deleted_amis=gone or _count(data.get("amis_deleted")),
        failed_count=failed,
    )
    facts = {name: count for name, count in asdict(recorded).items() if name != "success"}
    call.plane.agents.cleaned_up(call.agent_caller(), call.agent_id, facts)
    return Answer(data=recorded, message="Recorded")


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value <= 10**9 else 0


A: Final = "/api/agents/{agent_id}"
routes = [
    Endpoint(
        number="E74",
        method="POST",
        path=A + "/pricing-report",
        handler=pricing_report,
        access=AGENT,
        mirror=True,
        answers=PricesRecorded,
    ),
    Endpoint(
        number="E75",
        method="POST",
        path=A + "/switch-report",
        handler=switch_report,
        access=SAFE,
        mirror=True,
        body=SwitchBody,
        answers=SwitchRecorded,
    ),
    Endpoint(
        number="E76",
        method="POST",
        path=A + "/cleanup-report",
        handler=cleanup_report,
        access=AGENT,
        mirror=True,
        answers=CleanupRecorded,
    ),
]
