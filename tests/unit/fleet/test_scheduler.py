"""The heap of waiting loops and the step that carries out their effects, with scripts of our own."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import define, field

from spotadapters.fleet import NO_ANSWER, Content, Journal, Response, VirtualClock, json_answer
from spotadapters.fleet.scheduler import Agenda, Process, Scheduler, Task
from spotadapters.fleet.script import Call, Exit, Sleep, Spawn
from spotcore.builds import Build

T0 = VirtualClock().now()
Script = Iterator[Any]


def a_call(method: str = "POST", path: str = "/api/agents/a/x", body: Mapping[str, Any] | None = None) -> Call:
    return Call(method=method, path=path, body=body, headers={"h": "1"})


@define
class Bench:
    """A scheduler over a scripted transport."""

    answers: Callable[..., Response] = lambda *_: json_answer({"ok": 1})
    speed: float = 1.0
    clock: VirtualClock = field(factory=VirtualClock)
    journal: Journal = field(factory=Journal)
    asked: list[tuple[str, str, Any]] = field(factory=list)
    settled: int = 0
    exits: list[Exit] = field(factory=list)
    scheduler: Scheduler = field(init=False)
    process: Process = field(init=False)

    def __attrs_post_init__(self) -> None:
        def transport(method: str, path: str, body: Any, _: Any) -> Response:
            self.asked.append((method, path, body))
            return self.answers(method, path, body)

        def settle() -> None:
            self.settled += 1

        self.scheduler = Scheduler(
            clock=self.clock, transport=transport, journal=self.journal, speed=self.speed, settle=settle
        )
        self.process = Process(instance_id="i-1", build=Build.V2, on_exit=self.exits.append)

    def start(self, script: Script) -> None:
        self.scheduler.soon(script, self.process)  # type: ignore[arg-type]

    def pass_time(self, seconds: float = 0) -> None:
        """Run everything that falls due."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while True:
            task = self.scheduler.agenda.take(self.clock.now())
            if task is not None:
                self.scheduler.run(task)
                continue
            due = self.scheduler.agenda.next_at()
            if due is None or due > end:
                self.clock.at = end
                return
            self.clock.at = due


# --- the agenda -------------------------------------------------------------------------------------------------------


def a_task(name: str) -> Task:
    def script() -> Script:
        yield name

    return Task(None, script())  # type: ignore[arg-type]


def test_tasks_come_in_the_order_of_their_instants_and_then_of_their_arrival() -> None:
    agenda, tasks = Agenda(), [a_task(name) for name in "abcd"]
    for seconds, task in zip((5, 1, 5, 1), tasks, strict=True):
        agenda.put(T0 + timedelta(seconds=seconds), task)
    assert agenda.next_at() == T0 + timedelta(seconds=1)
    assert agenda.take(T0) is None
    taken = [agenda.take(T0 + timedelta(seconds=9)) for _ in range(5)]
    assert taken == [tasks[1], tasks[3], tasks[0], tasks[2], None]
    assert agenda.next_at() is None


def test_a_task_is_due_at_its_very_instant() -> None:
    agenda, task = Agenda(), a_task("a")
    agenda.put(T0, task)
    assert agenda.take(T0 - timedelta(microseconds=1)) is None
    assert agenda.take(T0) is task


def test_waiting_for_a_task_ends_by_itself() -> None:
    Agenda().wait(0)


# --- effects ----------------------------------------------------------------------------------------------------------


def test_a_loop_sleeps_for_its_own_time_divided_by_the_speed() -> None:
    bench, seen = Bench(speed=10), []

    def script() -> Script:
        while True:
            seen.append((bench.clock.now() - T0).total_seconds())
            yield Sleep(30)

    bench.start(script())
    bench.pass_time(9)
    assert seen == [0, 3, 6, 9]


def test_a_spawned_loop_starts_now_and_the_first_goes_on_beside_it() -> None:
    bench, seen = Bench(), []

    def inner() -> Script:
        seen.append("inner")
        yield Sleep(1)
        seen.append("inner again")

    def script() -> Script:
        yield Spawn(inner())  # type: ignore[arg-type]
        seen.append("outer")
        yield Sleep(2)
        seen.append("outer again")

    bench.start(script())
    bench.pass_time(5)
    assert seen == ["outer", "inner", "inner again", "outer again"]
    assert bench.scheduler.agenda.next_at() is None


