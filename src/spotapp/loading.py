"""Modules loaded when they are needed: the whole server takes a second, and a small command shall not wait for it.

The collector pauses meanwhile: loading makes many objects and no garbage, and it would look through them all.
"""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType


def load(name: str) -> ModuleType:
    """The module, loaded with the collector paused."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return import_module(name)
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Load the module on a thread of its own while the block waits for something else. What fails there fails again
    where the module is imported."""
    thread = threading.Thread(target=load, args=(name,), name=f"load-{name}")
    thread.start()
    try:
        yield
    finally:
        thread.join()
