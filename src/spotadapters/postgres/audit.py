"""Seals over audit rows: what was written stays as it was, or ``verify`` says so (design 6)."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from spotadapters.postgres.reader import Reader

ROWS: Final = 5_000  # sealed by one statement
PAGE: Final = 20  # seals looked at by one statement
STRETCH: Final = 100_000  # ids of rows


@frozen(kw_only=True)
class Seal:
    """A seal, and whether its rows still fit it and it still follows the one before."""

    client_id: str  # '' for rows of no client
    seal_no: int
    sealed_at: datetime
    rows: int
    digest: str
    is_pruned: bool
    first_id: int
    last_id: int
    is_chained: bool
    missing: int
    is_whole: bool

    @property
    def trouble(self) -> str | None:
        """What is wrong, in words; None when nothing is."""
        if not self.is_chained:
            return "does not follow the seal before it: a seal is missing or was changed"
        if self.missing:
            return f"{self.missing} of its rows are missing"
        return None if self.is_whole else "a row was changed"


@frozen(kw_only=True)
class Loose:
    """Rows of a client that are hours old and under no seal."""

    client_id: str
    rows: int
    first_id: int


class AuditSeals(Reader):
    """Seals what is new, looks at what is sealed."""

    def seal(self) -> int:
        """Seal what was committed since; how many rows. Safe to run from many processes, twice changes nothing."""
        total = 0
        while True:
            rows: int = self.one("audit_seal", dict, limit=ROWS)  # type: ignore[assignment]
            total += rows
            if rows < ROWS:
                return total

    def count(self, client_id: str | None = None) -> int:
        """How many seals there are, of one client or of all."""
        found: Any = self.one("audit_seals_count", dict, only=client_id)
        return int(found)

    def verify(self, client_id: str | None = None) -> Iterator[Seal]:
        """Every seal in order, looked at; a page at a time, so that no statement takes long."""
        place = {"client_id": "", "seal_no": -1}
        while True:
            page = self.rows("audit_check", Seal, **place, only=client_id, limit=PAGE)
            yield from page
            if len(page) < PAGE:
                return
            place = {"client_id": page[-1].client_id, "seal_no": page[-1].seal_no}

    def loose(self, client_id: str | None = None) -> list[Loose]:
        """Rows older than two hours that no seal covers, by client and stretch of ids."""
        lowest, highest = self.one("audit_ids", dict)
        return [
            found
            for first in range(lowest, highest + 1, STRETCH)
            for found in self.rows("audit_loose", Loose, only=client_id, first=first, count=STRETCH)
        ]

    def prune(self, before: datetime) -> int:
        """Forget sealed rows that are all older; how many. Their seals stay, so that the chain still holds."""
        total = 0
        while True:
            gone: Any = self.one("audit_prune", dict, before=before, limit=PAGE)
            total += int(gone)
            if not gone:
                return total
