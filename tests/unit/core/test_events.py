"""Section 10: what every event becomes, for the audit log and for people; one message per cause, and no secrets."""

import string
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.events import CATALOGUE, Event, EventKind, Level, Notification, notification_of
from tests.support.rule_builders import AGENT, CLIENT, START, later

K, L = EventKind, Level

AUDIT: dict[str, list[EventKind]] = {  # http-api 12.2, as far as a kind exists here
    "info": [
        K.AGENT_REGISTERED, K.AGENT_TOGGLED, K.AGENT_CONFIG_UPDATED, K.AGENT_DELETED, K.AGENT_SHUTDOWN,
        K.AGENT_UNINSTALLED, K.CLIENT_CREATED, K.SWITCH_COMMAND_ISSUED, K.MANUAL_SWITCH_REQUESTED, K.SWITCH_COMPLETED,
        K.REPLICA_CREATED, K.REPLICA_PROMOTED, K.REPLICA_TERMINATED, K.REPLICAS_DISABLED, K.INSTANCE_LAUNCH_REQUESTED,
        K.INSTANCE_LAUNCH_CONFIRMED, K.INSTANCE_TERMINATION_REQUESTED, K.INSTANCE_TERMINATION_CONFIRMED,
        K.CLEANUP_COMPLETED,
    ],
    "warning": [
        K.AUTH_FAILED, K.AGENT_REHOMED, K.AGENT_MARKED_OFFLINE, K.CLIENT_DELETED, K.TOKEN_REGENERATED, K.TOKEN_VIEWED,
        K.REBALANCE_RECOMMENDATION, K.INSTANCE_TERMINATION_FAILED, K.COMMAND_EXPIRED, K.MODEL_ERROR, K.MODEL_TIMEOUT,
        K.MODEL_OUTPUT_REJECTED, K.INSTANCE_TERMINATED,  # E54 is its one cause here, and says warning
    ],
    "error": [K.AGENT_REGISTRATION_FAILED, K.SWITCH_FAILED, K.COMMAND_FAILED, K.REPLICA_FAILED],
    "critical": [K.TERMINATION_NOTICE, K.EMERGENCY_REPLICA_CREATED, K.FAILOVER_COMPLETED, K.FAILOVER_FAILED],
}  # fmt: skip
LEVELS = [(kind, level) for level, kinds in AUDIT.items() for kind in kinds]

NOTIFY: dict[EventKind, str | None] = {  # domain-rules 10; None: for the audit log alone
    K.AGENT_REGISTERED: "info",
    K.AGENT_DELETED: "info",
    K.AGENT_REHOMED: "warning",
    K.AGENT_REGISTRATION_FAILED: "warning",
    K.AGENT_MARKED_OFFLINE: "warning",
    K.AGENT_BACK_ONLINE: "info",
    K.AGENT_CONFIG_UPDATED: None,
    K.AGENT_TOGGLED: None,
    K.AGENT_CONFIG_LAGGING: "warning",
    K.AGENT_UNINSTALLED: "warning",
    K.CLIENT_CREATED: "info",
    K.MANUAL_SWITCH_REQUESTED: "info",
    K.SWITCH_COMMAND_ISSUED: "info",
    K.SWITCH_COMPLETED: "info",
    K.SWITCH_FAILED: "error",
    K.SWITCH_SUPERSEDED: "warning",
    K.COMMAND_EXPIRED: "warning",
    K.COMMAND_UNDELIVERABLE: "error",
    K.REBALANCE_RECOMMENDATION: "warning",
    K.EMERGENCY_REPLICA_CREATED: "warning",
    K.TERMINATION_NOTICE: "critical",
    K.FAILOVER_COMPLETED: "warning",
    K.FAILOVER_FAILED: "critical",
    K.FAILOVER_SLOW: None,
    K.AGENT_WITHOUT_PRIMARY: "critical",
    K.REPLICA_READY: "info",
    K.REPLICA_TERMINATED: "info",
    K.REPLICA_FAILED: "warning",
    K.REPLICAS_FAILING: "critical",
    K.INSTANCE_TERMINATION_CONFIRMED: "info",
    K.INSTANCE_TERMINATION_STUCK: "critical",
    K.PRIMARY_REPORTED_TERMINATED: "critical",
    K.ZOMBIE_REMINDER: "warning",
    K.PRICE_DISCREPANCY: None,
    K.TOKEN_REGENERATED: "warning",
    K.AUTH_FAILED: None,
}


