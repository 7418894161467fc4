"""Ids are derived, and a placeholder is never taken for a machine (I10, T13)."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.errors import InvariantViolated
from spotcore.ids import (
    AgentId,
    CloudId,
    InstanceId,
    ReplicaId,
    derived_id,
    is_cloud_id,
    launch_placeholder,
    replica_placeholder,
)
from tests.support.rule_builders import a_machine


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_derived_id_is_a_uuid_of_its_agent_and_number_alone(one: str, other: str, first: int, second: int) -> None:
    made, again = derived_id(AgentId(one), first), derived_id(AgentId(other), second)
    assert made == str(uuid.uuid5(uuid.NAMESPACE_URL, f"spotcore:{one}:{first}"))
    assert (made == again) is ((one, first) == (other, second))


@pytest.mark.parametrize("name", ["i-0123456789abcdef0", "i-0a", "i-x", "i-" + "0" * 126])
def test_i10_what_the_cloud_issues_is_a_name(name: str) -> None:
    assert is_cloud_id(name)
    assert a_machine(cloud_id=CloudId(name)).cloud_id == name


@pytest.mark.parametrize(
    "name",
    [
        "i-pending-12345678",
        "replica-12345678",
        "unknown",
        "i-",
        "",
        "i-0a b",
        "i-0a\n",
        "I-0a",
        "i--0",
        "i-" + "0" * 127,
    ],
)
def test_i10_t13_a_placeholder_or_a_word_is_never_a_machines_name(name: str) -> None:
    assert not is_cloud_id(name)
    with pytest.raises(InvariantViolated):
        a_machine(cloud_id=CloudId(name))


def test_i10_an_unknown_name_is_none_and_no_name() -> None:
    assert not is_cloud_id(None)


@given(st.uuids())
def test_1_4_placeholders_have_the_prefixes_old_agents_skip_and_are_no_names(name: uuid.UUID) -> None:
    replica, launch = replica_placeholder(ReplicaId(str(name))), launch_placeholder(InstanceId(str(name)))
    assert replica == f"replica-{name.hex[:8]}"
    assert launch == f"i-pending-{name.hex[:8]}"
    assert not is_cloud_id(replica)
    assert not is_cloud_id(launch)
