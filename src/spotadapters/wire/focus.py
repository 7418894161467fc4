"""Ledger lines under the column names of the FinOps FOCUS specification (1.x), for cost tools that read them.

``BilledCost`` stays empty: nothing here comes from an invoice (SV-11). What FOCUS has no column for begins with ``x_``.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from spotcore.instants import day_of
from spotcore.ledger import Line
from spotcore.pools import Mode
from spotcore.tenure import Role

COLUMNS: Final = (
    "BilledCost", "EffectiveCost", "ListCost", "ListUnitPrice", "BillingCurrency", "BillingPeriodStart",
    "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "ChargeClass", "ChargeDescription",
    "ConsumedQuantity", "ConsumedUnit", "PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "InvoiceIssuerName", "RegionId", "AvailabilityZone", "ResourceId", "ResourceType",
    "ServiceCategory", "ServiceName", "SubAccountId", "SubAccountName", "Tags", "x_PaidUnitPrice", "x_Saving", "x_Role",
    "x_Quality",
)  # fmt: skip
_PRICING: Final = {Mode.SPOT: "Dynamic", Mode.ONDEMAND: "Standard", Mode.UNKNOWN: None}


def focus_rows(lines: Iterable[tuple[Line, Mapping[str, Any]]], client_name: str) -> Iterator[dict[str, Any]]:
    """A row for each line with what is known of its machine: ``cloud_id``, ``instance_type``, ``region``, ``az``,
    ``logical_agent_id``. Unknown is empty."""
    for line, machine in lines:
        month = day_of(line.started_at).replace(day=1)
        kind, region = machine["instance_type"] or "machine", machine["region"]
        hours = round(line.hours, 9)
        list_cost = line.baseline if line.role is Role.PRIMARY else None
        yield {
            "BilledCost": None,
            "EffectiveCost": line.cost,
            "ListCost": list_cost,
            "ListUnitPrice": line.ondemand_price,
            "BillingCurrency": "USD",
            "BillingPeriodStart": _instant(month),
            "BillingPeriodEnd": _instant(_next_month(month)),
            "ChargePeriodStart": _instant(line.started_at),
            "ChargePeriodEnd": _instant(line.ended_at),
            "ChargeCategory": "Usage",
            "ChargeClass": "Correction" if line.adjusts is not None else None,
            "ChargeDescription": f"{kind} {line.mode.value} as {line.role.value}",
            "ConsumedQuantity": hours,
            "ConsumedUnit": "Hours",
            "PricingCategory": _PRICING[line.mode],
            "PricingQuantity": hours,
            "PricingUnit": "Hours",
            "ProviderName": "AWS",
            "PublisherName": "AWS",
            "InvoiceIssuerName": "AWS",
            "RegionId": region,
            "AvailabilityZone": machine["az"],
            "ResourceId": machine["cloud_id"],
            "ResourceType": "Instance",
            "ServiceCategory": "Compute",
            "ServiceName": "Amazon Elastic Compute Cloud",
            "SubAccountId": line.client_id,
            "SubAccountName": client_name,
            "Tags": json.dumps({"agent": machine["logical_agent_id"]}),
            "x_PaidUnitPrice": line.paid_price,
            "x_Saving": line.saving,
            "x_Role": line.role.value,
            "x_Quality": line.quality.value,
        }


def _next_month(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def _instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at.microsecond else at.strftime("%Y-%m-%dT%H:%M:%SZ")
