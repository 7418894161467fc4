"""PostgreSQL and Redis or Valkey: those of the settings, or the embedded ones."""

from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen
from rich.text import Text

from spotadapters.embedded import EmbeddedStack
from spotapp.failures import console
from spotapp.settings import Settings


@frozen
class Servers:
    """Where PostgreSQL and Redis or Valkey are. The addresses hold passwords: never log them."""

    database_url: str
    redis_url: str


@contextmanager
def own_servers(settings: Settings) -> Iterator[Servers]:
    """The servers of the settings, or the embedded ones, started here."""
    if settings.database_url is not None and settings.redis_url is not None:
        yield Servers(settings.database_url, settings.redis_url)
        return
    console.print(Text(f"  data in {settings.data_dir}"), soft_wrap=True)
    with EmbeddedStack(settings.data_dir, on_event=lambda text: console.print(Text(f"  {text}"))) as stack:
        yield Servers(settings.database_url or stack.database_url, settings.redis_url or stack.redis_url)
