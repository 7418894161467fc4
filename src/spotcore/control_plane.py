"""The control plane as one object: what a service embeds, and what the HTTP adapter calls."""

from attrs import frozen

from spotcore.ports.storage import Transactions
from spotcore.ports.world import Advisor, Clock, Identity
from spotcore.service.agents import Agents
from spotcore.service.alerts import Alerts
from spotcore.service.clients import Clients
from spotcore.service.commands import Commands
from spotcore.service.decisions import Decisions
from spotcore.service.emergency import Emergency
from spotcore.service.kernel import Kernel
from spotcore.service.machines import Machines
from spotcore.service.models import Library, Models
from spotcore.service.notices import Notices
from spotcore.service.pipeline import PricePipeline
from spotcore.service.prices import Prices
from spotcore.service.replicas import Replicas
from spotcore.service.savings import Savings
from spotcore.service.upkeep import Upkeep


@frozen(kw_only=True)
class ControlPlane:
    """Every use case, by what it is about. Thread-safe as far as its collaborators are."""

    clients: Clients
    agents: Agents
    machines: Machines
    replicas: Replicas
    emergencies: Emergency
    commands: Commands
    decisions: Decisions
    prices: Prices
    alerts: Alerts
    notices: Notices
    upkeep: Upkeep
    models: Models
    savings: Savings
    pipeline: PricePipeline


def control_plane(
    *,
    transactions: Transactions,
    clock: Clock,
    identity: Identity,
    advisor: Advisor | None = None,
    library: Library | None = None,
) -> ControlPlane:
    """A control plane over the given collaborators; without an ``advisor`` the built-in rules decide (Z35), without a
    ``library`` no models come in."""
    kernel = Kernel(transactions=transactions, clock=clock, identity=identity)
    return ControlPlane(
        clients=Clients(kernel),
        agents=Agents(kernel),
        machines=Machines(kernel),
        replicas=Replicas(kernel),
        emergencies=Emergency(kernel),
        commands=Commands(kernel),
        decisions=Decisions(kernel, advisor),
        prices=Prices(kernel),
        alerts=Alerts(kernel),
        notices=Notices(kernel),
        upkeep=Upkeep(kernel),
        models=Models(kernel, library),
        savings=Savings(kernel),
        pipeline=PricePipeline(kernel),
    )
