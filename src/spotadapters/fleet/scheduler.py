"""Which loop of which program runs next: a heap of due instants, and one step that carries out a loop's effects.

The same step serves virtual and real time. A program whose machine has ended stops wherever it is, between any two
effects: what it was about to send is never sent.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import define, evolve, field, frozen

from spotadapters.fleet.clocks import Clock
from spotadapters.fleet.journal import Exchange, Journal
from spotadapters.fleet.script import NO_ANSWER, Call, Exit, Response, Sleep, Spawn, Steps
from spotadapters.fleet.transport import HttpTransport
from spotcore.builds import Build

REQUEST_TIMEOUT_SECONDS: Final = 30.0
MOST_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
KEEP_METHOD: Final = frozenset({307, 308})


@define(eq=False, kw_only=True)
class Process:
    """One run of a program. Its loops share state, so one loop at a time is inside the program's own code."""

    instance_id: str
    build: Build
    alive: bool = True
    on_exit: Callable[[Exit], None]
    lock: threading.Lock = field(factory=threading.Lock)


@frozen(eq=False)
class Task:
    """A loop that waits for its time, with what it is to be resumed with."""

    process: Process | None  # None: part of the world, not of a program
    script: Steps[None]
    inbox: Response | None = None


class Agenda:
    """Waiting tasks by instant, then by order of arrival. Safe for several threads."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Task]] = []
        self._numbers = count()
        self._changed = threading.Condition()

    def put(self, at: datetime, task: Task) -> None:
        """Have a task run at ``at`` or soon after."""
        with self._changed:
            heappush(self._heap, (at, next(self._numbers), task))
            self._changed.notify()

    def take(self, now: datetime) -> Task | None:
        """The first task that is due, None when none is."""
        with self._changed:
            return heappop(self._heap)[2] if self._heap and self._heap[0][0] <= now else None

    def next_at(self) -> datetime | None:
        """When the next task is due."""
        with self._changed:
            return self._heap[0][0] if self._heap else None

    def wait(self, seconds: float) -> None:
        """Until a task arrives, at most that long in real time."""
        with self._changed:
            self._changed.wait(seconds)


class Scheduler:
    """Carries out effects. ``settle`` is called after every step, so that what a program did to machines is true
    before its next effect."""

    def __init__(
        self,
        *,
        clock: Clock,
        transport: HttpTransport,
        journal: Journal,
        speed: float,
        settle: Callable[[], None],
    ) -> None:
        self.agenda = Agenda()
        self._clock = clock
        self._transport = transport
        self._journal = journal
        self._speed = speed
        self._settle = settle

    def soon(self, script: Steps[None], process: Process | None = None) -> None:
        """Start a loop now."""
        self.agenda.put(self._clock.now(), Task(process, script))

    def run(self, task: Task) -> None:
        """Resume a loop and carry out its effects until it waits or ends."""
        process, inbox = task.process, task.inbox
        while True:
            effect = self._resume(process, task.script, inbox)
            self._settle()
            if effect is None or (process is not None and not process.alive):
                task.script.close()
                return
            inbox = None
            match effect:
                case Sleep(seconds):
                    self._later(seconds, Task(process, task.script))
                    return
                case Spawn(script):
                    self.soon(script, process)
                case Exit() if process is not None:
                    process.alive = False
                    process.on_exit(effect)
                case Call() if process is not None:
                    inbox = self._answer(process, effect)
                    if inbox.seconds > 0:
                        self._later(inbox.seconds, Task(process, task.script, inbox))
                        return

    def _resume(self, process: Process | None, script: Steps[None], inbox: Response | None) -> Any:
        """The next effect, None when the loop is over or its program has ended."""
        try:
            if process is None:
                return script.send(inbox)
            with process.lock:
                return script.send(inbox) if process.alive else None
        except StopIteration:
            return None

    def _later(self, seconds: float, task: Task) -> None:
        self.agenda.put(self._clock.now() + timedelta(seconds=seconds / self._speed), task)

    def _answer(self, process: Process, call: Call) -> Response:
        """The answer, redirects followed as the agents' HTTP library does: a POST becomes a GET without body."""
        for _ in range(MOST_REDIRECTS):
            answer = self._exchange(process, call)
            if answer.status not in REDIRECTS or answer.location is None:
                return answer
            target = urlsplit(answer.location)
            path = target.path + (f"?{target.query}" if target.query else "")
            call = evolve(call, path=path)
            if answer.status not in KEEP_METHOD:
                call = evolve(call, method="GET", body=None)
        return NO_ANSWER

    def _exchange(self, process: Process, call: Call) -> Response:
        asked_at = self._clock.now()
        answer = self._transport(call.method, call.path, call.body, call.headers)
        if answer.seconds > REQUEST_TIMEOUT_SECONDS:
            answer = Response(status=0, seconds=REQUEST_TIMEOUT_SECONDS)
        self._journal.exchanged(
            Exchange(
                at=asked_at,
                answered_at=self._clock.now() + timedelta(seconds=answer.seconds / self._speed),
                instance_id=process.instance_id,
                build=process.build,
                method=call.method,
                path=call.path,
                body=call.body,
                headers=call.headers,
                status=answer.status,
                answer=answer.json,
            )
        )
        return answer
