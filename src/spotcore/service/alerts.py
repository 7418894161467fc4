"""Price alerts of a client: E82, E83."""

from collections.abc import Sequence
from decimal import Decimal

from attrs import frozen

from spotcore.alerts import DASHBOARD, Alert, AlertType
from spotcore.clients import ClientStatus
from spotcore.errors import NotFound, ValidationFailed
from spotcore.pools import parse_pool
from spotcore.ports.storage import UnitOfWork
from spotcore.service.kernel import Caller, Kernel


@frozen(kw_only=True)
class AlertRequest:
    """What a client wants to be told of."""

    threshold: Decimal
    alert_type: AlertType = AlertType.PRICE_BELOW
    pool_id: str | None = None
    notification_channels: tuple[str, ...] = (DASHBOARD,)
    enabled: bool = True


@frozen
class Alerts:
    """Limits on spot prices; reports of prices set them off (``Prices``)."""

    kernel: Kernel

    def of_client(self, caller: Caller) -> Sequence[Alert]:
        """Newest first. Raises ``NotFound`` for a client that is unknown or deleted."""
        with self.kernel.transactions() as uow:
            _require_client(uow, caller)
            return uow.alerts.of_client(caller.client_id)

    def add(self, caller: Caller, wanted: AlertRequest) -> Alert:
        """A new alert. Raises ``ValidationFailed`` for a threshold of nothing or a pool that can be none."""
        if not wanted.threshold.is_finite() or wanted.threshold <= 0:
            raise ValidationFailed("invalid: threshold", threshold=["use a price above 0"])
        alert = Alert(
            alert_id=self.kernel.identity.new_id(),
            client_id=caller.client_id,
            alert_type=wanted.alert_type,
            threshold=wanted.threshold,
            pool_id=parse_pool(wanted.pool_id).pool_id if wanted.pool_id else None,
            enabled=wanted.enabled,
            notification_channels=wanted.notification_channels,
            created_at=self.kernel.clock.now(),
        )
        with self.kernel.transactions() as uow:
            _require_client(uow, caller)
            uow.alerts.add(alert)
        return alert


def _require_client(uow: UnitOfWork, caller: Caller) -> None:
    if uow.clients.get(caller.client_id).status is ClientStatus.DELETED:
        raise NotFound("unknown client")
