"""Safetensors byte by byte: what is read, and every way in which a file can lie about itself (MS-1, MS-4, MS-6)."""

import io
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.modelcheck.tensors import CHUNK, MAX_HEADER, BadTensors, Tensor, check_finite, read_header
from tests.support.models import framed, safetensors


def headed(content: bytes) -> tuple[int, dict[str, Tensor]]:
    return read_header(io.BytesIO(content), len(content))


def refusal(content: bytes, size: int | None = None) -> str:
    with pytest.raises(BadTensors) as refused:
        read_header(io.BytesIO(content), len(content) if size is None else size)
    return str(refused.value)


def a_tensor(shape: Any = (1,), offsets: Any = (0, 4), dtype: Any = "F32", **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


# --- what is right ----------------------------------------------------------------------------------------------------


def test_a_header_says_where_each_tensor_stands_and_where_the_numbers_begin() -> None:
    content = safetensors({"a": (2, 3), "b": (4,), "c": ()})
    data, tensors = headed(content)
    assert data == 8 + struct.unpack("<Q", content[:8])[0]
    assert tensors == {"a": Tensor("a", (2, 3), 0, 24), "b": Tensor("b", (4,), 24, 40), "c": Tensor("c", (), 40, 44)}
    assert data + 44 == len(content)


def test_tensors_may_stand_in_another_order_than_they_are_named() -> None:
    _, tensors = headed(framed({"late": a_tensor(offsets=(4, 8)), "early": a_tensor()}, b"\0" * 8))
    assert [(one.begin, one.end) for one in tensors.values()] == [(4, 8), (0, 4)]


def test_a_tensor_without_numbers_takes_no_room() -> None:
    _, tensors = headed(framed({"none": a_tensor((0, 3), (0, 0)), "one": a_tensor()}, b"\0" * 4))
    assert tensors["none"].begin == tensors["none"].end == 0


def test_metadata_is_no_tensor_whatever_it_says() -> None:
    for metadata in ({"format": "pt"}, {}, None, 7, [1]):
        assert set(headed(framed({"__metadata__": metadata, "a": a_tensor()}, b"\0" * 4))[1]) == {"a"}


def test_a_header_may_be_padded_with_blanks() -> None:
    text = json.dumps({"a": a_tensor()}).encode() + b" " * 37
    assert headed(framed(text, b"\0" * 4))[0] == 8 + len(text)


@given(st.lists(st.lists(st.integers(0, 7), max_size=2), min_size=1, max_size=6))
def test_whatever_shapes_a_file_has_its_numbers_are_covered_once(shapes: list[list[int]]) -> None:
    named = {f"t{n}": tuple(shape) for n, shape in enumerate(shapes)}
    content = safetensors(named)
    data, tensors = headed(content)
    assert {name: one.shape for name, one in tensors.items()} == named
    spans = sorted((one.begin, one.end) for one in tensors.values())
    assert sum(end - begin for begin, end in spans) == len(content) - data
    for one in tensors.values():
        assert one.end - one.begin == 4 * math.prod(one.shape)
        check_finite(io.BytesIO(content), data, one)


# --- the frame --------------------------------------------------------------------------------------------------------

WHOLE = safetensors({"a": (2,)})
LENGTH = "the header's length makes no sense"
NO_OBJECT = "the header is no JSON object"

FRAMES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "the file is too short"),
    "seven bytes": (b"\0" * 7, "the file is too short"),
    "eight bytes": (b"\0" * 8, LENGTH),
    "a header of one byte": (struct.pack("<Q", 1) + b"{" + b"\0" * 20, LENGTH),
    "a header longer than the file": (struct.pack("<Q", 100) + b"{}", LENGTH),
    "a header longer by one byte": (struct.pack("<Q", 3) + b"{}", LENGTH),
    "a header of 16 exabytes": (b"\xff" * 8 + b"{}", LENGTH),
    "a length in the other byte order": (struct.pack(">Q", 2) + b"{}" + b"\0" * 8, LENGTH),
    "a header above 1 MiB": (struct.pack("<Q", MAX_HEADER + 1) + b"{}" + b" " * MAX_HEADER, LENGTH),
    "no JSON": (framed(b"hello", b""), NO_OBJECT),
    "half a JSON": (framed(b'{"a": {"dtype"', b""), NO_OBJECT),
    "a list": (framed(b"[]", b""), NO_OBJECT),
    "not utf-8": (framed(b'{"\xff": 1}', b""), NO_OBJECT),
    "a name twice": (framed(b'{"a": 1, "a": 2}', b""), NO_OBJECT),
    "a field twice": (framed(b'{"a": {"dtype": "F32", "dtype": "F32"}}', b""), NO_OBJECT),
    "NaN": (framed(b'{"a": NaN}', b""), NO_OBJECT),
    "no tensor": (framed({}, b""), "a file holds 1 to 1000 tensors"),
    "metadata alone": (framed({"__metadata__": {"a": "b"}}, b""), "a file holds 1 to 1000 tensors"),
    "a pickle": (b"\x80\x04\x95" + b"\0" * 60, LENGTH),
    "a zip": (b"PK\x03\x04" + b"\0" * 60, LENGTH),
}


