"""What the ledger needs of storage (7.3)."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from attrs import frozen

from spotcore.ids import ClientId, InstanceId
from spotcore.ledger import Entry, Revision
from spotcore.pricing import Bucket, ListPrice, OndemandPrice
from spotcore.tenure import Role, Tenure


@frozen(kw_only=True)
class Accruing:
    """A machine whose lines may have to grow or change, and where they end now."""

    tenure: Tenure
    lines_end: datetime | None


@frozen(kw_only=True)
class OndemandPrices:
    """What is known of the on-demand price of a type in a region."""

    listed: Sequence[ListPrice] = ()
    observed: Sequence[OndemandPrice] = ()


TypeInRegion = tuple[str, str]


class LedgerStore(Protocol):
    """Lines, and what they are made from."""

    def clients(self) -> Sequence[ClientId]:
        """Everybody who ever had a machine, deleted clients too."""
        ...

    def hold(self, client_id: ClientId) -> bool:
        """Keep others from this client's lines until the transaction ends; False when somebody else has them."""
        ...

    def accruing(
        self, client_id: ClientId, changed_since: datetime, after: InstanceId | None, limit: int
    ) -> Sequence[Accruing]:
        """Machines in the order of their ids that still cost, ended since ``changed_since``, or lack lines."""
        ...

    def entries(
        self, client_id: ClientId, instance_ids: Collection[InstanceId], since: datetime
    ) -> Mapping[InstanceId, Sequence[Entry]]:
        """Their lines that start at or after an instant."""
        ...

    def costs(
        self, client_id: ClientId, instance_ids: Collection[InstanceId], role: Role
    ) -> Mapping[InstanceId, Decimal]:
        """What each of them cost in that role, $: the exact sum, rounded once (P12). Without a priced line: missing."""
        ...

    def spot(self, pool_ids: Collection[str], since: datetime, until: datetime) -> Mapping[str, Sequence[Bucket]]:
        """Clean buckets that are in force between two instants, equal neighbours as one."""
        ...

    def ondemand(self, wanted: Collection[TypeInRegion]) -> Mapping[TypeInRegion, OndemandPrices]:
        """Imported and observed on-demand prices, those by bucket (P10)."""
        ...

    def write(self, client_id: ClientId, revision: Revision, recorded_at: datetime) -> None:
        """Carry a revision out. Raises ``InvariantViolated`` when lines would overlap (I9) or a sealed one would go."""
        ...

    def seal(self, client_id: ClientId, final: datetime, now: datetime) -> int:
        """Chain the client's lines of days before ``final`` that are not sealed yet; how many. They cannot change from
        then on."""
        ...
