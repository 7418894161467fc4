"""How much a property with dear examples tries."""

from typing import Final

from hypothesis import settings

QUICK: Final = 100  # examples: profiles with more are asked for by hand and take their time


def fewer(part: int) -> int:
    """The profile's examples, in a quick profile only that part of them."""
    most = settings().max_examples
    return most if most > QUICK else max(1, most // part)
