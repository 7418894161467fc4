"""Heartbeats and polls like the one before: answered from memory once the database has said that nothing has happened.

What may be answered so was judged by the ordinary way before, in this process, for the same caller and the same words.
The database decides anew each time whether it still holds (the agent's revision, the caller's token), for a whole group
in one round trip. Whatever is not exactly so goes the ordinary way.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from types import MappingProxyType
from typing import Final, TypeVar

import orjson
from attrs import evolve, frozen
from starlette.requests import Request

from spotadapters.http.groups import Groups, Write
from spotadapters.postgres.pulses import Pulses, Sign
from spotadapters.wire.rendering import stamp
from spotcore.ids import AgentId, ClientId
from spotcore.liveness import HeartbeatAnswer
from spotcore.ports.world import Clock
from spotcore.prices import PriceReport
from spotcore.service.prices import PriceAnswer, PriceSheet, Reporter
from spotcore.steady import Steady

MAX_KNOWN: Final = 50_000  # callers, about 3 KB for each thing they say, however long it is
MAX_WORDS: Final = 3  # an agent's machines share one path: its heartbeats alternate between two names
MAX_BODY: Final = 16_384
UNREAD: Final = frozenset({"health_metrics", "timestamp"})  # members of a heartbeat that no rule reads
ASKED: Final = frozenset({"wait", "status"})  # in queries of agents
NOTHING: Final = b""  # the words of an empty body
PRICES: Final = b"prices"  # they differ each time
SPECIAL: Final = ("x-response-shape", "cookie", "if-none-match")  # a call that sends one of these goes the ordinary way
RENEWAL_SECONDS: Final = 0.04  # a long poll is held back anyway
NO_TIME: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # stands where the server's time belongs
_NO_TIME_TEXT: Final = str(stamp(NO_TIME)).encode()

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

Key = tuple[str, str]
T = TypeVar("T")


@frozen(kw_only=True)
class Repeat:
    """What a handler knows of the next call like this one: it would do nothing but what ``steady`` says, or for a poll
    nothing at all while the agent has this revision."""

    client_id: ClientId
    agent_id: AgentId
    revision: int
    until: datetime | None = None  # of a poll: from here on time alone may change it
    steady: Steady | None = None
    answer: HeartbeatAnswer | None = None
    reporter: Reporter | None = None  # of a price report: it is judged anew each time


@frozen(kw_only=True)
class JudgedReport:
    """A report on its way into a group."""

    sign: Sign
    report: PriceReport


@frozen(kw_only=True)
class Known:
    """A call that would do nothing new, and what it is answered."""

    words: bytes  # a digest: what an agent says of its machine may be long
    sign: Sign
    parts: tuple[bytes, ...]  # the answer, split where the server's time belongs
    repeat: Repeat
    headers: Mapping[str, str]


class ShortWay:
    """What this process knows of its callers."""

    def __init__(self, pulses: Pulses, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[Key, tuple[Known, ...]] = {}  # the latest first
        self._lock = Lock()
        self._beats: Groups[Sign, bool] = Groups(_by_place(pulses.note), "pulses")
        self._polls: Groups[Sign, bool] = Groups(_by_place(pulses.idle), "idle-polls")
        self._renewals: Groups[Sign, bool] = Groups(
            _by_place(pulses.idle), "renewed-polls", linger_seconds=RENEWAL_SECONDS
        )
        self._reports: Groups[JudgedReport, bool] = Groups(_by_place(pulses.record), "price-reports")

    def close(self) -> None:
        """Carry out what waits."""
        self._beats.close()
        self._polls.close()
        self._renewals.close()
        self._reports.close()

    async def answer(
        self, request: Request, body: bytes, is_fresh: Callable[[ClientId], bool]
    ) -> tuple[bytes, HeartbeatAnswer | None] | None:
        """The body to send, and the heartbeat's answer in it; None when the call has to go the ordinary way, as it does
        when the client is not ``is_fresh``: its own sign of life is due to be stored."""
        known, now = self._found(request, body, is_fresh), self._clock.now()
        if known is None:
            return None
        steady, answer = known.repeat.steady, known.repeat.answer
        if steady is None:
            is_done = await self._done(self._polls, evolve(known.sign, at=now), request)
        else:
            is_done = await self._done(self._beats, evolve(known.sign, at=now, due_at=steady.due_at(now)), request)
        if not is_done:
            return None
        told = evolve(answer, server_time=now) if answer is not None else None
        return str(stamp(now)).encode().join(known.parts), told

    async def read(
        self, request: Request, is_fresh: Callable[[ClientId], bool]
    ) -> tuple[bytes, Mapping[str, str]] | None:
        """The body and headers of an answer that reads the agent alone (E18, E43); None as in ``answer``."""
        known = self._found(request, b"", is_fresh)
        if known is None or not await self._done(self._polls, evolve(known.sign, at=self._clock.now()), request):
            return None
        return b"".join(known.parts), known.headers

    async def idle(
        self, request: Request, body: bytes, is_fresh: Callable[[ClientId], bool]
    ) -> tuple[bytes, Sign] | None:
        """What a long poll that finds nothing is answered, and on what that rests; None as in ``answer``."""
        known, now = self._found(request, body, is_fresh), self._clock.now()
        if known is None or not await self._done(self._renewals, evolve(known.sign, at=now), request):
            return None
        return str(stamp(now)).encode().join(known.parts), known.sign

    async def _done(self, group: Groups[Sign, bool], sign: Sign, request: Request) -> bool:
        is_done = await group.done(sign) is not None
        if not is_done:
            self._forget(_key(request))
        return is_done

    def _found(self, request: Request, body: bytes, is_fresh: Callable[[ClientId], bool]) -> Known | None:
        learned = self._known.get(_key(request))
        if learned is None or any(name in request.headers for name in SPECIAL):
            return None
        words = words_of(body)
        known = next((one for one in learned if one.words == words), None)
        if known is None:
            return None
        repeat = known.repeat
        until = repeat.steady.until if repeat.steady is not None else repeat.until
        if until is not None and self._clock.now() >= until:
            return None
        return known if is_fresh(repeat.client_id) else None

    async def recorded(
        self, request: Request, sheet_of: Callable[[], PriceSheet], is_fresh: Callable[[ClientId], bool]
    ) -> PriceAnswer | None:
        """What a price report added, once it is stored; None when the call has to go the ordinary way."""
        key = _key(request)
        known = next(iter(self._known.get(key, ())), None)
        if known is None or known.repeat.reporter is None or any(name in request.headers for name in SPECIAL):
            return None
        if not is_fresh(known.repeat.client_id):
            return None
        now = self._clock.now()
        report = known.repeat.reporter.judge(sheet_of(), now)
        if report is None:
            return None
        if not await self._reports.done(JudgedReport(sign=evolve(known.sign, at=now), report=report)):
            self._forget(key)
            return None
        return PriceAnswer(inserted=len(report.observations), rejected=len(report.rejected))

    def learn(
        self,
        request: Request,
        body: bytes,
        token_hash: str,
        repeat: Repeat,
        shown: bytes,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        """An ordinary call went well. ``shown`` is what it was answered, with ``NO_TIME`` as the server's time."""
        words, steady = words_of(body), repeat.steady
        if words is None or not _is_usual(request):
            return
        if repeat.reporter is not None:
            words = PRICES
        sign = sign_of(repeat, token_hash)
        if steady is not None:
            sign = evolve(sign, instance_id=steady.instance_id, is_agents=steady.is_agents)
        known = Known(words=words, sign=sign, parts=tuple(shown.split(_NO_TIME_TEXT)), repeat=repeat, headers=headers)
        key = _key(request)
        with self._lock:
            before = self._known.pop(key, ())
            others = [one for one in before if one.words != words and one.sign.revision == sign.revision]
            if len(self._known) >= MAX_KNOWN:
                self._known.pop(next(iter(self._known)))  # the oldest
            self._known[key] = (known, *others[: MAX_WORDS - 1])

    def _forget(self, key: Key) -> None:
        with self._lock:
            self._known.pop(key, None)


