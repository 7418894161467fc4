"""Section 1.1: one status field, and the names and addresses a client may have."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore import clients
from spotcore.clients import Client, ClientStatus
from spotcore.commands import CommandState
from spotcore.errors import StateConflict, ValidationFailed
from tests.support.rule_builders import CLIENT, LONG_AGO, START
from tests.support.world import a_world

LIFE = {
    ("active", "suspended"), ("suspended", "active"), ("active", "deleted"), ("suspended", "deleted"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), list(product(ClientStatus, ClientStatus)))
def test_cl1_gr4_a_client_is_active_or_suspended_and_deleted_for_good(
    before: ClientStatus, after: ClientStatus
) -> None:
    client = Client(client_id=CLIENT, name="Acme", status=before, created_at=LONG_AGO)
    if before is after:
        assert clients.moved(client, after, START) is client
    elif (before.value, after.value) in LIFE:
        now = clients.moved(client, after, START)
        assert now.status is after
        assert now.deleted_at == (START if after is ClientStatus.DELETED else None)
    else:
        with pytest.raises(StateConflict):
            clients.moved(client, after, START)


@pytest.mark.parametrize(
    ("status", "suspended"),
    [(ClientStatus.ACTIVE, False), (ClientStatus.SUSPENDED, True), (ClientStatus.DELETED, False)],
)
def test_cl5_suspended_is_one_status_and_no_flag_beside_it(status: ClientStatus, suspended: bool) -> None:
    assert Client(client_id=CLIENT, name="Acme", status=status, created_at=START).is_suspended is suspended


@pytest.mark.parametrize(("given", "kept"), [("Acme", "Acme"), ("  Acme ", "Acme"), ("a", "a"), ("x" * 255, "x" * 255)])
def test_e10_a_name_is_trimmed_and_1_to_255_characters(given: str, kept: str) -> None:
    assert clients.valid_name(given) == kept


@pytest.mark.parametrize("given", ["", "   ", "x" * 256])
def test_e10_a_name_that_is_empty_or_too_long_is_refused(given: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        clients.valid_name(given)
    assert list(refusal.value.details) == ["name"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [(None, None), ("", None), ("  ", None), ("Ops@Acme.Example", "ops@acme.example"), (" a@b.c ", "a@b.c")],
)
def test_e10_an_address_is_lower_cased_and_may_be_absent(given: str | None, kept: str | None) -> None:
    assert clients.valid_email(given) == kept


@pytest.mark.parametrize(
    "given", ["ops", "@acme.example", "ops@", "ops@acme", "a b@acme.example", "a@b@c.d", "x" * 65 + "@a.b"]
)
def test_e10_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        clients.valid_email(given)
    assert list(refusal.value.details) == ["email"]


@given(st.emails())
def test_e10_a_normalised_address_stays_as_it_is(given: str) -> None:
    try:
        kept = clients.valid_email(given)
    except ValidationFailed:
        return
    assert clients.valid_email(kept) == kept


def test_cl5_suspending_cancels_what_is_pending_and_lets_finish_what_is_executing() -> None:
    """A switch half done is not called back: its agent may have ended the old machine already."""
    world = a_world()
    pending, running = world.register("pending").agent_id, world.register("running").agent_id
    for agent_id in (pending, running):
        world.report_prices(agent_id, {"us-east-1a": "0.05", "us-east-1b": "0.03"})
        world.switch(agent_id)
    (fetched,) = world.fetch(running)
    world.plane.clients.suspend(world.client_id)
    (waiting,) = world.aggregate(pending).commands.values()
    assert waiting.state is CommandState.CANCELLED
    assert world.aggregate(running).commands[fetched.command_id].state is CommandState.EXECUTING
