"""Calls that need not go the ordinary way: like the one before (pulse.py), or together with others (storm.py).

Whatever is not plainly such a call is left to the ordinary way, which says what is wrong with it.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from attrs import evolve
from starlette.requests import Request

from spotadapters.http import envelope
from spotadapters.http.auth import MAX_TOKEN, bearer
from spotadapters.http.envelope import Answer
from spotadapters.http.last_seen import LastSeen
from spotadapters.http.moves import Moves
from spotadapters.http.outage import Outage, Remembered
from spotadapters.http.parts import Parts
from spotadapters.http.pulse import Repeat, sign_of
from spotadapters.http.routes.heartbeats import heartbeat_data, read_beat
from spotadapters.http.routes.notices import FORMS
from spotadapters.http.routes.reports import price_sheet, recorded
from spotadapters.http.routing import MAX_ID, Call, Endpoint
from spotadapters.http.sent import NO_HEADERS, Sent, refusal_sent
from spotadapters.http.storm import Arrival
from spotadapters.postgres.pulses import Sign
from spotadapters.system.tracing import marks
from spotadapters.wire.parsing import decode_clean
from spotcore.change import Outcome
from spotcore.errors import SpotError
from spotcore.ids import AgentId
from spotcore.service.agents import heard
from spotcore.service.emergency import noticed
from spotcore.service.kernel import Wanted
from spotcore.service.prices import PriceSheet

SHORT_BODY: Final = 16_384  # a report that is judged on the event loop

Short = tuple[bytes, Mapping[str, str]] | None
"""Body and headers by the short way; None for the ordinary one."""


class Shortcuts:
    """The short ways of one application. What they cannot answer is None."""

    def __init__(self, parts: Parts, outage: Outage, remembered: Remembered, moves: Moves, last_seen: LastSeen) -> None:
        self._parts = parts
        self._outage = outage
        self._remembered = remembered
        self._moves = moves
        self._is_fresh = last_seen.is_fresh

    async def repeated(self, endpoint: Endpoint, request: Request, body: bytes) -> Short:
        """A heartbeat or poll, settings or an empty list like the ones before, or another price report."""
        way = _WAYS.get(endpoint.number)
        if way is None:
            return None
        if not self._moves.concern(request.path_params.get("agent_id")):
            await self._parts.lanes.calm()
        elif endpoint.number == "E17":
            return None  # the move has changed what a heartbeat is answered
        return await way(self, endpoint, request, body)

    async def together(self, endpoint: Endpoint, request: Request, body: bytes, request_id: str) -> Sent | None:
        """A notice, or the heartbeat of an agent whose role has just moved, judged together with others."""
        way = self._heard if endpoint.number == "E17" else self._noticed if endpoint.number in FORMS else None
        if way is None or "x-response-shape" in request.headers or len(body) > SHORT_BODY:
            return None
        if "authorization" not in request.headers or not 0 < len(request.path_params["agent_id"]) <= MAX_ID:
            return None
        try:
            return await way(endpoint, request, body, request_id)
        except SpotError as refusal:
            return refusal_sent(refusal, request_id, endpoint)

    async def _noticed(self, endpoint: Endpoint, request: Request, body: bytes, request_id: str) -> Sent | None:
        """A notice."""
        form, agent_id = FORMS[endpoint.number], AgentId(request.path_params["agent_id"])
        try:
            notice = form.read(decode_clean(body))
        except SpotError:
            return None  # the ordinary way says what is wrong
        if notice is None:
            return None
        signal = notice.signal(self._parts.clock.now())
        facts = marks(request_id, request.headers.get("traceparent"))
        wanted = noticed(agent_id, signal, notice.evidence, facts, self._moves.state(agent_id))
        outcome = await self._judged(request, wanted, is_repeated=self._moves.is_over(agent_id, signal.cloud_id))
        if outcome is None:
            return None
        told = form.tell(notice, outcome.answer)
        self._moves.noticed(agent_id, told.data, machine=signal.cloud_id, state=outcome.after)
        shown = envelope.success(told, mirror=endpoint.mirror, shape="envelope")
        return Sent(body=shown, status=told.status, headers=told.headers)

    async def _heard(self, endpoint: Endpoint, request: Request, body: bytes, _: str) -> Sent | None:
        """The heartbeat of an agent that this process has just moved, or another one. As a notice it is no sign of life
        of its client, and it teaches nothing about the heartbeats to come: that is work for the next one."""
        agent_id = AgentId(request.path_params["agent_id"])
        if not self._moves.concern(agent_id) or self._outage.is_on:
            return None
        try:
            outcome = await self._judged(request, heard(agent_id, read_beat(body), self._moves.state(agent_id)))
        except SpotError:
            return None  # the ordinary way says what is wrong, and knows what to say in an outage (T03, Z32)
        if outcome is None:
            return None
        self._remembered.keep(request.headers["authorization"], agent_id, outcome.answer)
        data = heartbeat_data(outcome.answer, self._parts.server.engine_loaded, acknowledged=True)
        self._moves.committed(agent_id, outcome.after)
        self._moves.answered(agent_id, data)
        shown = envelope.success(Answer(data=data), mirror=endpoint.mirror, shape="envelope")
        return Sent(body=shown, status=200, headers=NO_HEADERS)

    async def _judged(self, request: Request, wanted: Wanted, *, is_repeated: bool = False) -> Outcome | None:
        """What came of a call that was judged together with others; None when it has to go alone."""
        storm = self._parts.storm
        if storm is None:
            return None
        try:
            token = bearer(request.headers["authorization"], None)
        except SpotError:
            return None  # the ordinary way says what is wrong
        if len(token) > MAX_TOKEN:
            return None
        with self._parts.lanes.emergency():
            arrival = Arrival(token_hash=self._parts.identity.hash_token(token), wanted=wanted)
            return await storm.answer(arrival, is_repeated=is_repeated)

    async def idle(self, request: Request, body: bytes) -> tuple[bytes, Sign] | None:
        """The empty reply to a long poll, and on what it rests."""
        short = self._parts.short_way
        if short is None or self._outage.is_on:
            return None
        await self._parts.lanes.calm()
        return await short.idle(request, body, self._is_fresh)

    def sign(self, request: Request, repeat: Repeat | None) -> Sign | None:
        """On what it rests that a poll finds nothing; None for who is no client with a token."""
        header = request.headers.get("authorization")
        if header is None or repeat is None:
            return None
        return sign_of(repeat, self._parts.identity.hash_token(bearer(header, None)))

    def learn(self, endpoint: Endpoint, request: Request, call: Call, answer: Answer) -> None:
        """An ordinary call went well; the next one like it may be ``repeated``."""
        short, header = self._parts.short_way, request.headers.get("authorization")
        client = call.principal.client
        if short is None or header is None or answer.repeat is None or call.is_legacy or client is None:
            return
        shown = envelope.success(evolve(answer, data=answer.timeless), mirror=endpoint.mirror, shape="envelope")
        token_hash = self._parts.identity.hash_token(bearer(header, None))
        short.learn(request, call.raw_body, token_hash, answer.repeat, shown, answer.headers)

    async def _beat_or_poll(self, endpoint: Endpoint, request: Request, body: bytes) -> Short:
        """A heartbeat or poll."""
        short = self._parts.short_way
        if short is None or self._outage.is_on:
            return None
        found = await short.answer(request, body, self._is_fresh)
        if found is None:
            return None
        shown, answer = found
        if answer is not None:
            self._remembered.keep(request.headers.get("authorization", ""), request.path_params["agent_id"], answer)
        return shown, NO_HEADERS

    async def _read(self, endpoint: Endpoint, request: Request, _: bytes) -> Short:
        """An agent's settings or lists."""
        short = self._parts.short_way
        if short is None or self._outage.is_on:
            return None
        found = await short.read(request, self._is_fresh)
        if found is None:
            return None  # and the ordinary way counts it
        try:
            self._admit_agent(endpoint, request)
        except SpotError:
            return None  # the ordinary way says what is wrong
        return found

    async def _reported(self, endpoint: Endpoint, request: Request, body: bytes) -> Short:
        """A price report."""
        short = self._parts.short_way
        if short is None or self._outage.is_on or len(body) > SHORT_BODY:
            return None
        try:
            found = await short.recorded(request, lambda: self._sheet(endpoint, request, body), self._is_fresh)
        except SpotError:
            return None  # the ordinary way says what is wrong
        if found is None:
            return None
        return envelope.success(Answer(data=recorded(found)), mirror=endpoint.mirror, shape="envelope"), NO_HEADERS

    def _sheet(self, endpoint: Endpoint, request: Request, body: bytes) -> PriceSheet:
        self._admit_agent(endpoint, request)
        return price_sheet(decode_clean(body))

    def _admit_agent(self, endpoint: Endpoint, request: Request) -> None:
        """Count a call of an agent (S24). Raises ``RateLimited``."""
        subject = request.path_params["agent_id"]
        self._parts.limits.admit(
            endpoint.number, endpoint.method, endpoint.path, credential="", address="", subject=subject
        )


_WAYS: Final[Mapping[str, Callable[[Shortcuts, Endpoint, Request, bytes], Awaitable[Short]]]] = {
    "E17": Shortcuts._beat_or_poll,
    "E18": Shortcuts._read,
    "E43": Shortcuts._read,
    "E69": Shortcuts._beat_or_poll,
    "E71": Shortcuts._beat_or_poll,
    "E74": Shortcuts._reported,
}
SHORT: Final = frozenset(_WAYS)
"""Endpoints with a short way."""
