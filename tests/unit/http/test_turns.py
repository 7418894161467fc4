"""Whoever asks for many long lists waits behind himself (decision 0028)."""

import asyncio

import pytest

from spotadapters.http.turns import Turns


def test_a_caller_has_one_call_inside_and_others_do_not_wait_for_him() -> None:
    inside: list[str] = []

    async def call(turns: Turns, caller: str, name: str, until: asyncio.Event) -> None:
        async with turns.turn(caller):
            inside.append(name)
            await until.wait()

    async def main() -> None:
        turns, over = Turns(), asyncio.Event()
        calls = [
            asyncio.create_task(call(turns, *who, over)) for who in (("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"))
        ]
        await asyncio.sleep(0.01)
        assert inside == ["a1", "b1"]
        calls[1].cancel()
        over.set()
        await asyncio.gather(*calls, return_exceptions=True)
        assert inside == ["a1", "b1", "a3"]
        assert turns._callers == {}

    asyncio.run(main())


def test_a_call_that_fails_lets_the_next_one_in() -> None:
    async def main() -> None:
        turns = Turns()
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                async with turns.turn("a"):
                    raise ZeroDivisionError
        assert turns._callers == {}

    asyncio.run(main())
