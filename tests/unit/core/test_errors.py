"""Codes are public: one class each, none renamed, none built from text."""

import re

import pytest

from spotadapters.http.errors import STATUS
from spotcore import errors
from spotcore.errors import SpotError

CLASSES = [
    one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, SpotError) and one is not SpotError
]  # fmt: skip
INTERNAL = {errors.IllegalTransition, errors.InvariantViolated}


def test_every_refusal_has_a_code_of_its_own() -> None:
    public = [one.code for one in CLASSES if one not in INTERNAL]
    assert len(public) == len(set(public))
    assert {one.code for one in INTERNAL} == {"SERVER_ERROR"}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda one: one.__name__)
def test_a_code_is_capital_words_and_every_adapter_knows_it(kind: type[SpotError]) -> None:
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", kind.code)
    assert kind.code in STATUS


def test_a_refusals_details_cannot_be_changed_after_the_fact() -> None:
    refusal = errors.ValidationFailed("no", field=["wrong"])
    assert (refusal.message, str(refusal), dict(refusal.details)) == ("no", "no", {"field": ["wrong"]})
    with pytest.raises(TypeError):
        refusal.details["field"] = []  # type: ignore[index]
