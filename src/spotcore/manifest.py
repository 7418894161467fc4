"""The manifest of a model (section 11): what its numbers mean, checked whole before any tensor is read.

The architecture is ours, chosen by name (MS-2). Today the list holds one, ``mlp``: fully connected layers with float32
tensors ``layers.<i>.weight`` of shape (outputs, inputs) and ``layers.<i>.bias`` of shape (outputs), i from 0, whose
first layer takes the features in the manifest's order and whose last gives the outputs in theirs.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

from attrs import frozen

from spotcore.errors import ValidationFailed
from spotcore.models import GLOBAL

MAX_DOCUMENT: Final = 1 << 20
MAX_HIDDEN: Final = 8
MAX_UNITS: Final = 4_096
MAX_FEATURES: Final = 256

FEATURES: Final[Mapping[str, str]] = {  # what a snapshot can supply, and its unit
    "current_price": "usd_per_hour",
    "ondemand_price": "usd_per_hour",
    "current_risk": "ratio",
    "candidate_price": "usd_per_hour",
    "candidate_risk": "ratio",
    "min_savings_percent": "percent",
    "risk_threshold": "ratio",
}
OUTPUTS: Final = frozenset({"score", "risk"})
MISSING: Final = frozenset({"reject", "zero"})
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SCOPE: Final = re.compile(r"global|[a-z]{2}(-[a-z]+)+-\d")


class BadManifest(ValidationFailed):
    """A manifest, or a parameter file, that does not say what it must; the message names the field."""


Shapes = Mapping[str, tuple[int, ...]]


@frozen(kw_only=True)
class Manifest:
    """A manifest that says everything it must."""

    name: str
    version: str
    architecture: str
    scope: str
    hidden: tuple[int, ...]
    features: tuple[str, ...]
    outputs: tuple[str, ...]
    files: Mapping[str, str]  # name → SHA-256

    @property
    def shapes(self) -> Shapes:
        """Every tensor the weights must have, and no other, with its shape."""
        return ARCHITECTURES[self.architecture](self)


def _mlp(manifest: Manifest) -> Shapes:
    widths = (len(manifest.features), *manifest.hidden, len(manifest.outputs))
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        shapes[f"layers.{number}.weight"] = (outputs, inputs)
        shapes[f"layers.{number}.bias"] = (outputs,)
    return shapes


ARCHITECTURES: Final[Mapping[str, Callable[[Manifest], Shapes]]] = {"mlp": _mlp}  # MS-2


def read_document(content: bytes) -> Mapping[str, Any]:
    """A JSON object of at most 1 MiB, without NaN, infinities or repeated names. Raises ``BadManifest``."""
    if len(content) > MAX_DOCUMENT:
        raise BadManifest("the document is larger than 1 MiB")
    try:
        found = json.loads(content, parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError):
        raise BadManifest("the document is no JSON object with each name once") from None
    if not isinstance(found, dict):
        raise BadManifest("the document is no JSON object")
    return found


def _no_constant(word: str) -> float:
    raise ValueError(word)


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def manifest_of(data: Mapping[str, Any]) -> Manifest:
    """The manifest, checked field by field. Raises ``BadManifest``."""
    if data.get("kind") != "model":
        raise BadManifest('kind: must be "model"')
    architecture = _object(data, "architecture")
    name = text(architecture, "name")
    if name not in ARCHITECTURES:
        raise BadManifest(f"architecture.name: must be one of {', '.join(ARCHITECTURES)}")
    hidden = _list(architecture, "hidden", MAX_HIDDEN)
    if not all(type(width) is int and 0 < width <= MAX_UNITS for width in hidden):
        raise BadManifest(f"architecture.hidden: whole numbers from 1 to {MAX_UNITS}")
    features = _features(data)
    _normalisation(data, len(features))
    number(data, "confidence_threshold", 0, 1)
    dataset = _object(data, "dataset")
    text(dataset, "id")
    _digest(dataset, "sha256")
    scope = text(data, "scope")
    if _SCOPE.fullmatch(scope) is None:
        raise BadManifest(f'scope: "{GLOBAL}" or a region')
    files = _object(data, "files")
    return Manifest(
        name=text(data, "name"),
        version=text(data, "version"),
        architecture=name,
        scope=scope,
        hidden=tuple(hidden),
        features=features,
        outputs=_outputs(data),
        files={label: _digest(files, label) for label in files},
    )


def _features(data: Mapping[str, Any]) -> tuple[str, ...]:
    rows = _objects(data, "features", MAX_FEATURES)
    for row in rows:
        name = text(row, "name")
        if name not in FEATURES:
            raise BadManifest(f"features: this server cannot supply {name!r}")
        if row.get("unit") != FEATURES[name]:
            raise BadManifest(f"features.{name}: the unit here is {FEATURES[name]}")
        if row.get("missing") not in MISSING:
            raise BadManifest(f"features.{name}: missing must be one of {', '.join(sorted(MISSING))}")
        _range(row)
    return _once("features", [row["name"] for row in rows])


def _outputs(data: Mapping[str, Any]) -> tuple[str, ...]:
    rows = _objects(data, "outputs", len(OUTPUTS))
    for row in rows:
        if text(row, "name") not in OUTPUTS:
            raise BadManifest(f"outputs: must be of {', '.join(sorted(OUTPUTS))}")
        _range(row)
    return _once("outputs", [row["name"] for row in rows])


def _normalisation(data: Mapping[str, Any], length: int) -> None:
    constants = _object(data, "normalisation")
    for name, least in (("mean", -math.inf), ("scale", math.ulp(0.0))):
        values = _list(constants, name, MAX_FEATURES)
        if len(values) != length or not all(_is_number(value) and value >= least for value in values):
            raise BadManifest(f"normalisation.{name}: one number per feature; a scale is above 0")


def _range(row: Mapping[str, Any]) -> None:
    limits = row.get("range")
    if not isinstance(limits, list) or len(limits) != 2 or not all(_is_number(one) for one in limits):
        raise BadManifest("range: two numbers")
    if limits[0] >= limits[1]:
        raise BadManifest("range: the first number is the smaller one")


def _once(field: str, names: list[str]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise BadManifest(f"{field}: each name once")
    return tuple(names)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e300


def text(data: Mapping[str, Any], name: str) -> str:
    """A text of 1 to 100 printable characters."""
    value = data.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 100 or not value.isprintable():
        raise BadManifest(f"{name}: 1 to 100 printable characters")
    return value


def number(data: Mapping[str, Any], name: str, low: float, high: float) -> float:
    """A JSON number from ``low`` to ``high``."""
    value = data.get(name)
    if not _is_number(value) or value is None or not low <= value <= high:
        raise BadManifest(f"{name}: a number from {low} to {high}")
    return float(value)


def _digest(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
        raise BadManifest(f"{name}: a SHA-256 in 64 hex digits")
    return value


def _object(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    if not isinstance(value, dict):
        raise BadManifest(f"{name}: an object")
    return value


def _list(data: Mapping[str, Any], name: str, most: int) -> list[Any]:
    value = data.get(name)
    if not isinstance(value, list) or len(value) > most:
        raise BadManifest(f"{name}: a list of at most {most}")
    return value


def _objects(data: Mapping[str, Any], name: str, most: int) -> list[Mapping[str, Any]]:
    rows = _list(data, name, most)
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise BadManifest(f"{name}: a list of objects")
    return rows
