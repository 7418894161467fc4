"""Endpoints as rows: number, method, path, who may call, and the function that answers."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from attrs import field, frozen

from spotadapters.http.auth import Access, Principal
from spotadapters.http.envelope import Answer
from spotadapters.http.lanes import Lane
from spotadapters.http.limits import Limits
from spotadapters.http.live import LiveHub
from spotadapters.http.metrics import Metrics
from spotadapters.http.outage import Remembered
from spotadapters.http.sessions import Door, Sessions
from spotadapters.http.uploads import Upload
from spotadapters.jobs.board import Board, NoJobs
from spotadapters.wire.asking import asked
from spotadapters.wire.parsing import decode, decode_clean, shaped
from spotcore.builds import ABILITIES
from spotcore.control_plane import ControlPlane
from spotcore.dispatch import Dialect
from spotcore.errors import NotFound
from spotcore.ids import AgentId, ClientId
from spotcore.models import SessionKind
from spotcore.ports.storage import Transactions
from spotcore.ports.world import Clock
from spotcore.service.kernel import Caller

T = TypeVar("T")
MAX_ID = 128
STREAM_TYPE = "text/event-stream"


@frozen(kw_only=True)
class Server:
    """What a process tells about itself."""

    version: str
    name: str = "spotcore"
    engine_loaded: bool = False
    metrics: Metrics = field(factory=Metrics)
    jobs: Board = field(factory=NoJobs)


@frozen(kw_only=True)
class Call:
    """One request, authenticated: all a handler needs."""

    principal: Principal
    plane: ControlPlane
    transactions: Transactions
    reads: Any
    clock: Clock
    server: Server
    remembered: Remembered
    sessions: Sessions
    limits: Limits
    door: Door = Door()
    cookie: str | None = None  # the secret of a dashboard session
    live: LiveHub = field(factory=LiveHub)
    raw_body: bytes = b""
    upload: Upload | None = None  # the body of an endpoint that takes files
    path: Mapping[str, str] = field(factory=dict)
    query: Mapping[str, str] = field(factory=dict)
    headers: Mapping[str, str] = field(factory=dict)
    is_urgent: bool = False
    is_hurried: bool = False  # part of an emergency (moves.py): what only makes later calls cheaper is left out
    apart: Callable[[], AbstractContextManager[None]] = nullcontext  # what is refused inside is undone alone
    is_legacy: bool = False  # the caller gets the legacy shape; only what section 7 marks so may depend on it

    def asked(self, kind: type[T]) -> T:
        """The query as a class of ``wire.asking`` fields."""
        return asked(self.query, kind)

    def data(self) -> dict[str, Any]:
        """The body as a JSON object with clean texts; empty when there is none."""
        return decode_clean(self.raw_body)

    def parse(self, kind: type[T]) -> T:
        """The body as a request class."""
        return shaped(decode(self.raw_body), kind)

    def path_id(self, name: str) -> str:
        """An id of the path. Raises ``NotFound`` for one that nobody can have."""
        value = self.path[name]
        if not 0 < len(value) <= MAX_ID or not value.isprintable():
            raise NotFound("unknown id")
        return value

    @property
    def agent_id(self) -> AgentId:
        """The agent of the path."""
        return AgentId(self.path_id("agent_id"))

    def agent_caller(self, *, actor: str = "agent") -> Caller:
        """The caller acting on the agent of the path: its client, or the operator for whichever client has it."""
        if not self.principal.is_admin:
            return self.principal.acting(None, actor=actor)
        with self.transactions(urgent=self.is_urgent) as uow:
            owner = uow.agents.find_owner(self.agent_id)
        if owner is None:
            raise NotFound("unknown agent")
        return Caller(client_id=owner, actor="admin")

    def client_caller(self) -> Caller:
        """The caller acting for the client of the path (403 for another client's token)."""
        return self.principal.acting(ClientId(self.path_id("client_id")), actor="client")

    def person(self) -> Caller:
        """A client's people, or the operator, before the resource says which client it is."""
        return self.principal.acting(None, actor="client")


Handler = Callable[[Call], Answer]


@frozen(kw_only=True)
class Endpoint:
    """A row of the contract's index."""

    number: str
    method: str
    path: str
    handler: Handler
    access: Access
    mirror: bool = False
    lane: Lane = Lane.ORDINARY
    idempotent: bool = False  # http-api 2.5
    body_token: bool = False  # E16 alone (S13)
    waits: bool = False  # ?wait= (Z18)
    uploads: SessionKind | None = None  # takes files: a multipart body, read by ``http.uploads``
    secret: str | None = None  # the field of ``data`` that is never stored with an idempotency key
    # what the reference says of it; a test holds the answers to it
    body: type | None = None  # the class the body is parsed into
    asks: type | None = None  # the class of the query
    answers: Any = None  # the type of ``data``: an answer class, or a tuple of one
    takes: str = "application/json"  # content type of the body
    gives: str = "application/json"  # content type of the answer
    statuses: tuple[int, ...] = (200,)
    refuses: tuple[str, ...] = ()  # codes beyond the common ones
    envelope_for_session: bool = False  # E57, E81: a cookie does not make their answer legacy (C53)


def dialect_of(call: Call) -> Dialect:
    """The dialect asked for, else the one on record."""
    asked = call.query.get("dialect")
    if asked in ("classic", "modern"):
        return Dialect(asked)
    with call.transactions() as uow:
        build = uow.agents.poll(call.agent_caller().client_id, call.agent_id).build
    return Dialect.MODERN if ABILITIES[build].modern else Dialect.CLASSIC
