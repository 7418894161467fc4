"""Every stored value comes back as it went in, whatever it holds: as JSON, and through the tables themselves."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

import attrs
import pytest
from attrs import evolve, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotadapters.postgres.rows import CONVERTER, columns, dumps, from_row, loads, to_row
from spotcore.agents import Agent
from spotcore.aggregate import Aggregate
from spotcore.alerts import Alert
from spotcore.change import Outcome
from spotcore.clients import Client
from spotcore.commands import Command
from spotcore.config import RANGES, SETTINGS, AgentConfig
from spotcore.decisions import Decision
from spotcore.events import Event, Notification
from spotcore.ids import CloudId, CommandId, IncidentId, InstanceId, ReplicaId, SwitchId
from spotcore.incidents import Incident, IncidentState
from spotcore.instances import Instance, InstanceStatus
from spotcore.models import ModelFile, ModelSession, SessionState
from spotcore.prices import OndemandObservation
from spotcore.replicas import Replica, ReplicaState
from spotcore.sessions import Session
from spotcore.switches import PrimaryPeriod, Switch
from tests.support.world import START, World

KINDS = [
    Client, Agent, Instance, Replica, Command, Incident, Switch, PrimaryPeriod, Event, Notification, Alert, Session,
    ModelSession, OndemandObservation, Decision,
]  # fmt: skip

texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12
)  # what PostgreSQL takes
instants = st.datetimes(
    min_value=datetime(2001, 1, 1), max_value=datetime(2090, 1, 1), timezones=st.just(UTC)
)  # to the microsecond
numbers = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | texts,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(texts, inside, max_size=3),
    max_leaves=4,
)
cloud_ids = st.integers(0, 16**8).map(lambda number: CloudId(f"i-{number:08x}"))


@cache
def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type."""
    if isinstance(kind, NewType):
        return cloud_ids if kind is CloudId else st.uuids().map(lambda one: kind(str(one)))
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return st.one_of(*(values(part) for part in parts))
    if origin is tuple:
        return st.lists(values(parts[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(texts, plain if parts[1] is Any else values(parts[1]), max_size=3)
    known = {
        str: texts, int: st.integers(-(2**31), 2**31 - 1), bool: st.booleans(), Decimal: numbers, datetime: instants,
        NoneType: st.none(), bytes: st.binary(max_size=5),
    }  # fmt: skip
    if kind in known:
        return known[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    assert attrs.has(kind), kind
    return rows(kind)


@cache
def wanted(kind: type) -> Mapping[str, Any]:
    """The fields of a class and their types."""
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in attrs.fields(kind) if one.init}


@st.composite
def rows(draw: st.DrawFn, kind: type, **fixed: Any) -> Any:
    """Any value of a class, some fields given."""
    given_values = {name: draw(values(hint)) for name, hint in wanted(kind).items() if name not in fixed}
    if kind is AgentConfig and given_values.get("auto_switch_enabled"):
        given_values["manual_replica_enabled"] = False  # I3
    return kind(**given_values, **fixed)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=15)
@given(data=st.data())
def test_a_row_holds_everything_and_says_it_in_json(kind: type, data: st.DataObject) -> None:
    value = data.draw(rows(kind))
    row = CONVERTER.unstructure(value) if kind is Decision else to_row(value)
    text = dumps(row).decode()  # nothing that JSON cannot say
    assert json.loads(text) == json.loads(json.dumps(row))
    back = CONVERTER.structure(loads(text), kind) if kind is Decision else from_row(loads(text), kind)
    assert back == value
    assert not any(isinstance(one, float) for one in loads(text).values())


@pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**63, 2**64, -(2**64), 10**40])
def test_whole_numbers_of_any_size_are_said_exactly(number: int) -> None:
    assert loads(dumps({"metadata": [number]}).decode()) == {"metadata": [number]}


def test_half_a_character_is_refused_by_the_database_and_not_by_us() -> None:
    assert dumps({"name": "\ud800"}) == b'{"name": "\\ud800"}'


@pytest.mark.parametrize("kind", [one for one in KINDS if one is not Decision], ids=lambda kind: kind.__name__)
@settings(max_examples=1)
@given(data=st.data())
def test_columns_are_the_fields_in_their_order(kind: type, data: st.DataObject) -> None:
    assert set(to_row(data.draw(rows(kind)))) == set(columns(kind))
    if kind is Agent:
        assert set(SETTINGS) <= set(columns(Agent))  # I3 needs them as columns
        assert "config" not in columns(Agent)


@frozen
class Text:
    """A number or a time as JSON may hold it, and what it means."""

    text: str
    value: Any


@pytest.mark.parametrize(
    "case",
    [
        Text("0.1", Decimal("0.1")), Text('"0.1"', Decimal("0.1")), Text("1e-8", Decimal("1e-8")), Text("3", Decimal(3)),
        Text("123456789012345678901234567890.12345678", Decimal("123456789012345678901234567890.12345678")),
    ],
    ids=lambda case: case.text,
)  # fmt: skip
def test_gr6_money_never_passes_through_a_float(case: Text) -> None:
    assert CONVERTER.structure(loads(case.text), Decimal) == case.value
    assert loads('{"a": [0.1, {"b": 1.10}]}') == {"a": [Decimal("0.1"), {"b": Decimal("1.10")}]}


