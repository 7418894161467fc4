"""``AlertStore`` and ``NoticeStore`` on both storages: order, quiet hours, whose reading counts (E82…E89, NT-2)."""

from datetime import timedelta
from decimal import Decimal

import pytest
from attrs import evolve

from spotcore.alerts import Alert, AlertType
from spotcore.events import Event, EventKind
from spotcore.ids import ClientId
from tests.support.world import START, World


def an_alert(world: World, name: str, seconds: float = 0, **facts: object) -> Alert:
    known = {"threshold": Decimal("0.030001"), "alert_type": AlertType.PRICE_ABOVE, **facts}
    return Alert(
        alert_id=f"{name}-{world.client_id}", client_id=world.client_id, created_at=START + timedelta(seconds=seconds), **known
    )  # fmt: skip


def kept(world: World, *alerts: Alert) -> None:
    with world.transactions() as uow:
        for alert in alerts:
            uow.alerts.add(alert)


def listed(world: World, client_id: ClientId | None = None) -> list[Alert]:
    with world.transactions() as uow:
        return list(uow.alerts.of_client(client_id or world.client_id))


def fired(world: World, *alerts: Alert, after: float = 0, client_id: ClientId | None = None) -> set[str]:
    """Names of those that were set off ``after`` seconds."""
    with world.transactions() as uow:
        ids = uow.alerts.fire(
            client_id or world.client_id, [one.alert_id for one in alerts], START + timedelta(seconds=after)
        )
    return {one.partition("-")[0] for one in ids}


@pytest.mark.parametrize(
    "facts",
    [
        {}, {"pool_id": "m5.large.us-east-1a"}, {"enabled": False}, {"alert_type": AlertType.PRICE_BELOW},
        {"notification_channels": ()}, {"notification_channels": ("dashboard", "ünïcode \"quoted\"")}, {"fired_at": START},
        {"threshold": Decimal("999.999999")},
    ],
    ids=str,
)  # fmt: skip
def test_an_alert_comes_back_as_it_was_e82(shared_world: World, facts: dict[str, object]) -> None:
    alert = an_alert(shared_world, "a", **facts)
    kept(shared_world, alert)
    assert listed(shared_world) == [alert]


def test_alerts_are_their_clients_newest_first_then_by_id_e82(shared_world: World) -> None:
    rows = [an_alert(shared_world, name, at) for name, at in (("b", 0), ("a", 5), ("c", 5), ("d", 1))]
    kept(shared_world, *rows)
    assert [one.alert_id[0] for one in listed(shared_world)] == ["c", "a", "d", "b"]
    assert listed(shared_world, ClientId("x")) == []


@pytest.mark.parametrize(("after", "again"), [(0, False), (3_599, False), (3_600, True), (3_601, True)])
def test_e83_an_alert_is_quiet_for_an_hour(shared_world: World, after: float, again: bool) -> None:
    alert = an_alert(shared_world, "a")
    kept(shared_world, alert)
    assert fired(shared_world, alert) == {"a"}
    assert fired(shared_world, alert, after=after) == ({"a"} if again else set())
    (found,) = listed(shared_world)
    assert found.fired_at == START + timedelta(seconds=after if again else 0)


def test_e83_of_several_alerts_those_that_are_due_go_off_each_once(shared_world: World) -> None:
    quiet, due = an_alert(shared_world, "quiet", fired_at=START), an_alert(shared_world, "due")
    kept(shared_world, quiet, due)
    assert fired(shared_world, quiet, due, due, after=1) == {"due"}
    assert fired(shared_world, after=1) == set()


def test_e83_an_alert_that_is_gone_or_another_clients_goes_off_for_nobody_gr8(shared_world: World) -> None:
    alert, gone = an_alert(shared_world, "a"), an_alert(shared_world, "gone")
    kept(shared_world, alert)
    assert fired(shared_world, gone, alert) == {"a"}
    assert fired(shared_world, alert, after=7_200, client_id=ClientId("x")) == set()
    assert listed(shared_world)[0].fired_at == START