def sign_of(repeat: Repeat, token_hash: str) -> Sign:
    """On what it rests that the caller's next call would do nothing new."""
    return Sign(
        token_hash=token_hash,
        client_id=repeat.client_id,
        agent_id=repeat.agent_id,
        revision=repeat.revision,
        at=NO_TIME,
        until=repeat.until,
    )


def _by_place(write: Callable[[Sequence[T]], frozenset[int]]) -> Write[T, bool]:
    return lambda group: dict.fromkeys(write(group), True)


def words_of(body: bytes) -> bytes | None:
    """What of a body can matter, to be compared; None for what is no JSON object of the usual size."""
    if not body:
        return NOTHING
    if len(body) > MAX_BODY:
        return None
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(data, dict):
        return None
    told = {name: value for name, value in data.items() if name not in UNREAD}
    try:
        written = orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # it reads deeper than it writes
        return None
    return hashlib.blake2b(written, digest_size=16).digest()


def _is_usual(request: Request) -> bool:
    """Whether the query is one that agents send: who invents others shall not take the place of callers."""
    query = request.scope["query_string"].decode("latin-1")
    return not query or all(part.partition("=")[0] in ASKED for part in query.split("&"))


def _key(request: Request) -> Key:
    scope = request.scope
    return request.headers.get("authorization", ""), f"{scope['path']}?{scope['query_string'].decode('latin-1')}"
