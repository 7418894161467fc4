"""A body of plain characters is taken as it is; what is found in it is the same (S26)."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spotadapters.wire.parsing import cleaned, decode, decode_clean
from spotcore.errors import ValidationFailed

TEXTS = st.text(alphabet=st.characters(codec=None), max_size=12) | st.sampled_from(
    ["\x00", "a\x1fb", "\x7f", "\x80\x9f", "\ud800", "a\\u0000", "žluť", "\\", '"', "plain"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4), st.booleans())
@example({"a": "\x7f"}, False)
@example({"a": "\x00"}, True)
def test_both_ways_find_the_same_in_a_body(data: dict[str, Any], escaped: bool) -> None:
    body = json.dumps(data, ensure_ascii=escaped).encode("utf-8", errors="surrogatepass" if escaped else "replace")
    assert decode_clean(body) == cleaned(decode(body))


@pytest.mark.parametrize("mark", ["{", "["])
def test_marks_inside_of_texts_are_no_depth(mark: str) -> None:
    assert decode_clean(json.dumps({"a": mark * 500}).encode()) == {"a": mark * 500}


@pytest.mark.parametrize(("levels", "is_refused"), [(64, False), (65, True)])
def test_a_body_is_refused_from_the_sixty_fifth_level_on(levels: int, *, is_refused: bool) -> None:
    body = b'{"a": ' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"
    if is_refused:
        with pytest.raises(ValidationFailed, match="nested too deeply"):
            decode_clean(body)
    else:
        assert decode_clean(body)["a"] is not None
