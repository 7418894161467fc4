"""A model's manifest, field by field: what is needed, what is refused, and the exact words (MS-1, MS-2, MS-4, section 11)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.errors import ValidationFailed
from spotcore.manifest import (
    ARCHITECTURES,
    FEATURES,
    MAX_DOCUMENT,
    BadManifest,
    manifest_of,
    number,
    read_document,
    text,
)
from tests.support.models import manifest, safetensors

WEIGHTS = {"model.safetensors": safetensors({"layers.0.weight": (1, 3)})}
NEEDED = (
    "name", "version", "kind", "architecture", "features", "normalisation", "outputs", "confidence_threshold", "scope",
    "dataset", "files",
)  # fmt: skip
WRONG_TYPES: tuple[Any, ...] = (None, True, 0, 1.5, "", "x", [], {}, [1], {"a": 1})


def refusal(**changes: Any) -> str:
    with pytest.raises(BadManifest) as refused:
        manifest_of({**manifest(WEIGHTS), **changes})
    return str(refused.value)


def a_feature(**changes: Any) -> dict[str, Any]:
    return {"name": "current_price", "unit": "usd_per_hour", "range": [0, 10], "missing": "reject", **changes}


def test_a_manifest_that_says_everything_is_read() -> None:
    found = manifest_of(manifest(WEIGHTS))
    assert (found.name, found.version, found.architecture, found.scope) == ("risk", "1.0", "mlp", "global")
    assert (found.hidden, found.features, found.outputs) == (
        (4,), ("current_price", "ondemand_price", "current_risk"), ("risk",),
    )  # fmt: skip
    assert dict(found.files) == manifest(WEIGHTS)["files"]


def test_unknown_fields_do_no_harm() -> None:
    plain = manifest(WEIGHTS)
    more = {**plain, "author": "somebody", "architecture": {**plain["architecture"], "activation": "relu"}}
    assert manifest_of(more) == manifest_of(plain)


@pytest.mark.parametrize("field", NEEDED)
def test_every_field_is_needed_and_a_refusal_names_it(field: str) -> None:
    data = manifest(WEIGHTS)
    del data[field]
    with pytest.raises(BadManifest) as refused:
        manifest_of(data)
    assert str(refused.value).startswith(f"{field}")


ACCEPTED = {("name", "x"), ("version", "x")}


@pytest.mark.parametrize("field", [name for name in NEEDED if name not in ("confidence_threshold",)])
def test_no_field_may_have_another_type(field: str) -> None:
    for value in WRONG_TYPES:
        known = (field, value) in ACCEPTED if isinstance(value, str) else (field, value) == ("files", {})
        if known:
            continue
        assert refusal(**{field: value}), (field, value)


def test_a_refusal_is_a_validation_error_of_the_core() -> None:
    assert issubclass(BadManifest, ValidationFailed)


WORDS: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"kind": "engine"}, 'kind: must be "model"'),
    "no architecture": ({"architecture": None}, "architecture: an object"),
    "architecture by its path ms-2": (
        {"architecture": {"name": "mypackage.Net", "hidden": []}}, "architecture.name: must be one of mlp",
    ),
    "architecture in capitals": ({"architecture": {"name": "MLP", "hidden": []}}, "architecture.name: must be one of mlp"),
    "architecture without a name": ({"architecture": {"hidden": []}}, "name: 1 to 100 printable characters"),
    "hidden is a number": ({"architecture": {"name": "mlp", "hidden": 4}}, "hidden: a list of at most 8"),
    "nine hidden layers": ({"architecture": {"name": "mlp", "hidden": [4] * 9}}, "hidden: a list of at most 8"),
    "no units": ({"architecture": {"name": "mlp", "hidden": [0]}}, "architecture.hidden: whole numbers from 1 to 4096"),
    "too many units": (
        {"architecture": {"name": "mlp", "hidden": [4097]}}, "architecture.hidden: whole numbers from 1 to 4096",
    ),
    "half a unit": ({"architecture": {"name": "mlp", "hidden": [4.0]}}, "architecture.hidden: whole numbers from 1 to 4096"),
    "no features": ({"features": []}, "features: a list of objects"),
    "features by name alone": ({"features": ["current_price"]}, "features: a list of objects"),
    "too many features": ({"features": [a_feature()] * 257}, "features: a list of at most 256"),
    "a feature nobody can supply": (
        {"features": [a_feature(name="sentiment")]}, "features: this server cannot supply 'sentiment'",
    ),
    "a feature in another unit": ({"features": [a_feature(unit="eur")]}, "features.current_price: the unit here is usd_per_hour"),
    "a feature without a unit": ({"features": [a_feature(unit=None)]}, "features.current_price: the unit here is usd_per_hour"),
    "a feature that is guessed": (
        {"features": [a_feature(missing="mean")]}, "features.current_price: missing must be one of reject, zero",
    ),
    "a feature twice": ({"features": [a_feature(), a_feature()], "normalisation": {"mean": [0, 0], "scale": [1, 1]}},
                        "features: each name once"),
    "a range of one": ({"features": [a_feature(range=[1])]}, "range: two numbers"),
    "a range of three": ({"features": [a_feature(range=[1, 2, 3])]}, "range: two numbers"),
    "a range in words": ({"features": [a_feature(range=["0", "1"])]}, "range: two numbers"),
    "an endless range": ({"features": [a_feature(range=[0, 1e301])]}, "range: two numbers"),
    "an empty range": ({"features": [a_feature(range=[1, 1])]}, "range: the first number is the smaller one"),
    "a range upside down": ({"features": [a_feature(range=[2, 1])]}, "range: the first number is the smaller one"),
    "too few means": (
        {"normalisation": {"mean": [0], "scale": [1, 1, 1]}},
        "normalisation.mean: one number per feature; a scale is above 0",
    ),
    "a mean in words": (
        {"normalisation": {"mean": ["0", 0, 0], "scale": [1, 1, 1]}},
        "normalisation.mean: one number per feature; a scale is above 0",
    ),
    "a scale of nought": (
        {"normalisation": {"mean": [0, 0, 0], "scale": [1, 0, 1]}},
        "normalisation.scale: one number per feature; a scale is above 0",
    ),
    "a scale below nought": (
        {"normalisation": {"mean": [0, 0, 0], "scale": [1, -1, 1]}},
        "normalisation.scale: one number per feature; a scale is above 0",
    ),
    "no scale": ({"normalisation": {"mean": [0, 0, 0]}}, "scale: a list of at most 256"),
    "an output nobody reads": ({"outputs": [{"name": "mood", "range": [0, 1]}]}, "outputs: must be of risk, score"),
    "an output twice": ({"outputs": [{"name": "risk", "range": [0, 1]}] * 2}, "outputs: each name once"),
    "three outputs": ({"outputs": [{"name": "risk", "range": [0, 1]}] * 3}, "outputs: a list of at most 2"),
    "no outputs": ({"outputs": []}, "outputs: a list of objects"),
    "a threshold above 1": ({"confidence_threshold": 1.01}, "confidence_threshold: a number from 0 to 1"),
    "a threshold below 0": ({"confidence_threshold": -0.01}, "confidence_threshold: a number from 0 to 1"),
    "a threshold in words": ({"confidence_threshold": "0.7"}, "confidence_threshold: a number from 0 to 1"),
    "a flag for a threshold": ({"confidence_threshold": True}, "confidence_threshold: a number from 0 to 1"),
    "a dataset without an id": ({"dataset": {"sha256": "0" * 64}}, "id: 1 to 100 printable characters"),
    "a dataset without a digest": ({"dataset": {"id": "d"}}, "sha256: a SHA-256 in 64 hex digits"),
    "a digest in capitals": ({"dataset": {"id": "d", "sha256": "A" * 64}}, "sha256: a SHA-256 in 64 hex digits"),
    "a digest too long": ({"dataset": {"id": "d", "sha256": "0" * 65}}, "sha256: a SHA-256 in 64 hex digits"),
    "a digest with a line end": ({"dataset": {"id": "d", "sha256": "0" * 64 + "\n"}}, "sha256: a SHA-256 in 64 hex digits"),
    "a scope that is no region": ({"scope": "everywhere"}, 'scope: "global" or a region'),
    "a scope that is a zone": ({"scope": "us-east-1a"}, 'scope: "global" or a region'),
    "a scope that is a path": ({"scope": "../etc"}, 'scope: "global" or a region'),
    "an empty name": ({"name": ""}, "name: 1 to 100 printable characters"),
    "a long name": ({"name": "n" * 101}, "name: 1 to 100 printable characters"),
    "a name with a line end": ({"name": "a\nb"}, "name: 1 to 100 printable characters"),
    "a name that hides": ({"name": "a\u200bb"}, "name: 1 to 100 printable characters"),
    "a version that is a number": ({"version": 1}, "version: 1 to 100 printable characters"),
    "a file without a digest": ({"files": {"model.safetensors": None}}, "model.safetensors: a SHA-256 in 64 hex digits"),
}  # fmt: skip


@pytest.mark.parametrize("what", WORDS)
def test_a_refusal_names_the_field_and_what_would_be_right(what: str) -> None:
    changes, words = WORDS[what]
    assert refusal(**changes) == words


@pytest.mark.parametrize("scope", ["global", "us-east-1", "eu-central-2", "us-gov-west-1", "ap-southeast-4"])
def test_a_scope_is_the_world_or_a_region(scope: str) -> None:
    assert manifest_of(manifest(WEIGHTS, scope=scope)).scope == scope


@pytest.mark.parametrize("threshold", [0, 1, 0.5, 0.0, 1.0])
def test_a_threshold_lies_between_0_and_1_both_included(threshold: float) -> None:
    assert manifest_of(manifest(WEIGHTS, confidence_threshold=threshold))


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_the_server_supplies_is_accepted_in_its_unit(name: str) -> None:
    features = [{"name": name, "unit": FEATURES[name], "range": [-1, 1], "missing": "zero"}]
    found = manifest_of(manifest(WEIGHTS, features=features, normalisation={"mean": [0], "scale": [1e-300]}))
    assert found.features == (name,)


@pytest.mark.parametrize(
    ("hidden", "outputs", "wanted"),
    [
        ([], ["risk"], {"layers.0.weight": (1, 3), "layers.0.bias": (1,)}),
        (
            [5], ["risk", "score"],
            {"layers.0.weight": (5, 3), "layers.0.bias": (5,), "layers.1.weight": (2, 5), "layers.1.bias": (2,)},
        ),
        (
            [7, 2], ["score"],
            {"layers.0.weight": (7, 3), "layers.0.bias": (7,), "layers.1.weight": (2, 7), "layers.1.bias": (2,),
             "layers.2.weight": (1, 2), "layers.2.bias": (1,)},
        ),
    ],
)  # fmt: skip
def test_ms_2_the_architecture_says_which_tensors_there_must_be_and_of_which_shape(
    hidden: list[int], outputs: list[str], wanted: dict[str, tuple[int, ...]]
) -> None:
    named = [{"name": name, "range": [0, 1]} for name in outputs]
    found = manifest_of(manifest(WEIGHTS, architecture={"name": "mlp", "hidden": hidden}, outputs=named))
    assert dict(found.shapes) == wanted


@given(st.lists(st.integers(1, 4096), max_size=8))
def test_ms_2_each_layer_takes_what_the_one_before_gives(hidden: list[int]) -> None:
    shapes = manifest_of(manifest(WEIGHTS, architecture={"name": "mlp", "hidden": hidden})).shapes
    width = 3
    for layer in range(len(hidden) + 1):
        outputs, inputs = shapes[f"layers.{layer}.weight"]
        assert (inputs, shapes[f"layers.{layer}.bias"]) == (width, (outputs,))
        width = outputs
    assert (width, len(shapes)) == (1, 2 * (len(hidden) + 1))


def test_ms_2_the_list_of_architectures_is_ours() -> None:
    assert set(ARCHITECTURES) == {"mlp"}


# --- documents --------------------------------------------------------------------------------------------------------

NO_OBJECT, TWICE = "the document is no JSON object", "the document is no JSON object with each name once"

DOCUMENTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", TWICE),
    "cut": (b'{"a": 1', TWICE),
    "not utf-8": (b'{"a": "\xff"}', TWICE),
    "NaN": (b'{"a": NaN}', TWICE),
    "infinity": (b'{"a": -Infinity}', TWICE),
    "a name twice": (b'{"a": 1, "a": 1}', TWICE),
    "a name twice within": (b'{"b": [{"a": 1, "a": 2}]}', TWICE),
    "deeper than anybody needs": (b"[" * 100_000 + b"]" * 100_000, TWICE),
    "two documents": (b"{} {}", TWICE),
    "a list": (b"[]", NO_OBJECT),
    "a text": (b'"a"', NO_OBJECT),
    "null": (b"null", NO_OBJECT),
    "too large": (b'{"a": "' + b"x" * MAX_DOCUMENT + b'"}', "the document is larger than 1 MiB"),
    "a byte too large": (b'{"a": "' + b"x" * (MAX_DOCUMENT - 8) + b'"}', "the document is larger than 1 MiB"),
}


@pytest.mark.parametrize("what", DOCUMENTS)
def test_a_document_that_is_none_is_refused(what: str) -> None:
    content, words = DOCUMENTS[what]
    with pytest.raises(BadManifest) as refused:
        read_document(content)
    assert str(refused.value) == words


def test_a_document_of_exactly_1_mib_is_read() -> None:
    content = b'{"a": "' + b"x" * (MAX_DOCUMENT - 9) + b'"}'
    assert len(content) == MAX_DOCUMENT
    assert set(read_document(content)) == {"a"}


@given(
    st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=5), max_size=5)
)
def test_what_json_writes_is_read_back(data: dict[str, Any]) -> None:
    assert read_document(json.dumps(data).encode()) == data


@pytest.mark.parametrize(("value", "kept"), [(0, 0.0), (5, 5.0), (2.5, 2.5)])
def test_a_number_is_a_number_within_its_bounds(value: float, kept: float) -> None:
    assert number({"x": value}, "x", 0, 5) == kept


@pytest.mark.parametrize("value", [None, "1", True, -0.1, 5.1, [1], 10**400], ids=repr)
def test_anything_else_is_no_number(value: Any) -> None:
    with pytest.raises(BadManifest, match=r"^x: a number from 0 to 5$"):
        number({"x": value}, "x", 0, 5)


@pytest.mark.parametrize("value", ["a", "n" * 100, "größer 5 %", "日本"])
def test_a_text_is_printable_and_not_longer_than_100(value: str) -> None:
    assert text({"x": value}, "x") == value
