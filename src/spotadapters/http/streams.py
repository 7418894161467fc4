"""Commands as a stream (E103): each frame is a hand-out with the usual lease; a lost frame is covered by it."""

import json
from collections.abc import AsyncIterator
from typing import Any

from spotadapters.http.application import Parts
from spotadapters.http.routing import Call
from spotadapters.http.waiting import FALLBACK_SECONDS, pause
from spotadapters.wire import words
from spotadapters.wire.rendering import encode
from spotcore.dispatch import Dialect
from spotcore.errors import SpotError


async def command_frames(parts: Parts, opened: tuple[Call, Dialect]) -> AsyncIterator[dict[str, Any]]:
    """Command items as they become due, until the caller goes away or the agent is gone."""
    call, dialect = opened
    agent_id = call.agent_id
    event = parts.hub.register(agent_id)
    try:
        while True:
            try:
                handed = await parts.lanes.run(
                    lambda: call.plane.commands.fetch(call.agent_caller(), agent_id, dialect), urgent=False
                )
            except SpotError:
                return
            for command in handed.commands:
                yield json.loads(encode(words.command_item(command, handed.machines)))
            if not handed.commands:
                await pause(event, FALLBACK_SECONDS)
    finally:
        parts.hub.forget(agent_id, event)
        parts.hub.close_stream(agent_id)
