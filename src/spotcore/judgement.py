"""What an engine's word is worth (4.6): validated whole, refused whole, and never without an answer in its place."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol

from attrs import evolve, frozen

from spotcore.decisions import Action, Proposal, Snapshot
from spotcore.engines.rules import RulesEngine
from spotcore.events import EventKind
from spotcore.pools import Mode

DEADLINE: Final = timedelta(seconds=2)
CONFIDENCE_THRESHOLD: Final = Decimal("0.70")
CIRCUIT_FAILURES: Final = 5
CIRCUIT_WINDOW: Final = timedelta(minutes=10)
CIRCUIT_OPEN_FOR: Final = timedelta(minutes=5)
ALARM_AFTER: Final = timedelta(minutes=10)  # 12.8, failure 89: nothing but fallbacks

_MODES: Final[Mapping[Action, Mode | None]] = {
    Action.STAY: None,
    Action.SWITCH_POOL: Mode.SPOT,
    Action.SWITCH_TO_SPOT: Mode.ONDEMAND,
    Action.SWITCH_TO_ONDEMAND: Mode.SPOT,
}
"""The mode a workload must be in for an action to make sense."""


class Named(Protocol):
    """What is recorded of an engine."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...


@frozen(kw_only=True)
class Advice:
    """A proposal that may be acted on, and whose it is."""

    proposal: Proposal
    engine: str
    engine_version: str
    source: str  # engine | fallback
    rejected: EventKind | None = None  # why the engine's own word was not used
    refused_engine: str | None = None  # name and version of the engine whose word that was
    threshold: Decimal = CONFIDENCE_THRESHOLD  # of the engine, for the guard LOW_CONFIDENCE
    circuit_opened: bool = False  # the engine is left alone from now on
    always_fell_back: bool = False  # it has given no usable answer for ten minutes, and nobody was told yet


def fallback(snapshot: Snapshot, *, rejected: EventKind | None = None, reason: str | None = None) -> Advice:
    """The rules' advice (4.5). ``reason`` says why they were asked, when nothing else explains it."""
    rules = RulesEngine()
    proposal = rules.propose(snapshot)
    if reason is not None and proposal.action is Action.STAY:
        proposal = evolve(proposal, reason=f"{proposal.reason} ({reason})")
    return Advice(
        proposal=proposal, engine="fallback", engine_version=rules.version, source="fallback", rejected=rejected
    )


def judge_output(
    output: object,
    snapshot: Snapshot,
    engine: Named,
    *,
    threshold: Decimal = CONFIDENCE_THRESHOLD,
) -> Advice:
    """The engine's proposal if every part of it is sound, else the rules'.

    ``output`` may be anything at all: an exception stands for an engine that raised, a ``TimeoutError`` for one that
    said nothing within ``DEADLINE``.
    """
    rejected = _rejection(output, snapshot)
    if rejected is not None or not isinstance(output, Proposal):
        refused = fallback(snapshot, rejected=rejected)
        return evolve(refused, refused_engine=f"{engine.name} {engine.version}")
    if output.action is not Action.STAY and output.confidence < threshold:
        output = evolve(output, action=Action.STAY, target_pool_id=None, reason="low_confidence")
    return Advice(
        proposal=output, engine=engine.name, engine_version=engine.version, source="engine", threshold=threshold
    )


def _rejection(output: object, snapshot: Snapshot) -> EventKind | None:
    if isinstance(output, TimeoutError):
        return EventKind.MODEL_TIMEOUT
    if isinstance(output, BaseException):
        return EventKind.MODEL_ERROR
    if not isinstance(output, Proposal) or not _bears_a_look(output, snapshot):
        return EventKind.MODEL_OUTPUT_REJECTED
    return None


def _bears_a_look(proposal: Proposal, snapshot: Snapshot) -> bool:
    try:
        return _sound(proposal, snapshot)
    except Exception:  # its values are the engine's own objects, and may do anything when they are touched
        return False


def _sound(proposal: Proposal, snapshot: Snapshot) -> bool:
    if not isinstance(proposal.action, Action) or not isinstance(proposal.reason, str):
        return False
    if not _in_unit(proposal.confidence) or (proposal.risk is not None and not _in_unit(proposal.risk)):
        return False
    if not isinstance(proposal.scores, Mapping) or not all(map(_is_score, proposal.scores.items())):
        return False
    wanted = _MODES[proposal.action]
    if wanted is not None and snapshot.current_mode is not wanted:
        return False
    if proposal.action in (Action.SWITCH_POOL, Action.SWITCH_TO_SPOT):
        return proposal.target_pool_id in {one.pool_id for one in snapshot.candidates}
    return proposal.target_pool_id is None


def _is_score(entry: tuple[Any, Any]) -> bool:
    pool_id, value = entry
    return isinstance(pool_id, str) and isinstance(value, Decimal) and value.is_finite()


def _in_unit(value: Any) -> bool:
    return isinstance(value, Decimal) and value.is_finite() and 0 <= value <= 1


@frozen(kw_only=True)
class Circuit:
    """Five failures within ten minutes open it for five; then one probe decides (4.6)."""

    failures: tuple[datetime, ...] = ()
    opened_at: datetime | None = None

    def allows(self, now: datetime) -> bool:
        """True while the engine may be asked; after the pause one call at a time probes it."""
        return self.opened_at is None or now - self.opened_at >= CIRCUIT_OPEN_FOR

    def after_failure(self, now: datetime) -> "Circuit":
        """The circuit after one more failure; ``opened_at`` is ``now`` exactly when it has just opened."""
        if self.opened_at is not None:
            return Circuit(opened_at=now)
        recent = (*(at for at in self.failures if now - at < CIRCUIT_WINDOW), now)
        return Circuit(opened_at=now) if len(recent) >= CIRCUIT_FAILURES else Circuit(failures=recent)

    def after_success(self) -> "Circuit":
        """The circuit after a sound answer: a probe closes it; else earlier failures still count."""
        return self if self.opened_at is None else Circuit()


@frozen(kw_only=True)
class Streak:
    """Failures without a usable answer between them. An agent that is alone asks every 300 s, which never opens the
    circuit: after ten minutes people are told, once, unless the circuit has told them (12.1)."""

    since: datetime | None = None
    told: bool = False

    def after_failure(self, now: datetime, *, circuit_opened: bool) -> "Streak":
        """The streak after one more failure; it ``is_news`` beside the one before when people are to be told now."""
        since = self.since or now
        return Streak(since=since, told=self.told or circuit_opened or now - since >= ALARM_AFTER)

    def is_news(self, before: "Streak", *, circuit_opened: bool) -> bool:
        """True when this failure is the one that tells."""
        return self.told and not before.told and not circuit_opened
