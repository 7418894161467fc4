"""Sessions as pure values: the table of states, names and batches, engine parameters (1.9, 11, Z14)."""

import json
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from spotcore.engines.parameters import parameters_of, self_test
from spotcore.engines.rules import DEAR_RATIO, SPOT_SAVES_PERCENT, Thresholds
from spotcore.errors import IllegalTransition, InvariantViolated, UnsupportedFileType, ValidationFailed
from spotcore.manifest import BadManifest
from spotcore.models import (
    TRANSITIONS,
    Findings,
    ModelFile,
    ModelSession,
    SessionKind,
    SessionState,
    accept_batch,
    accept_name,
    activate,
    check_serving,
    judged,
    label_of,
    moved,
    require_activatable,
)
from tests.support.world import START

S = SessionState


def a_session(state: SessionState = S.UPLOADED, session_id: str = "s", **facts: Any) -> ModelSession:
    return ModelSession(
        session_id=session_id, kind=SessionKind.MODEL, state=state, created_at=START, changed_at=START,
        files=(ModelFile(label="m.safetensors", sha256="0" * 64, size=1),), **facts,
    )  # fmt: skip


@pytest.mark.parametrize("after", S)
@pytest.mark.parametrize("before", S)
def test_a_session_moves_only_as_the_table_says_1_9(before: SessionState, after: SessionState) -> None:
    if (before, after) in TRANSITIONS:
        assert moved(a_session(before), after, START).state is after
    else:
        with pytest.raises(IllegalTransition):
            moved(a_session(before), after, START)


def test_archived_and_rejected_are_ends_gr4() -> None:
    assert not {before for before, _ in TRANSITIONS} & {S.ARCHIVED, S.REJECTED}


def test_a_verdict_is_kept_with_the_session() -> None:
    looked_at = a_session(S.VALIDATING, name="guess")
    good = judged(looked_at, Findings(name="risk", version="2", architecture="mlp", scope="us-east-1"), START)
    assert (good.state, good.name, good.version, good.scope) == (S.VALIDATED, "risk", "2", "us-east-1")
    bad = judged(looked_at, Findings(rejection="a number is NaN"), START)
    assert (bad.state, bad.rejection, bad.name) == (S.REJECTED, "a number is NaN", "guess")


def test_a_shadow_may_become_live_too() -> None:
    (live,) = activate([], a_session(S.SHADOW), START)
    assert live.is_live
    require_activatable(a_session(S.SHADOW))


def test_i12_is_checked_over_scope_and_kind() -> None:
    live = a_session(S.ACTIVE)
    check_serving([live, a_session(S.FALLBACK), evolve(live, scope="us-east-1"), evolve(live, kind=SessionKind.ENGINE)])
    check_serving([a_session(S.ARCHIVED), a_session(S.ARCHIVED)])
    with pytest.raises(InvariantViolated):
        check_serving([live, a_session(S.ACTIVE, "other")])


@pytest.mark.parametrize(
    ("sent", "label"),
    [
        ("model.safetensors", "model.safetensors"),
        ("../../etc/cron.d/m.safetensors", "m.safetensors"),
        ("C:\\models\\m.safetensors", "m.safetensors"),
        ("a\x00b\nc.json", "abc.json"),
        (" naïve .json ", "naïve .json"),
    ],
)
def test_a_name_is_a_label_and_never_a_path_ms5(sent: str, label: str) -> None:
    assert label_of(sent) == label


@pytest.mark.parametrize("sent", ["", "/", "..", "\n", "a" * 256])
def test_a_name_that_labels_nothing_is_refused(sent: str) -> None:
    if sent == "..":
        with pytest.raises(UnsupportedFileType):
            accept_name(SessionKind.MODEL, label_of(sent))
        return
    with pytest.raises(ValidationFailed):
        label_of(sent)


@pytest.mark.parametrize(
    "name", ["engine.py", "m.pkl", "m.joblib", "m.h5", "m.pb", "m.onnx", "m.pt.py", "m", "m.safetensors.exe"]
)
def test_a_refusal_says_what_is_accepted_why_and_how_to_pick_it_z14(name: str) -> None:
    for kind, accepted in ((SessionKind.MODEL, "manifest.json with .safetensors"), (SessionKind.ENGINE, ".json file")):
        with pytest.raises(UnsupportedFileType) as refusal:
            accept_name(kind, name)
        for word in (name, accepted, "can run commands", '"all files"', "drag and drop"):
            assert word in refusal.value.message


def test_an_engine_is_one_json_file_ms3() -> None:
    accept_batch(SessionKind.ENGINE, [("rules.json", 10)])
    with pytest.raises(ValidationFailed):
        accept_batch(SessionKind.ENGINE, [("a.json", 10), ("b.json", 10)])
    with pytest.raises(UnsupportedFileType):
        accept_batch(SessionKind.ENGINE, [("m.safetensors", 10)])


def parameters(**document: Any) -> bytes:
    return json.dumps({"engine": "rules", "version": "1", **document}).encode()


def test_parameters_that_are_left_out_keep_the_numbers_of_4_5() -> None:
    assert parameters_of(parameters()).thresholds == Thresholds(
        dear_ratio=DEAR_RATIO, spot_saves_percent=SPOT_SAVES_PERCENT
    )
    read = parameters_of(parameters(thresholds={"dear_ratio": 0.75, "spot_saves_percent": 25}))
    assert read.thresholds == Thresholds(dear_ratio=Decimal("0.75"), spot_saves_percent=Decimal(25))
    self_test(read)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"import os",
        b"[]",
        b'{"engine": "rules", "version": "1", "thresholds": {"dear_ratio": NaN}}',
        b"[" * 100_000,
        parameters(engine="os.system"),
        parameters(engine=None),
        parameters(version=""),
        parameters(thresholds=[]),
        parameters(thresholds={"dear_ratoi": 0.5}),
        parameters(thresholds={"dear_ratio": "0.5"}),
        parameters(thresholds={"dear_ratio": True}),
        parameters(thresholds={"dear_ratio": 0}),
        parameters(thresholds={"spot_saves_percent": 100}),
        parameters(code="print(1)"),
        b" " * (1 << 20) + parameters(),
    ],
)
def test_parameters_that_are_not_what_they_must_be_are_refused_ms3(content: bytes) -> None:
    with pytest.raises(BadManifest):
        parameters_of(content)
