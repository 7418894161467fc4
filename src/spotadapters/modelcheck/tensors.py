"""Safetensors, read within bounds: eight bytes of length, a JSON header of at most 1 MiB, then numbers and no code.

Only float32 is read, which is all that our architectures hold (MS-2). Nothing is believed: the header's ranges must
cover the data from its first byte to its last, without gap or overlap.
"""

import math
import struct
import sys
from array import array
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

from attrs import frozen

from spotcore.manifest import BadManifest, read_document

DTYPE: Final = "F32"
WIDTH: Final = 4
CHUNK: Final = 1 << 20
MAX_HEADER: Final = 1 << 20
MAX_TENSORS: Final = 1_000


class BadTensors(Exception):
    """A file that is not what it must be; the text may be shown."""


@frozen
class Tensor:
    """Where a tensor's numbers stand, counted from the end of the header."""

    name: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(file: BinaryIO, size: int) -> tuple[int, dict[str, Tensor]]:
    """Where the data begins, and every tensor. Raises ``BadTensors``."""
    start = file.read(8)
    if len(start) != 8:
        raise BadTensors("the file is too short")
    length = struct.unpack("<Q", start)[0]
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise BadTensors("the header's length makes no sense")
    try:
        header = read_document(file.read(length))
    except BadManifest:
        raise BadTensors("the header is no JSON object") from None
    tensors = {name: _tensor(name, facts) for name, facts in header.items() if name != "__metadata__"}
    if not 0 < len(tensors) <= MAX_TENSORS:
        raise BadTensors(f"a file holds 1 to {MAX_TENSORS} tensors")
    data = 8 + length
    at = 0
    for one in sorted(tensors.values(), key=lambda tensor: (tensor.begin, tensor.end)):
        if one.begin != at:
            raise BadTensors("the tensors overlap, or leave a gap")
        at = one.end
    if at != size - data:
        raise BadTensors("the file is longer or shorter than its tensors")
    return data, tensors


def _tensor(name: str, facts: Any) -> Tensor:
    if not isinstance(facts, Mapping) or facts.get("dtype") != DTYPE:
        raise BadTensors(f"{name[:100]}: the numbers must be {DTYPE}")
    shape, offsets = _whole_numbers(facts.get("shape")), _whole_numbers(facts.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2:
        raise BadTensors(f"{name[:100]}: shape and data_offsets are lists of at most two whole numbers")
    begin, end = offsets
    if end - begin != math.prod(shape) * WIDTH:
        raise BadTensors(f"{name[:100]}: its data is not as long as its shape says")
    return Tensor(name, shape, begin, end)


def _whole_numbers(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > 2:
        return None
    return tuple(value) if all(type(one) is int and 0 <= one < 1 << 40 for one in value) else None


def check_finite(file: BinaryIO, data: int, tensor: Tensor) -> None:
    """Read every number of a tensor. Raises ``BadTensors`` for NaN and infinities."""
    file.seek(data + tensor.begin)
    left = tensor.end - tensor.begin
    while left:
        chunk = file.read(min(CHUNK, left))
        if not chunk or len(chunk) % WIDTH:
            raise BadTensors("the file ends early")
        numbers = array("f", chunk)
        if sys.byteorder == "big":
            numbers.byteswap()
        if not all(map(math.isfinite, numbers)):
            raise BadTensors(f"{tensor.name[:100]}: a number is NaN or infinite")
        left -= len(chunk)
