"""The whole HTTP application on a real database, with a clock that moves only when told."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import httpx2
from attrs import define, field
from limits.storage import MemoryStorage
from starlette.applications import Starlette

from spotadapters.http.app import create_app
from spotadapters.http.lanes import Lanes
from spotadapters.http.limits import Limits
from spotadapters.http.live import LiveHub
from spotadapters.http.parts import Parts
from spotadapters.http.pulse import ShortWay
from spotadapters.http.routing import Server
from spotadapters.http.storm import Storm
from spotadapters.http.waiting import Hub
from spotadapters.jobs.board import Board, NoJobs
from spotadapters.postgres.live import LiveFeed, LiveRelay
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.pulses import Pulses
from spotadapters.postgres.reads import PostgresReads
from spotadapters.postgres.storage import PostgresStorage
from spotadapters.system.identity import SecureIdentity
from spotcore.aggregate import Aggregate
from spotcore.control_plane import ControlPlane, control_plane
from spotcore.ids import AgentId, ClientId
from spotcore.ports.storage import TokenRecord
from spotcore.service.models import Library
from tests.support.in_process import running
from tests.support.world import START, FakeClock

ADMIN_TOKEN = "admin-token-of-the-tests"
SEAL_KEY = "ab" * 32


@define
class Site:
    """A running site: send requests, move the clock, look inside."""

    http: httpx2.Client
    plane: ControlPlane
    storage: PostgresStorage
    connections: Connections
    clock: FakeClock
    identity: SecureIdentity
    app: Starlette
    hub: Hub
    live: LiveHub
    relay: LiveRelay  # not started: a test starts it, or takes its steps
    short_way: ShortWay
    counted: MemoryStorage  # what the rate limits counted
    machines: "count[int]" = field(factory=lambda: count(0xA000))

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = ADMIN_TOKEN,
        headers: Mapping[str, str] | None = None,
    ) -> "Reply":
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if isinstance(body, bytes | str):
            answer = self.http.request(method, path, content=body, headers=sent)
        elif body is None:
            answer = self.http.request(method, path, headers={"Content-Type": "application/json", **sent})
        else:
            answer = self.http.request(method, path, json=body, headers=sent)
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return Reply(answer.status_code, answer.json() if is_json else answer.text, dict(answer.headers))

    def client(self, name: str) -> "Tenant":
        created = self.call("POST", "/api/admin/clients/create", {"name": name})
        assert created.status == 201, created
        client = created.body["data"]["client"]
        return Tenant(self, client["id"], client["token"])

    def tick(self, seconds: float = 0) -> None:
        self.clock.advance(seconds)
        result = self.plane.upkeep.tick()
        assert not result.failed, result.failed

    def new_machine(self) -> str:
        return f"i-{next(self.machines):017x}"


@define
class Reply:
    """Status, JSON and headers of an answer."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def data(self) -> Any:
        return self.body["data"]


@define
class Tenant:
    """A client and its token."""

    site: Site
    client_id: str
    token: str

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Reply:
        return self.site.call(method, path, body, token=self.token, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Reply:
        return self.call("POST", path, body, **more)

    def get(self, path: str, **more: Any) -> Reply:
        return self.call("GET", path, **more)

    def aggregate(self, agent_id: str) -> Aggregate:
        with self.site.storage.transactions() as uow:
            return uow.agents.get(ClientId(self.client_id), AgentId(agent_id))

    def primary(self, agent_id: str) -> str | None:
        primary = self.aggregate(agent_id).primary
        return primary.cloud_id if primary is not None else None

    def statuses(self, agent_id: str) -> dict[str | None, str]:
        return {row.cloud_id: row.status.value for row in self.aggregate(agent_id).instances.values()}


def _admit_admin(storage: PostgresStorage, identity: SecureIdentity, clock: FakeClock) -> None:
    with storage.transactions() as uow:
        uow.clients.add_token(
            TokenRecord(
                token_hash=identity.hash_token(ADMIN_TOKEN), hint=ADMIN_TOKEN[-4:], sealed=None, client_id=None,
                created_at=clock.now(),
            )
        )  # fmt: skip


@contextmanager
def site_on(database_url: str, library: Library | None = None, *, is_new: bool = True) -> Iterator[Site]:
    """A site on a migrated database; its connections are closed at the end."""
    with (
        Connections(database_url, size=7, reserve=4, standing=False) as connections,
        a_site(connections, library, is_new=is_new) as opened,
    ):
        yield opened


@contextmanager
def a_site(
    connections: Connections, library: Library | None = None, *, is_new: bool = True, jobs: Board | None = None
) -> Iterator[Site]:
    """A site on connections to a migrated database; without ``jobs`` it knows of none."""
    clock = FakeClock(START)
    identity = SecureIdentity(bytes.fromhex(SEAL_KEY))
    live = LiveHub()
    relay = LiveRelay(LiveFeed(connections, clock), live, clock)
    storage = PostgresStorage(connections, clock, relay.wake)
    plane = control_plane(transactions=storage.transactions, clock=clock, identity=identity, library=library)
    if is_new:
        _admit_admin(storage, identity, clock)
    pulses = Pulses(connections)
    short_way = ShortWay(pulses, clock)
    storm = Storm(plane.emergencies.together, storage, clock, groups=2)
    counted = MemoryStorage()
    lanes = Lanes(ordinary=4, pulse=2, urgent=4)
    hub = Hub(lambda signs: pulses.changed(signs, clock.now()))
    parts = Parts(
        plane=plane,
        transactions=storage.transactions,
        credentials=storage,
        reads=PostgresReads(connections, clock),
        clock=clock,
        identity=identity,
        lanes=lanes,
        hub=hub,
        live=live,
        server=Server(version="test", jobs=jobs or NoJobs()),
        short_way=short_way,
        storm=storm,
        limits=Limits(counted),
    )
    app = create_app(parts)
    with running(app) as http:
        yield Site(
            http=http, plane=plane, storage=storage, connections=connections, clock=clock, identity=identity,
            app=app, hub=hub, live=live, relay=relay, short_way=short_way, counted=counted,
        )  # fmt: skip
    relay.stop()
    short_way.close()
    storm.close()
    lanes.close()
