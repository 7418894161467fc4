"""A scripted server, and the command line that talks to it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import frozen
from click.testing import CliRunner, Result

from spotapp.cli import main
from tests.support.scripted_http import ScriptedHttp, a_scripted_http

TOKEN = "a-token-that-never-shows"


@frozen
class Cli:
    """``spotcore …`` against one server."""

    server: ScriptedHttp

    def __call__(self, *words: str, answer: str | None = None, **environment: str) -> Result:
        known = {"SPOTCORE_URL": self.server.url, "SPOTCORE_ADMIN_TOKEN": TOKEN, "SPOTCORE_TOKEN": "", "COLUMNS": "240"}
        return CliRunner().invoke(main, list(words), input=answer, env=known | environment)

    def json(self, *words: str) -> Any:
        result = self(*words, "--output", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def table(self, *words: str, answer: str | None = None) -> str:
        result = self(*words, answer=answer)
        assert result.exit_code == 0, result.output
        return result.stdout


@pytest.fixture(scope="module")
def one_server() -> Iterator[ScriptedHttp]:
    with a_scripted_http() as scripted:
        yield scripted


@pytest.fixture
def server(one_server: ScriptedHttp) -> ScriptedHttp:
    """Knows nothing yet, and was asked nothing."""
    one_server.forget()
    return one_server


@pytest.fixture
def cli(server: ScriptedHttp) -> Cli:
    return Cli(server)
