"""When a delivery is tried again, and when it is given up."""

from datetime import UTC, datetime, timedelta

import pytest

from spotcore.channels import RETRY_AFTER, Attempt, DeliveryState, Verdict, judge

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_what_was_accepted_is_delivered_at_any_attempt() -> None:
    for attempts in (1, 5, 99):
        assert judge(Attempt(), attempts, NOW) == Verdict(state=DeliveryState.DELIVERED)


def test_each_failure_waits_longer_and_the_tenth_is_the_last() -> None:
    waits: list[timedelta] = []
    for attempts in range(1, 10):
        verdict = judge(Attempt(error="answered 500"), attempts, NOW)
        assert verdict.state is DeliveryState.PENDING
        assert verdict.next_attempt_at is not None
        waits.append(verdict.next_attempt_at - NOW)
    assert waits == sorted(waits) == list(RETRY_AFTER)
    assert timedelta(hours=20) < sum(waits, timedelta(0)) < timedelta(hours=26)
    assert judge(Attempt(error="answered 500"), 10, NOW) == Verdict(state=DeliveryState.DEAD)


@pytest.mark.parametrize("attempts", [1, 4])
def test_a_receiver_that_wants_no_more_gets_no_more(attempts: int) -> None:
    assert judge(Attempt(error="answered 410", is_final=True), attempts, NOW).state is DeliveryState.DEAD
