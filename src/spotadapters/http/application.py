"""From a request to an answer: body, token, handler, shape. One thread hop per request."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from attrs import evolve, field, frozen
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from spotadapters.http import envelope
from spotadapters.http.auth import MAX_TOKEN, SIGNED_OUT, Needs, Principal, admitted, authenticate, bearer
from spotadapters.http.envelope import Answer
from spotadapters.http.errors import SERVER_ERROR_TEXT, STATUS, details_of, message_of
from spotadapters.http.lanes import Lane, Lanes
from spotadapters.http.limits import NEVER, Limits
from spotadapters.http.live import LiveHub, Watcher
from spotadapters.http.live_stream import Opened
from spotadapters.http.moves import Moves
from spotadapters.http.outage import Outage, Remembered
from spotadapters.http.pulse import Repeat, ShortWay, sign_of
from spotadapters.http.refused import RefusedCredentials
from spotadapters.http.replay import REPLAY_HEADER, RefusedAgain, replayed
from spotadapters.http.routes.agents import degraded_heartbeat
from spotadapters.http.routes.events import Connected
from spotadapters.http.routes.notices import FORMS
from spotadapters.http.routes.reports import price_sheet, recorded
from spotadapters.http.routing import MAX_ID, Call, Endpoint, Server, dialect_of
from spotadapters.http.sessions import COOKIE, Door, Sessions, check_origin
from spotadapters.http.storm import Arrival, Storm
from spotadapters.http.uploads import Receiver, receive
from spotadapters.http.waiting import MAX_WAIT_SECONDS, Hub, Waiter
from spotadapters.postgres.pulses import Sign
from spotadapters.system.tenancy import EVERYBODY, NOBODY, acting_for
from spotadapters.system.tracing import marks, working_on
from spotadapters.wire.parsing import cleaned, decode
from spotcore.control_plane import ControlPlane
from spotcore.dispatch import Dialect
from spotcore.errors import PayloadTooLarge, SpotError, Unauthorized, Unavailable
from spotcore.ids import AgentId, ClientId
from spotcore.models import SessionKind
from spotcore.ports.storage import Credentials, Transactions, UnitOfWork
from spotcore.ports.world import Clock, Identity
from spotcore.service.commands import HandedOut
from spotcore.service.emergency import Notified
from spotcore.service.prices import PriceSheet

log = logging.getLogger("spotadapters.http")

MAX_BODY: Final = 1 << 20
SHORT_BODY: Final = 16_384  # a report that is judged on the event loop
TOUCH_SECONDS: Final = 30.0
MAX_SUBJECT: Final = 128
OUR_TROUBLE: Final = frozenset({409, 500, 503})  # a lock, a defect, an outage: no reason to silence a v5 (T03)
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


T = TypeVar("T")
Short = tuple[bytes, Mapping[str, str]] | None
"""Body and headers by the short way; None for the ordinary one."""


@frozen(kw_only=True)
class Parts:
    """What the application is built from."""

    plane: ControlPlane
    transactions: Transactions
    credentials: Credentials
    reads: Any
    clock: Clock
    identity: Identity
    lanes: Lanes
    hub: Hub
    live: LiveHub = field(factory=LiveHub)
    server: Server
    limits: Limits = field(factory=Limits)
    dashboard: Path | None = None  # a folder with a built dashboard
    short_way: ShortWay | None = None  # without one every call goes the ordinary way
    storm: Storm | None = None  # without one every notice goes alone


@frozen(kw_only=True)
class Looked:
    """What a stream's look for commands found; ``sign`` is on what it rests that it found none."""

    handed: HandedOut = HandedOut()
    sign: Sign | None = None


Look = Callable[[], Looked]


@frozen(kw_only=True)
class Sent:
    """A rendered answer, and what it was rendered from when it succeeded."""

    body: bytes
    status: int
    headers: Mapping[str, str]
    answer: Answer | None = None
    refused: str | None = None  # the code of a refusal