def test_a_loop_is_resumed_with_the_answer_to_its_call() -> None:
    bench, seen = Bench(), []

    def script() -> Script:
        seen.append((yield a_call(body={"a": 1})))

    bench.start(script())
    bench.pass_time()
    assert seen == [json_answer({"ok": 1})]
    assert bench.asked == [("POST", "/api/agents/a/x", {"a": 1})]


def test_an_answer_that_takes_its_time_is_read_when_it_is_there_and_never_after_thirty_seconds() -> None:
    for seconds, wanted, status in ((0.5, 0.5, 200), (29.9, 29.9, 200), (30, 30, 200), (30.1, 30, 0), (500, 30, 0)):
        bench, seen = Bench(lambda *_, s=seconds: json_answer({}, seconds=s)), []

        def script(bench: Bench = bench, seen: list[Any] = seen) -> Script:
            answer = yield a_call()
            seen.append(((bench.clock.now() - T0).total_seconds(), answer.status))

        bench.start(script())
        bench.pass_time(100)
        assert seen == [(wanted, status)]
        (exchange,) = bench.journal.exchanges()
        assert ((exchange.answered_at - exchange.at).total_seconds(), exchange.status) == (wanted, status)


def test_speed_divides_the_time_of_an_answer_too() -> None:
    bench, seen = Bench(lambda *_: json_answer({}, seconds=20), speed=10), []

    def script() -> Script:
        yield a_call()
        seen.append((bench.clock.now() - T0).total_seconds())

    bench.start(script())
    bench.pass_time(5)
    assert seen == [2]


def test_what_was_exchanged_is_journalled_as_it_was_sent_and_answered() -> None:
    bench = Bench(lambda *_: json_answer({"b": 2}, status=503))

    def script() -> Script:
        yield a_call("PUT", "/api/agents/a/replicas/r", {"a": 1})

    bench.start(script())
    bench.pass_time()
    (one,) = bench.journal.exchanges()
    assert (one.method, one.path, one.body, one.headers) == ("PUT", "/api/agents/a/replicas/r", {"a": 1}, {"h": "1"})
    assert (one.status, one.answer, one.instance_id, one.build, one.at) == (503, {"b": 2}, "i-1", Build.V2, T0)


def test_the_world_is_settled_after_every_step_of_a_program() -> None:
    bench = Bench()

    def script() -> Script:
        yield a_call()
        yield Sleep(1)

    bench.start(script())
    bench.pass_time(2)
    assert bench.settled == 3


# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", [False, True])
def test_an_exit_ends_the_program_with_all_its_loops_and_says_whether_it_is_to_be_started_again(restart: bool) -> None:
    bench, seen = Bench(), []

    def other() -> Script:
        yield Sleep(1)
        seen.append("never")

    def script() -> Script:
        yield Spawn(other())  # type: ignore[arg-type]
        yield Exit(restart=restart)
        seen.append("nor this")

    bench.start(script())
    bench.pass_time(5)
    assert (seen, bench.process.alive, bench.exits) == ([], False, [Exit(restart=restart)])


def test_a_program_that_was_killed_stops_between_two_effects_and_sends_nothing_more() -> None:
    bench, closed = Bench(), []

    def script() -> Script:
        try:
            yield a_call()
            yield Sleep(10)
            yield a_call()
        finally:
            closed.append((bench.clock.now() - T0).total_seconds())

    bench.start(script())
    bench.pass_time(5)
    bench.process.alive = False
    bench.pass_time(20)
    assert (len(bench.asked), closed) == (1, [10])


def test_a_program_whose_machine_ends_with_its_own_step_does_not_take_the_next_one() -> None:
    """It ends itself, and what it was about to send is never sent."""
    bench = Bench()

    def script() -> Script:
        bench.process.alive = False
        yield a_call()

    bench.start(script())
    bench.pass_time(5)
    assert bench.asked == []