def an_event(kind: EventKind, at: datetime = START, **facts: Any) -> Event:
    known = {"event_id": "e1", "client_id": CLIENT, "agent_id": AGENT, **facts.pop("head", {})}
    return Event(kind=kind, at=at, facts=facts, **known)


def message(kind: EventKind, at: datetime = START, **facts: Any) -> Notification:
    found = notification_of(an_event(kind, at, **facts))
    assert found is not None
    return found


@pytest.mark.parametrize(("kind", "level"), LEVELS, ids=[kind.value for kind, _ in LEVELS])
def test_12_2_every_audit_type_has_its_severity(kind: EventKind, level: str) -> None:
    assert CATALOGUE[kind].audit.value == level


@pytest.mark.parametrize(("kind", "level"), NOTIFY.items(), ids=[kind.value for kind in NOTIFY])
def test_10_who_is_told_and_how_loudly(kind: EventKind, level: str | None) -> None:
    told = CATALOGUE[kind].notify
    assert (told.value if told else None) == level
    assert (notification_of(an_event(kind)) is None) is (level is None)


def test_every_kind_has_a_row_and_every_row_that_is_told_has_a_text_and_a_key() -> None:
    assert set(CATALOGUE) == set(EventKind)
    for kind, spec in CATALOGUE.items():
        assert spec.notify is None or spec.text, kind
        assert (spec.notify is not None) == bool(spec.dedupe), kind
        assert spec.window is None or spec.notify is not None, kind


PER: dict[EventKind, str] = {  # domain-rules 10, last column: the one fact that makes another message of the same kind
    K.AGENT_REGISTERED: "agent_id",
    K.AGENT_DELETED: "agent_id",
    K.MANUAL_SWITCH_REQUESTED: "command_id",
    K.SWITCH_COMMAND_ISSUED: "command_id",
    K.SWITCH_COMPLETED: "switch_id",
    K.SWITCH_FAILED: "switch_id",
    K.SWITCH_SUPERSEDED: "switch_id",
    K.COMMAND_EXPIRED: "command_id",
    K.COMMAND_UNDELIVERABLE: "command_id",
    K.REBALANCE_RECOMMENDATION: "incident_id",
    K.EMERGENCY_REPLICA_CREATED: "incident_id",
    K.TERMINATION_NOTICE: "incident_id",
    K.FAILOVER_COMPLETED: "incident_id",
    K.FAILOVER_FAILED: "incident_id",
    K.REPLICA_READY: "replica_id",
    K.REPLICA_TERMINATED: "replica_id",
    K.REPLICA_FAILED: "replica_id",
    K.INSTANCE_LAUNCH_CONFIRMED: "instance_id",
    K.INSTANCE_TERMINATION_CONFIRMED: "instance_id",
    K.INSTANCE_TERMINATION_STUCK: "instance_id",
    K.PRIMARY_REPORTED_TERMINATED: "instance_id",
}
IDS = ("command_id", "switch_id", "incident_id", "replica_id")
OWN = ("agent_id", "instance_id")


def told_of(kind: EventKind, at: datetime = START, **ids: str) -> str:
    facts = {name: ids.get(name, "1") for name in IDS}
    head = {name: ids.get(name, "1") for name in OWN}
    return message(kind, at, head={**head, "event_id": ids.get("event_id", "e")}, **facts).dedupe_key


@pytest.mark.parametrize(("kind", "fact"), PER.items(), ids=[kind.value for kind in PER])
def test_nt1_one_cause_is_one_message_however_often_and_whenever_it_is_told(kind: EventKind, fact: str) -> None:
    first = told_of(kind)
    assert told_of(kind, later(86_400), event_id="another") == first
    assert told_of(kind, **{fact: "2"}) != first
    for other in {*IDS, *OWN} - {fact}:
        assert told_of(kind, **{other: "2"}) == first, other


@pytest.mark.parametrize(
    ("kind", "window"),
    [
        (K.AGENT_REHOMED, timedelta(hours=1)),
        (K.AGENT_REGISTRATION_FAILED, timedelta(hours=1)),
        (K.AGENT_WITHOUT_PRIMARY, timedelta(minutes=15)),
    ],
)
def test_nt1_a_windowed_message_is_told_once_per_window_and_agent(kind: EventKind, window: timedelta) -> None:
    first = told_of(kind)
    assert told_of(kind, START + window - timedelta(seconds=1)) == first  # the tests' start is a full hour
    assert told_of(kind, START + window) != first
    assert told_of(kind, agent_id="2") != first