class Application:
    """Serves endpoints. Remembers when each client was last noted as seen, and whether the database is away."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._touched: dict[ClientId, float] = {}
        self._outage = Outage()
        self._remembered = Remembered()
        self._moves = Moves()
        self.sessions = Sessions(parts.credentials, parts.identity, parts.clock)
        self._unwelcome = RefusedCredentials(parts.plane.notices, parts.lanes, parts.identity)

    async def serve(self, endpoint: Endpoint, request: Request) -> Response:
        """The response to a request that has been routed to ``endpoint``."""
        begun = time.perf_counter()
        response = await self._served(endpoint, request)
        self.parts.server.metrics.answered(endpoint.number, response.status_code, time.perf_counter() - begun)
        return response

    async def _served(self, endpoint: Endpoint, request: Request) -> Response:
        request_id = envelope.request_id_of(request.headers.get("x-request-id"))
        try:
            if endpoint.uploads is not None:
                sent = await self._uploaded(endpoint, endpoint.uploads, request, request_id)
                return self._response(sent, request_id)
            body = await read_body(request)
        except PayloadTooLarge as refusal:
            return self._response(self._refusal(refusal, request_id, endpoint), request_id)
        except ClientDisconnect:
            return Response(status_code=400)
        wait, arrived = _wait_seconds(endpoint, request), asyncio.get_running_loop().time()
        if wait == 0 and endpoint.number in SHORT:
            if not self._concerns_a_move(request):
                await self.parts.lanes.calm()
            short = await SHORT[endpoint.number](self, endpoint, request, body)
            if short is not None:
                shown, headers = short
                return envelope.response(shown, 200, {**headers, "X-Request-ID": request_id})
        if endpoint.number in FORMS:
            together = await self._noticed(endpoint, request, body, request_id)
            if together is not None:
                return self._response(together, request_id)
        if wait > 0:
            sent = await self._waited(endpoint, request, body, request_id, wait)
        else:
            sent = await self._in_lane(endpoint, request, body, request_id, since=arrived)
        return self._response(sent, request_id)

    async def _reported(self, endpoint: Endpoint, request: Request, body: bytes) -> Short:
        """A price report by the short way; None when it has to go the ordinary one."""
        short = self.parts.short_way
        if short is None or self._outage.is_on or len(body) > SHORT_BODY:
            return None
        try:
            found = await short.recorded(request, lambda: self._sheet(endpoint, request, body), self._is_touched)
        except SpotError:
            return None  # the ordinary way says what is wrong
        if found is None:
            return None
        return envelope.success(Answer(data=recorded(found)), mirror=endpoint.mirror, shape="envelope"), NO_HEADERS

    async def _noticed(self, endpoint: Endpoint, request: Request, body: bytes, request_id: str) -> Sent | None:
        """A notice judged together with others; None when it has to go the ordinary way."""
        storm, header = self.parts.storm, request.headers.get("authorization")
        agent_id = request.path_params["agent_id"]
        if storm is None or header is None or "x-response-shape" in request.headers or len(body) > SHORT_BODY:
            return None
        try:
            token, noticed = bearer(header, None), FORMS[endpoint.number].read(cleaned(decode(body)))
        except SpotError:
            return None  # the ordinary way says what is wrong
        if noticed is None or not 0 < len(agent_id) <= MAX_ID or len(token) > MAX_TOKEN:
            return None
        notified = Notified(
            agent_id=AgentId(agent_id),
            signal=noticed.signal(self.parts.clock.now()),
            evidence=noticed.evidence,
            facts=marks(request_id, request.headers.get("traceparent")),
        )
        try:
            with self.parts.lanes.emergency():
                token_hash = self.parts.identity.hash_token(token)
                answer = await storm.answer(Arrival(token_hash=token_hash, notified=notified))
        except SpotError as refusal:
            return self._refusal(refusal, request_id, endpoint)
        if answer is None:
            return None
        told = FORMS[endpoint.number].tell(noticed, answer)
        self._moves.noticed(agent_id, told.data)
        shown = envelope.success(told, mirror=endpoint.mirror, shape="envelope")
        return Sent(body=shown, status=told.status, headers=told.headers)

    def _admit_agent(self, endpoint: Endpoint, request: Request) -> None:
        """Count a call of an agent (S24). Raises ``RateLimited``."""
        subject = request.path_params["agent_id"]
        self.parts.limits.admit(
            endpoint.number, endpoint.method, endpoint.path, credential="", address="", subject=subject
        )

    def _sheet(self, endpoint: Endpoint, request: Request, body: bytes) -> PriceSheet:
        self._admit_agent(endpoint, request)
        return price_sheet(cleaned(decode(body)))

    async def _read(self, endpoint: Endpoint, request: Request, _: bytes) -> Short:
        """An agent's settings or lists by the short way; None when they have to go the ordinary one."""
        short = self.parts.short_way
        if short is None or self._outage.is_on:
            return None
        found = await short.read(request, self._is_touched)
        if found is None:
            return None  # and the ordinary way counts it
        try:
            self._admit_agent(endpoint, request)
        except SpotError:
            return None  # the ordinary way says what is wrong
        return found

    async def _short(self, endpoint: Endpoint, request: Request, body: bytes) -> Short:
        """A heartbeat or poll by the short way; None when it has to go the ordinary one."""
        short = self.parts.short_way
        if short is None or self._outage.is_on:
            return None
        found = await short.answer(request, body, self._is_touched)
        if found is None:
            return None
        shown, answer = found
        if answer is not None:
            self._remembered.keep(request.headers.get("authorization", ""), request.path_params["agent_id"], answer)
        return shown, NO_HEADERS

    def _learn(self, endpoint: Endpoint, request: Request, call: Call, answer: Answer) -> None:
        short, header = self.parts.short_way, request.headers.get("authorization")
        client = call.principal.client
        if short is None or header is None or answer.repeat is None or call.is_legacy or client is None:
            return
        shown = envelope.success(evolve(answer, data=answer.timeless), mirror=endpoint.mirror, shape="envelope")
        token_hash = self.parts.identity.hash_token(bearer(header, None))
        short.learn(request, call.raw_body, token_hash, answer.repeat, shown, answer.headers)

    async def _in_lane(
        self, endpoint: Endpoint, request: Request, body: bytes, request_id: str, *, since: float | None = None
    ) -> Sent:
        def work() -> Sent:
            return self.answered(endpoint, request, body, request_id)

        if endpoint.lane is not Lane.URGENT and self._concerns_a_move(request):
            sent = await self.parts.lanes.run(work, Lane.MOVED)
            self._moves.answered(request.path_params["agent_id"], sent.answer and sent.answer.data)
        else:
            sent = await self.parts.lanes.run(work, endpoint.lane, since=since)
        if endpoint.number in FORMS and sent.answer is not None:
            self._moves.noticed(request.path_params["agent_id"], sent.answer.data)
        self._unwelcome.note(sent.refused, request, endpoint.number)
        return sent

    def _concerns_a_move(self, request: Request) -> bool:
        return self._moves.concern(request.path_params.get("agent_id"))

    def _refused(self, refusal: SpotError, request: Request, endpoint: Endpoint, request_id: str) -> Response:
        sent = self._refusal(refusal, request_id, endpoint)
        self._unwelcome.note(sent.refused, request, endpoint.number)
        return self._response(sent, request_id)

    async def _waited(self, endpoint: Endpoint, request: Request, body: bytes, request_id: str, seconds: float) -> Sent:
        """Long poll (Z18): an empty reply is held back until a command is queued or the time is over. Whoever hangs up
        meanwhile is handed none: it would reach nobody, and stay leased (Z13)."""
        deadline = time.monotonic() + seconds
        waiter = self.parts.hub.register(str(request.path_params.get("agent_id", "")))
        goes: asyncio.Task[None] | None = None
        try:
            sent = await self._idle(request, body, waiter)
            while True:
                if sent is None:
                    begun = time.monotonic()
                    sent = await self._in_lane(endpoint, request, body, request_id)
                    if sent.answer is None or sent.answer.data.commands:
                        return sent
                    waiter.trust(self._sign(request, sent.answer.repeat), begun)
                left = deadline - time.monotonic()
                if left <= 0 or self.parts.hub.is_closing:
                    return sent
                goes = goes or asyncio.create_task(_goes(request, waiter))
                if not await waiter.rest(left) and not self._is_over(waiter.sign):
                    return sent
                if waiter.is_gone or await request.is_disconnected():
                    return sent
                sent = None
        finally:
            if goes is not None:
                goes.cancel()
            self.parts.hub.forget(waiter)

    async def _idle(self, request: Request, body: bytes, waiter: Waiter) -> Sent | None:
        """The empty reply by the short way; None when the ordinary one has to look."""
        short, begun = self.parts.short_way, time.monotonic()
        if short is None or self._outage.is_on:
            return None
        await self.parts.lanes.calm()
        found = await short.idle(request, body, self._is_touched)
        if found is None:
            return None
        waiter.trust(found[1], begun)
        return Sent(body=found[0], status=200, headers={})

    def _is_over(self, sign: Sign | None) -> bool:
        return sign is not None and sign.until is not None and self.parts.clock.now() >= sign.until

    def _sign(self, request: Request, repeat: Repeat | None) -> Sign | None:
        """On what it rests that a poll finds nothing; None for who is no client with a token."""
        header = request.headers.get("authorization")
        if header is None or repeat is None:
            return None
        return sign_of(repeat, self.parts.identity.hash_token(bearer(header, None)))

    def answered(self, endpoint: Endpoint, request: Request, body: bytes, request_id: str) -> Sent:
        """Authenticate, handle, render; heartbeats also while we are in trouble. Nothing escapes."""
        with working_on(request_id, request.headers.get("traceparent")), acting_for(NOBODY):
            return self._answered(endpoint, request, body, request_id)

    def _answered(self, endpoint: Endpoint, request: Request, body: bytes, request_id: str) -> Sent:
        if endpoint.lane is not Lane.PULSE:
            return self._tried(endpoint, request, body, request_id)
        if self._outage.spares():
            refusal = Unavailable("the database cannot be reached")
            return self._repeated(request) or self._refusal(refusal, request_id, endpoint)
        sent = self._tried(endpoint, request, body, request_id)
        self._outage.seen(away=sent.status == STATUS[Unavailable.code])
        again = self._repeated(request) if sent.status in OUR_TROUBLE else None
        return again or sent

    def _tried(self, endpoint: Endpoint, request: Request, body: bytes, request_id: str) -> Sent:
        return self._spared(
            endpoint, request_id, lambda: self._handled(endpoint, request, self.call(endpoint, request, body))
        )

    def _handled(self, endpoint: Endpoint, request: Request, call: Call) -> Sent:
        with acting_for(tenant_of(endpoint, call)):
            answer = replayed(endpoint, call, self.parts.identity, request_id=request.headers.get("x-request-id"))
        shape = "legacy" if call.is_legacy else "envelope"
        if answer.file is not None:
            headers = {**answer.headers, **answer.file.headers}
            return Sent(body=answer.file.content, status=answer.status, headers=headers, answer=answer)
        rendered = envelope.success(answer, mirror=endpoint.mirror, shape=shape)
        self._learn(endpoint, request, call, answer)
        return Sent(body=rendered, status=answer.status, headers=answer.headers, answer=answer)

    def _spared(self, endpoint: Endpoint, request_id: str, work: Callable[[], T]) -> T | Sent:
        """What ``work`` gives, or the rendered refusal; nothing escapes."""
        try:
            return work()
        except RefusedAgain as again:
            return self._refusal(again.refusal, request_id, endpoint, REPLAY_HEADER)
        except SpotError as refusal:
            return self._refusal(refusal, request_id, endpoint)
        except Exception:
            log.exception("request_failed", extra={"request_id": request_id, "endpoint": endpoint.number})
            text = envelope.failure("SERVER_ERROR", SERVER_ERROR_TEXT, None, {})
            return Sent(body=text, status=500, headers={})

    async def _uploaded(self, endpoint: Endpoint, kind: SessionKind, request: Request, request_id: str) -> Sent:
        """A call that brings files: admitted first, then its body is read to disk, then handled."""

        def admitted() -> Call | Sent:
            return self._spared(endpoint, request_id, lambda: self.call(endpoint, request, b""))

        async def run(work: Callable[[], T]) -> T:
            return await self.parts.lanes.run(work, endpoint.lane)

        call = await run(admitted)
        if isinstance(call, Sent):
            return call
        receiver = Receiver(kind, call.plane.models.require_uploads)
        try:
            upload = await receive(request, receiver, run)
            whole = evolve(call, upload=upload)

            def handled() -> Sent:
                with working_on(request_id, request.headers.get("traceparent")):
                    return self._spared(endpoint, request_id, lambda: self._handled(endpoint, request, whole))

            return await run(handled)
        except SpotError as refusal:
            return self._refusal(refusal, request_id, endpoint)
        finally:
            await run(receiver.discard)

    def _repeated(self, request: Request) -> Sent | None:
        """The last answer to a heartbeat once more (Z32); None when the agent was not seen valid here lately."""
        known = self._remembered.find(request.headers.get("authorization", ""), request.path_params["agent_id"])
        if known is None:
            return None
        answer = degraded_heartbeat(known, self.parts.clock.now(), self.parts.server.engine_loaded)
        return Sent(body=envelope.success(answer, mirror=True, shape="envelope"), status=200, headers={}, answer=answer)

    async def open_stream(self, endpoint: Endpoint, request: Request) -> "Response | Look":
        """How a stream's commands are fetched, or the response that refuses it.

        The caller is authenticated anew each time, so that the stream ends with its token (Z4). The stream is counted:
        whoever gets it ends with ``hub.close_stream``."""
        request_id = envelope.request_id_of(request.headers.get("x-request-id"))

        def opened() -> tuple[AgentId, Dialect]:
            call = self.call(endpoint, request, b"")
            with acting_for(tenant_of(endpoint, call)):
                return call.agent_id, dialect_of(call)

        try:
            agent_id, dialect = await self.parts.lanes.run(opened, endpoint.lane)
            self.parts.hub.open_stream(agent_id)
        except SpotError as refusal:
            return self._refused(refusal, request, endpoint, request_id)

        def look() -> Looked:
            call = self.call(endpoint, request, b"")
            with acting_for(tenant_of(endpoint, call)):
                caller = call.agent_caller()
                handed = call.plane.commands.fetch(caller, agent_id, dialect)
            if handed.idle_at is None:
                return Looked(handed=handed)
            repeat = Repeat(
                client_id=caller.client_id, agent_id=agent_id, revision=handed.idle_at, until=handed.idle_until
            )
            return Looked(handed=handed, sign=self._sign(request, repeat))

        return look

    async def open_live(self, endpoint: Endpoint, request: Request) -> "Response | Opened":
        """A stream of live events (E90, E91), or the response that refuses it. It is counted: whoever gets it ends with
        ``live.close``."""
        request_id = envelope.request_id_of(request.headers.get("x-request-id"))

        def judged() -> tuple[Principal, Connected]:
            call = self.call(endpoint, request, b"")
            with acting_for(tenant_of(endpoint, call)):
                return call.principal, endpoint.handler(call).data

        try:
            principal, connected = await self.parts.lanes.run(judged, endpoint.lane)
            watcher = Watcher(client_id=connected.client_id, is_admin=principal.is_admin)
            self.parts.live.open(watcher)
        except SpotError as refusal:
            return self._refused(refusal, request, endpoint, request_id)
        last_event_id = request.headers.get("last-event-id", "").strip() or None
        return Opened(watcher=watcher, connected=connected, judge=judged, last_event_id=last_event_id)

    def call(self, endpoint: Endpoint, request: Request, body: bytes) -> Call:
        """The request, authenticated and within its rate limits. Raises the refusals of section 2."""
        parts, headers = self.parts, request.headers
        address = request.client.host if request.client is not None else None
        shape = headers.get("x-response-shape")
        call = Call(
            principal=Principal(client=None),
            plane=parts.plane,
            transactions=self._transactions,
            reads=parts.reads,
            clock=parts.clock,
            server=parts.server,
            remembered=self._remembered,
            sessions=self.sessions,
            limits=parts.limits,
            door=Door.of(request.url.scheme, headers, address),
            cookie=request.cookies.get(COOKIE),
            live=parts.live,
            raw_body=body,
            path=request.path_params,
            query=request.query_params,
            headers=headers,
            is_urgent=endpoint.lane is Lane.URGENT,
            is_hurried=self._concerns_a_move(request),
            is_legacy=shape == "legacy",
        )
        self._limit(endpoint, call)
        if endpoint.access.needs is Needs.NOBODY:
            return call
        principal = self._principal(endpoint, call, request.method)
        if principal.client is not None and not call.is_urgent:
            self._touch(principal.client.client_id)
        in_session = principal.session is not None and shape != "envelope" and not endpoint.envelope_for_session
        return evolve(call, principal=principal, is_legacy=call.is_legacy or in_session)

    def _limit(self, endpoint: Endpoint, call: Call) -> None:
        """S24. E16 counts by machine, every other call of an agent by the agent."""
        if endpoint.number in NEVER:
            return
        subject = str(call.path.get("agent_id", ""))
        if endpoint.body_token:
            subject = str(call.data().get("instance_id", ""))[:MAX_SUBJECT]
        credential = call.headers.get("authorization") or call.cookie or ""
        hashed = self.parts.identity.hash_token(credential)
        self.parts.limits.admit(
            endpoint.number, endpoint.method, endpoint.path, credential=hashed, address=call.door.address,
            subject=subject,
        )  # fmt: skip

    def _principal(self, endpoint: Endpoint, call: Call, method: str) -> Principal:
        """Who calls: a bearer token when there is a header, else the dashboard's session."""
        header = call.headers.get("authorization")
        if header is None and call.cookie is not None and not endpoint.body_token:
            found = self.sessions.find(call.cookie)
            if found is None:
                raise Unauthorized(SIGNED_OUT)
            check_origin(method, call.door, call.headers)
            return admitted(found.credential, endpoint.access, found.session)
        token = bearer(header, call.data() if endpoint.body_token and header is None else None)
        parts = self.parts
        return authenticate(token, endpoint.access, parts.credentials, parts.identity, parts.clock.now())

    @contextmanager
    def _transactions(self, *, urgent: bool = False) -> Iterator[UnitOfWork]:
        """As the port; one that ends well, such as a health check's, shows heartbeats that the database is back."""
        with self.parts.transactions(urgent=urgent) as uow:
            yield uow
        self._outage.seen(away=False)

    def _touch(self, client_id: ClientId) -> None:
        """Remember the client's last sign of life; at most every 30 s, so no tenant row per heartbeat (design 3)."""
        if not self._is_touched(client_id):
            self._touched[client_id] = time.monotonic()
            with acting_for(client_id):
                self.parts.credentials.touch(client_id, self.parts.clock.now())

    def _is_touched(self, client_id: ClientId) -> bool:
        return time.monotonic() - self._touched.get(client_id, -TOUCH_SECONDS) < TOUCH_SECONDS

    def _refusal(
        self, refusal: SpotError, request_id: str, endpoint: Endpoint, more: Mapping[str, str] = NO_HEADERS
    ) -> Sent:
        status = STATUS[refusal.code]
        if status >= 500:
            log.error(
                "request_refused",
                extra={"request_id": request_id, "endpoint": endpoint.number, "code": refusal.code},
                exc_info=None if isinstance(refusal, Unavailable) else refusal,
            )
        headers = dict(more)
        if status == 429:
            headers["Retry-After"] = str(refusal.details.get("retry_after_seconds", 30))
        extra: dict[str, Any] = {}
        if refusal.code == "AUTO_SWITCH_DISABLED":
            extra["auto_switch_enabled"] = False  # E61
        if endpoint.number == "E14" and status in (401, 403):
            extra["valid"] = False
        body = envelope.failure(refusal.code, message_of(refusal), details_of(refusal), extra)
        return Sent(body=body, status=status, headers=headers, refused=refusal.code)

    @staticmethod
    def _response(sent: Sent, request_id: str) -> Response:
        return envelope.response(sent.body, sent.status, {**sent.headers, "X-Request-ID": request_id})


