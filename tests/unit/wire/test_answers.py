"""Answer classes: names, padding of the legacy shape, and what is left out."""

import json
from datetime import UTC, datetime
from decimal import Decimal

from attrs import frozen

from spotadapters.http.envelope import Answer, success
from spotadapters.wire.answers import as_mapping, camel, shown
from spotadapters.wire.rendering import encode


@frozen(kw_only=True)
class Price:
    CAMEL = True
    pool_id: str
    spot_price: Decimal | None = shown(legacy=0)
    on_demand: Decimal | None = shown("onDemandPrice", default=None)
    note: str | None = shown(default=None, optional=True)


@frozen(kw_only=True)
class Sheet:
    made_at: datetime
    prices: tuple[Price, ...]


AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_names_go_out_in_camel_case_where_the_class_says_so() -> None:
    assert camel("agents_online_now") == "agentsOnlineNow"
    assert json.loads(encode(Price(pool_id="p", spot_price=Decimal("0.01")))) == {
        "poolId": "p",
        "spotPrice": 0.01,
        "onDemandPrice": None,
    }


def test_the_legacy_shape_pads_what_its_field_names_and_nothing_else_z37() -> None:
    unknown = Sheet(made_at=AT, prices=(Price(pool_id="p", spot_price=None),))
    honest = json.loads(encode(unknown))
    padded = json.loads(encode(unknown, legacy=True))
    assert honest["prices"][0] == {"poolId": "p", "spotPrice": None, "onDemandPrice": None}
    assert padded["prices"][0] == {"poolId": "p", "spotPrice": 0, "onDemandPrice": None}
    assert honest["made_at"] == "2026-03-02T12:00:00Z"


def test_an_optional_field_is_left_out_when_there_is_nothing_to_say() -> None:
    assert "note" not in as_mapping(Price(pool_id="p", spot_price=None), legacy=False)
    assert as_mapping(Price(pool_id="p", spot_price=None, note="x"), legacy=False)["note"] == "x"


def test_an_answer_object_is_mirrored_by_its_wire_names() -> None:
    body = json.loads(success(Answer(data=Price(pool_id="p", spot_price=None)), mirror=True, shape="envelope"))
    assert body["poolId"] == body["data"]["poolId"] == "p"
    assert json.loads(success(Answer(data=[Price(pool_id="p", spot_price=None)]), mirror=False, shape="legacy")) == [
        {"poolId": "p", "spotPrice": 0, "onDemandPrice": None}
    ]
