"""From a request to an answer: body, token, handler, shape. One thread hop per request."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from attrs import evolve, frozen
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from spotadapters.http import envelope
from spotadapters.http.auth import SIGNED_OUT, Needs, Principal, admitted, authenticate, bearer
from spotadapters.http.body import read_body
from spotadapters.http.errors import SERVER_ERROR_TEXT, STATUS
from spotadapters.http.lanes import Lane
from spotadapters.http.last_seen import LastSeen
from spotadapters.http.limits import NEVER
from spotadapters.http.live import Watcher
from spotadapters.http.live_stream import Opened
from spotadapters.http.outage import Outage, Remembered
from spotadapters.http.parts import Parts
from spotadapters.http.pulse import Repeat
from spotadapters.http.refused import RefusedCredentials
from spotadapters.http.replay import REPLAY_HEADER, RefusedAgain, replayed
from spotadapters.http.routes.events import Connected
from spotadapters.http.routes.heartbeats import degraded_heartbeat
from spotadapters.http.routes.notices import FORMS
from spotadapters.http.routing import Call, Endpoint, dialect_of
from spotadapters.http.sent import Sent, refusal_sent
from spotadapters.http.sessions import COOKIE, Door, Sessions, check_origin
from spotadapters.http.shortcuts import Shortcuts
from spotadapters.http.turns import Turns
from spotadapters.http.uploads import Receiver, receive
from spotadapters.http.waiting import MAX_WAIT_SECONDS, Waiter
from spotadapters.postgres.pulses import Sign
from spotadapters.system.tenancy import EVERYBODY, NOBODY, acting_for
from spotadapters.system.tracing import working_on
from spotcore.dispatch import Dialect
from spotcore.errors import PayloadTooLarge, SpotError, Unauthorized, Unavailable
from spotcore.ids import AgentId
from spotcore.models import SessionKind
from spotcore.ports.storage import UnitOfWork
from spotcore.service.commands import HandedOut

log = logging.getLogger("spotadapters.http")

MAX_SUBJECT: Final = 128
OUR_TROUBLE: Final = frozenset({409, 500, 503})  # a lock, a defect, an outage: no reason to silence a v5 (T03)
REFUSED_FOR_GOOD: Final = frozenset({401, 403, 404})


T = TypeVar("T")


@frozen(kw_only=True)
class Looked:
    """What a stream's look for commands found; ``sign`` is on what it rests that it found none."""

    handed: HandedOut = HandedOut()
    sign: Sign | None = None


Look = Callable[[], Looked]


