"""Declarative parameters of a known engine (MS-3): read, and tried on golden snapshots before they are kept."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from attrs import frozen

from spotcore.decisions import Action, Candidate, Snapshot
from spotcore.engines.rules import RulesEngine, Thresholds
from spotcore.errors import ValidationFailed
from spotcore.ids import AgentId, ClientId
from spotcore.judgement import judge_output
from spotcore.manifest import BadManifest, number, read_document, text
from spotcore.pools import Mode

KNOWN: Final = ("rules",)
FIELDS: Final = frozenset({"engine", "version", "thresholds"})
RANGES: Final[Mapping[str, tuple[float, float]]] = {"dear_ratio": (0.01, 1), "spot_saves_percent": (0, 99)}


@frozen(kw_only=True)
class EngineParameters:
    """A parameter file that was understood."""

    engine: str
    version: str
    thresholds: Thresholds


def parameters_of(content: bytes) -> EngineParameters:
    """The parameters of ``{"engine": "rules", "version": "…", "thresholds": {"dear_ratio": …, "spot_saves_percent":
    …}}``; a threshold that is left out keeps its number of 4.5. Raises ``BadManifest``, also for unknown names: a
    misspelt threshold must not pass for one that was set."""
    data = read_document(content)
    _only(data, FIELDS, "the document")
    if data.get("engine") not in KNOWN:
        raise BadManifest(f"engine: must be one of {', '.join(KNOWN)}")
    wanted = data.get("thresholds", {})
    if not isinstance(wanted, dict):
        raise BadManifest("thresholds: an object")
    _only(wanted, frozenset(RANGES), "thresholds")
    values = {name: Decimal(str(number(wanted, name, *RANGES[name]))) for name in wanted}
    return EngineParameters(engine=data["engine"], version=text(data, "version"), thresholds=Thresholds(**values))


def _only(data: Mapping[str, Any], names: frozenset[str], where: str) -> None:
    unknown = sorted(set(data) - names)
    if unknown:
        raise BadManifest(f"{where}: unknown name {unknown[0][:100]!r}; known are {', '.join(sorted(names))}")


def self_test(parameters: EngineParameters) -> None:
    """Decide on golden snapshots: the answer must be sound (4.6), the same twice, and stay where nothing is known.

    Raises ``ValidationFailed``."""
    engine = RulesEngine(parameters.thresholds)
    for snapshot in GOLDEN:
        first, second = engine.propose(snapshot), engine.propose(snapshot)
        if first != second or judge_output(first, snapshot, engine).rejected is not None:
            raise ValidationFailed("the engine failed its self-test: its answer is not sound")
    if engine.propose(GOLDEN[0]).action is not Action.STAY:
        raise ValidationFailed("the engine failed its self-test: it moves a workload without prices")


_AT: Final = datetime(2025, 1, 1, tzinfo=UTC)


def _snapshot(mode: Mode, paid: str | None, *pools: str) -> Snapshot:
    here = "m5.large.us-east-1a" if mode is Mode.SPOT else None
    return Snapshot(
        client_id=ClientId("golden"), agent_id=AgentId("golden"), taken_at=_AT, instance_id="i-0", region="us-east-1",
        instance_type="m5.large", current_mode=mode, current_pool_id=here, current_risk=Decimal("0.10"),
        current_price=Decimal(paid) if paid else None, ondemand_price=Decimal("0.10") if paid else None,
        candidates=tuple(
            Candidate(
                pool_id=f"m5.large.us-east-1{zone}", az=f"us-east-1{zone}", price=Decimal(price), observed_at=_AT,
                risk=Decimal("0.10"),
            )
            for zone, price in zip("bcd", pools, strict=False)
        ),
    )  # fmt: skip


GOLDEN: Final = (
    _snapshot(Mode.SPOT, None),
    _snapshot(Mode.SPOT, "0.095", "0.030", "0.040"),
    _snapshot(Mode.SPOT, "0.095", "0.099"),
    _snapshot(Mode.SPOT, "0.030", "0.029"),
    _snapshot(Mode.ONDEMAND, "0.10", "0.030", "0.060"),
    _snapshot(Mode.ONDEMAND, "0.10", "0.099"),
    _snapshot(Mode.ONDEMAND, "0.10"),
)