@pytest.mark.parametrize(
    "text",
    ["2026-03-02T12:00:00+00:00", "2026-03-02T12:00:00Z", "2026-03-02T13:00:00+01:00", "2026-03-02T04:00:00-08:00"],
)
def test_gr5_an_instant_is_read_as_utc_whatever_offset_it_was_written_with(text: str) -> None:
    at = CONVERTER.structure(text, datetime)
    assert (at, at.tzinfo) == (START, UTC)


# ---- through the tables

_names = iter(range(10**6))


@cache
def in_range(setting: str) -> st.SearchStrategy[Any]:
    """Any value the setting may have (section 3)."""
    low, high = RANGES[setting]
    hint = get_type_hints(AgentConfig)[setting]
    kind = st.decimals(low, high, places=6) if hint is Decimal else st.integers(low, high)
    return kind if NoneType not in get_args(hint) else st.none() | kind


@st.composite
def aggregates(draw: st.DrawFn, known: Aggregate) -> Aggregate:
    """The agent with any facts, and one row of each kind with any: what the constraints ask for is kept."""
    who = {"client_id": known.agent.client_id, "agent_id": known.agent.agent_id}
    primary, own = known.primary, next(_names)
    assert primary is not None
    config = draw(rows(AgentConfig, **{name: draw(in_range(name)) for name in RANGES}))
    agent = draw(
        rows(
            Agent, **who, logical_agent_id=known.agent.logical_agent_id, config=config, primary_id=primary.instance_id,
            config_version=known.agent.config_version, merged_into=None,
        )
    )  # fmt: skip
    status = draw(st.sampled_from([one for one in InstanceStatus if one is not InstanceStatus.RUNNING_PRIMARY]))
    ended = draw(instants) if status is InstanceStatus.TERMINATED else None
    machine = draw(
        rows(
            Instance, **who, instance_id=InstanceId(f"m{own}"), status=status, terminated_at=ended,
            created_at=START, cloud_id=draw(st.sampled_from([None, CloudId(f"i-{own}-{known.client.client_id}")])),
        )
    )  # fmt: skip
    replica = draw(
        rows(
            Replica,
            **who,
            replica_id=ReplicaId(f"r{own}"),
            instance_id=machine.instance_id,
            created_at=START,
            ended_at=None,
        )
    )
    command = draw(
        rows(
            Command,
            **who,
            command_id=CommandId(f"k{own}"),
            request_id=f"q{own}",
            deliveries=draw(st.integers(0, 2)),
            finished_at=START,
            terminate_wait_seconds=0,
        )
    )
    incident = draw(
        rows(Incident, **who, incident_id=IncidentId(f"n{own}"), instance_id=machine.instance_id, closed_at=START)
    )
    switch = draw(rows(Switch, **who, switch_id=SwitchId(f"s{own}"), recorded_at=START))
    return evolve(
        known, agent=agent, instances={**known.instances, machine.instance_id: machine},
        replicas={replica.replica_id: replica}, commands={command.command_id: command},
        incidents={incident.incident_id: incident}, switches={switch.switch_id: switch},
    )  # fmt: skip


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_aggregate_comes_back_from_the_tables_as_it_was_saved(stored_world: World, data: st.DataObject) -> None:
    agent_id = stored_world.register(f"agent-{next(_names)}").agent_id
    before = stored_world.aggregate(agent_id)
    after = data.draw(aggregates(before))
    with stored_world.transactions() as uow:
        uow.agents.save(Outcome(before=before, after=after))
    found = stored_world.aggregate(agent_id)
    assert found.agent == after.agent
    for name in ("instances", "replicas", "commands", "incidents", "switches"):
        assert getattr(found, name) == getattr(after, name), name
    assert found.periods == after.periods
    with stored_world.transactions() as uow:  # once more, every fact another: what is updated is written too
        again = data.draw(aggregates(before))
        changed = evolve(
            after,
            agent=again.agent,
            commands={
                key: evolve(row, params={"x": [1]}, notes=("late",), kind=type(row.kind)("terminate_instance"))
                for key, row in after.commands.items()
            },
            incidents={key: evolve(row, state=IncidentState.RESOLVED, signals=7) for key, row in after.incidents.items()},
            replicas={key: evolve(row, state=ReplicaState.FAILED, tags={"a": "b"}) for key, row in after.replicas.items()},
            switches={key: evolve(row, reason="why", credited=Decimal("0.00000001")) for key, row in after.switches.items()},
        )  # fmt: skip
        uow.agents.save(Outcome(before=found, after=changed))
    final = stored_world.aggregate(agent_id)
    assert (final.agent, final.commands, final.incidents) == (changed.agent, changed.commands, changed.incidents)
    assert (final.replicas, final.switches) == (changed.replicas, changed.switches)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_model_session_comes_back_from_the_tables(stored_world: World, data: st.DataObject) -> None:
    state = data.draw(st.sampled_from(SessionState))
    serves = state in (SessionState.ACTIVE, SessionState.FALLBACK)
    session = data.draw(
        rows(
            ModelSession, session_id=f"session-{next(_names)}", state=state, scope=f"scope-{next(_names)}",
            rejection="r" if state is SessionState.REJECTED else None,
            files=tuple(
                ModelFile(label=data.draw(texts), sha256=f"{number:064x}", size=data.draw(st.integers(1, 100 << 20)))
                for number in range(data.draw(st.integers(0, 3)))
            ),
            **({"activated_at": START, "files_removed_at": None} if serves else {}),
        )
    )  # fmt: skip
    with stored_world.transactions() as uow:
        uow.models.add(session)
        assert uow.models.get(session.session_id) == session
