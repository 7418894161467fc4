"""A call that is left after so many seconds, whatever the other side does. Time-outs of a socket count every read for
itself: a receiver that sends a byte now and then never meets one, and names are looked up without any."""

import contextlib
import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")


class TookTooLong(Exception):
    """The call was not over in time."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """What ``call`` gives; it runs on a thread of its own. Raises what it raises, or ``TookTooLong`` after ``seconds``:
    its thread is then told to end, which it does at the next thing that the other side sends, or fails to send."""
    outcome: Future[T] = Future()
    ending = threading.Lock()  # held by who interrupts: the number of a thread that has ended may be another one's

    def run() -> None:
        with contextlib.suppress(SystemExit):
            try:
                outcome.set_result(call())
            except Exception as failure:  # the caller's to judge
                outcome.set_exception(failure)
            except SystemExit:
                outcome.set_exception(TookTooLong())
            finally:
                ending.acquire()

    thread = threading.Thread(target=run, name="attempt", daemon=True)  # no process waits for it to end
    thread.start()
    wait([outcome], seconds)
    if not outcome.done() and ending.acquire(blocking=False):
        _interrupt(thread)
        ending.release()
        raise TookTooLong
    return outcome.result()


def _interrupt(thread: threading.Thread) -> None:
    """``SystemExit`` in that thread as soon as it runs Python again: it closes what it opened, and ends in silence."""
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
