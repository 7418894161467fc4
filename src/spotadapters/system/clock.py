"""The time of the machine."""

from datetime import UTC, datetime


class SystemClock:
    """``Clock``: aware, UTC."""

    def now(self) -> datetime:
        """The current instant."""
        return datetime.now(UTC)
