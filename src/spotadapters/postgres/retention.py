"""What is kept for how long, and its removal (section 9). What is not listed is kept for ever."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from spotadapters.postgres.audit import AuditSeals
from spotadapters.postgres.reader import Reader

DAYS: Final[Mapping[str, int]] = {
    # statement: days
    "retain_decisions": 30,
    "retain_decision_days": 30,
    "retain_recent_reports": 1,
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


@frozen(kw_only=True)
class Removed:
    """What a run of retention did."""

    rows: Mapping[str, int]  # by what they were; also what a step had removed when it failed
    failed: tuple[tuple[str, str], ...] = ()  # steps that ended in an error, and which (JB-4)

    @property
    def total(self) -> int:
        """Rows of all kinds."""
        return sum(self.rows.values())


class Retention(Reader):
    """Removes what is old, a few thousand rows a transaction. Repeatable, and safe beside itself."""

    def apply(self) -> Removed:
        """Everything that is due now; raw prices go by whole partitions (JB-7).

        A step that fails is reported, and the others are taken all the same (JB-4)."""
        rows: dict[str, int] = {}
        failed: list[tuple[str, str]] = []
        for what, step in self._steps(self._clock.now()):
            try:
                for gone in step:
                    rows[what] = rows.get(what, 0) + gone
            except Exception as failure:  # one table's trouble is never another's
                failed.append((what, f"{type(failure).__name__}: {failure}"))
        return Removed(rows=rows, failed=tuple(failed))

    def keep_weeks(self) -> None:
        """Raw prices' tables: those of the coming weeks made, those of 90 days ago dropped. Cheap, and gives way to who
        reads them: ask often, since a nightly backup may be at work whenever one asks once a day."""
        self.rows("raw_prices_keep", dict, before=self._clock.now() - timedelta(days=DAYS["retain_raw_prices"]))

    def forget_requests(self) -> int:
        """Idempotency keys past their day."""
        return sum(self._remove("retain_idempotency_keys", self._clock.now() - timedelta(days=IDEMPOTENCY_DAYS)))

    def snapshot(self, day: datetime) -> bool:
        """Count the clients of a day (E05); False when that was done already."""
        return bool(self._rows("client_snapshot", {"day": day.date()})[0])

    def _steps(self, now: datetime) -> Iterator[tuple[str, Iterator[int]]]:
        """What there is to remove, and how: nothing is done before the rows of a step are asked for."""
        for name, days in DAYS.items():
            yield name.removeprefix("retain_"), self._remove(name, now - timedelta(days=days))
        yield "audit_events", self._prune(now - timedelta(days=AUDIT_DAYS))
        yield "raw_prices_weeks", self._weeks()

    def _remove(self, name: str, before: datetime) -> Iterator[int]:
        """The rows that each transaction has removed."""
        gone = ROWS_AT_ONCE
        while gone >= ROWS_AT_ONCE:
            gone = self._rows(name, {"before": before, "limit": ROWS_AT_ONCE})[0]
            yield gone

    def _prune(self, before: datetime) -> Iterator[int]:
        yield AuditSeals(self._connections, self._clock).prune(before)

    def _weeks(self) -> Iterator[int]:
        self.keep_weeks()
        yield from ()  # tables: nobody has counted their rows
