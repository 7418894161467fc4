"""Price alerts (E82, E83) and what people have read (NT-2), on either storage."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from spotadapters.postgres import storage
from spotcore.alerts import Alert, AlertType
from spotcore.control_plane import control_plane
from spotcore.errors import NotFound, ValidationFailed
from spotcore.ids import AgentId, ClientId
from spotcore.ports.storage import UnitOfWork
from spotcore.service.alerts import AlertRequest
from spotcore.service.kernel import Caller
from spotcore.service.prices import PriceItem, PriceSheet
from tests.support.world import TYPE, ZONES, CountingIdentity, World

A, B, _ = (f"{TYPE}.{az}" for az in ZONES)


def told(world: World, client_id: ClientId | None = None) -> int:
    """How many price alerts a client can mark as read, the others being read already."""
    client_id = client_id or world.client_id
    with world.transactions() as uow:
        return uow.notices.mark_all_read(client_id, world.clock.now())


@pytest.fixture
def agent_id(world: World) -> AgentId:
    agent_id = world.register().agent_id
    told(world)  # what registration said
    return agent_id


def watch(world: World, threshold: str = "0.03", **facts: object) -> Alert:
    wanted = AlertRequest(threshold=Decimal(threshold), **facts)  # type: ignore[arg-type]
    return world.plane.alerts.add(world.user, wanted)


def fired(world: World) -> list[bool]:
    return [row.fired_at is not None for row in world.plane.alerts.of_client(world.user)]


def test_an_alert_comes_back_as_it_was_made_newest_first_e82(world: World) -> None:
    first = watch(world)
    world.clock.advance(1)
    second = watch(
        world, "0.5", alert_type=AlertType.PRICE_ABOVE, pool_id=f"{TYPE}.us-east-1.{ZONES[0]}", enabled=False,
        notification_channels=("dashboard", "email"),
    )  # fmt: skip
    assert first == Alert(
        alert_id=first.alert_id, client_id=world.client_id, alert_type=AlertType.PRICE_BELOW,
        threshold=Decimal("0.03"), created_at=first.created_at,
    )  # fmt: skip
    assert second.pool_id == A  # 0.1: any spelling of a pool
    assert world.plane.alerts.of_client(world.user) == [second, first]


@pytest.mark.parametrize("threshold", ["0", "-1", "Infinity", "NaN"])
def test_a_threshold_is_a_price_above_nothing_e83(world: World, threshold: str) -> None:
    with pytest.raises(ValidationFailed):
        watch(world, threshold)


def test_an_alert_names_a_pool_or_none(world: World) -> None:
    with pytest.raises(ValidationFailed):
        watch(world, pool_id="not a pool")


def test_a_client_that_is_unknown_or_deleted_has_no_alerts(world: World) -> None:
    watch(world)
    world.plane.clients.delete(world.client_id)
    for client_id in (world.client_id, ClientId("unknown")):
        with pytest.raises(NotFound):
            world.plane.alerts.of_client(Caller(client_id=client_id))
        with pytest.raises(NotFound):
            world.plane.alerts.add(Caller(client_id=client_id), AlertRequest(threshold=Decimal(1)))


def test_a_report_sets_off_what_it_crosses_in_its_own_transaction_e83(world: World, agent_id: AgentId) -> None:
    watch(world, pool_id=A)
    world.clock.advance(1)
    watch(world, pool_id=B)
    world.clock.advance(1)
    watch(world, "0.05", alert_type=AlertType.PRICE_ABOVE)
    world.clock.advance(1)
    watch(world, enabled=False)
    world.report_prices(agent_id, {ZONES[0]: "0.0299", ZONES[1]: "0.0301", ZONES[2]: "0.0501"})
    assert fired(world) == [False, True, False, True]
    assert told(world) == 2


def test_an_alert_is_heard_once_an_hour_however_many_reports_cross_it_e83(world: World, agent_id: AgentId) -> None:
    watch(world)
    heard = 0
    for _ in range(25):  # five minutes apart, two hours
        world.report_prices(agent_id, {ZONES[0]: "0.02"})
        heard += told(world)
        world.clock.advance(300)
    assert heard == 3


def test_an_alert_is_set_off_by_its_own_clients_reports_alone_nt2(world: World, agent_id: AgentId) -> None:
    other = world.plane.clients.create("Other").client.client_id
    told(world, other)
    world.plane.alerts.add(Caller(client_id=other), AlertRequest(threshold=Decimal("0.03")))
    world.report_prices(agent_id, {ZONES[0]: "0.02"})
    assert told(world, other) == told(world) == 0


class NeverAsked:
    """A transaction in which nobody may turn to the alerts."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def __getattr__(self, name: str) -> Any:
        assert name not in ("alerts", "audit")
        return getattr(self._uow, name)


def test_a_report_that_crosses_nothing_turns_to_no_alert(world: World, agent_id: AgentId) -> None:
    watch(world, "0.0001")
    watch(world, pool_id=B)

    @contextmanager
    def transactions(*, urgent: bool = False) -> Iterator[Any]:
        with world.transactions(urgent=urgent) as uow:
            yield NeverAsked(uow)

    plane = control_plane(transactions=transactions, clock=world.clock, identity=CountingIdentity())
    sheet = PriceSheet(spot=(PriceItem(pool=A, price=Decimal("0.02")),))
    assert plane.prices.report(world.agent_caller, agent_id, sheet).inserted == 1


def test_of_two_that_cross_at_once_one_gets_the_alert(world: World) -> None:
    alert = watch(world)
    now = world.clock.now()
    with world.transactions() as uow:
        assert uow.alerts.fire(world.client_id, [alert.alert_id], now) == {alert.alert_id}
        assert uow.alerts.fire(world.client_id, [alert.alert_id], now) == set()


# ---- read state


def agents(world: World, count: int) -> None:
    """Everything read, then so many agents that each make one notification."""
    with world.transactions() as uow:
        uow.notices.mark_all_read(world.client_id, world.clock.now())
    for number in range(count):
        world.register(f"agent-{number}")


def test_marking_all_counts_what_became_read_and_is_repeatable_e89(world: World) -> None:
    agents(world, 3)
    assert world.plane.notices.mark_all_read(world.client_id) == 3
    assert world.plane.notices.mark_all_read(world.client_id) == 0


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_marking_very_many_goes_in_steps_e89(world: World, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(storage, "MARKED_AT_ONCE", 2)
    agents(world, count)
    assert world.plane.notices.mark_all_read(world.client_id) == count


def test_marking_all_touches_nobody_elses_notifications_nt2_failure_96(world: World) -> None:
    other = world.plane.clients.create("Other").client.client_id
    agents(world, 3)
    assert world.plane.notices.mark_all_read(other) == 1  # that it was created
    assert world.plane.notices.mark_all_read(world.client_id) == 3


def test_the_operator_reads_for_itself_nt2(world: World) -> None:
    other = world.plane.clients.create("Other").client.client_id
    agents(world, 2)
    assert world.plane.notices.mark_all_read(None, of=other) == 1
    assert world.plane.notices.mark_all_read(None) == 3  # two agents, and that the first client was created
    assert world.plane.notices.mark_all_read(None) == 0
    assert world.plane.notices.mark_all_read(world.client_id) == 2


def test_a_deleted_clients_notifications_are_nobodys_e87(world: World) -> None:
    agents(world, 2)
    world.plane.clients.delete(world.client_id)
    assert world.plane.notices.mark_all_read(None) == 0


def test_an_unknown_notification_is_not_found_e88(world: World) -> None:
    with pytest.raises(NotFound):
        world.plane.notices.mark_read(world.client_id, "nobody's")
