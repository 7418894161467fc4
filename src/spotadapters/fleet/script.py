"""The vocabulary between a simulated program and whatever runs it.

A program is a set of generators. Each yields an effect, is resumed with its result, and never touches a socket or a
timer itself; so the same program is stepped in virtual time by a test and in real time by a demonstration.
"""

from collections.abc import Generator, Mapping
from enum import Enum
from typing import Any, TypeAlias, TypeVar

from attrs import frozen

T = TypeVar("T")


class Content(Enum):
    """What the body of an answer was."""

    JSON = "json"
    EMPTY = "empty"
    OTHER = "other"  # HTML, plain text, broken JSON


@frozen(kw_only=True)
class Response:
    """An answer from the server; status 0 means that none came (refused, reset, timed out)."""

    status: int
    content: Content = Content.EMPTY
    json: Any = None
    location: str | None = None  # of a redirect
    seconds: float = 0.0  # how long a scripted server took; a real one has already taken its time

    @property
    def ok(self) -> bool:
        """2xx with JSON or nothing: HTML counts as a failure for every build."""
        return 200 <= self.status < 300 and self.content is not Content.OTHER

    @property
    def fields(self) -> Mapping[str, Any]:
        """The top level of a JSON object; nothing for any other body. No agent looks deeper into the envelope."""
        return self.json if isinstance(self.json, dict) else {}


NO_ANSWER = Response(status=0)


def json_answer(body: Any, *, status: int = 200, seconds: float = 0.0) -> Response:
    """An answer that carries ``body`` as JSON."""
    return Response(status=status, content=Content.JSON, json=body, seconds=seconds)


@frozen(kw_only=True)
class Call:
    """One request; the script is resumed with its ``Response``."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str]


@frozen
class Sleep:
    """Wait that many seconds of the program's own time (divided by the speed of the world)."""

    seconds: float


@frozen
class Spawn:
    """Start another loop of the same program."""

    script: "Steps[None]"


@frozen(kw_only=True)
class Exit:
    """End the program, all loops at once. With ``restart`` its supervisor starts it again."""

    restart: bool = False


Effect: TypeAlias = Call | Sleep | Spawn | Exit
Steps: TypeAlias = Generator[Effect, Any, T]
