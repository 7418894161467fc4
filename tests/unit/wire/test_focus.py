"""Ledger lines under FOCUS names (1.x): every column, from which fact, and what stays empty because nobody knows it."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.wire.focus import COLUMNS, focus_rows
from spotadapters.wire.sheets import sheet
from spotcore.ids import AgentId, ClientId, InstanceId
from spotcore.ledger import Line
from spotcore.pools import Mode
from spotcore.pricing import Quality
from spotcore.tenure import Role

BEGIN = datetime(2026, 3, 2, 12, tzinfo=UTC)
MACHINE = {
    "cloud_id": "i-0abc", "instance_type": "m5.large", "region": "us-east-1", "az": "us-east-1a", "logical_agent_id": "web-1",
}  # fmt: skip
UNKNOWN = dict.fromkeys(MACHINE)


def line(**facts: Any) -> Line:
    known: dict[str, Any] = {
        "client_id": ClientId("c-1"), "agent_id": AgentId("a-1"), "instance_id": InstanceId("m-1"), "started_at": BEGIN,
        "ended_at": BEGIN + timedelta(hours=2), "role": Role.PRIMARY, "mode": Mode.SPOT, "pool_id": "m5.large.us-east-1a",
        "paid_price": Decimal("0.03"), "ondemand_price": Decimal("0.096"), "quality": Quality.MEASURED,
    }  # fmt: skip
    return Line(**known | facts)


def row(machine: dict[str, Any] | None = None, **facts: Any) -> dict[str, Any]:
    (found,) = focus_rows([(line(**facts), MACHINE if machine is None else machine)], "Acme")
    return found


def test_a_line_of_a_primary_fills_every_column_but_the_invoice_sv11() -> None:
    assert row() == {
        "BilledCost": None,  # nothing here comes from an invoice
        "EffectiveCost": Decimal("0.06"),
        "ListCost": Decimal("0.192"),
        "ListUnitPrice": Decimal("0.096"),
        "BillingCurrency": "USD",
        "BillingPeriodStart": "2026-03-01T00:00:00Z",
        "BillingPeriodEnd": "2026-04-01T00:00:00Z",
        "ChargePeriodStart": "2026-03-02T12:00:00Z",
        "ChargePeriodEnd": "2026-03-02T14:00:00Z",
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeDescription": "m5.large spot as primary",
        "ConsumedQuantity": Decimal(2),
        "ConsumedUnit": "Hours",
        "PricingCategory": "Dynamic",
        "PricingQuantity": Decimal(2),
        "PricingUnit": "Hours",
        "ProviderName": "AWS",
        "PublisherName": "AWS",
        "InvoiceIssuerName": "AWS",
        "RegionId": "us-east-1",
        "AvailabilityZone": "us-east-1a",
        "ResourceId": "i-0abc",
        "ResourceType": "Instance",
        "ServiceCategory": "Compute",
        "ServiceName": "Amazon Elastic Compute Cloud",
        "SubAccountId": "c-1",
        "SubAccountName": "Acme",
        "Tags": '{"agent": "web-1"}',
        "x_PaidUnitPrice": Decimal("0.03"),
        "x_Saving": Decimal("0.132"),
        "x_Role": "primary",
        "x_Quality": "measured",
    }


def test_the_columns_are_the_rows_in_their_order_and_our_own_begin_with_x() -> None:
    assert tuple(row()) == COLUMNS
    assert [name for name in COLUMNS if not name[0].isupper()] == [name for name in COLUMNS if name.startswith("x_")]
    assert len(set(COLUMNS)) == len(COLUMNS)


def test_nothing_known_of_the_machine_is_empty_and_never_invented() -> None:
    found = row(UNKNOWN)
    assert [found[name] for name in ("RegionId", "AvailabilityZone", "ResourceId")] == [None] * 3
    assert (found["ChargeDescription"], json.loads(found["Tags"])) == ("machine spot as primary", {"agent": None})


@pytest.mark.parametrize(
    ("mode", "category"), [(Mode.SPOT, "Dynamic"), (Mode.ONDEMAND, "Standard"), (Mode.UNKNOWN, None)]
)
def test_the_way_of_paying_is_a_pricing_category_and_unknown_is_none(mode: Mode, category: str | None) -> None:
    assert row(mode=mode)["PricingCategory"] == category


@pytest.mark.parametrize("role", list(Role))
def test_only_a_primary_has_a_list_cost_sv3(role: Role) -> None:
    found = row(role=role)
    assert (found["ListCost"] is not None) is (role is Role.PRIMARY)
    assert found["EffectiveCost"] == Decimal("0.06")
    assert found["x_Role"] == role.value
    assert found["x_Saving"] == (Decimal("0.132") if role is Role.PRIMARY else Decimal("-0.06"))


def test_an_unpriced_line_costs_nothing_that_anybody_knows_sv5() -> None:
    found = row(quality=Quality.UNPRICED, paid_price=None)
    assert [found[name] for name in ("EffectiveCost", "ListCost", "x_Saving", "x_PaidUnitPrice")] == [None] * 4
    assert found["ConsumedQuantity"] == 2
    assert found["x_Quality"] == "unpriced"


def test_a_line_that_takes_another_back_is_a_correction_with_negative_figures_sv7() -> None:
    found = row(sign=-1, adjusts="line-1")
    assert found["ChargeClass"] == "Correction"
    assert (found["EffectiveCost"], found["ConsumedQuantity"]) == (Decimal("-0.06"), Decimal(-2))
    assert row(adjusts="2026-03-01")["ChargeClass"] == "Correction"


@pytest.mark.parametrize(
    ("month", "first", "next_first"),
    [
        (1, "2026-01-01", "2026-02-01"),
        (2, "2026-02-01", "2026-03-01"),
        (11, "2026-11-01", "2026-12-01"),
        (12, "2026-12-01", "2027-01-01"),
    ],
)
def test_a_billing_period_is_the_calendar_month_in_utc(month: int, first: str, next_first: str) -> None:
    begin = datetime(2026, month, 28, 23, tzinfo=UTC)
    found = row(started_at=begin, ended_at=begin + timedelta(hours=1))
    assert (found["BillingPeriodStart"], found["BillingPeriodEnd"]) == (f"{first}T00:00:00Z", f"{next_first}T00:00:00Z")


def test_a_fraction_of_a_second_is_kept_where_there_is_one() -> None:
    begin = BEGIN + timedelta(microseconds=5)
    found = row(started_at=begin, ended_at=BEGIN + timedelta(seconds=1))
    assert (found["ChargePeriodStart"], found["ChargePeriodEnd"]) == (
        "2026-03-02T12:00:00.000005Z",
        "2026-03-02T12:00:01Z",
    )


def test_names_that_look_like_formulas_do_not_run_in_the_file_s15() -> None:
    (found,) = focus_rows([(line(), {**MACHINE, "cloud_id": "=cmd()"})], "+Acme")
    content = sheet(COLUMNS, [[found[name] for name in COLUMNS]]).decode()
    (read,) = csv.DictReader(io.StringIO(content, newline=""))
    assert (read["ResourceId"], read["SubAccountName"], read["BilledCost"]) == ("'=cmd()", "'+Acme", "")


@given(
    seconds=st.integers(1, 86_400),
    price=st.decimals(0, 100, places=6, allow_nan=False),
    listed=st.decimals(0, 100, places=6, allow_nan=False),
)
def test_the_figures_of_a_row_are_those_of_its_line_and_add_up(seconds: int, price: Decimal, listed: Decimal) -> None:
    found = row(ended_at=BEGIN + timedelta(seconds=seconds), paid_price=price, ondemand_price=listed)
    assert found["x_Saving"] == found["ListCost"] - found["EffectiveCost"]
    assert abs(found["EffectiveCost"] - price * seconds / 3600) <= Decimal("0.5e-8")
    assert abs(found["ConsumedQuantity"] - Decimal(seconds) / 3600) <= Decimal("1e-9")
    assert found["ConsumedQuantity"] == found["PricingQuantity"]


def test_as_many_rows_as_lines_in_their_order() -> None:
    lines = [
        (line(instance_id=InstanceId(f"m-{number}")), {**MACHINE, "cloud_id": f"i-{number}"}) for number in range(5)
    ]
    assert [one["ResourceId"] for one in focus_rows(lines, "Acme")] == [f"i-{number}" for number in range(5)]
    assert list(focus_rows([], "Acme")) == []
