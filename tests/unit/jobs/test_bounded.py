"""A call that is left in time, whatever it waits for, and whose thread ends then."""

import sys
import threading
import time

import pytest

from spotadapters.channels.bounded import TookTooLong, within


def attempts() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "attempt"]


def is_over(seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while attempts() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not attempts()


def test_what_the_call_gives_is_given_and_what_it_raises_is_raised() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)
    with pytest.raises(TimeoutError):  # the call's own is not ours
        within(5, lambda: (_ for _ in ()).throw(TimeoutError()))
    assert is_over()


def test_a_call_that_takes_too_long_is_left_and_closes_what_it_opened() -> None:
    closed = threading.Event()

    def drip() -> None:
        try:
            while True:
                time.sleep(0.01)
        finally:
            closed.set()

    begun = time.monotonic()
    with pytest.raises(TookTooLong):
        within(0.1, drip)
    assert time.monotonic() - begun < 2
    assert closed.wait(5)
    assert is_over()


def test_a_call_that_sleeps_in_the_system_is_left_all_the_same() -> None:
    begun = time.monotonic()
    with pytest.raises(TookTooLong):
        within(0.1, lambda: time.sleep(1))
    assert time.monotonic() - begun < 0.8
    assert is_over()


def test_a_call_that_swallows_every_exception_of_the_other_side_is_interrupted_all_the_same() -> None:
    def stubborn() -> None:
        while True:
            try:
                time.sleep(0.01)
            except Exception:  # as plugins do
                continue

    with pytest.raises(TookTooLong):
        within(0.1, stubborn)
    assert is_over()


def test_a_call_that_ends_its_thread_is_over() -> None:
    begun = time.monotonic()
    with pytest.raises(TookTooLong):
        within(10, sys.exit)
    assert time.monotonic() - begun < 2
