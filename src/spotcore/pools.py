"""Pools (one instance type in one zone) and modes, with every spelling normalised to one."""

from enum import StrEnum
from functools import lru_cache
from typing import Final

from attrs import frozen

from spotcore.errors import PoolMismatch, ValidationFailed


class Mode(StrEnum):
    """How a machine is paid."""

    SPOT = "spot"
    ONDEMAND = "ondemand"
    UNKNOWN = "unknown"


_MODE_WORDS: Final = {
    "spot": Mode.SPOT,
    "pool": Mode.SPOT,  # forced switch: a pool means spot (0.1)
    "ondemand": Mode.ONDEMAND,
    "on-demand": Mode.ONDEMAND,
    "on_demand": Mode.ONDEMAND,
    "unknown": Mode.UNKNOWN,
}


def parse_mode(word: str) -> Mode:
    """The mode a word means, case and blanks ignored; ``ValidationFailed`` names the accepted words."""
    try:
        return _MODE_WORDS[word.strip().lower()]
    except KeyError:
        raise ValidationFailed("unknown mode", mode=["use spot or ondemand"]) from None


@frozen(order=True)
class Pool:
    """Spot capacity of one instance type in one zone; ordered by type, then zone."""

    instance_type: str
    az: str

    @property
    def pool_id(self) -> str:
        """``<type>.<az>``: what follows the last dot is the zone (T25)."""
        return f"{self.instance_type}.{self.az}"

    @property
    def region(self) -> str:
        """The zone without its letter."""
        return region_of(self.az)


def region_of(az: str) -> str:
    """``us-east-1`` for ``us-east-1a``; local zones keep their own name up to the trailing letters."""
    return az.rstrip("abcdefghijklmnopqrstuvwxyz") or az


@lru_cache(maxsize=10_000)  # the same few thousand names all day
def parse_pool(text: str) -> Pool:
    """A pool from ``type.az`` or ``type.region.az`` (0.1); ``ValidationFailed`` for anything else. Idempotent."""
    parts = text.strip().split(".")
    if len(parts) >= 4 and parts[-1].startswith(parts[-2]):
        parts = [*parts[:-2], parts[-1]]  # type.region.az
    if len(parts) < 3 or not all(parts) or "-" not in parts[-1]:
        raise ValidationFailed("not a pool id", pool_id=["use <instance type>.<zone>, e.g. t3.medium.us-east-1a"])
    return Pool(".".join(parts[:-1]), parts[-1])


def pool_of(instance_type: str | None, az: str | None) -> Pool | None:
    """The pool of a type and zone, None while either is unknown."""
    return Pool(instance_type, az) if instance_type and az else None


def family_of(instance_type: str) -> str:
    """``t3`` for ``t3.medium``."""
    return instance_type.partition(".")[0]


def require_same_family(pool: Pool, instance_type: str | None, region: str | None) -> None:
    """``PoolMismatch`` unless the pool has the agent's type and region (guard BAD_TARGET, RP-13)."""
    if instance_type is not None and pool.instance_type != instance_type:
        raise PoolMismatch(f"the agent runs {instance_type}; a pool of {pool.instance_type} cannot serve it")
    if region is not None and pool.region != region:
        raise PoolMismatch(f"the agent runs in {region}; {pool.pool_id} lies in {pool.region}")
