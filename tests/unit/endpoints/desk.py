"""A site over memory: what deployed agents and operators send, without a database. One application serves a module; each
test finds it empty."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from itertools import count
from typing import Any, cast
from urllib.parse import unquote

from attrs import define, field, fields
from starlette.types import ASGIApp, Message

from spotadapters.memory.store import Tables
from spotcore.control_plane import ControlPlane
from spotcore.events import Event, EventKind
from spotcore.ids import ClientId
from tests.support.server import Reply, Tenant
from tests.support.wire_agents import V2, V5, V4c, V4n, WireAgent
from tests.support.world import START, FakeClock
from tests.unit.http.frame import ADMIN, Breakable, Frame, a_frame

NOBODY = "00000000-0000-4000-8000-000000000000"
CREATED = "2026-03-02T12:00:00Z"
TABLES = [one.name for one in fields(Tables)]
BUILDS: dict[str, type[WireAgent]] = {"v2": V2, "v4c": V4c, "v4n": V4n, "v5": V5}


@define
class Desk:
    """The in-memory twin of a site: send requests, move the clock, look inside."""

    frame: Frame
    loop: asyncio.AbstractEventLoop
    machines: "count[int]" = field(factory=lambda: count(0xA000))
    _kept: dict[tuple[Any, ...], tuple[Tables, Any]] = field(factory=dict)
    _steps: tuple[Any, ...] = ()  # that led from an empty site to what was kept

    @property
    def plane(self) -> ControlPlane:
        return self.frame.plane

    @property
    def storage(self) -> Breakable:
        return self.frame.storage

    @property
    def clock(self) -> FakeClock:
        return self.frame.clock

    @property
    def tables(self) -> Tables:
        return self.frame.storage.memory.tables

    def clear(self) -> None:
        """Everything as at the start, the operator's token apart."""
        memory = self.storage.memory
        self.frame.counted.reset()
        self.storage.failure = None
        self.clock.at = START
        operators = {key: row for key, row in memory.tables.tokens.items() if row.client_id is None}
        memory.tables = Tables(tokens=operators)
        self._steps = ()
        self._kept[()] = _copied(memory.tables), None

    def once(self, step: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` gives. A test that begins as another began gets what was made for that one, with every row it
        left, instead of making it again."""
        before, _ = self._kept[self._steps]
        if self.clock.at != START or self.storage.failure is not None or not _same(self.tables, before):
            return make()
        steps = (*self._steps, step)
        if steps not in self._kept:
            made = make()
            self._kept[steps] = _copied(self.tables), made
        tables, made = self._kept[steps]
        self.storage.memory.tables, self._steps = _copied(tables), steps
        return copy(made)

    def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = ADMIN,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:  # fmt: skip
        sent = {"content-type": "application/json", **(headers or {})}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.loop.run_until_complete(_spoken(self.frame.app, method, path, content, sent))

    def client(self, name: str = "Acme") -> Tenant:
        def made() -> Tenant:
            client_id, token = self.frame.client(name)
            return Tenant(cast(Any, self), client_id, token)

        return cast(Tenant, self.once(("client", name), made))

    def new_machine(self) -> str:
        return f"i-{next(self.machines):017x}"

    def tick(self, seconds: float = 0) -> None:
        self.clock.advance(seconds)
        result = self.plane.upkeep.tick()
        assert not result.failed, result.failed

    def events(self, kind: EventKind) -> list[Event]:
        """Audit rows of a kind, oldest first."""
        return [event for event in self.tables.events if event.kind is kind]

    def suspend(self, tenant: Tenant) -> None:
        self.plane.clients.suspend(ClientId(tenant.client_id))

    def host(self, build: str, tenant: Tenant, *, logical: str | None = None, mode: str = "spot") -> Any:
        """A host of that build which has registered, sent a heartbeat, and what it knows of prices."""

        def made() -> Any:
            agent: Any = BUILDS[build](tenant, self.new_machine(), logical=logical, mode=mode)
            assert agent.register().status == 200
            assert agent.heartbeat().status == 200
            if build == "v4n":
                assert agent.decide().status == 200
            else:
                assert agent.prices().status == 200
            return agent

        return self.once(("host", build, tenant.client_id, logical, mode), made)


def _copied(tables: Tables) -> Tables:
    """Rows are frozen; only the dictionaries change."""
    known = {name: getattr(tables, name) for name in TABLES}
    known["buckets"] = {pool: dict(rows) for pool, rows in tables.buckets.items()}
    return Tables(**{name: copy(rows) for name, rows in known.items()})


def _same(one: Tables, other: Tables) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in TABLES if name != "line_numbers")


@contextmanager
def a_desk() -> Iterator[Desk]:
    """A desk, its application started and stopped."""
    loop = asyncio.new_event_loop()
    with a_frame() as frame:
        yield Desk(frame, loop)
        loop.run_until_complete(asyncio.wait({loop.create_task(asyncio.sleep(0)), *asyncio.all_tasks(loop)}))
    loop.close()


async def _spoken(app: ASGIApp, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
    """One request straight to the application: a test client would take most of a test's time."""
    path, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": unquote(path),
        "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "scheme": "http",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "server": ("testserver", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        told.append(message)

    await app(scope, receive, send)
    head = {name.decode(): value.decode() for name, value in told[0]["headers"]}
    content = b"".join(message.get("body", b"") for message in told[1:])
    is_json = content and head.get("content-type", "").startswith("application/json")
    return Reply(told[0]["status"], json.loads(content) if is_json else content.decode(), head)


def refusal(answer: Reply) -> tuple[int, str]:
    """Status and code of a refusal, which always wears the envelope (1.1)."""
    assert answer.body["status"] == "error"
    assert answer.body["data"] is None
    assert isinstance(answer.body["error"], str)
    assert answer.body["error"]
    return answer.status, answer.body["code"]


def problems(answer: Reply) -> list[str]:
    """The fields that a validation error names, each with at least one problem."""
    assert refusal(answer) == (400, "VALIDATION_ERROR")
    details = answer.body["details"]
    assert all(texts and all(isinstance(text, str) and text for text in texts) for texts in details.values())
    return sorted(details)


def mirrored(answer: Reply) -> Any:
    """``data`` of a success, checked to stand at the top as well, word for word (1.2)."""
    body = answer.body
    assert body["status"] == "success", body
    assert body["error"] is None
    reserved = {"status", "data", "error", "message", "code", "details"}
    top = {name: value for name, value in body.items() if name not in reserved}
    assert top == {name: value for name, value in body["data"].items() if name not in reserved}
    return body["data"]
