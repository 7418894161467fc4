"""Credentials and dashboard sessions behave alike in memory and on PostgreSQL."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from attrs import define

from spotadapters.memory import MemoryStorage
from spotadapters.memory.store import MemoryCredentials
from spotadapters.postgres.storage import PostgresStorage
from spotcore.control_plane import ControlPlane, control_plane
from spotcore.ports.storage import Credentials, TokenRecord, Transactions
from spotcore.sessions import ENDS_AFTER, Session
from tests.support.databases import WarmDatabase
from tests.support.world import START, CountingIdentity, FakeClock


@define
class Desk:
    """Credentials and what changes them."""

    credentials: Credentials
    plane: ControlPlane
    identity: CountingIdentity

    def token_hash(self, token: str) -> str:
        return self.identity.hash_token(token)


def _desk(credentials: Credentials, transactions: Transactions) -> Desk:
    identity = CountingIdentity()
    plane = control_plane(transactions=transactions, clock=FakeClock(START), identity=identity)
    with transactions() as uow:
        uow.clients.add_token(
            TokenRecord(
                token_hash=identity.hash_token("admin"), hint="dmin", sealed=None, client_id=None, created_at=START
            )
        )
    return Desk(credentials=credentials, plane=plane, identity=identity)


@pytest.fixture(params=["memory", "postgres"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    if request.param == "memory":
        storage = MemoryStorage()
        yield _desk(MemoryCredentials(storage), storage.transactions)
        return
    warm: WarmDatabase = request.getfixturevalue("warm_database")
    connections = warm.connections
    postgres = PostgresStorage(connections, FakeClock(START))
    yield _desk(postgres, postgres.transactions)


def session(desk: Desk, name: str = "s", token: str = "admin", **facts: object) -> Session:
    made = {"session_hash": name, "token_hash": desk.token_hash(token), "created_at": START, "seen_at": START, **facts}
    return Session(**made)  # type: ignore[arg-type]


def test_a_session_opens_what_its_token_opens(desk: Desk) -> None:
    issued = desk.plane.clients.create("Acme")
    desk.credentials.open_session(session(desk))
    desk.credentials.open_session(session(desk, "c", issued.token))
    operator = desk.credentials.find_session("s", START)
    client = desk.credentials.find_session("c", START)
    assert operator is not None
    assert operator[1].is_admin
    assert client is not None
    assert client[1].client == issued.client
    assert desk.credentials.find_session("unknown", START) is None


def test_a_session_that_was_seen_slides_and_never_backwards(desk: Desk) -> None:
    desk.credentials.open_session(session(desk))
    later = START + timedelta(hours=11)
    desk.credentials.see_session(session(desk, seen_at=later))
    desk.credentials.see_session(session(desk, seen_at=START + timedelta(hours=1)))
    found = desk.credentials.find_session("s", START + timedelta(hours=13))
    assert found is not None
    assert found[0].seen_at == later
    assert desk.credentials.find_session("s", later + timedelta(hours=12)) is None


def test_a_session_ends_with_its_token_and_with_its_client(desk: Desk) -> None:
    rotated, deleted = desk.plane.clients.create("Rotated"), desk.plane.clients.create("Deleted")
    desk.credentials.open_session(session(desk, "r", rotated.token))
    desk.credentials.open_session(session(desk, "d", deleted.token))
    desk.plane.clients.rotate(rotated.client.client_id)
    desk.plane.clients.delete(deleted.client.client_id)
    assert desk.credentials.find_session("r", START) is None
    assert desk.credentials.find_session("d", START) is None


def test_a_grace_keeps_the_session_of_the_old_token_just_as_long_cl3(desk: Desk) -> None:
    issued = desk.plane.clients.create("Acme")
    desk.credentials.open_session(session(desk, "s", issued.token))
    desk.plane.clients.rotate(issued.client.client_id, timedelta(hours=1))
    assert desk.credentials.find_session("s", START + timedelta(minutes=59)) is not None
    assert desk.credentials.find_session("s", START + timedelta(minutes=61)) is None


def test_a_session_can_be_ended_and_ended_again(desk: Desk) -> None:
    desk.credentials.open_session(session(desk))
    desk.credentials.end_session("s")
    desk.credentials.end_session("s")
    assert desk.credentials.find_session("s", START) is None


def test_opening_one_drops_those_that_no_time_can_open_again(desk: Desk) -> None:
    desk.credentials.open_session(session(desk, "old"))
    far = START + ENDS_AFTER + timedelta(seconds=1)
    desk.credentials.open_session(session(desk, "new", created_at=far, seen_at=far))
    desk.credentials.see_session(session(desk, "old", seen_at=far))
    assert desk.credentials.find_session("old", START) is None
    assert desk.credentials.find_session("new", far) is not None
