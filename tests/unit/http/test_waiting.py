"""Agents that wait for commands (Z18): woken at once, never for nothing, and never handed what they cannot receive."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from spotadapters.http import waiting
from spotadapters.http.waiting import MAX_STREAMS, MAX_WAIT_SECONDS, Hub
from spotadapters.postgres.pulses import Sign
from spotcore.commands import CommandState
from spotcore.errors import RateLimited, Unavailable
from spotcore.ids import AgentId, ClientId
from tests.support.world import START
from tests.unit.http.asgi import GIVE_UP, Exchange
from tests.unit.http.frame import Frame

MACHINE = "i-0000000000000000a"


# ---- the hub


class Asked:
    """What a hub asks, and what it is told: nothing has changed, or what ``answer`` says."""

    def __init__(self, answer: Callable[[Sequence[Sign]], frozenset[int]] = lambda _: frozenset()) -> None:
        self.questions: list[list[Sign]] = []
        self.answer = answer

    def __call__(self, signs: Sequence[Sign]) -> frozenset[int]:
        self.questions.append(list(signs))
        return self.answer(signs)

    async def times(self, number: int) -> None:
        """Until it was asked so often."""
        until = time.monotonic() + GIVE_UP
        while len(self.questions) < number and time.monotonic() < until:
            await asyncio.sleep(0.002)
        assert len(self.questions) >= number


def a_sign(agent_id: str, revision: int = 1) -> Sign:
    return Sign(token_hash="t", client_id="c", agent_id=agent_id, revision=revision, at=START)


def trusting(hub: Hub, agent_id: str) -> waiting.Waiter:
    """A waiter whose look has found nothing."""
    waiter = hub.register(agent_id)
    waiter.trust(a_sign(agent_id), time.monotonic())
    return waiter


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FALLBACK_SECONDS", 0.02)


def test_a_wake_up_from_another_thread_reaches_every_waiter_of_the_agent() -> None:
    async def main() -> None:
        hub = Hub()
        mine = [asyncio.create_task(trusting(hub, "a").rest(GIVE_UP)) for _ in range(3)]
        other = asyncio.create_task(trusting(hub, "b").rest(GIVE_UP))
        threading.Thread(target=hub.wake, args=("a",)).start()
        assert await asyncio.wait_for(asyncio.gather(*mine), GIVE_UP) == [True, True, True]
        assert not other.done()

    asyncio.run(main())


def test_a_wake_up_between_looking_and_waiting_is_not_lost_and_the_next_wait_is_a_real_one() -> None:
    async def main() -> tuple[bool, bool]:
        hub = Hub()
        waiter = trusting(hub, "a")  # first register, then look
        hub.wake("a")
        await asyncio.sleep(0)
        return await waiter.rest(GIVE_UP), await waiter.rest(0.02)

    assert asyncio.run(main()) == (True, False)


def test_when_the_time_is_over_who_was_vouched_for_need_not_look_again_and_others_have_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> list[bool]:
        hub = Hub(Asked())
        fresh, stale, unknown = trusting(hub, "a"), hub.register("b"), hub.register("c")
        stale.trust(a_sign("b"), time.monotonic() - 2 * waiting.FALLBACK_SECONDS - 1)
        return [await one.rest(0.01) for one in (fresh, stale, unknown)]

    assert asyncio.run(main()) == [False, True, True]
    monkeypatch.setattr(waiting, "FALLBACK_SECONDS", 0.3)

    async def asked_meanwhile() -> bool:
        return await trusting(Hub(Asked()), "a").rest(1.0)  # far longer than one answer is trusted

    assert asyncio.run(asked_meanwhile()) is False


@pytest.mark.usefixtures("quick")
def test_a_waiter_nobody_can_ask_about_looks_for_itself_every_few_seconds() -> None:
    async def main() -> list[bool]:
        hub = Hub(Asked())
        return [await hub.register("a").rest(seconds) for seconds in (GIVE_UP, None)]

    started = time.monotonic()
    assert asyncio.run(main()) == [True, True]
    assert time.monotonic() - started < 1


@pytest.mark.usefixtures("quick")
def test_one_question_speaks_for_all_and_only_those_look_for_whom_something_changed() -> None:
    asked = Asked(lambda signs: frozenset(place for place, sign in enumerate(signs) if sign.agent_id == "a7"))

    async def main() -> None:
        hub = Hub(asked)
        tasks = {f"a{n}": asyncio.create_task(trusting(hub, f"a{n}").rest(None)) for n in range(1_000)}
        assert await asyncio.wait_for(tasks["a7"], GIVE_UP) is True
        await asked.times(2)
        assert sum(task.done() for task in tasks.values()) == 1

    asyncio.run(main())
    assert len(asked.questions[0]) == 1_000
    assert len(asked.questions[1]) == 999  # who is to look anyway is not asked about


@pytest.mark.usefixtures("quick")
def test_an_answer_about_what_a_waiter_has_seen_past_means_nothing() -> None:
    async def main() -> bool:
        hub, began, go_on = Hub(), asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def answer(signs: Sequence[Sign]) -> frozenset[int]:
            if signs[0].revision > 1:
                return frozenset()
            loop.call_soon_threadsafe(began.set)
            go_on.wait(GIVE_UP)
            return frozenset({0})

        asked = Asked(answer)
        hub = Hub(asked)
        waiter = trusting(hub, "a")
        await asyncio.wait_for(began.wait(), GIVE_UP)
        waiter.trust(a_sign("a", revision=2), time.monotonic())  # it has just looked again
        go_on.set()
        await asked.times(3)
        return await waiter.rest(0.01)

    assert asyncio.run(main()) is False


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("failure", [Unavailable("away"), ValueError("a defect")])
def test_when_nobody_can_answer_nobody_is_woken_and_it_is_asked_again(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: Sequence[Sign]) -> frozenset[int]:
        if len(asked.questions) < 3:
            raise failure
        return frozenset({0})

    asked = Asked(fails)

    async def main() -> None:
        waiter = trusting(Hub(asked), "a")
        assert await asyncio.wait_for(waiter.rest(None), GIVE_UP) is True

    asyncio.run(main())
    assert len(asked.questions) == 3
    assert [record.message for record in caplog.records] == ["waiters_unknown"] * 2


@pytest.mark.usefixtures("quick")
def test_while_nobody_waits_nothing_is_asked() -> None:
    asked = Asked()

    async def main() -> int:
        hub = Hub(asked)
        waiter = trusting(hub, "a")
        await asked.times(1)
        hub.forget(waiter)
        hub.doubt()
        await asyncio.sleep(0.1)
        before = len(asked.questions)
        trusting(hub, "b")
        await asked.times(before + 1)
        return before

    assert asyncio.run(main()) <= 2  # one may have been on its way


def test_after_a_gap_everybody_is_asked_about_at_once() -> None:
    asked = Asked(lambda signs: frozenset(place for place, sign in enumerate(signs) if sign.agent_id == "b"))

    async def main() -> bool:
        hub = Hub(asked)
        first, second = trusting(hub, "a"), trusting(hub, "b")
        await asyncio.to_thread(hub.doubt)
        woken = await asyncio.wait_for(second.rest(None), GIVE_UP)
        assert not await first.rest(0.01)
        return woken

    assert asyncio.run(main()) is True
    assert len(asked.questions) == 1


def test_a_gap_while_it_is_being_asked_asks_once_more() -> None:
    async def main() -> None:
        go_on = threading.Event()

        def held(_: Sequence[Sign]) -> frozenset[int]:
            go_on.wait(GIVE_UP)
            return frozenset()

        asked = Asked(held)
        hub = Hub(asked)
        trusting(hub, "a")
        for _ in range(3):
            hub.doubt()
        await asked.times(1)
        go_on.set()
        await asked.times(2)
        await asyncio.sleep(0.02)
        assert len(asked.questions) == 2

    asyncio.run(main())


@pytest.mark.parametrize("changed", [None, lambda signs: frozenset(range(len(signs)))])
def test_thousands_who_have_to_look_again_do_so_one_after_the_other(changed: Any) -> None:
    async def main() -> None:
        hub = Hub(changed)
        tasks = [asyncio.create_task(trusting(hub, f"a{n}").rest(None)) for n in range(2_000)]
        await asyncio.sleep(0)
        begun = time.monotonic()
        hub.doubt()
        while not any(task.done() for task in tasks):
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        woken, most = sum(task.done() for task in tasks), (time.monotonic() - begun) / waiting.SPREAD_SECONDS + 2
        assert 0 < woken <= most < 2_000

    asyncio.run(main())


def test_waking_nobody_or_without_a_loop_does_nothing() -> None:
    hub = Hub()
    hub.wake("a")
    hub.doubt()

    async def main() -> None:
        hub.attach()
        hub.wake("nobody")

    asyncio.run(main())
    hub.wake("a")  # the loop is closed
    hub.doubt()


@pytest.mark.usefixtures("quick")
def test_a_hub_that_moved_to_another_loop_asks_there() -> None:
    asked = Asked()
    hub = Hub(asked)

    async def main() -> None:
        before = len(asked.questions)
        waiter = trusting(hub, "a")
        await asked.times(before + 1)
        hub.forget(waiter)

    for _ in range(2):
        asyncio.run(main())


def test_who_goes_is_forgotten() -> None:
    async def main() -> None:
        hub = Hub()
        first, second = hub.register("a"), hub.register("a")
        assert hub.waiting == 2
        hub.forget(first)
        hub.forget(first)
        assert hub.waiting == 1
        hub.forget(second)
        assert hub.waiting == 0
        hub.forget(second)

    asyncio.run(main())


def test_thousands_wait_and_one_wake_up_touches_one() -> None:
    async def main() -> None:
        hub = Hub()
        tasks = {f"a{n}": asyncio.create_task(trusting(hub, f"a{n}").rest(GIVE_UP)) for n in range(5_000)}
        await asyncio.sleep(0)
        hub.wake("a4321")
        await asyncio.wait_for(tasks["a4321"], GIVE_UP)
        assert sum(task.done() for task in tasks.values()) == 1

    asyncio.run(main())


def test_the_fifth_stream_of_an_agent_is_refused_e103() -> None:
    hub = Hub()
    for _ in range(MAX_STREAMS):
        hub.open_stream("a")
    with pytest.raises(RateLimited):
        hub.open_stream("a")
    hub.open_stream("b")
    hub.close_stream("a")
    hub.open_stream("a")


# ---- long poll


@pytest.fixture
def agent(frame: Frame) -> tuple[str, str, str]:
    """Client, token and agent."""
    client, token = frame.client()
    return client, token, frame.agent(token, MACHINE)


def queue_switch(frame: Frame, token: str) -> None:
    answer = frame.call("POST", f"/api/client/instances/{MACHINE}/force-switch", token, json={"target": "ondemand"})
    assert answer.status_code == 200, answer.text


def states(frame: Frame, agent: tuple[str, str, str]) -> list[CommandState]:
    with frame.storage.transactions() as uow:
        aggregate = uow.agents.get(ClientId(agent[0]), AgentId(agent[2]))
    return [one.state for one in aggregate.commands.values()]


async def waits(frame: Frame) -> None:
    """Until somebody waits."""
    until = time.monotonic() + GIVE_UP
    while frame.hub.waiting == 0 and time.monotonic() < until:
        await asyncio.sleep(0.005)
    assert frame.hub.waiting > 0
    await asyncio.sleep(0.05)  # past the first look


def test_an_empty_reply_is_held_back_until_a_command_is_queued_z18(frame: Frame, agent: tuple[str, str, str]) -> None:
    _, token, agent_id = agent

    async def main() -> tuple[Any, float]:
        frame.hub.attach()
        poll = Exchange(frame.app, "GET", f"/api/agents/{agent_id}/pending-commands?wait=20", token).body()
        await waits(frame)
        assert not poll.is_answered
        await asyncio.to_thread(queue_switch, frame, token)
        queued = time.monotonic()
        frame.hub.wake(agent_id)
        _, body = await poll.answer()
        return body, time.monotonic() - queued

    body, seconds = asyncio.run(main())
    assert [one["command_type"] for one in body["commands"]] == ["switch"]
    assert seconds < 2
    assert frame.hub.waiting == 0


def test_the_reply_is_the_usual_one_when_the_time_is_over(frame: Frame, agent: tuple[str, str, str]) -> None:
    answer = frame.call("GET", f"/api/agents/{agent[2]}/commands/pending?wait=1", agent[1])
    assert answer.json()["data"] == {"commands": []}
    assert answer.json()["commands"] == []


def test_what_is_there_already_is_answered_at_once(frame: Frame, agent: tuple[str, str, str]) -> None:
    queue_switch(frame, agent[1])
    started = time.monotonic()
    answer = frame.call("GET", f"/api/agents/{agent[2]}/pending-commands?wait=25", agent[1])
    assert len(answer.json()["commands"]) == 1
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("wait", ["", "0", "-5", "x", "1.5", "²"])
def test_a_wait_that_is_none_answers_at_once(frame: Frame, agent: tuple[str, str, str], wait: str) -> None:
    started = time.monotonic()
    answer = frame.call("GET", f"/api/agents/{agent[2]}/pending-commands?wait={wait}", agent[1])
    assert answer.status_code == 200
    assert time.monotonic() - started < 2


def test_nobody_waits_longer_than_25_seconds() -> None:
    assert MAX_WAIT_SECONDS == 25


def test_a_refusal_is_not_held_back(frame: Frame, agent: tuple[str, str, str]) -> None:
    started = time.monotonic()
    assert frame.call("GET", f"/api/agents/{agent[2]}/pending-commands?wait=25", "wrong").status_code == 401
    assert frame.call("GET", "/api/agents/nobody/pending-commands?wait=25", agent[1]).status_code == 404
    assert time.monotonic() - started < 2
    assert frame.hub.waiting == 0


def test_a_waiter_that_has_gone_is_handed_nothing_so_nothing_is_leased_to_nobody_z13(
    frame: Frame, agent: tuple[str, str, str]
) -> None:
    _, token, agent_id = agent

    async def main() -> None:
        frame.hub.attach()
        poll = Exchange(frame.app, "GET", f"/api/agents/{agent_id}/pending-commands?wait=20", token).body()
        await waits(frame)
        poll.hang_up()
        await asyncio.to_thread(queue_switch, frame, token)
        frame.hub.wake(agent_id)
        await poll.ended()

    asyncio.run(main())
    assert states(frame, agent) == [CommandState.PENDING]
    assert frame.hub.waiting == 0


def test_a_waiter_that_hangs_up_is_gone_at_once(frame: Frame, agent: tuple[str, str, str]) -> None:
    async def main() -> float:
        poll = Exchange(frame.app, "GET", f"/api/agents/{agent[2]}/pending-commands?wait=20", agent[1]).body()
        await waits(frame)
        begun = time.monotonic()
        await poll.hang_up().ended()
        return time.monotonic() - begun

    assert asyncio.run(main()) < 1
    assert frame.hub.waiting == 0


def test_a_token_that_ends_while_waiting_is_noticed_at_the_next_look(frame: Frame, agent: tuple[str, str, str]) -> None:
    client, token, agent_id = agent

    async def main() -> tuple[int, Any]:
        frame.hub.attach()
        poll = Exchange(frame.app, "GET", f"/api/agents/{agent_id}/pending-commands?wait=20", token).body()
        await waits(frame)
        await asyncio.to_thread(frame.plane.clients.rotate, ClientId(client))
        frame.hub.wake(agent_id)
        return await poll.answer()

    status, body = asyncio.run(main())
    assert (status, body["code"]) == (401, "INVALID_TOKEN")
