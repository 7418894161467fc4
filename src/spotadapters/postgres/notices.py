"""Notifications as people list them (E87)."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from spotadapters.postgres.reader import Reader
from spotcore.ids import ClientId
from spotcore.instants import read_instant


@frozen(kw_only=True)
class Listed:
    """The newest notifications of a view, and how many of the whole view are unread."""

    rows: Sequence[Mapping[str, Any]]
    unread: int


class NoticeReads(Reader):
    """Notifications with the reader's own read state (NT-2); never a deleted client's."""

    def newest(
        self, reader: ClientId | None, *, of: ClientId | None = None, only_unread: bool = False, limit: int
    ) -> Listed:
        """A client's and broadcasts; all of them for the operator (``reader`` None), unless ``of`` names a client."""
        values = {"reader": reader or "", "scope": reader or of, "only_unread": only_unread, "limit": limit}
        row = self.one("read_notifications", dict, **values)
        return Listed(rows=[{**one, "at": read_instant(one["at"])} for one in row["items"] or ()], unread=row["unread"])
