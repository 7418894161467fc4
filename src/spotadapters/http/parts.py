"""What the application is built from."""

from pathlib import Path
from typing import Any

from attrs import field, frozen

from spotadapters.http.lanes import Lanes
from spotadapters.http.limits import Limits
from spotadapters.http.live import LiveHub
from spotadapters.http.moves import Moves
from spotadapters.http.pulse import ShortWay
from spotadapters.http.routing import Server
from spotadapters.http.storm import Storm
from spotadapters.http.waiting import Hub
from spotcore.control_plane import ControlPlane
from spotcore.ports.storage import Credentials, Transactions
from spotcore.ports.world import Clock, Identity


@frozen(kw_only=True)
class Parts:
    """Opened and closed by whoever brings them."""

    plane: ControlPlane
    transactions: Transactions
    credentials: Credentials
    reads: Any
    clock: Clock
    identity: Identity
    lanes: Lanes
    hub: Hub
    live: LiveHub = field(factory=LiveHub)
    moves: Moves = field(factory=Moves)
    server: Server
    limits: Limits = field(factory=Limits)
    dashboard: Path | None = None  # a folder with a built dashboard
    short_way: ShortWay | None = None  # without one every call goes the ordinary way
    storm: Storm | None = None  # without one every notice goes alone