class Application:
    """Serves endpoints. Remembers whether the database is away, and whose role has moved lately."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._outage = Outage()
        self._remembered = Remembered()
        self._moves = parts.moves
        self._turns = Turns()
        self._last_seen = LastSeen(parts.credentials, parts.clock)
        self._shortcuts = Shortcuts(parts, self._outage, self._remembered, self._moves, self._last_seen)
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
                return sent.response(request_id)
            body = await read_body(request)
        except PayloadTooLarge as refusal:
            return refusal_sent(refusal, request_id, endpoint).response(request_id)
        except ClientDisconnect:
            return Response(status_code=400)
        wait, arrived = _wait_seconds(endpoint, request), asyncio.get_running_loop().time()
        if wait == 0:
            short = await self._shortcuts.repeated(endpoint, request, body)
            if short is not None:
                shown, headers = short
                return Sent(body=shown, status=200, headers=headers).response(request_id)
        together = await self._shortcuts.together(endpoint, request, body, request_id)
        if together is not None:
            return together.response(request_id)
        if wait > 0:
            sent = await self._waited(endpoint, request, body, request_id, wait)
        else:
            sent = await self._in_lane(endpoint, request, body, request_id, since=arrived)
        return sent.response(request_id)

    async def _in_lane(
        self, endpoint: Endpoint, request: Request, body: bytes, request_id: str, *, since: float | None = None
    ) -> Sent:
        def work() -> Sent:
            return self.answered(endpoint, request, body, request_id)

        if endpoint.lane is not Lane.URGENT and self._concerns_a_move(request):
            sent = await self.parts.lanes.run(work, Lane.MOVED)
            self._moves.answered(request.path_params["agent_id"], sent.answer and sent.answer.data)
        elif endpoint.lane is Lane.LIST:
            async with self._turns.turn(request.path_params["client_id"]):
                if await request.is_disconnected():  # who hung up in the meantime takes nobody's time
                    return refusal_sent(Unavailable("the caller has hung up"), request_id, endpoint)
                sent = await self.parts.lanes.run(work, endpoint.lane, since=since)
        else:
            sent = await self.parts.lanes.run(work, endpoint.lane, since=since)
        if endpoint.number in FORMS and sent.answer is not None:
            self._moves.noticed(request.path_params["agent_id"], sent.answer.data)
        self._unwelcome.note(sent.refused, request, endpoint.number)
        return sent

    def _concerns_a_move(self, request: Request) -> bool:
        return self._moves.concern(request.path_params.get("agent_id"))

    def _refused(self, refusal: SpotError, request: Request, endpoint: Endpoint, request_id: str) -> Response:
        sent = refusal_sent(refusal, request_id, endpoint)
        self._unwelcome.note(sent.refused, request, endpoint.number)
        return sent.response(request_id)

    async def _waited(self, endpoint: Endpoint, request: Request, body: bytes, request_id: str, seconds: float) -> Sent:
        """Long poll (Z18): an empty reply is held back until a command is queued or the time is over. Whoever hangs up
        meanwhile is handed none: it would reach nobody, and stay leased (Z13)."""
        deadline = time.monotonic() + seconds
        waiter = self.parts.hub.register(str(request.path_params.get("agent_id", "")))
        goes: asyncio.Task[None] | None = None
        try:
            begun = time.monotonic()
            idle = await self._shortcuts.idle(request, body)
            sent = None
            if idle is not None:
                waiter.trust(idle[1], begun)
                sent = Sent(body=idle[0], status=200, headers={})
            while True:
                if sent is None:
                    begun = time.monotonic()
                    sent = await self._in_lane(endpoint, request, body, request_id)
                    if sent.answer is None or sent.answer.data.commands:
                        return sent
                    waiter.trust(self._shortcuts.sign(request, sent.answer.repeat), begun)
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

    def _is_over(self, sign: Sign | None) -> bool:
        return sign is not None and sign.until is not None and self.parts.clock.now() >= sign.until

    def answered(self, endpoint: Endpoint, request: Request, body: bytes, request_id: str) -> Sent:
        """Authenticate, handle, render; heartbeats also while we are in trouble. Nothing escapes."""
        with working_on(request_id, request.headers.get("traceparent")), acting_for(NOBODY):
            return self._answered(endpoint, request, body, request_id)

    def _answered(self, endpoint: Endpoint, request: Request, body: bytes, request_id: str) -> Sent:
        if endpoint.lane is not Lane.PULSE:
            return self._tried(endpoint, request, body, request_id)
        if self._outage.spares():
            refusal = Unavailable("the database cannot be reached")
            return self._repeated(request) or refusal_sent(refusal, request_id, endpoint)
        sent = self._tried(endpoint, request, body, request_id)
        self._outage.seen(away=sent.status == STATUS[Unavailable.code])
        if sent.status in REFUSED_FOR_GOOD:
            self._remembered.forget(*_asking(request))
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
        self._shortcuts.learn(endpoint, request, call, answer)
        return Sent(body=rendered, status=answer.status, headers=answer.headers, answer=answer)

    def _spared(self, endpoint: Endpoint, request_id: str, work: Callable[[], T]) -> T | Sent:
        """What ``work`` gives, or the rendered refusal; nothing escapes."""
        try:
            return work()
        except RefusedAgain as again:
            return refusal_sent(again.refusal, request_id, endpoint, REPLAY_HEADER)
        except SpotError as refusal:
            return refusal_sent(refusal, request_id, endpoint)
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
            return refusal_sent(refusal, request_id, endpoint)
        finally:
            await run(receiver.discard)

    def _repeated(self, request: Request) -> Sent | None:
        """The last answer to a heartbeat once more (Z32); None when the agent was not seen valid here lately."""
        known = self._remembered.find(*_asking(request))
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
            return Looked(handed=handed, sign=self._shortcuts.sign(request, repeat))

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
            self._last_seen.note(principal.client.client_id)
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


def _asking(request: Request) -> tuple[str, str]:
    """Who sends a heartbeat, and for which agent."""
    return request.headers.get("authorization", ""), request.path_params["agent_id"]


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


def _wait_seconds(endpoint: Endpoint, request: Request) -> float:
    if not endpoint.waits:
        return 0
    try:
        return min(max(int(request.query_params.get("wait", "0")), 0), MAX_WAIT_SECONDS)
    except ValueError:
        return 0
