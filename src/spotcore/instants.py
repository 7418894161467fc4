"""Instants: aware, UTC, handed in (GR-5). The core never asks what time it is."""

from datetime import UTC, datetime

from spotcore.errors import ValidationFailed


def require_utc(at: datetime) -> datetime:
    """``at`` in UTC; ``ValidationFailed`` when it carries no offset (GR-5)."""
    if at.tzinfo is None:
        raise ValidationFailed("a naive datetime reached the core; attach UTC at the edge", at=["no offset"])
    return at.astimezone(UTC)


def day_of(at: datetime) -> datetime:
    """The UTC midnight at which its day began."""
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def earliest(*instants: datetime | None) -> datetime | None:
    """The first of the known instants, None when none is known."""
    known = [at for at in instants if at is not None]
    return min(known) if known else None


def read_instant(text: str | None) -> datetime | None:
    """An ISO 8601 text with its offset as an instant in UTC, None staying None."""
    return require_utc(datetime.fromisoformat(text)) if text is not None else None
