"""Where people's notifications go besides the screen, and when a delivery is tried again. Pure."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from attrs import frozen

from spotcore.events import Level


class ChannelKind(StrEnum):
    """How a channel is spoken to."""

    WEBHOOK = "webhook"  # signed JSON over HTTPS
    APPRISE = "apprise"  # e-mail, Slack and others, by a library's address


class DeliveryState(StrEnum):
    """``pending`` until one of the others; those are final, except that a person may replay a dead one."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


SEVERITIES: Final = (Level.INFO, Level.SUCCESS, Level.WARNING, Level.ERROR, Level.CRITICAL)

LEASE: Final = timedelta(seconds=90)  # an attempt that is not heard of for so long has died with its process
RETRY_AFTER: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=3),
    timedelta(hours=6),
    timedelta(hours=12),
)
"""Waiting time after each failed attempt; after one more the delivery is dead: about a day in all."""

TRIES: Final = len(RETRY_AFTER) + 1
AT_ONCE: Final = 2  # attempts at a channel: one that hangs leaves room for the others
UNHEARD: Final = "the attempt has not been heard of"
"""The error of an attempt from its beginning until its outcome is known: what stays when it dies with its process."""


@frozen(kw_only=True)
class Attempt:
    """What came of one attempt."""

    error: str | None = None  # None: it was accepted; else words without addresses or secrets (NT-3)
    is_final: bool = False  # the receiver wants no more of this


@frozen(kw_only=True)
class Verdict:
    """How a delivery stands after an attempt."""

    state: DeliveryState
    next_attempt_at: datetime | None = None


def judge(attempt: Attempt, attempts: int, now: datetime) -> Verdict:
    """The delivery's state after its ``attempts``-th attempt (from 1), and when the next one is due."""
    if attempt.error is None:
        return Verdict(state=DeliveryState.DELIVERED)
    if attempt.is_final or attempts >= TRIES:
        return Verdict(state=DeliveryState.DEAD)
    return Verdict(state=DeliveryState.PENDING, next_attempt_at=now + RETRY_AFTER[attempts - 1])
