"""The HTTP application over memory: every endpoint that needs no screen reads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
from attrs import define
from httpx2 import Response
from limits.storage import MemoryStorage as Counted
from starlette.applications import Starlette

from spotadapters.http.app import create_app
from spotadapters.http.lanes import Lanes
from spotadapters.http.limits import Limits
from spotadapters.http.live import LiveHub
from spotadapters.http.parts import Parts
from spotadapters.http.routing import Server
from spotadapters.http.storm import Storm
from spotadapters.http.waiting import Hub
from spotadapters.memory import MemoryStorage
from spotadapters.memory.store import MemoryCredentials
from spotcore.control_plane import ControlPlane, control_plane
from spotcore.errors import Unavailable
from spotcore.ports.storage import Credential, TokenRecord
from spotcore.service.models import Library
from tests.support.in_process import running
from tests.support.world import START, CountingIdentity, FakeClock

ADMIN = "the-admin-token"
AWAY = Unavailable("connection pool exhausted on 10.0.0.1")


class Breakable:
    """Storage that can be taken away and given back, as a database can. Counts how often it is asked."""

    def __init__(self) -> None:
        self.memory = MemoryStorage()
        self.credentials = MemoryCredentials(self.memory)
        self.failure: Exception | None = None
        self.is_reserve_left = False  # of a failure, the emergency connections are spared
        self.tries = 0
        self.is_open = threading.Event()  # cleared: whoever asks waits
        self.is_open.set()

    def transactions(self, *, urgent: bool = False) -> Any:
        self._reach(urgent=urgent)
        return self.memory.transactions(urgent=urgent)

    def find(self, token_hash: str, now: datetime) -> Credential | None:
        self._reach(urgent=True)
        return self.credentials.find(token_hash, now)

    def touch(self, *args: Any) -> None:
        self._reach(urgent=False)
        self.credentials.touch(*args)

    def find_session(self, *args: Any) -> Any:
        self._reach(urgent=True)
        return self.credentials.find_session(*args)

    def open_session(self, *args: Any) -> None:
        self._reach(urgent=False)
        self.credentials.open_session(*args)

    def see_session(self, *args: Any) -> None:
        self._reach(urgent=False)
        self.credentials.see_session(*args)

    def end_session(self, *args: Any) -> None:
        self._reach(urgent=False)
        self.credentials.end_session(*args)

    def _reach(self, *, urgent: bool) -> None:
        self.tries += 1
        assert self.is_open.wait(10)
        if self.failure is not None and not (urgent and self.is_reserve_left):
            raise self.failure


@define
class Frame:
    """A running application and its parts."""

    app: Starlette
    parts: Parts
    http: httpx2.Client
    plane: ControlPlane
    storage: Breakable
    clock: FakeClock
    hub: Hub
    lanes: Lanes
    live: LiveHub
    counted: Counted  # what the rate limits counted

    def client(self, name: str = "Acme") -> tuple[str, str]:
        """A client's id and token."""
        issued = self.plane.clients.create(name)
        return issued.client.client_id, issued.token

    def agent(self, token: str, machine: str = "i-0000000000000000a", logical: str = "web") -> str:
        """A registered agent's id."""
        body = {
            "instance_id": machine, "logical_agent_id": logical, "instance_type": "m5.large", "region": "us-east-1",
            "az": "us-east-1a", "mode": "spot",
        }  # fmt: skip
        answer = self.call("POST", "/api/agents/register", token, json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["agent_id"])

    def call(self, method: str, path: str, token: str | None = ADMIN, **more: Any) -> Response:
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {token}")
        return self.http.request(method, path, headers=headers, **more)


@contextmanager
def a_frame(dashboard: Path | None = None, library: Library | None = None, *, gathers: bool = False) -> Iterator[Frame]:
    """The application, started and stopped. ``gathers``: notices that come together are judged together."""
    clock, identity, storage, hub = FakeClock(START), CountingIdentity(), Breakable(), Hub()
    plane = control_plane(transactions=storage.transactions, clock=clock, identity=identity, library=library)
    with storage.transactions() as uow:
        uow.clients.add_token(
            TokenRecord(
                token_hash=identity.hash_token(ADMIN), hint=ADMIN[-4:], sealed=None, client_id=None, created_at=START
            )
        )
    lanes, live, counted = Lanes(ordinary=4, pulse=2, urgent=2), LiveHub(), Counted()
    storm = Storm(plane.emergencies.together, storage, clock, groups=1) if gathers else None
    parts = Parts(
        plane=plane, transactions=storage.transactions, credentials=storage, reads=None, clock=clock, identity=identity,
        lanes=lanes, hub=hub, live=live, server=Server(version="test"), dashboard=dashboard, limits=Limits(counted),
        storm=storm,
    )  # fmt: skip
    app = create_app(parts)
    with running(app) as http:
        yield Frame(
            app=app, parts=parts, http=http, plane=plane, storage=storage, clock=clock, hub=hub, lanes=lanes, live=live,
            counted=counted,
        )  # fmt: skip
    if storm is not None:
        storm.close()
    lanes.close()