def test_a_program_killed_while_it_waits_for_an_answer_never_reads_it() -> None:
    bench, seen = Bench(lambda *_: json_answer({}, seconds=10)), []

    def script() -> Script:
        seen.append((yield a_call()))

    bench.start(script())
    bench.pass_time(5)
    bench.process.alive = False
    bench.pass_time(10)
    assert (len(bench.asked), seen) == (1, [])


def test_a_loop_of_the_world_itself_belongs_to_no_program() -> None:
    bench, seen = Bench(), []

    def script() -> Script:
        yield Sleep(1)
        seen.append(1)

    bench.scheduler.soon(script())  # type: ignore[arg-type]
    bench.process.alive = False
    bench.pass_time(2)
    assert seen == [1]


# --- redirects --------------------------------------------------------------------------------------------------------


def redirected(status: int, location: str | None, method: str = "POST") -> tuple[Bench, Response]:
    def answers(_: str, path: str, __: Any) -> Response:
        return Response(status=status, location=location) if path.endswith("/x") else json_answer({"at": path})

    bench, seen = Bench(answers), []

    def script() -> Script:
        seen.append((yield a_call(method, body={"a": 1} if method != "GET" else None)))

    bench.start(script())
    bench.pass_time()
    return bench, seen[0]


@pytest.mark.parametrize(("status", "kept"), [(301, False), (302, False), (303, False), (307, True), (308, True)])
@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
def test_a_redirect_is_followed_as_a_get_without_body_unless_it_keeps_the_method(
    status: int, kept: bool, method: str
) -> None:
    bench, answer = redirected(status, "http://elsewhere:99/y?a=1&b=2", method)
    body = {"a": 1} if method != "GET" else None
    assert bench.asked == [
        (method, "/api/agents/a/x", body),
        (method, "/y?a=1&b=2", body) if kept else ("GET", "/y?a=1&b=2", None),
    ]
    assert answer.json == {"at": "/y?a=1&b=2"}
    assert [one.status for one in bench.journal.exchanges()] == [status, 200]


@pytest.mark.parametrize(("status", "location"), [(301, None), (304, "/y"), (300, "/y"), (200, "/y"), (404, "/y")])
def test_what_is_no_redirect_or_leads_nowhere_is_the_answer(status: int, location: str | None) -> None:
    bench, answer = redirected(status, location)
    assert (answer.status, len(bench.asked)) == (status, 1)


def test_five_redirects_are_followed_and_then_it_is_no_answer() -> None:
    def chain(length: int) -> tuple[int, Response]:
        def answers(_: str, path: str, __: Any) -> Response:
            number = len(path)
            return Response(status=307, location="/" + "x" * number) if number < 2 + length else json_answer({})

        bench, seen = Bench(answers), []

        def script() -> Script:
            seen.append((yield a_call(path="/x")))

        bench.start(script())
        bench.pass_time()
        return len(bench.asked), seen[0]

    assert chain(4) == (5, json_answer({}))
    assert chain(5) == (5, NO_ANSWER)


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "ok"),
    [
        (json_answer({}), True),
        (json_answer(None, status=201), True),
        (Response(status=204), True),
        (Response(status=299), True),
        (Response(status=200, content=Content.OTHER), False),
        (Response(status=199), False),
        (Response(status=300), False),
        (json_answer({}, status=400), False),
        (NO_ANSWER, False),
    ],
)
def test_an_answer_is_good_when_it_is_2xx_and_json_or_empty(answer: Response, ok: bool) -> None:
    assert answer.ok is ok


def test_a_script_starts_at_the_clock_s_own_time() -> None:
    bench = Bench(clock=VirtualClock(at=datetime(2024, 2, 29, 23, 59, 59, tzinfo=T0.tzinfo)))
    seen: list[datetime] = []

    def script() -> Script:
        yield Sleep(1)
        seen.append(bench.clock.now())

    bench.start(script())
    bench.pass_time(2)
    assert seen == [datetime(2024, 3, 1, tzinfo=T0.tzinfo)]
