"""A TCP link between two programs that a test can break: let through, hold back, swallow, or cut."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any

from attrs import define, field

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class State(Enum):
    """What becomes of what is sent."""

    PASSING = auto()
    STALLED = auto()  # held back, and delivered in order once it passes again: a hung server, a long retransmission
    SWALLOWED = auto()  # gone, and so is every link that was open meanwhile, without a word to either side
    CUT = auto()  # every link is reset, and so is every new one


@define(eq=False)
class _Pair:
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    is_lost: bool = False
    is_left: bool = False  # one side has closed it, and the other has not heard


@define
class TcpLink:
    """Listens on ``port`` and leads to the target's."""

    target_port: int
    port: int = 0
    opened: int = 0  # links since the beginning
    _state: State = State.PASSING
    _pairs: set[_Pair] = field(factory=set)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.new_event_loop)
    _passing: asyncio.Event = field(factory=asyncio.Event)

    def passes(self) -> None:
        self._tell(State.PASSING)

    def stalls(self) -> None:
        self._tell(State.STALLED)

    def swallows(self) -> None:
        self._tell(State.SWALLOWED)

    def cuts(self) -> None:
        self._tell(State.CUT)

    def _tell(self, state: State) -> None:
        asyncio.run_coroutine_threadsafe(self._become(state), self._loop).result(5)

    async def _become(self, state: State) -> None:
        self._state = state
        for pair in list(self._pairs):
            if state is State.SWALLOWED:
                pair.is_lost = True
            elif state is State.CUT or pair.is_left:  # who is told of again answers for a link it has forgotten
                self._drop(pair)
        (self._passing.clear if state is State.STALLED else self._passing.set)()

    async def serve(self, ready: threading.Event, done: asyncio.Event) -> None:
        self._passing.set()
        server = await asyncio.start_server(self._linked, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await done.wait()
        server.close()
        for pair in list(self._pairs):
            self._drop(pair)

    def _drop(self, pair: _Pair) -> None:
        self._pairs.discard(pair)
        for writer in (pair.near, pair.far):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def _linked(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        self.opened += 1
        try:
            answers, far = await asyncio.open_connection("127.0.0.1", self.target_port)
        except (OSError, asyncio.CancelledError):  # nobody there, or the end of the test
            near.transport.abort()
            return
        pair = _Pair(near, far, is_lost=self._state is State.SWALLOWED)
        self._pairs.add(pair)
        if self._state is State.CUT:
            self._drop(pair)
        there, back = self._pumped(reader, far, pair), self._pumped(answers, near, pair)
        with contextlib.suppress(asyncio.CancelledError):  # the end of the test
            await asyncio.gather(there, back)
        if not pair.is_lost:
            self._pairs.discard(pair)

    async def _pumped(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, pair: _Pair) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                await self._passing.wait()
                if not pair.is_lost:
                    target.write(data)
                    await target.drain()
        await self._passing.wait()
        pair.is_left = pair.is_lost
        if not pair.is_lost:
            target.close()


@contextmanager
def a_link(target_port: int) -> Iterator[TcpLink]:
    """A link that passes; everything on it is reset at the end."""
    link, ready, done = TcpLink(target_port), threading.Event(), asyncio.Event()
    loop = link._loop

    def run() -> None:
        with contextlib.closing(loop):
            loop.run_until_complete(_whole(link.serve(ready, done)))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield link
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)


async def _whole(serving: Coroutine[Any, Any, None]) -> None:
    await serving
    while rest := asyncio.all_tasks() - {asyncio.current_task()}:  # what was let in just now begins a round later
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0)
