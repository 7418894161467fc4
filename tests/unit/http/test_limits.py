"""Rate limits (S24): people's calls and single agents, never what keeps a workload alive."""

import re
from collections.abc import Callable

import pytest
from httpx2 import Response

from spotadapters.http.app import SERVED
from spotadapters.http.limits import AGENT, CLIENT_WRITES, NEVER, PEOPLE, Limits
from spotcore.errors import RateLimited
from tests.unit.http.frame import Frame

CONTRACT = (
    "heartbeats (E17), command polls (E69, E71), results (E40, E41, E70, E72, E73, E75), E43, E48, E49, E55 and "
    "emergencies (E51, E52, E53, E56, E58, E59)"
)


def admit(limits: Limits, number: str, **who: str) -> None:
    row = next(one for one in SERVED if one.number == number)
    facts = {"credential": "token", "address": "10.0.0.1", "subject": "agent", **who}
    limits.admit(number, row.method, row.path, **facts)


def test_what_the_contract_never_limits_is_never_limited_t03() -> None:
    named = set(re.findall(r"E\d+", CONTRACT))
    assert named <= NEVER
    assert NEVER - named == {"E103", "E01", "E02", "E100", "livez", "readyz", "metrics"}


@pytest.mark.parametrize("number", sorted(NEVER & {one.number for one in SERVED}))
def test_a_thousand_calls_of_it_pass(number: str) -> None:
    limits = Limits()
    for _ in range(1_000):
        admit(limits, number)


def test_people_have_600_calls_a_minute_per_token_and_address() -> None:
    limits = Limits()
    for _ in range(PEOPLE.amount):
        admit(limits, "E22")
    with pytest.raises(RateLimited) as refused:
        admit(limits, "E22")
    assert 1 <= refused.value.details["retry_after_seconds"] <= 61
    admit(limits, "E22", address="10.0.0.2")
    admit(limits, "E22", credential="other")


def test_writes_of_a_client_have_60_a_minute_and_reads_go_on() -> None:
    limits = Limits()
    for _ in range(CLIENT_WRITES.amount):
        admit(limits, "E20")
    with pytest.raises(RateLimited):
        admit(limits, "E19")
    admit(limits, "E22")


def test_agents_are_counted_each_for_itself_not_by_the_token_they_share() -> None:
    limits = Limits()
    for number in range(2_000):
        admit(limits, "E18", subject=f"agent-{number}")
    for _ in range(AGENT.amount):
        admit(limits, "E18", subject="busy")
    with pytest.raises(RateLimited):
        admit(limits, "E18", subject="busy")
    admit(limits, "E18", subject="other")


def until_refused(call: Callable[[], Response], limit: int) -> Response:
    """The first refusal. The window slides with real time, so that a slow run is granted some more than the limit."""
    for granted in range(2 * limit):
        answer = call()
        if answer.status_code == 429:
            assert granted >= limit
            return answer
    pytest.fail(f"{2 * limit} calls within a minute were not refused")


def test_the_refusal_says_when_to_come_back(frame: Frame) -> None:
    client_id, token = frame.client()
    refused = until_refused(
        lambda: frame.call("POST", "/api/client/agents/none/settings", token, json={}), CLIENT_WRITES.amount
    )
    assert refused.json()["code"] == "RATE_LIMITED"
    assert int(refused.headers["retry-after"]) >= 1
    assert frame.call("GET", "/api/client/validate", token).json()["client_id"] == client_id


def test_registration_is_counted_by_machine(frame: Frame) -> None:
    _, token = frame.client()
    body = {"instance_type": "m5.large", "region": "us-east-1", "az": "us-east-1a", "instance_id": "i-0a"}
    for _ in range(AGENT.amount - 60):  # as if it had called so often already
        admit(frame.parts.limits, "E16", subject="i-0a")
    until_refused(lambda: frame.call("POST", "/api/agents/register", token, json=body), 60)
    other = {**body, "instance_id": "i-0b", "logical_agent_id": "other"}
    assert frame.call("POST", "/api/agents/register", token, json=other).status_code == 200
