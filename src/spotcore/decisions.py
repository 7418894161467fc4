"""Stay or switch: what an engine is shown, what it proposes, and what is made of it (section 4)."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from attrs import asdict, field, frozen

from spotcore.ids import AgentId, ClientId, CommandId
from spotcore.pools import Mode


class Action(StrEnum):
    """The four actions of 4.2."""

    STAY = "stay"
    SWITCH_POOL = "switch_pool"
    SWITCH_TO_SPOT = "switch_to_spot"
    SWITCH_TO_ONDEMAND = "switch_to_ondemand"


@frozen(kw_only=True)
class Candidate:
    """A pool a workload could move to (4.4), with everything an engine may know of it."""

    pool_id: str
    az: str
    price: Decimal
    observed_at: datetime
    risk: Decimal
    risk_flags: tuple[str, ...] = ()  # prior, young_pool


@frozen(kw_only=True)
class Snapshot:
    """Everything a decision may depend on: frozen, so that the same snapshot gives the same answer (4.1)."""

    client_id: ClientId
    agent_id: AgentId
    taken_at: datetime
    instance_id: str | None  # of the primary
    instance_type: str | None
    region: str | None
    current_mode: Mode
    current_pool_id: str | None
    current_price: Decimal | None  # $/h paid now; None: unknown, stale or flagged
    ondemand_price: Decimal | None
    current_risk: Decimal | None
    current_risk_flags: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()  # by 4.4, best first
    min_savings_percent: Decimal = Decimal("15.0")
    risk_threshold: Decimal = Decimal("0.30")
    preferred_azs: tuple[str, ...] = ()


@frozen(kw_only=True)
class Proposal:
    """An engine's advice. It cannot bypass a guard (4.6)."""

    action: Action
    target_pool_id: str | None = None
    confidence: Decimal = Decimal("0.60")
    risk: Decimal | None = None
    reason: str = ""
    scores: Mapping[str, Decimal] = field(factory=dict)  # for every candidate


@frozen(kw_only=True)
class Decision:
    """The validated proposal, its money computed by the server, and every failing guard (4.2, 4.7)."""

    snapshot: Snapshot
    action: Action
    target_mode: Mode
    target_pool_id: str | None
    risk: Decimal | None
    confidence: Decimal
    savings_per_hour: Decimal | None
    improvement_percent: Decimal | None
    guards: tuple[str, ...]
    will_auto_execute: bool
    reason: str
    engine: str
    engine_version: str
    source: str  # engine | fallback


@frozen(kw_only=True)
class DecisionRecord:
    """A decision as it is kept (30 days): what was shown, what was said, what came of it."""

    decision_id: str
    decision: Decision
    snapshot_hash: str
    made_at: datetime
    trigger: str  # decision_round | agent | user
    command_id: CommandId | None = None


def target_of(action: Action, proposal: Proposal, snapshot: Snapshot) -> tuple[Mode, str | None]:
    """Mode and pool a workload is in after an action."""
    match action:
        case Action.STAY:
            return snapshot.current_mode, snapshot.current_pool_id
        case Action.SWITCH_TO_ONDEMAND:
            return Mode.ONDEMAND, None
        case Action.SWITCH_POOL | Action.SWITCH_TO_SPOT:
            return Mode.SPOT, proposal.target_pool_id


def price_of(mode: Mode, pool_id: str | None, snapshot: Snapshot) -> Decimal | None:
    """The price of a target as the snapshot has it, $/h; None when unknown."""
    if mode is Mode.ONDEMAND:
        return snapshot.ondemand_price
    return next((one.price for one in snapshot.candidates if one.pool_id == pool_id), None)


def snapshot_hash(snapshot: Snapshot) -> str:
    """SHA-256 of a canonical rendering: the same snapshot hashes the same in any process (replay)."""
    text = json.dumps(asdict(snapshot), default=str, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
