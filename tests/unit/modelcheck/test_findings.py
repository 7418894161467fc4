"""What the worker says of a session's files, without the process around it (MS-2, MS-4, MS-6, 11.2), and who asks it."""

import hashlib
import io
import json
import resource
from collections.abc import Mapping
from typing import Any

import pytest

from spotadapters.memory.models import MemoryBlobs
from spotadapters.modelcheck import ProcessValidator
from spotadapters.modelcheck.process import DIED, NEEDS_TORCH, _understood
from spotadapters.modelcheck.tensors import BadTensors
from spotadapters.modelcheck.worker import LIMITS, findings, hash_of
from spotcore.manifest import MAX_DOCUMENT, BadManifest
from spotcore.models import Findings, ModelFile, ModelSession, SessionKind
from tests.support.models import SHAPES, a_model, manifest, safetensors
from tests.support.world import START


def said_of(files: Mapping[str, bytes], *, recorded: Mapping[str, str] | None = None) -> dict[str, str]:
    """The findings; ``recorded`` gives other hashes than the content has."""
    digests = {label: hashlib.sha256(content).hexdigest() for label, content in files.items()} | dict(recorded or {})
    return findings({label: (io.BytesIO(content), digests[label], len(content)) for label, content in files.items()})


def refusal(files: Mapping[str, bytes], **facts: Any) -> str:
    with pytest.raises((BadManifest, BadTensors)) as refused:
        said_of(files, **facts)
    return str(refused.value)


def described(weights: Mapping[str, bytes], **changes: Any) -> dict[str, bytes]:
    return {"manifest.json": json.dumps(manifest(weights, **changes)).encode(), **weights}


def test_a_sound_session_is_named_by_its_manifest_alone() -> None:
    changes = {"name": "r", "version": "9", "scope": "eu-west-1"}
    assert said_of(a_model(**changes)) == {**changes, "architecture": "mlp"}


def test_labels_are_told_apart_without_regard_to_case() -> None:
    weights = {"Model.SAFETENSORS": safetensors(SHAPES)}
    files = {"MANIFEST.JSON": json.dumps(manifest(weights)).encode(), **weights}
    assert said_of(files)["name"] == "risk"


@pytest.mark.parametrize("label", ["manifest.json", "model.safetensors"])
def test_ms_4_bytes_that_are_not_those_uploaded_are_refused_before_anything_is_read(label: str) -> None:
    assert refusal(a_model(), recorded={label: "0" * 64}) == f"{label}: its bytes have changed since it was uploaded"


def test_ms_4_the_hash_is_looked_at_before_the_manifest_is_parsed() -> None:
    files = {"manifest.json": b"no json", "model.safetensors": b"no tensors"}
    assert "have changed" in refusal(files, recorded={"model.safetensors": "0" * 64})
    assert refusal(files) == "the document is no JSON object with each name once"


FILES = "files: must name every weights file, and no other, with its SHA-256"


def test_ms_4_the_manifest_names_every_weights_file_and_no_other() -> None:
    weights = {"a.safetensors": safetensors(SHAPES), "b.safetensors": safetensors({"x": (1,)})}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in weights.items()}
    for named in (
        {},
        {"a.safetensors": digests["a.safetensors"]},
        {**digests, "c.safetensors": "0" * 64},
        {**digests, "b.safetensors": "0" * 64},
        {"a.safetensors": digests["b.safetensors"], "b.safetensors": digests["a.safetensors"]},
        {name.upper(): digest for name, digest in digests.items()},
    ):
        assert refusal(described(weights, files=named)) == FILES


