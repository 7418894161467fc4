"""When a report of prices makes an alert due (E83)."""

from datetime import timedelta
from decimal import Decimal

import pytest

from spotcore.alerts import Alert, AlertType, crossings
from spotcore.ids import ClientId
from spotcore.prices import Observation
from tests.support.world import START

A, B = "m5.large.us-east-1a", "m5.large.us-east-1b"


def alert(kind: AlertType = AlertType.PRICE_BELOW, threshold: str = "0.03", **facts: object) -> Alert:
    return Alert(
        alert_id="a", client_id=ClientId("c"), alert_type=kind, threshold=Decimal(threshold), created_at=START,
        **facts,  # type: ignore[arg-type]
    )  # fmt: skip


def seen(pool: str, price: str, *, minutes_ago: float = 0) -> Observation:
    at = START - timedelta(minutes=minutes_ago)
    return Observation(submission_id=f"{pool}{price}", pool_id=pool, price=Decimal(price), observed_at=at)


def told(watched: Alert, *rows: Observation) -> list[tuple[str, Decimal]]:
    return [(one.observation.pool_id, one.observation.price) for one in crossings([watched], rows, START)]


@pytest.mark.parametrize(
    ("kind", "price", "due"),
    [
        (AlertType.PRICE_BELOW, "0.029999", True),
        (AlertType.PRICE_BELOW, "0.03", False),
        (AlertType.PRICE_BELOW, "0.031", False),
        (AlertType.PRICE_ABOVE, "0.030001", True),
        (AlertType.PRICE_ABOVE, "0.03", False),
        (AlertType.PRICE_ABOVE, "0.029", False),
    ],
)
def test_an_alert_is_due_beyond_its_threshold_and_not_on_it_e83(kind: AlertType, price: str, due: bool) -> None:
    assert bool(told(alert(kind), seen(A, price))) is due


def test_an_alert_on_a_pool_hears_of_no_other() -> None:
    assert told(alert(pool_id=B), seen(A, "0.01")) == []
    assert told(alert(pool_id=A), seen(A, "0.01")) == [(A, Decimal("0.01"))]


def test_an_alert_on_any_pool_tells_of_the_one_that_lies_furthest_beyond() -> None:
    rows = (seen(A, "0.02"), seen(B, "0.01"), seen(A, "0.09"))
    assert told(alert(), *rows) == [(B, Decimal("0.01"))]
    assert told(alert(AlertType.PRICE_ABOVE, "0.015"), *rows) == [(A, Decimal("0.09"))]


def test_a_disabled_alert_is_never_due() -> None:
    assert told(alert(enabled=False), seen(A, "0.01")) == []


@pytest.mark.parametrize(("minutes", "due"), [(0, False), (59, False), (60, True), (61, True)])
def test_an_alert_is_quiet_for_an_hour_after_it_was_heard_e83(minutes: int, due: bool) -> None:
    heard = alert(fired_at=START - timedelta(minutes=minutes))
    assert bool(told(heard, seen(A, "0.01"))) is due


@pytest.mark.parametrize(("minutes", "due"), [(0, True), (10, True), (10.1, False), (600, False)])
def test_an_old_price_is_news_to_nobody_z15(minutes: float, due: bool) -> None:
    assert bool(told(alert(), seen(A, "0.01", minutes_ago=minutes))) is due
