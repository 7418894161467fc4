"""Chance that repeats: SplitMix64 (Steele, Lea, Flood 2014), small, fast and the same everywhere.

Streams are named: drawing more often in one place never changes what is drawn in another.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_MASK: Final = (1 << 64) - 1
_STEP: Final = 0x9E3779B97F4A7C15


class Stream:
    """A sequence of numbers that a seed and a name determine."""

    def __init__(self, seed: int, name: str) -> None:
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        self._state = int.from_bytes(digest[:8], "big")

    def bits(self) -> int:
        """64 of them."""
        self._state = (self._state + _STEP) & _MASK
        value = self._state
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
        return value ^ (value >> 31)

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        return (self.bits() >> 11) / (1 << 53)

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.unit()

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return self.unit() < probability

    def waiting(self, mean: float) -> float:
        """Exponential with that mean: the time until something that can happen at any moment."""
        return -mean * math.log(1.0 - self.unit())

    def pick(self, options: Sequence[T]) -> T:
        """One of them, each as likely."""
        return options[self.bits() % len(options)]