@pytest.mark.parametrize("kind", [K.AGENT_MARKED_OFFLINE, K.AGENT_BACK_ONLINE, K.TOKEN_REGENERATED, K.ZOMBIE_REMINDER])
def test_nt1_what_is_told_per_change_is_told_each_time_and_not_twice_for_one(kind: EventKind) -> None:
    assert told_of(kind, event_id="one") == told_of(kind, later(5), event_id="one")
    assert told_of(kind, event_id="one") != told_of(kind, event_id="two")


def test_cv8_a_lagging_agent_is_told_of_once_per_version() -> None:
    first = message(K.AGENT_CONFIG_LAGGING, applied=1, config_version=2)
    assert message(K.AGENT_CONFIG_LAGGING, later(900), applied=1, config_version=2).dedupe_key == first.dedupe_key
    assert message(K.AGENT_CONFIG_LAGGING, applied=2, config_version=3).dedupe_key != first.dedupe_key


def test_mr4_failing_replicas_are_told_of_once_per_streak() -> None:
    first = message(K.REPLICAS_FAILING, streak="1", failures=5)
    assert message(K.REPLICAS_FAILING, streak="2", failures=5).dedupe_key != first.dedupe_key


def test_two_kinds_never_share_a_key() -> None:
    told = [kind for kind, spec in CATALOGUE.items() if spec.notify is not None]
    assert len({told_of(kind) for kind in told}) == len(told)


# --- texts ---------------------------------------------------------------------------------------------------

ALLOWED = {
    "logical_agent_id", "machine", "reason", "applied", "job", "last_success", "config_version", "name", "old_token_ends", "target",
    "savings_impact", "command_type", "failures", "deadline", "failover_ms",
    "pool_id", "price", "side", "threshold", "session_id", "version", "engine",
}  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind, spec in CATALOGUE.items() if spec.text], ids=lambda kind: kind.value)
def test_nt3_a_text_shows_ids_and_facts_alone_and_never_a_secret(kind: EventKind) -> None:
    shown = {name for _, name, _, _ in string.Formatter().parse(CATALOGUE[kind].text) if name}
    assert shown <= ALLOWED
    if CATALOGUE[kind].notify is None:
        return
    secrets = {"token": "s3cr3t", "client_token": "s3cr3t", "old_token": "s3cr3t", "error": "s3cr3t", "path": "s3cr3t"}
    told = message(kind, **secrets)
    assert "s3cr3t" not in told.message + told.dedupe_key


@pytest.mark.parametrize("kind", [kind for kind, spec in CATALOGUE.items() if spec.notify], ids=lambda kind: kind.value)
def test_gr7_a_text_without_its_facts_says_unknown_and_does_not_fail(kind: EventKind) -> None:
    bare = notification_of(Event(event_id="e", kind=kind, at=START, client_id=None))
    assert bare is not None
    assert "{" not in bare.message
    assert "None" not in bare.message


def test_a_text_shows_instants_in_utc_and_unknown_as_a_word() -> None:
    told = message(K.TERMINATION_NOTICE, machine="i-0a", logical_agent_id="web", deadline=later(120))
    assert told.message == "AWS will take i-0a of web back at 2026-03-02 12:02:00 UTC"
    assert message(K.TERMINATION_NOTICE, deadline=None, machine="i-0a").message.endswith("back at unknown")


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.integers() | st.none(), max_size=4))
def test_a_message_is_made_of_any_facts_whatever_they_hold(facts: dict[str, Any]) -> None:
    event = Event(event_id="e", kind=K.SWITCH_FAILED, at=START, client_id=CLIENT, facts=facts)
    told = notification_of(event)
    assert told is not None
    assert (told.severity, told.client_id, told.event_id) == (L.ERROR, CLIENT, "e")


def test_nt2_a_message_belongs_to_the_client_of_its_event() -> None:
    assert message(K.CLIENT_CREATED, name="Acme").client_id == CLIENT
    assert message(K.CLIENT_CREATED, name="Acme").message == "Client Acme created"
