"""Commands as a stream (E103): each frame is a hand-out with the usual lease; a lost frame is covered by it."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Final

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from spotadapters.http.application import Look, Looked
from spotadapters.http.lanes import Lane, Lanes
from spotadapters.http.waiting import Hub
from spotadapters.wire.objects import command_item
from spotadapters.wire.rendering import encode
from spotcore.errors import SpotError, Unavailable

HEARTBEAT_SECONDS: Final = 25


async def command_frames(look: Look, lanes: Lanes, hub: Hub, agent_id: str) -> AsyncIterator[ServerSentEvent]:
    """Frames as commands become due, until the caller goes away, or its token or agent has ended."""
    waiter = hub.register(agent_id)
    try:
        while True:
            begun = time.monotonic()
            try:
                looked = await lanes.run(look, Lane.ORDINARY)
            except Unavailable:
                looked = Looked()  # an outage is no reason to hang up
            except SpotError:
                return
            for command in looked.handed.commands:
                item = encode(command_item(command, looked.handed.machines)).decode()
                yield ServerSentEvent(data=item, event="COMMAND", id=command.command_id)
            if not looked.handed.commands:
                waiter.trust(looked.sign, begun)
                await waiter.rest(None)
    finally:
        hub.forget(waiter)


class CommandStream(EventSourceResponse):
    """The response. However it ends, even before its first frame, its place among the agent's streams is free again."""

    def __init__(self, look: Look, lanes: Lanes, hub: Hub, agent_id: str, headers: Mapping[str, str]) -> None:
        self._frames = command_frames(look, lanes, hub, agent_id)
        self._hub = hub
        self._agent_id = agent_id
        super().__init__(
            self._frames,
            ping=HEARTBEAT_SECONDS,
            ping_message_factory=lambda: ServerSentEvent(data="{}", event="HEARTBEAT"),
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **headers},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._frames):  # type: ignore[type-var]
                await super().__call__(scope, receive, send)
        finally:
            self._hub.close_stream(self._agent_id)