@pytest.mark.parametrize("what", FRAMES)
def test_a_frame_that_makes_no_sense_is_refused(what: str) -> None:
    content, words = FRAMES[what]
    assert refusal(content) == words


def test_a_thousand_tensors_are_read_and_one_more_is_not() -> None:
    empty = {f"t{n}": a_tensor((0,), (0, 0)) for n in range(1_000)}
    assert len(headed(framed(empty, b""))[1]) == 1_000
    assert refusal(framed({**empty, "more": a_tensor((0,), (0, 0))}, b"")) == "a file holds 1 to 1000 tensors"


# --- tensors ----------------------------------------------------------------------------------------------------------

NUMBERS = "a: the numbers must be F32"
LISTS = "a: shape and data_offsets are lists of at most two whole numbers"
AS_LONG = "a: its data is not as long as its shape says"

TENSORS: dict[str, tuple[Any, str]] = {
    "no facts": (None, NUMBERS),
    "a number": (4, NUMBERS),
    "a list": ([], NUMBERS),
    "nothing": ({}, NUMBERS),
    "no type": (a_tensor(dtype=None), NUMBERS),
    "half precision": (a_tensor(dtype="F16"), NUMBERS),
    "double precision": (a_tensor(dtype="F64"), NUMBERS),
    "whole numbers": (a_tensor(dtype="I32"), NUMBERS),
    "a type in small letters": (a_tensor(dtype="f32"), NUMBERS),
    "no shape": ({"dtype": "F32", "data_offsets": [0, 4]}, LISTS),
    "a shape of one number": ({"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}, LISTS),
    "three dimensions": (a_tensor((1, 1, 1)), LISTS),
    "a negative dimension": (a_tensor((-1,)), LISTS),
    "half a dimension": (a_tensor((1.0,)), LISTS),
    "a flag for a dimension": (a_tensor((True,)), LISTS),
    "a dimension in words": (a_tensor(("1",)), LISTS),
    "a dimension beyond all memory": (a_tensor((1 << 40,)), LISTS),
    "no offsets": ({"dtype": "F32", "shape": [1]}, LISTS),
    "one offset": (a_tensor(offsets=(0,)), LISTS),
    "three offsets": (a_tensor(offsets=(0, 4, 8)), LISTS),
    "a negative offset": (a_tensor(offsets=(-4, 0)), LISTS),
    "null offsets": ({"dtype": "F32", "shape": [1], "data_offsets": None}, LISTS),
    "offsets upside down": (a_tensor(offsets=(4, 0)), AS_LONG),
    "data too short": (a_tensor((2,), (0, 4)), AS_LONG),
    "data too long": (a_tensor((1,), (0, 8)), AS_LONG),
    "data for a scalar missing": (a_tensor((), (0, 0)), AS_LONG),
    "a product beyond all memory": (a_tensor(((1 << 40) - 1, (1 << 40) - 1), (0, 4)), AS_LONG),
}


@pytest.mark.parametrize("what", TENSORS)
def test_a_tensor_whose_facts_do_not_agree_is_refused_by_name(what: str) -> None:
    facts, words = TENSORS[what]
    assert refusal(framed({"a": facts}, b"\0" * 8)) == words


def test_a_long_name_is_cut_in_the_refusal() -> None:
    assert refusal(framed({"n" * 5_000: None}, b"")) == "n" * 100 + ": the numbers must be F32"


PLACES = {
    "a gap before the first": ([(4, 8)], "the tensors overlap, or leave a gap"),
    "a gap between": ([(0, 4), (8, 12)], "the tensors overlap, or leave a gap"),
    "the same place twice": ([(0, 4), (0, 4)], "the tensors overlap, or leave a gap"),
    "an overlap": ([(0, 8), (4, 8)], "the tensors overlap, or leave a gap"),
    "beyond the end": ([(0, 16)], "the file is longer or shorter than its tensors"),
    "bytes behind the last": ([(0, 4), (4, 8)], "the file is longer or shorter than its tensors"),
}


@pytest.mark.parametrize("how", PLACES)
def test_the_numbers_are_covered_from_the_first_byte_to_the_last_without_gap_or_overlap(how: str) -> None:
    offsets, words = PLACES[how]
    header = {f"t{n}": a_tensor(((end - begin) // 4,), (begin, end)) for n, (begin, end) in enumerate(offsets)}
    assert refusal(framed(header, b"\0" * 12)) == words


@pytest.mark.parametrize("size", [len(WHOLE) - 1, len(WHOLE) + 1, len(WHOLE) + 4])
def test_the_size_that_was_recorded_counts(size: int) -> None:
    assert refusal(WHOLE, size) == "the file is longer or shorter than its tensors"


@given(st.data())
def test_a_file_cut_anywhere_is_refused(data: st.DataObject) -> None:
    content = safetensors({"a": (2, 3), "b": (4,)})
    assert refusal(content[: data.draw(st.integers(0, len(content) - 1))])


@given(st.binary(max_size=200))
def test_noise_is_refused_and_nothing_worse(content: bytes) -> None:
    assert refusal(content)


# --- numbers ----------------------------------------------------------------------------------------------------------


def checked(*numbers: float, begin: int = 0, before: bytes = b"") -> None:
    content = before + struct.pack(f"<{len(numbers)}f", *numbers)
    tensor = Tensor("layer", (len(numbers),), begin, begin + 4 * len(numbers))
    check_finite(io.BytesIO(content), len(before) - begin, tensor)


@pytest.mark.parametrize("number", [0.0, -0.0, 1e-45, 3.4028234e38, -3.4028234e38])
def test_every_finite_number_is_fine(number: float) -> None:
    checked(1.0, number, 2.0)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(3))
def test_one_number_that_is_none_refuses_the_tensor_wherever_it_stands(number: float, place: int) -> None:
    numbers = [1.0, 2.0, 3.0]
    numbers[place] = number
    with pytest.raises(BadTensors, match=r"^layer: a number is NaN or infinite$"):
        checked(*numbers)


def test_every_spelling_of_nan_is_one() -> None:
    for bits in (0x7F800001, 0x7FC00000, 0xFFC00000, 0x7FFFFFFF, 0xFFFFFFFF):
        with pytest.raises(BadTensors, match="NaN or infinite"):
            check_finite(io.BytesIO(struct.pack("<I", bits)), 0, Tensor("layer", (1,), 0, 4))


def test_only_the_tensors_own_numbers_are_looked_at() -> None:
    content = struct.pack("<3f", math.nan, 1.0, math.nan)
    check_finite(io.BytesIO(content), 0, Tensor("layer", (1,), 4, 8))
    check_finite(io.BytesIO(content), 4, Tensor("layer", (1,), 0, 4))


@pytest.mark.parametrize("place", [0, CHUNK // 4 - 1, CHUNK // 4, CHUNK // 4 + 6])
def test_a_tensor_larger_than_a_chunk_is_read_to_its_end(place: int) -> None:
    count = CHUNK // 4 + 7
    content = bytearray(4 * count)
    check_finite(io.BytesIO(bytes(content)), 0, Tensor("layer", (count,), 0, 4 * count))
    content[4 * place : 4 * place + 4] = struct.pack("<f", math.inf)
    with pytest.raises(BadTensors, match="NaN or infinite"):
        check_finite(io.BytesIO(bytes(content)), 0, Tensor("layer", (count,), 0, 4 * count))


@pytest.mark.parametrize("kept", [0, 3, 4, 11])
def test_a_file_that_ends_while_it_is_read_is_refused(kept: int) -> None:
    with pytest.raises(BadTensors, match=r"^the file ends early$"):
        check_finite(io.BytesIO(b"\0" * kept), 0, Tensor("layer", (3,), 0, 12))