SHORT: Final[Mapping[str, Callable[[Application, Endpoint, Request, bytes], Awaitable[Short]]]] = {
    "E17": Application._short,
    "E18": Application._read,
    "E43": Application._read,
    "E69": Application._short,
    "E71": Application._short,
    "E74": Application._reported,
}
"""Endpoints with a short way (pulse.py)."""


def tenant_of(endpoint: Endpoint, call: Call) -> str:
    """Whose rows a call may touch, whatever its statements say."""
    if endpoint.access.needs is Needs.NOBODY:
        return NOBODY
    client = call.principal.client
    return client.client_id if client is not None else EVERYBODY


async def _goes(request: Request, waiter: Waiter) -> None:
    """Tell the waiter when its caller hangs up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    waiter.leave()


async def read_body(request: Request) -> bytes:
    """The body, at most 1 MiB; nothing beyond is kept, whatever length was announced. Raises ``PayloadTooLarge``."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY:
        raise PayloadTooLarge("the body is larger than 1 MiB")
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise PayloadTooLarge("the body is larger than 1 MiB")
        parts.append(chunk)
    return b"".join(parts)


def _wait_seconds(endpoint: Endpoint, request: Request) -> float:
    if not endpoint.waits:
        return 0
    try:
        return min(max(int(request.query_params.get("wait", "0")), 0), MAX_WAIT_SECONDS)
    except ValueError:
        return 0
