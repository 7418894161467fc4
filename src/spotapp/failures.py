"""Expected failures of the command line: one line that names the fix, exit status 1."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from rich.console import Console
from rich.text import Text

from spotapp.commands.screen import shown

HISTORY: Final = ("duckdb", "ijson", "matplotlib", "numpy")  # the extra "history"
console = Console(stderr=True, highlight=False)


def known_failures() -> tuple[type[Exception], ...]:
    """What may be expected to fail. A start that goes well has no need to load all that it comes from."""
    import psycopg

    from spotadapters.embedded import EmbeddedError
    from spotadapters.history.refusals import HistoryRefused
    from spotadapters.postgres.migrate import MigrationError
    from spotapp.commands.api import ApiFailure
    from spotapp.listening import AddressInUse
    from spotapp.settings import SettingsError
    from spotcore.errors import SpotError

    return (
        SettingsError, EmbeddedError, MigrationError, AddressInUse, SpotError, ApiFailure,
        HistoryRefused, psycopg.Error, OSError,
    )  # fmt: skip


@contextmanager
def one_line_failures(debug: bool) -> Iterator[None]:
    """Expected failures become one line and exit status 1; ``--debug`` shows the whole trace."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has seen enough; click ends quietly
    except ModuleNotFoundError as missing:
        if missing.name not in HISTORY:
            raise
        _tell('prices in bulk need more packages: pip install "spotcore[history]"')
    except known_failures() as failure:
        if debug:
            raise
        _tell(" ".join(str(failure).split()))


def _tell(text: str) -> NoReturn:
    console.print(Text.assemble(("spotcore:", "red"), " ", shown(text)), soft_wrap=True)
    sys.exit(1)