def test_ms_2_tensors_are_those_of_the_architecture_over_all_files_together() -> None:
    parts = {f"{n}.safetensors": safetensors({name: shape}) for n, (name, shape) in enumerate(SHAPES.items())}
    assert said_of(described(parts))["architecture"] == "mlp"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "one too many": ({**SHAPES, "layers.2.weight": (1, 1)}, "layers.2.weight: mlp has no such tensor"),
    "another name": (
        {**{k: v for k, v in SHAPES.items() if k != "layers.1.bias"}, "bias": (1,)}, "bias: mlp has no such tensor",
    ),
    "turned around": ({**SHAPES, "layers.0.weight": (3, 4)}, "layers.0.weight: shape [3, 4], [4, 3] is needed"),
    "flat": ({**SHAPES, "layers.0.weight": (12,)}, "layers.0.weight: shape [12], [4, 3] is needed"),
    "another width": ({**SHAPES, "layers.0.bias": (5,)}, "layers.0.bias: shape [5], [4] is needed"),
    "one missing": ({k: v for k, v in SHAPES.items() if k != "layers.1.bias"}, "missing: layers.1.bias"),
    "three missing": (
        {"layers.1.weight": (1, 4)}, "missing: layers.0.bias, layers.0.weight, layers.1.bias",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", WRONG)
def test_ms_2_names_and_shapes_are_exactly_those_of_the_architecture(how: str) -> None:
    shapes, words = WRONG[how]
    assert refusal(described({"model.safetensors": safetensors(shapes)})) == words


def test_of_many_missing_tensors_five_are_named() -> None:
    weights = {"model.safetensors": safetensors({"layers.0.bias": (4,)})}
    text = refusal(described(weights, architecture={"name": "mlp", "hidden": [4] * 8}))
    assert text.startswith("missing: ")
    assert len(text.removeprefix("missing: ").split(", ")) == 5


def test_a_tensor_in_two_files_is_refused_even_when_both_say_the_same() -> None:
    weights = {"a.safetensors": safetensors(SHAPES), "b.safetensors": safetensors({"layers.1.bias": (1,)})}
    assert refusal(described(weights)) == "layers.1.bias: stands in two files"


def test_a_manifest_beyond_1_mib_is_refused_before_it_is_read_whole() -> None:
    files = a_model()
    files["manifest.json"] += b" " * MAX_DOCUMENT
    assert refusal(files) == "the document is larger than 1 MiB"


@pytest.mark.parametrize("length", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_ms_5_the_hash_is_that_of_the_whole_file(length: int) -> None:
    content = bytes(range(256)) * (length // 256 + 1)
    assert hash_of(io.BytesIO(content[:length])) == hashlib.sha256(content[:length]).hexdigest()


def test_ms_4_a_file_beyond_what_an_upload_can_have_is_not_read_to_its_end() -> None:
    class Endless(io.BytesIO):
        """A file without an end."""

        asked = 0

        def read(self, size: int | None = -1) -> bytes:
            self.asked += 1
            return bytes(size or 0)

    file = Endless()
    hash_of(file)
    assert file.asked <= 102  # 100 MiB in pieces of 1 MiB, and one more to know


def test_ms_6_the_limits_are_those_of_the_contract() -> None:
    limits = dict(LIMITS)
    assert (limits[resource.RLIMIT_AS], limits[resource.RLIMIT_CPU]) == (1 << 30, 30)
    assert (limits[resource.RLIMIT_NOFILE], limits[resource.RLIMIT_NPROC], limits[resource.RLIMIT_CORE]) == (0, 0, 0)


# --- the answer is not believed either ------------------------------------------------------------------------------

GOOD = {"name": "risk", "version": "1", "architecture": "mlp", "scope": "global"}
ANSWERS: dict[str, tuple[bytes, Findings]] = {
    "sound": (json.dumps(GOOD).encode(), Findings(**GOOD)),
    "more than was asked": (json.dumps({**GOOD, "extra": [1]}).encode(), Findings(**GOOD)),
    "a rejection": (b'{"rejection": "no"}', Findings(rejection="no")),
    "a rejection beside findings": (json.dumps({**GOOD, "rejection": "no"}).encode(), Findings(rejection="no")),
    "a rejection that is no text": (b'{"rejection": [1]}', Findings(rejection="[1]")),
    "a long rejection": (json.dumps({"rejection": "x" * 9_999}).encode(), Findings(rejection="x" * 500)),
    "nothing": (b"", Findings(rejection=DIED)),
    "no JSON": (b"Traceback", Findings(rejection=DIED)),
    "a list": (b"[]", Findings(rejection=DIED)),
    "less than was asked": (json.dumps({"name": "risk"}).encode(), Findings(rejection=DIED)),
    "another type": (json.dumps({**GOOD, "scope": 7}).encode(), Findings(rejection=DIED)),
    "a name that hides": (json.dumps({**GOOD, "name": "a\nb"}).encode(), Findings(rejection=DIED)),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_ms_6_the_workers_word_is_checked_as_well(what: str) -> None:
    answer, wanted = ANSWERS[what]
    assert _understood(answer) == wanted


def a_session(*labels: str) -> ModelSession:
    rows = tuple(ModelFile(label=label, sha256="0" * 64, size=1) for label in labels)
    return ModelSession(session_id="s", kind=SessionKind.MODEL, files=rows, created_at=START, changed_at=START)


@pytest.mark.parametrize(
    ("labels", "able"),
    [
        (("manifest.json", "model.safetensors"), True),
        (("manifest.json", "model.pt"), False),
        (("manifest.json", "model.PTH"), False),
    ],
)
def test_ms_1_a_state_dict_is_not_opened_by_a_server_without_torch(labels: tuple[str, ...], able: bool) -> None:
    assert ProcessValidator().unable(a_session(*labels)) == (None if able else NEEDS_TORCH)


def test_a_file_that_has_gone_is_a_rejection_by_name_and_starts_no_process() -> None:
    validator = ProcessValidator(program="raise SystemExit(1)")
    assert validator.validate(a_session("manifest.json"), MemoryBlobs()) == Findings(
        rejection="manifest.json: its bytes are gone"
    )
