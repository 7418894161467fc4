"""``ClientStore`` (CL-1…CL-7) on both storages: every method, found and not, foreign, twice, and after a rollback."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import count

import pytest
from attrs import evolve

from spotadapters.memory import MemoryStorage
from spotadapters.memory.store import MemoryCredentials
from spotcore.clients import Client, ClientStatus
from spotcore.errors import ClientExists, DuplicateEmail, NotFound
from spotcore.ids import ClientId
from spotcore.ports.storage import Credentials, TokenRecord, UnitOfWork
from tests.support.world import START, World

_names = count(1)
UNKNOWN = ClientId("nobody")


def a_client(**facts: object) -> Client:
    """A client that no other test has."""
    number = next(_names)
    known = {"client_id": f"client-{number}", "name": f"Client {number}", "created_at": START, **facts}
    return Client(**known)


def added(world: World, **facts: object) -> Client:
    client = a_client(**facts)
    with world.transactions() as uow:
        uow.clients.add(client)
    return client


def stored(world: World, client_id: ClientId) -> Client:
    with world.transactions() as uow:
        return uow.clients.get(client_id)


def a_token(client_id: ClientId | None, name: str, **facts: object) -> TokenRecord:
    known = {"token_hash": f"{client_id}:{name}", "hint": name[-4:], "sealed": name.encode(), "created_at": START}
    return TokenRecord(client_id=client_id, **{**known, **facts})


def current(world: World, client_id: ClientId) -> TokenRecord | None:
    with world.transactions() as uow:
        return uow.clients.current_token(client_id)


FULL = {
    "email": "full@client.example", "status": ClientStatus.SUSPENDED, "max_agents": 0, "max_instances": 7,
    "default_auto_switch": False, "default_auto_terminate": False, "default_terminate_wait_seconds": 86_400,
    "total_savings": Decimal("-12.34567891"),
}  # fmt: skip


@pytest.mark.parametrize("facts", [{}, FULL], ids=["defaults", "every field"])
def test_a_client_comes_back_as_it_was_added_locked_or_not(shared_world: World, facts: dict[str, object]) -> None:
    client = added(shared_world, **facts)
    with shared_world.transactions() as uow:
        assert uow.clients.get(client.client_id) == client
        assert uow.clients.lock(client.client_id) == client
        assert uow.clients.lock(client.client_id) == client  # the lock is its own already


def test_an_unknown_client_is_not_found_gr8(shared_world: World) -> None:
    with shared_world.transactions() as uow:
        for look in (uow.clients.get, uow.clients.lock):
            with pytest.raises(NotFound, match="unknown client"):
                look(UNKNOWN)
        assert uow.clients.current_token(UNKNOWN) is None
        assert list(uow.clients.agent_ids(UNKNOWN)) == []
        uow.clients.end_tokens(UNKNOWN, START)  # nothing to end


def test_a_deleted_client_is_still_found_its_history_stays_cl6(shared_world: World) -> None:
    gone = added(shared_world, status=ClientStatus.DELETED, deleted_at=START)
    assert stored(shared_world, gone.client_id) == gone
    with shared_world.transactions() as uow:
        assert uow.clients.lock(gone.client_id).status is ClientStatus.DELETED


@pytest.mark.parametrize("name", ["{0}", "{0.upper}", "{0.lower}"])
def test_a_name_is_taken_whatever_its_case_and_free_again_after_the_deletion_cl6(
    shared_world: World, name: str
) -> None:
    first = added(shared_world, name=f"Straße & Café {next(_names)}")
    spelled = {"{0}": first.name, "{0.upper}": first.name.replace("afé", "AFÉ"), "{0.lower}": first.name.lower()}[name]
    with pytest.raises(ClientExists, match="that name"), shared_world.transactions() as uow:
        uow.clients.add(a_client(name=spelled))
    with shared_world.transactions() as uow:
        uow.clients.put(evolve(first, status=ClientStatus.DELETED, deleted_at=START))
        uow.clients.add(a_client(name=spelled))


@pytest.mark.parametrize("spelled", [str.lower, str.upper, str.title])
def test_an_address_is_taken_whatever_its_case_and_free_again_after_the_deletion_cl6(
    shared_world: World, spelled: Callable[[str], str]
) -> None:
    email = f"Anna{next(_names)}@x.org"
    first = added(shared_world, email=email)
    with pytest.raises(DuplicateEmail, match="e-mail"), shared_world.transactions() as uow:
        uow.clients.add(a_client(email=spelled(email)))
    with shared_world.transactions() as uow:
        uow.clients.put(evolve(first, status=ClientStatus.DELETED, deleted_at=START))
        uow.clients.add(a_client(email=spelled(email)))


def test_cl6_a_client_cannot_change_to_what_another_is_called_nor_to_its_address(shared_world: World) -> None:
    first = added(shared_world, email=f"anna{next(_names)}@x.org")
    second = added(shared_world)
    for change, refusal in (
        ({"name": first.name.upper()}, ClientExists),
        ({"email": first.email.upper()}, DuplicateEmail),
    ):
        with pytest.raises(refusal), shared_world.transactions() as uow:
            uow.clients.put(evolve(second, **change))
    with shared_world.transactions() as uow:
        uow.clients.put(evolve(first, name=first.name.upper(), email=first.email.upper()))  # its own
        uow.clients.put(evolve(second, name=first.name, status=ClientStatus.DELETED, deleted_at=START))


def test_any_number_of_clients_have_no_address(shared_world: World) -> None:
    first, second = added(shared_world), added(shared_world)
    assert stored(shared_world, first.client_id).email is stored(shared_world, second.client_id).email is None


def test_a_refused_client_leaves_nothing_of_its_transaction(shared_world: World) -> None:
    taken, fresh = added(shared_world), a_client()

    def both() -> None:
        with shared_world.transactions() as uow:
            uow.clients.add(fresh)
            uow.clients.add_token(a_token(fresh.client_id, "half"))
            uow.clients.add(a_client(name=taken.name))

    with pytest.raises(ClientExists):
        both()
    with pytest.raises(NotFound):
        stored(shared_world, fresh.client_id)
    assert current(shared_world, fresh.client_id) is None


def test_a_refusal_inside_a_savepoint_leaves_the_rest_of_the_transaction(shared_world: World) -> None:
    taken, before, after = added(shared_world), a_client(), a_client()

    def refused(uow: UnitOfWork) -> None:
        with uow.savepoint():
            uow.clients.put(evolve(before, max_agents=5))
            uow.clients.add(a_client(name=taken.name))

    with shared_world.transactions() as uow:
        uow.clients.add(before)
        with pytest.raises(ClientExists):
            refused(uow)
        uow.clients.add(after)
    assert stored(shared_world, before.client_id) == before  # the change inside went with the savepoint
    assert stored(shared_world, after.client_id) == after


def test_a_changed_client_is_stored_but_for_its_total_and_its_birth(shared_world: World) -> None:
    client = added(shared_world, total_savings=Decimal("1.5"))
    changed = evolve(
        client, name=f"Other {next(_names)}", email=f"other{next(_names)}@client.example",
        status=ClientStatus.SUSPENDED, max_agents=3, max_instances=4, default_auto_switch=False,
        default_auto_terminate=False, default_terminate_wait_seconds=60,
    )  # fmt: skip
    with shared_world.transactions() as uow:
        uow.clients.put(evolve(changed, total_savings=Decimal(99)))  # that column has one writer (7.4)
    assert stored(shared_world, client.client_id) == changed
    with shared_world.transactions() as uow:
        uow.clients.put(evolve(changed, max_agents=None, max_instances=None, email=None))
    assert stored(shared_world, client.client_id) == evolve(changed, max_agents=None, max_instances=None, email=None)


def test_a_change_of_somebody_who_is_gone_is_no_success_gr3(shared_world: World) -> None:
    with pytest.raises(NotFound), shared_world.transactions() as uow:
        uow.clients.put(a_client())


def test_what_a_transaction_changed_is_gone_when_it_fails(shared_world: World) -> None:
    client = added(shared_world)
    other = a_token(client.client_id, "other")

    def fails() -> None:
        with shared_world.transactions() as uow:
            uow.clients.put(evolve(client, max_agents=1))
            uow.clients.add_token(other)
            assert uow.clients.get(client.client_id).max_agents == 1  # seen inside
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert stored(shared_world, client.client_id) == client
    assert current(shared_world, client.client_id) is None


# ---- tokens (CL-2, CL-3)


def test_the_current_token_is_the_newest_that_has_no_end_cl3(shared_world: World) -> None:
    client_id = added(shared_world).client_id
    old = a_token(client_id, "old-aaaa")
    new = a_token(client_id, "new-bbbb", created_at=START + timedelta(seconds=1), sealed=None)
    with shared_world.transactions() as uow:
        uow.clients.add_token(new)
        uow.clients.add_token(old)
    assert current(shared_world, client_id) == new
    with shared_world.transactions() as uow:
        uow.clients.end_tokens(client_id, START + timedelta(hours=1))
    assert current(shared_world, client_id) is None  # both end, be it after a grace


def test_a_second_ending_shortens_a_grace_and_never_lengthens_one_cl3(shared_world: World) -> None:
    client_id = added(shared_world).client_id
    hour, day = START + timedelta(hours=1), START + timedelta(days=1)

    def ends(token: TokenRecord, *at: object) -> bool:
        """True when the token opens nothing at the end of the first hour."""
        with shared_world.transactions() as uow:
            uow.clients.add_token(token)
            for instant in at:
                uow.clients.end_tokens(client_id, instant)
        storage = shared_world.transactions.__self__
        desk: Credentials = MemoryCredentials(storage) if isinstance(storage, MemoryStorage) else storage
        assert desk.find(token.token_hash, START) is not None
        return desk.find(token.token_hash, hour) is None

    assert ends(a_token(client_id, "ended-once"), hour)
    assert ends(a_token(client_id, "ended-sooner"), day, hour)
    assert ends(a_token(client_id, "never-later"), hour, day)
    assert not ends(a_token(client_id, "a-day"), day)


def test_tokens_of_one_client_end_and_no_others_96(shared_world: World) -> None:
    mine, other = added(shared_world).client_id, added(shared_world).client_id
    kept = a_token(other, "kept")
    with shared_world.transactions() as uow:
        uow.clients.add_token(a_token(mine, "mine"))
        uow.clients.add_token(kept)
        uow.clients.end_tokens(mine, START)
    assert (current(shared_world, mine), current(shared_world, other)) == (None, kept)


# ---- agents of a client


def test_ids_of_agents_come_in_the_order_of_registration_without_deleted_ones(shared_world: World) -> None:
    ids = []
    for name in ("b", "a", "c"):
        ids.append(shared_world.register(name).agent_id)
        shared_world.clock.advance(1)
    with shared_world.transactions() as uow:
        assert list(uow.clients.agent_ids(shared_world.client_id)) == ids
    shared_world.plane.agents.delete(shared_world.user, ids[0])
    shared_world.tick(90_000)  # AG-9: at most a day
    with shared_world.transactions() as uow:
        assert list(uow.clients.agent_ids(shared_world.client_id)) == ids[1:]


def test_a_purge_that_fails_leaves_everything_cl6(shared_world: World) -> None:
    agent_id = shared_world.register().agent_id
    before = shared_world.aggregate(agent_id)

    def fails() -> None:
        with shared_world.transactions() as uow:
            uow.clients.lock(shared_world.client_id)
            assert uow.clients.purge(shared_world.client_id)["agents"] == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert shared_world.aggregate(agent_id) == before
    with shared_world.transactions() as uow:
        erased = uow.clients.purge(shared_world.client_id)
        assert erased["clients"] == erased["agents"] == 1
        assert all(erased.values())
        assert uow.clients.purge(shared_world.client_id) == {}  # twice erases nothing more
