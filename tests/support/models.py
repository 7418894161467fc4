"""Models as people upload them: a manifest and safetensors, written byte by byte."""

import hashlib
import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from spotadapters.modelcheck.tensors import BadTensors
from spotadapters.modelcheck.worker import findings
from spotcore.manifest import BadManifest
from spotcore.models import Findings, ModelSession, is_state_dict
from spotcore.ports.models import BlobStore
from spotcore.service.models import Uploaded

FEATURES = ("current_price", "ondemand_price", "current_risk")
UNITS = {"current_price": "usd_per_hour", "ondemand_price": "usd_per_hour", "current_risk": "ratio"}
SHAPES = {
    "layers.0.weight": (4, 3),
    "layers.0.bias": (4,),
    "layers.1.weight": (1, 4),
    "layers.1.bias": (1,),
}
"""The tensors of an ``mlp`` with three features, four hidden units and one output."""


def safetensors(
    tensors: Mapping[str, Sequence[int]], value: float = 0.5, *, dtype: str = "F32", **changed: Sequence[float]
) -> bytes:
    """A file of tensors that hold ``value`` everywhere; ``changed`` gives other numbers, dots written as ``__``."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, shape in tensors.items():
        numbers = changed.get(name.replace(".", "__")) or [value] * math.prod(shape)
        content = struct.pack(f"<{len(numbers)}f", *numbers)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    return framed(header, data)


def framed(header: Any, data: bytes) -> bytes:
    """Length, header, data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def manifest(weights: Mapping[str, bytes], /, **changes: Any) -> dict[str, Any]:
    """A manifest that is right for these weights, with some fields changed; a field changed to None is left out."""
    fields: dict[str, Any] = {
        "name": "risk",
        "version": "1.0",
        "kind": "model",
        "architecture": {"name": "mlp", "hidden": [4]},
        "features": [{"name": name, "unit": UNITS[name], "range": [0, 10], "missing": "reject"} for name in FEATURES],
        "normalisation": {"mean": [0.1, 0.2, 0.3], "scale": [1, 1, 0.5]},
        "outputs": [{"name": "risk", "range": [0, 1]}],
        "confidence_threshold": 0.7,
        "scope": "global",
        "dataset": {"id": "prices-2026-02", "sha256": "0" * 64},
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in weights.items()},
    }
    return {name: value for name, value in {**fields, **changes}.items() if value is not None}


def a_model(value: float = 0.5, **changes: Any) -> dict[str, bytes]:
    """Files of a model that is accepted; another ``value`` makes other weights."""
    weights = {"model.safetensors": safetensors(SHAPES, value)}
    return {"manifest.json": json.dumps(manifest(weights, **changes)).encode(), **weights}


def an_engine(version: str = "1", **thresholds: Any) -> dict[str, bytes]:
    """A parameter file that is accepted."""
    document = {"engine": "rules", "version": version, "thresholds": thresholds or {"dear_ratio": 0.75}}
    return {"rules.json": json.dumps(document).encode()}


@contextmanager
def arrived(blobs: BlobStore, files: Mapping[str, bytes]) -> Iterator[list[Uploaded]]:
    """Files as the HTTP frame hands them over; what was not kept is discarded at the end."""
    found = []
    for label, content in files.items():
        incoming = blobs.incoming()
        incoming.write(content)
        found.append(Uploaded(label=label, content=incoming))
    try:
        yield found
    finally:
        for one in found:
            one.content.discard()


class HereValidator:
    """``Validator`` that looks with the worker's own eyes, in this process: for tests of what follows from it."""

    def unable(self, session: ModelSession) -> str | None:
        return "no torch" if is_state_dict(session) else None

    def validate(self, session: ModelSession, blobs: BlobStore) -> Findings:
        with ExitStack() as opened:
            files = {
                one.label: (opened.enter_context(blobs.open(one.sha256)), one.sha256, one.size) for one in session.files
            }
            try:
                return Findings(**findings(files))
            except (BadManifest, BadTensors) as refusal:
                return Findings(rejection=str(refusal))