def test_an_alert_that_went_off_in_a_failed_transaction_is_not_quiet(shared_world: World) -> None:
    alert = an_alert(shared_world, "a")
    kept(shared_world, alert)

    def fails() -> None:
        with shared_world.transactions() as uow:
            uow.alerts.fire(shared_world.client_id, [alert.alert_id], START)
            uow.alerts.add(an_alert(shared_world, "b"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert listed(shared_world) == [alert]
    assert fired(shared_world, alert) == {"a"}


# ---- who has read what


def told(world: World, name: str, client_id: ClientId | None) -> str:
    """A notification of that client, or a broadcast: its id."""
    event_id = f"{name}-{world.client_id}"
    facts = {"old_token_ends": "now"}
    event = Event(event_id=event_id, kind=EventKind.TOKEN_REGENERATED, at=START, client_id=client_id, facts=facts)
    with world.transactions() as uow:
        uow.audit.add([event])
    return event_id


def reads(world: World, reader: ClientId | None, notification_id: str) -> bool:
    with world.transactions() as uow:
        return uow.notices.mark_read(reader, notification_id, world.clock.now())


def reads_all(world: World, reader: ClientId | None, of: ClientId | None = None) -> int:
    with world.transactions() as uow:
        return uow.notices.mark_all_read(reader, world.clock.now(), of=of)


def another(world: World) -> ClientId:
    return world.plane.clients.create(f"Other of {world.client_id}").client.client_id


def test_nt2_a_client_reads_its_own_and_broadcasts_and_no_others_88(world: World) -> None:
    other = another(world)
    reads_all(world, world.client_id), reads_all(world, other), reads_all(world, None)
    mine, theirs, everybodys = told(world, "m", world.client_id), told(world, "t", other), told(world, "b", None)
    assert [reads(world, world.client_id, one) for one in (mine, theirs, everybodys, "never")] == [
        True,
        False,
        True,
        False,
    ]
    assert reads(world, world.client_id, mine)  # e88: repeatable
    assert reads_all(world, world.client_id) == 0
    assert reads_all(world, other) == 2  # its own, and the broadcast that the first has read for itself
    assert reads_all(world, None) == 3  # the operator reads for itself


def test_nt2_the_operators_view_of_one_client_is_that_clients_and_broadcasts_e89(world: World) -> None:
    other = another(world)
    reads_all(world, None)
    told(world, "m", world.client_id), told(world, "t", other), told(world, "b", None)
    assert reads_all(world, None, of=other) == 2
    assert reads_all(world, None, of=world.client_id) == 1
    assert reads_all(world, None) == 0


def test_e87_what_a_deleted_client_was_told_is_nobodys_to_read(world: World) -> None:
    mine, everybodys = told(world, "m", world.client_id), told(world, "b", None)
    reads_all(world, None, of=ClientId("nobody"))  # broadcasts
    with world.transactions() as uow:
        client = uow.clients.get(world.client_id)
        uow.clients.put(evolve(client, status=type(client.status)("deleted"), deleted_at=START))
    assert not reads(world, world.client_id, mine)
    assert not reads(world, None, mine)
    assert reads(world, None, everybodys)
    assert reads_all(world, None) == 0


def test_a_reading_that_was_rolled_back_is_unread(shared_world: World) -> None:
    reads_all(shared_world, shared_world.client_id)
    first, second = told(shared_world, "1", shared_world.client_id), told(shared_world, "2", shared_world.client_id)

    def fails() -> None:
        with shared_world.transactions() as uow:
            assert uow.notices.mark_read(shared_world.client_id, first, START)
            assert uow.notices.mark_all_read(shared_world.client_id, START) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert reads(shared_world, shared_world.client_id, second)
    assert reads_all(shared_world, shared_world.client_id) == 1
