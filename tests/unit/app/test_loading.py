"""Commands load what they need and no more."""

import gc
import subprocess
import sys

import pytest

from spotapp.loading import load, loading

SERVER = ("starlette", "uvicorn", "dramatiq", "spotapp.wiring")
LIGHT = ("agents", "events", "instances", "notifications", "servers")


def test_a_command_that_asks_a_server_loads_none_and_up_loads_it_meanwhile() -> None:
    asked = "".join(f"import spotapp.commands.{name}\n" for name in LIGHT)
    shown = f"import sys\n{asked}print([name for name in {SERVER} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_collector_pauses_while_loading_and_goes_on_afterwards() -> None:
    was = gc.isenabled()
    load("spotapp.serving")
    assert gc.isenabled() is was
    gc.disable()
    try:
        load("spotapp.serving")
        assert not gc.isenabled()  # who had switched it off keeps it so
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_cannot_be_loaded_meanwhile_does_not_end_what_is_waited_for() -> None:
    waited = False
    with loading("spotapp.no_such_module"):
        waited = True
    assert waited
    assert gc.isenabled()
    with pytest.raises(ModuleNotFoundError):
        load("spotapp.no_such_module")
