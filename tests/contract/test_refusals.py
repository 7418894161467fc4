"""Every way the database says no, in the core's words (5.5, GR-3): the code a caller can act on, the cause kept."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest
from psycopg import errors as pg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from spotadapters.postgres import pool
from spotadapters.postgres.errors import BY_CONSTRAINT, translated
from spotadapters.postgres.models import PostgresModels
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from spotcore.errors import DuplicateRequest, InvariantViolated, SpotError, StateConflict, Unavailable
from spotcore.ports.storage import UnitOfWork
from tests.support.world import START, FakeClock, World, a_world

CASES: list[tuple[type[Exception], type[SpotError], str]] = [
    (pg.LockNotAvailable, StateConflict, "somebody else is changing this; try again"),
    (pg.DeadlockDetected, StateConflict, "somebody else is changing this; try again"),
    (pg.SerializationFailure, StateConflict, "somebody else is changing this; try again"),
    (pg.UniqueViolation, InvariantViolated, "refused by a constraint"),
    (pg.CheckViolation, InvariantViolated, "refused by a constraint"),
    (pg.ExclusionViolation, InvariantViolated, "refused by a constraint"),
    (pg.ForeignKeyViolation, InvariantViolated, "refused by a constraint"),
    (pg.NotNullViolation, InvariantViolated, "refused by a constraint"),
    (pg.QueryCanceled, Unavailable, "the database is too slow to answer now"),
    (pg.AdminShutdown, Unavailable, "the database cannot be reached now"),
    (pg.CannotConnectNow, Unavailable, "the database cannot be reached now"),
    (psycopg.OperationalError, Unavailable, "the database cannot be reached now"),
    (psycopg.InterfaceError, Unavailable, "the database cannot be reached now"),
    (PoolTimeout, Unavailable, "the database cannot be reached now"),
    (PoolClosed, Unavailable, "the database cannot be reached now"),
    (TooManyRequests, Unavailable, "the database cannot be reached now"),
]


@pytest.mark.parametrize(("cause", "kind", "text"), CASES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_failure_of_the_database_is_a_refusal_of_ours(
    cause: type[Exception], kind: type[SpotError], text: str
) -> None:
    with pytest.raises(kind) as refusal, translated():
        raise cause("password=secret host=10.0.0.1")
    assert type(refusal.value) is kind
    assert refusal.value.message == text  # NT-3: nothing of the driver's words
    assert isinstance(refusal.value.__cause__, cause)


@pytest.mark.parametrize(
    "cause", [pg.SyntaxError, pg.UndefinedTable, pg.InsufficientPrivilege, ZeroDivisionError, KeyError]
)
def test_a_defect_stays_a_defect(cause: type[Exception]) -> None:
    with pytest.raises(cause), translated():
        raise cause("a defect")


def test_refusals_pass_through_as_they_are() -> None:
    with pytest.raises(StateConflict, match="mine"), translated():
        raise StateConflict("mine")


def test_names_that_callers_meet_have_codes_of_their_own() -> None:
    codes = {name: kind.code for name, (kind, _) in BY_CONSTRAINT.items()}
    assert codes == {
        "client_name_taken": "CLIENT_EXISTS", "client_email_taken": "DUPLICATE_EMAIL",
        "i10_cloud_id_unique": "INSTANCE_OWNED", "i13_logical_id_unique": "LOGICAL_AGENT_CONFLICT",
        "i2_one_live_replica": "REPLICA_EXISTS",
    }  # fmt: skip


# ---- on a real server, with timeouts so short that nobody waits


@pytest.fixture(scope="module")
def hasty(module_database_url: str) -> Iterator[Connections]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "SESSION", {**pool.SESSION, "lock_timeout": "150ms", "statement_timeout": "800ms"})
        patch.setattr(pool, "WAIT_SECONDS", 0.2)
        with Connections(module_database_url, size=3, reserve=1) as connections:
            yield connections


_worlds = iter(range(0x9000, 0xA000))


@pytest.fixture
def world(hasty: Connections) -> World:
    clock = FakeClock()
    return a_world(PostgresStorage(hasty, clock).transactions, clock, next(_worlds))


def beside(world: World, holds: Callable[[UnitOfWork], object], asks: Callable[[], object]) -> None:
    """``asks`` while another transaction holds what ``holds`` takes."""
    held, release = threading.Event(), threading.Event()

    def holder() -> None:
        with world.transactions() as uow:
            holds(uow)
            held.set()
            release.wait(10)

    thread = threading.Thread(target=holder)
    thread.start()
    try:
        assert held.wait(5)
        asks()
    finally:
        release.set()
        thread.join()


def asked(world: World, act: Callable[[UnitOfWork], object]) -> Callable[[], object]:
    def ask() -> object:
        with world.transactions() as uow:
            return act(uow)

    return ask


LOCKS: dict[str, Callable[[World, UnitOfWork], object]] = {
    "a client": lambda world, uow: uow.clients.lock(world.client_id),
    "the models": lambda _, uow: uow.models.lock(),
}


@pytest.mark.parametrize("what", LOCKS)
def test_gr1_a_lock_that_somebody_has_is_a_conflict_after_the_timeout(world: World, what: str) -> None:
    def act(uow: UnitOfWork) -> object:
        return LOCKS[what](world, uow)

    def refused() -> None:
        with pytest.raises(StateConflict, match="try again"):
            asked(world, act)()

    beside(world, act, refused)
    asked(world, act)()  # free again


def test_gr1_reading_waits_for_no_lock(world: World) -> None:
    agent_id = world.register().agent_id

    def reads() -> None:
        with world.transactions() as uow:
            assert uow.agents.get(world.client_id, agent_id).agent.agent_id == agent_id
            assert uow.agents.poll(world.client_id, agent_id).revision > 0
            assert uow.clients.get(world.client_id).client_id == world.client_id

    def holds(uow: UnitOfWork) -> None:
        uow.clients.lock(world.client_id)
        uow.agents.lock(world.client_id, agent_id)

    beside(world, holds, reads)


def test_gr1_agents_of_one_client_wait_for_nobody_but_themselves(world: World) -> None:
    first, second = world.register("a").agent_id, world.register("b").agent_id
    beside(
        world,
        lambda uow: uow.agents.lock(world.client_id, first),
        asked(world, lambda uow: uow.agents.lock(world.client_id, second)),
    )


def test_id4_a_key_at_work_is_a_duplicate_after_the_timeout_and_an_answer_afterwards(world: World) -> None:
    def claim(uow: UnitOfWork) -> object:
        return uow.idempotency.claim(f"{world.client_id} POST", "key", "body", START)

    def first(uow: UnitOfWork) -> None:
        assert claim(uow) is None
        uow.idempotency.complete(f"{world.client_id} POST", "key", 201, b"first")

    def refused() -> None:
        with pytest.raises(DuplicateRequest, match="still running"):
            asked(world, claim)()

    beside(world, first, refused)
    found = asked(world, claim)()
    assert (found.status, found.body) == (201, b"first")


def test_id4_a_transaction_that_met_a_key_at_work_goes_on(world: World) -> None:
    """The refusal undoes its own statement alone: the caller may still write what it has to."""

    def goes_on() -> None:
        with world.transactions() as uow:
            with pytest.raises(DuplicateRequest):
                uow.idempotency.claim(f"{world.client_id} POST", "key", "body", START)
            assert uow.clients.get(world.client_id).client_id == world.client_id

    beside(world, lambda uow: uow.idempotency.claim(f"{world.client_id} POST", "key", "body", START), goes_on)


def test_a_ledger_that_somebody_writes_is_left_alone_at_once(world: World) -> None:
    def asks() -> None:
        with world.transactions() as uow:
            assert uow.ledger.hold(world.client_id) is False
            assert uow.ledger.hold(world.plane.clients.create(f"Other {world.client_id}").client.client_id) is True

    beside(world, lambda uow: uow.ledger.hold(world.client_id), asks)
    with world.transactions() as uow:
        assert uow.ledger.hold(world.client_id)
        assert uow.ledger.hold(world.client_id)  # its own already


def test_5_5_a_statement_that_takes_too_long_is_unavailable_and_leaves_the_pool_well(hasty: Connections) -> None:
    with pytest.raises(Unavailable, match="too slow"), translated():
        hasty.rows("select pg_sleep(5)", {})
    assert hasty.rows("select 1", {}) == [(1,)]


def test_design_3_the_reserve_answers_while_no_ordinary_connection_is_free(world: World, hasty: Connections) -> None:
    taken, release = [], threading.Event()

    def take() -> None:
        with hasty.connection():
            taken.append(1)
            release.wait(10)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            if len(taken) == 3:
                break
            release.wait(0.01)
        with pytest.raises(Unavailable, match="cannot be reached"), world.transactions():
            pytest.fail("there was a connection")
        with world.transactions(urgent=True) as uow:
            assert uow.clients.get(world.client_id).client_id == world.client_id
        busy, most = hasty.used()
        assert 3 <= busy < most
    finally:
        release.set()
        for thread in threads:
            thread.join()


def test_98_a_thousand_calls_and_as_many_failures_leave_the_pool_as_it_was(world: World, hasty: Connections) -> None:
    for number in range(300):
        try:
            with world.transactions() as uow:
                uow.clients.get(world.client_id)
                if number % 3 == 0:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
    busy, most = hasty.used()
    assert (busy, most) == (0, 3 + 1 + 2)


def test_a_connection_that_died_costs_one_failure_and_is_replaced(world: World, hasty: Connections) -> None:
    with closing(psycopg.connect(hasty.database_url, autocommit=True)) as root:
        root.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
            " and application_name = 'spotcore-single'"
        )
    failures = 0
    for _ in range(6):
        try:
            with translated():
                assert hasty.rows("select 1", {}) == [(1,)]
        except Unavailable:
            failures += 1
    assert failures <= 1
    assert world.register().role == "primary"


def test_what_a_transaction_sets_ends_with_it(hasty: Connections) -> None:
    with hasty.connection() as connection:
        connection.execute("select set_config('spotcore.purging', 'c', true)")
        assert connection.execute("show timezone").fetchone() == ("UTC",)
    for _ in range(3):
        with hasty.connection() as connection:
            row = connection.execute("select current_setting('spotcore.purging', true), current_user::text").fetchone()
            assert row[0] in (None, "")
            assert row[1] == pool.ROLE


def test_nothing_is_planned_for_the_first_time_in_a_storm(hasty: Connections) -> None:
    """``warm_up`` runs the hot functions once and leaves no row (design 3)."""
    with hasty.connection(urgent=True) as connection:
        before = connection.execute("select count(*) from audit_events").fetchone()
        connection.execute("select warm_up()")
        assert connection.execute("select count(*) from audit_events").fetchone() == before
        assert connection.prepare_threshold == 0


def test_models_that_are_gone_are_not_found_in_the_same_words(hasty: Connections) -> None:
    with hasty.connection() as connection, pytest.raises(SpotError) as refusal:
        PostgresModels(connection).get("nobody")
    assert (refusal.value.code, refusal.value.message) == ("NOT_FOUND", "unknown session")


def test_a_later_statement_sees_what_was_committed_after_a_wait_gr1(stored_world: World) -> None:
    """The lock is a statement of its own, so that what is read afterwards is what the one before has left."""
    agent_id = stored_world.register().agent_id
    held, seen = threading.Event(), []

    def second() -> None:
        held.wait(5)
        with stored_world.transactions() as uow:
            seen.append(uow.agents.lock(stored_world.client_id, agent_id).agent.config.min_savings_percent)

    thread = threading.Thread(target=second)
    thread.start()
    with stored_world.transactions() as uow:
        uow.agents.lock(stored_world.client_id, agent_id)
        held.set()
        stored_world.clock.advance(timedelta(seconds=1).total_seconds())
        connection = uow.agents._connection
        threading.Event().wait(0.03)
        connection.execute("update agents set min_savings_percent = 42 where agent_id = %s", (agent_id,))
    thread.join()
    assert seen == [42]
