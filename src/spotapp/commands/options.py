"""The options that commands share, and what they open."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import httpx2
from attrs import frozen

from spotapp.commands.api import Api, ApiFailure, open_api
from spotapp.commands.screen import Screen
from spotapp.failures import one_line_failures
from spotapp.settings import DEFAULT_HOST, DEFAULT_PORT

DEFAULT_URL: Final = f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"
TOKEN_VARIABLES: Final = ("SPOTCORE_ADMIN_TOKEN", "SPOTCORE_TOKEN")
ANOTHER_VERSION: Final = "is the server of another version? compare with: spotcore --version"
NO_TOKEN: Final = "no token given; set SPOTCORE_ADMIN_TOKEN (a new one comes from: spotcore token) or SPOTCORE_TOKEN"


@frozen
class Remote:
    """A server to ask, and a screen to show the answer on."""

    api: Api
    screen: Screen


def _web_address(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        address = httpx2.URL(value)
    except httpx2.InvalidURL:
        address = httpx2.URL("")
    if address.scheme not in ("http", "https") or not address.host:
        raise click.BadParameter(f"use an address like {DEFAULT_URL}")
    return value


def _usable(token: str | None) -> str:
    """The token without blanks around it. What no token holds would show in the error of a library further down."""
    if not token or not token.strip():
        raise ApiFailure(NO_TOKEN)
    word = token.strip()
    if not (word.isascii() and word.isprintable() and " " not in word):
        raise ApiFailure("the token holds characters that no token has; copy it again, in one line")
    return word


url_option = click.option(
    "--url",
    envvar="SPOTCORE_URL",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    callback=_web_address,
    help="Address of the running server.",
)
token_option = click.option(
    "--token",
    envvar=list(TOKEN_VARIABLES),
    show_envvar=True,
    help="Admin or client token; better in the variable, where no process list shows it.",
)
output_option = click.option(
    "--output",
    type=click.Choice(["table", "json"]),
    envvar="SPOTCORE_OUTPUT",
    default="table",
    show_default=True,
    show_envvar=True,
    help="A table for people, or the server's data as JSON.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder for everything that is kept.  [default: /var/lib/spotcore for root, else your data folder]",
)


def address_options(function: Callable[..., None]) -> Callable[..., None]:
    """Where a server listens and keeps what it has: adds ``--host``, ``--port``, ``--data-dir``."""
    for option in (
        click.option("--host", help="Address to listen on.  [default: 127.0.0.1]"),
        click.option("--port", type=click.IntRange(1, 65_535), help="Port to listen on.  [default: 5000]"),
        data_dir_option,
    ):
        function = option(function)
    return function


@contextmanager
def _other_versions() -> Iterator[None]:
    try:
        yield
    except KeyError as missing:
        raise ApiFailure(f"the answer has no {missing}; {ANOTHER_VERSION}") from missing
    except (TypeError, AttributeError) as strange:  # null or a list where an object was agreed
        raise ApiFailure(f"the answer has another form than expected; {ANOTHER_VERSION}") from strange
    except UnicodeEncodeError as strange:
        raise ApiFailure("a word of the command is no text that can be sent; type it again") from strange


def remote(function: Callable[..., None]) -> Callable[..., None]:
    """A command that asks a running server: adds ``--url``, ``--token``, ``--output``; gets a ``Remote`` first."""
    return output_option(remote_file(function))


def remote_file(function: Callable[..., None]) -> Callable[..., None]:
    """As ``remote`` without ``--output``, for answers that are no JSON."""

    @url_option
    @token_option
    @click.pass_context
    @functools.wraps(function)
    def run(context: click.Context, /, url: str, token: str | None, output: str = "table", **values: Any) -> None:
        with one_line_failures(bool(context.obj)), open_api(url, _usable(token)) as api, _other_versions():
            function(Remote(api, Screen(output)), **values)

    return run


def ask(question: str, yes: bool) -> None:
    """Go on only when ``--yes`` was given or a person says so."""
    if not yes:
        click.confirm(question, abort=True, err=True)
