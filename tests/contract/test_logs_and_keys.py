"""Decisions, idempotency keys and audit rows on both storages (4.8, GR-10, NT-1)."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from attrs import evolve

from spotcore.decisions import Action, Candidate, Decision, DecisionRecord, Snapshot, snapshot_hash
from spotcore.errors import SpotError
from spotcore.events import Event, EventKind, Level
from spotcore.ids import AgentId, ClientId, CommandId
from spotcore.pools import Mode
from spotcore.ports.storage import StoredAnswer, UnitOfWork
from tests.support.world import START, World

D = Decimal


def rolled_back(world: World, act: Callable[[UnitOfWork], object]) -> None:
    """What happens in a transaction that fails."""

    def fails() -> None:
        with world.transactions() as uow:
            act(uow)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()


def undone(world: World, act: Callable[[UnitOfWork], object]) -> None:
    """What happens in a savepoint that fails, in a transaction that does not."""

    def fails(uow: UnitOfWork) -> None:
        with uow.savepoint():
            act(uow)
            raise ZeroDivisionError

    with world.transactions() as uow, pytest.raises(ZeroDivisionError):
        fails(uow)


BACKS_OUT = pytest.mark.parametrize("backs_out", [rolled_back, undone])

# ---- decisions


def a_record(world: World, name: str, agent_id: str = "agent", minutes: float = 0, **facts: object) -> DecisionRecord:
    snapshot = Snapshot(
        client_id=world.client_id, agent_id=AgentId(agent_id), taken_at=START, instance_id="m", instance_type="m5.large",
        region="us-east-1", current_mode=Mode.SPOT, current_pool_id="m5.large.us-east-1a", current_price=D("0.030000"),
        ondemand_price=None, current_risk=D("0.5"), current_risk_flags=("prior",), preferred_azs=("us-east-1b",),
        candidates=(
            Candidate(
                pool_id="m5.large.us-east-1b", az="us-east-1b", price=D("0.01"), observed_at=START, risk=D("0.1"),
                risk_flags=("prior", "young_pool"),
            ),
        ),
    )  # fmt: skip
    decision = Decision(
        snapshot=snapshot, action=Action.SWITCH_POOL, target_mode=Mode.SPOT, target_pool_id="m5.large.us-east-1b",
        risk=None, confidence=D("0.70"), savings_per_hour=D("0.02"), improvement_percent=D("66.666667"),
        guards=("COOLDOWN", "PRICE_STALE"), will_auto_execute=False, reason="cheaper", engine="rules", engine_version="1",
        source="fallback",
    )  # fmt: skip
    known = {"made_at": START + timedelta(minutes=minutes), "trigger": "decision_round", **facts}
    return DecisionRecord(
        decision_id=f"{name}-{world.client_id}", decision=decision, snapshot_hash=snapshot_hash(snapshot), **known
    )


def recent(
    world: World, limit: int = 10, agent_id: str = "agent", client_id: ClientId | None = None
) -> list[DecisionRecord]:
    with world.transactions() as uow:
        return list(uow.decisions.recent(client_id or world.client_id, AgentId(agent_id), limit))


def test_a_decision_comes_back_with_its_snapshot_to_the_last_digit(shared_world: World) -> None:
    record = a_record(shared_world, "d", command_id=CommandId("c-1"))
    with shared_world.transactions() as uow:
        uow.decisions.add(record)
    (found,) = recent(shared_world)
    assert found == record
    assert snapshot_hash(found.decision.snapshot) == record.snapshot_hash  # replay: the same bytes


def test_decisions_come_newest_first_whatever_was_written_last_and_at_most_so_many(shared_world: World) -> None:
    rows = [a_record(shared_world, name, minutes=at) for name, at in (("late", 9), ("early", 1), ("middle", 5))]
    with shared_world.transactions() as uow:
        for row in rows:
            uow.decisions.add(row)
    late, early, middle = rows
    assert recent(shared_world) == [late, middle, early]
    assert recent(shared_world, 2) == [late, middle]
    assert recent(shared_world, 0) == []


def test_decisions_are_one_agents_and_one_clients_gr8(shared_world: World) -> None:
    mine, other = a_record(shared_world, "mine"), a_record(shared_world, "other", "second")
    with shared_world.transactions() as uow:
        uow.decisions.add(mine)
        uow.decisions.add(other)
    assert (recent(shared_world), recent(shared_world, agent_id="second")) == ([mine], [other])
    assert recent(shared_world, client_id=ClientId("x")) == recent(shared_world, agent_id="nobody") == []


@BACKS_OUT
def test_a_decision_that_was_backed_out_is_gone(shared_world: World, backs_out: Callable[..., None]) -> None:
    backs_out(shared_world, lambda uow: uow.decisions.add(a_record(shared_world, "d")))
    assert recent(shared_world) == []


# ---- idempotency keys (4.8)


def claim(
    world: World, key: str = "key", body: str = "body", scope: str = "POST /x", later: float = 0
) -> StoredAnswer | None:
    with world.transactions() as uow:
        return uow.idempotency.claim(
            f"{world.client_id} {scope}", key, body, world.clock.now() + timedelta(seconds=later)
        )


def complete(
    world: World, status: int = 201, body: bytes = b'{"a": 1}', key: str = "key", scope: str = "POST /x"
) -> None:
    with world.transactions() as uow:
        uow.idempotency.complete(f"{world.client_id} {scope}", key, status, body)


def test_id2_a_key_is_ours_once_and_then_gives_the_stored_answer(shared_world: World) -> None:
    assert claim(shared_world) is None
    assert claim(shared_world) == StoredAnswer(body_hash="body", status=None, body=None)
    complete(shared_world, 404, b"\x00\xff binary")
    stored = StoredAnswer(body_hash="body", status=404, body=b"\x00\xff binary")
    assert [claim(shared_world) for _ in range(3)] == [stored] * 3


def test_id3_another_body_gets_the_first_bodys_hash_to_judge_by(shared_world: World) -> None:
    claim(shared_world, body="first")
    complete(shared_world)
    found = claim(shared_world, body="second")
    assert found is not None
    assert (found.body_hash, found.status) == ("first", 201)


def test_id1_a_key_counts_for_its_scope_alone(shared_world: World) -> None:
    assert claim(shared_world) is None
    assert claim(shared_world, key="other") is None
    assert claim(shared_world, scope="POST /y") is None
    complete(shared_world, 200, b"", key="other")
    answers = [claim(shared_world), claim(shared_world, key="other"), claim(shared_world, scope="POST /y")]
    assert [(one and one.status, one and one.body) for one in answers] == [(None, None), (200, b""), (None, None)]


@pytest.mark.parametrize(("seconds", "is_kept"), [(86_399, True), (86_400, True), (86_401, False)])
def test_id1_a_key_is_remembered_for_24_hours(shared_world: World, seconds: float, is_kept: bool) -> None:
    claim(shared_world, body="first")
    complete(shared_world)
    found = claim(shared_world, body="second", later=seconds)
    if is_kept:
        assert found == StoredAnswer(body_hash="first", status=201, body=b'{"a": 1}')
        return
    assert found is None  # ours anew
    assert claim(shared_world, later=seconds) == StoredAnswer(body_hash="second", status=None, body=None)


@BACKS_OUT
def test_id5_work_that_failed_leaves_its_key_free(shared_world: World, backs_out: Callable[..., None]) -> None:
    scope = f"{shared_world.client_id} POST /x"

    def work(uow: UnitOfWork) -> None:
        assert uow.idempotency.claim(scope, "key", "body", shared_world.clock.now()) is None
        uow.idempotency.complete(scope, "key", 201, b"never sent")

    backs_out(shared_world, work)
    assert claim(shared_world) is None


def test_id5_a_failure_kept_behind_a_savepoint_replays(shared_world: World) -> None:
    """The claim outlives what the work did: that is how a 4xx is remembered and its effects are not."""
    scope = f"{shared_world.client_id} POST /x"

    def refused(uow: UnitOfWork) -> None:
        with uow.savepoint():
            uow.decisions.add(a_record(shared_world, "d"))
            raise ZeroDivisionError

    with shared_world.transactions() as uow:
        uow.idempotency.claim(scope, "key", "body", shared_world.clock.now())
        with pytest.raises(ZeroDivisionError):
            refused(uow)
        uow.idempotency.complete(scope, "key", 409, b"refused")
    found = claim(shared_world)
    assert found is not None
    assert (found.status, found.body, recent(shared_world)) == (409, b"refused", [])


# ---- audit rows and the notifications they become


def an_event(world: World, name: str, kind: EventKind = EventKind.TOKEN_REGENERATED, **facts: object) -> Event:
    known = {"at": START, "client_id": world.client_id, "facts": {"old_token_ends": "now"}, **facts}
    return Event(event_id=f"{name}-{world.client_id}", kind=kind, **known)


def read_all(world: World, client_id: ClientId | None = None) -> int:
    with world.transactions() as uow:
        return uow.notices.mark_all_read(client_id or world.client_id, world.clock.now())


def test_unknown_events_are_those_without_an_audit_row(shared_world: World) -> None:
    first, second = an_event(shared_world, "a"), an_event(shared_world, "b", EventKind.TOKEN_VIEWED)
    with shared_world.transactions() as uow:
        uow.audit.add([first])
        assert uow.audit.unknown([first.event_id, second.event_id]) == {second.event_id}
        uow.audit.add([second])
        uow.audit.add([])
        assert uow.audit.unknown([first.event_id, second.event_id]) == uow.audit.unknown([]) == frozenset()
        assert uow.audit.unknown(["never"]) == {"never"}


@BACKS_OUT
def test_101_an_audit_row_goes_with_its_change(shared_world: World, backs_out: Callable[..., None]) -> None:
    event = an_event(shared_world, "a")
    read_all(shared_world)
    backs_out(shared_world, lambda uow: uow.audit.add([event]))
    with shared_world.transactions() as uow:
        assert uow.audit.unknown([event.event_id]) == {event.event_id}
    assert read_all(shared_world) == 0  # nor is anybody told


def test_gr10_an_event_is_written_once(shared_world: World) -> None:
    event = an_event(shared_world, "a")
    with shared_world.transactions() as uow:
        uow.audit.add([event])
    with pytest.raises(SpotError), shared_world.transactions() as uow:
        uow.audit.add([evolve(event, actor="forger")])


def test_nt1_events_with_one_dedupe_key_are_one_notification(shared_world: World) -> None:
    """One per agent and hour (section 10): the audit has them all, people are told once."""
    read_all(shared_world)
    kind, facts = EventKind.AGENT_REHOMED, {"logical_agent_id": "web", "machine": "i-0a"}

    def rehomed(name: str, minutes: float, agent: str = "a") -> Event:
        at = START + timedelta(minutes=minutes)
        own = AgentId(f"{agent}-{shared_world.client_id}")
        return an_event(shared_world, name, kind, at=at, agent_id=own, facts=facts, level=Level.WARNING)

    with shared_world.transactions() as uow:
        uow.audit.add([rehomed("1", 0), rehomed("2", 30), rehomed("3", 59), rehomed("4", 0, "other")])
    assert read_all(shared_world) == 2
    with shared_world.transactions() as uow:
        uow.audit.add([rehomed("5", 61)])
    assert read_all(shared_world) == 1


def test_an_event_for_the_audit_alone_tells_nobody(shared_world: World) -> None:
    read_all(shared_world)
    with shared_world.transactions() as uow:
        uow.audit.add([an_event(shared_world, "v", EventKind.TOKEN_VIEWED)])
    assert read_all(shared_world) == 0
