"""What is kept for how long, and its removal (section 9). What is not listed is kept for ever."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from spotadapters.postgres.audit import AuditSeals
from spotadapters.postgres.reader import Reader

DAYS: Final[Mapping[str, int]] = {
    # statement: days
    "retain_decisions": 30,
    "retain_commands": 7,
    "retain_read_notifications": 30,
    "retain_notifications": 90,
    "retain_job_runs": 90,
    "retain_job_slots": 2,
    "retain_deliveries": 30,
    "retain_raw_prices": 90,  # what lies in no week's partition
    "retain_price_buckets": 730,  # the window of the training data
}
AUDIT_DAYS: Final = 180
IDEMPOTENCY_DAYS: Final = 1
ROWS_AT_ONCE: Final = 5_000


class Retention(Reader):
    """Removes what is old, a few thousand rows a transaction. Repeatable, and safe beside itself."""

    def apply(self) -> Mapping[str, int]:
        """Everything that is due now: rows removed, by what they were; raw prices go by whole partitions (JB-7)."""
        now = self._clock.now()
        gone = {name.removeprefix("retain_"): self._remove(name, now - timedelta(days=n)) for name, n in DAYS.items()}
        AuditSeals(self._connections, self._clock).prune(now - timedelta(days=AUDIT_DAYS))
        self.keep_weeks()
        return gone

    def keep_weeks(self) -> None:
        """Raw prices' tables: those of the coming weeks made, those of 90 days ago dropped. Cheap, and gives way to who
        reads them: ask often, since a nightly backup may be at work whenever one asks once a day."""
        self.rows("raw_prices_keep", dict, before=self._clock.now() - timedelta(days=DAYS["retain_raw_prices"]))

    def forget_requests(self) -> int:
        """Idempotency keys past their day."""
        return self._remove("retain_idempotency_keys", self._clock.now() - timedelta(days=IDEMPOTENCY_DAYS))

    def snapshot(self, day: datetime) -> bool:
        """Count the clients of a day (E05); False when that was done already."""
        return bool(self._rows("client_snapshot", {"day": day.date()})[0])

    def _remove(self, name: str, before: datetime) -> int:
        total = 0
        while True:
            gone: int = self._rows(name, {"before": before, "limit": ROWS_AT_ONCE})[0]
            total += gone
            if gone < ROWS_AT_ONCE:
                return total
