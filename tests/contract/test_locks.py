"""One aggregate, one lock (GR-1), proven with two threads on PostgreSQL."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from spotadapters.postgres import pool
from spotadapters.postgres.link import SILENT_CLIENT
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from spotcore.config import ConfigChange
from spotcore.emergencies import Signal
from spotcore.errors import SpotError, StateConflict
from spotcore.ids import CloudId
from spotcore.incidents import Severity
from spotcore.liveness import Heartbeat
from spotcore.pools import Mode
from spotcore.ports.storage import Keys
from spotcore.replicas import ReplicaState
from spotcore.reports import ReplicaStatusReport
from spotcore.roles import ReportedPrices
from spotcore.service.kernel import URGENT_TRIES
from spotcore.standby import MachineFacts
from spotcore.switching import MachineReport, SwitchReport
from tests.support.world import FakeClock, World, a_world

_numbers = count(1)


@pytest.fixture(scope="module")
def many(module_database_url: str) -> Iterator[Connections]:
    with Connections(module_database_url, size=8, reserve=4) as connections:
        yield connections


@pytest.fixture(scope="module")
def impatient(module_database_url: str) -> Iterator[Connections]:
    """Nobody waits for a lock for long. All of them are open before others open theirs."""
    connections = Connections(module_database_url, size=3, reserve=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "SESSION", {**pool.SESSION, "lock_timeout": "100ms"})
        connections.__enter__()
        for lender in connections._lenders:
            lender.pool.wait()
    yield connections
    connections.__exit__(None, None, None)


def a_world_on(connections: Connections) -> World:
    clock = FakeClock()
    return a_world(PostgresStorage(connections, clock).transactions, clock, next(_numbers))


@pytest.fixture
def world(many: Connections) -> World:
    return a_world_on(many)


@pytest.fixture
def hasty(impatient: Connections) -> World:
    return a_world_on(impatient)


def test_the_agent_row_stays_locked_until_the_transaction_ends_gr1(hasty: World) -> None:
    agent_id = hasty.register().agent_id
    locked, release = threading.Event(), threading.Event()

    def holder() -> None:
        with hasty.transactions() as uow:
            uow.agents.lock(hasty.client_id, agent_id)
            locked.set()
            release.wait(10)

    thread = threading.Thread(target=holder)
    thread.start()
    assert locked.wait(5)
    with pytest.raises(StateConflict), hasty.transactions() as uow:
        uow.agents.lock(hasty.client_id, agent_id)
    release.set()
    thread.join()
    with hasty.transactions() as uow:
        assert uow.agents.lock(hasty.client_id, agent_id).agent.agent_id == agent_id


def test_a_group_takes_only_rows_that_nobody_holds_and_waits_for_none_gr1(hasty: World) -> None:
    held, free = hasty.register("held").agent_id, hasty.register("free").agent_id
    locked, release = threading.Event(), threading.Event()

    def holder() -> None:
        with hasty.transactions() as uow:
            uow.agents.lock(hasty.client_id, held)
            locked.set()
            release.wait(10)

    thread = threading.Thread(target=holder)
    thread.start()
    assert locked.wait(5)
    states = {agent_id: hasty.aggregate(agent_id) for agent_id in (held, free)}
    for known in ({}, states):
        with hasty.transactions() as uow:
            assert set(uow.agents.lock_free(hasty.client_id, {held: Keys(), free: Keys()}, known)) == {free}
            with pytest.raises(StateConflict), hasty.transactions() as other:
                other.agents.lock(hasty.client_id, free)
    release.set()
    thread.join()
    with hasty.transactions() as uow:
        assert set(uow.agents.lock_free(hasty.client_id, {held: Keys(), free: Keys()})) == {held, free}


@pytest.mark.parametrize("lets_go_at", [URGENT_TRIES, None])
def test_a_notice_waits_for_a_row_longer_than_a_frozen_process_keeps_it_5_5_z9(
    impatient: Connections, lets_go_at: int | None
) -> None:
    clock, tries = FakeClock(), count(1)
    storage = PostgresStorage(impatient, clock)
    locked, release, tried = threading.Event(), threading.Event(), []

    def transactions(*, urgent: bool = False) -> Any:
        if urgent:
            tried.append(next(tries))
        if urgent and tried[-1] == lets_go_at:
            release.set()
            thread.join()
        return storage.transactions(urgent=urgent)

    def holder() -> None:
        with storage.transactions() as uow:
            uow.agents.lock(world.client_id, agent_id)
            locked.set()
            release.wait(10)

    world = a_world(transactions, clock, next(_numbers))
    machine = world.new_machine()
    agent_id = world.register(machine=machine).agent_id
    thread = threading.Thread(target=holder)
    thread.start()
    assert locked.wait(5)
    try:
        if lets_go_at is None:
            with pytest.raises(StateConflict):
                world.notice(agent_id, machine)
        else:
            assert world.notice(agent_id, machine).incident is not None
    finally:
        release.set()
        thread.join()
    assert tried == list(range(1, URGENT_TRIES + 1))


def test_that_is_longer_than_the_database_keeps_a_silent_client_s_transaction_5_5() -> None:
    one_wait, silent = (int(text.removesuffix("s")) for text in (pool.LOCK_TIMEOUT, SILENT_CLIENT))
    assert URGENT_TRIES * one_wait > silent


def test_concurrent_effective_updates_raise_the_version_by_exactly_their_number_cv10(world: World) -> None:
    agent_id = world.register().agent_id
    waits = range(100, 124)

    def change(wait: int) -> None:
        wanted = ConfigChange(wanted={"terminate_wait_seconds": wait})
        world.plane.agents.configure(world.user, agent_id, wanted)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(change, waits))
    assert world.aggregate(agent_id).agent.config_version == 1 + len(waits)


def test_a_storm_of_the_same_notice_is_one_failover_em14(world: World) -> None:
    first = world.register(machine="i-0000000000000000a")
    world.plane.agents.configure(world.user, first.agent_id, ConfigChange(wanted={"manual_replica_enabled": True}))
    (view,) = world.plane.replicas.to_launch(world.agent_caller, first.agent_id)
    machine = MachineFacts(cloud_id=world.new_machine())
    world.plane.replicas.update(world.agent_caller, first.agent_id, view.replica.replica_id, machine=machine)
    ready = ReplicaStatusReport(state=ReplicaState.READY)
    world.plane.replicas.report_status(world.agent_caller, first.agent_id, view.replica.replica_id, ready)

    def send(number: int) -> str:
        if number % 3 == 2:
            world.plane.agents.heartbeat(world.agent_caller, first.agent_id, Heartbeat(cloud_id="i-0000000000000000a"))
            return "heartbeat"
        notice = Signal(severity=Severity.TERMINATION, cloud_id="i-0000000000000000a", received_at=world.clock.now())
        return world.plane.emergencies.signal(world.agent_caller, first.agent_id, notice).outcome.value

    with ThreadPoolExecutor(8) as threads:
        outcomes = set(threads.map(send, range(24)))
    assert outcomes == {"replica_promoted", "heartbeat"}
    after = world.aggregate(first.agent_id)
    assert after.primary is not None
    assert after.primary.cloud_id == machine.cloud_id
    assert len(after.switches) == 1


def test_two_agents_credit_one_client_without_losing_a_cent(world: World) -> None:
    agents = [(world.register(f"agent-{n}", f"i-{n:017x}").agent_id, n) for n in range(0x10, 0x18)]

    def switch(row: tuple[str, int]) -> None:
        agent_id, number = row
        report = SwitchReport(
            old=MachineReport(cloud_id=CloudId(f"i-{number:017x}"), mode=Mode.SPOT),
            new=MachineReport(cloud_id=CloudId(f"i-{number + 256:017x}"), mode=Mode.SPOT, az="us-east-1b"),
            prices=ReportedPrices(old_spot=Decimal("0.05"), new_spot=Decimal("0.04")),
        )
        world.plane.commands.switch_report(world.agent_caller, agent_id, report)  # type: ignore[arg-type]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(switch, agents))
    assert world.aggregate(agents[0][0]).client.total_savings == Decimal("0.24") * len(agents)


def test_two_registrations_of_one_name_make_one_agent_i13(world: World) -> None:
    def register(number: int) -> str:
        try:
            return world.register("same", f"i-{number:017x}").agent_id
        except SpotError as refusal:
            return refusal.code

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(register, range(0x20, 0x26)))
    assert answers.count("LOGICAL_AGENT_CONFLICT") == 5
