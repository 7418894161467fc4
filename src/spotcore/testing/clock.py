"""A clock for tests."""

from datetime import datetime, timedelta

from attrs import define


@define
class ManualClock:
    """Moves only when told."""

    at: datetime

    def now(self) -> datetime:
        """The time it was told."""
        return self.at

    def advance(self, seconds: float) -> None:
        """Let time pass, or step back."""
        self.at += timedelta(seconds=seconds)
