"""A server that is away, slow, of another version or no spotcore at all: one line that names the fix, never a trace."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from spotapp.commands import api
from tests.support.scripted_http import Told, success
from tests.support.up import free_port
from tests.unit.cli.conftest import TOKEN, Cli
from tests.unit.cli.test_requests import ASKED

ONCE_EACH = list({name: (words, name) for words, name, *_ in ASKED}.values())
"""A command for each endpoint."""

NO_SERVER_OF_OURS: dict[str, Told] = {
    "html": Told(200, b"<html>It works!</html>", "text/html"),
    "nothing": Told(200, b""),
    "null": Told(200, b"null"),
    "a list": Told(200, b"[1, 2]"),
    "a text": Told(200, b'"hello"'),
    "no data": Told(200, b'{"status": "success"}'),
    "half an answer": Told(200, b'{"status": "success", "data": {"agents": ['),
    "not utf-8": Told(200, b'{"data": "\xff\xfe"}'),
    "too deep": Told(200, b'{"data": ' + b"[" * 50_000),
    "moved": Told(301, b"", "text/html"),
    "teapot": Told(418, b"short and stout", "text/plain"),
    "a gateway": Told(504, b"<html>Gateway Time-out</html>", "text/html"),
    "a list of errors": Told(400, b'["bad"]'),
}


@pytest.mark.parametrize("told", NO_SERVER_OF_OURS.values(), ids=NO_SERVER_OF_OURS)
def test_what_is_no_spotcore_server_is_named_so(cli: Cli, told: Told) -> None:
    cli.server.tell("GET /api/admin/stats", told)
    result = cli("stats")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"spotcore: {cli.server.url} answered {told.status}, but not as a spotcore server; check --url\n"
    )


@pytest.mark.parametrize(("words", "name"), ONCE_EACH, ids=[words for words, _ in ONCE_EACH])
def test_a_web_page_is_no_answer_to_any_command(cli: Cli, words: str, name: str) -> None:
    cli.server.tell(name, NO_SERVER_OF_OURS["html"])
    result = cli(*words.split())
    assert (result.exit_code, result.stdout) == (1, "")
    assert "not as a spotcore server; check --url" in result.stderr
    assert TOKEN not in result.output


@pytest.mark.parametrize("data", [None, "text", [None], {}], ids=repr)
@pytest.mark.parametrize(("words", "name"), ONCE_EACH, ids=[words for words, _ in ONCE_EACH])
def test_data_of_any_other_form_is_a_line_and_never_a_trace(cli: Cli, words: str, name: str, data: Any) -> None:
    cli.server.tell(name, success(data))
    result = cli(*words.split())
    assert result.exit_code in (0, 1)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert len(result.stderr.splitlines()) <= 1


@pytest.mark.parametrize(
    ("words", "name", "data", "missing"),
    [
        ("agents list", "GET /api/admin/agents", {"rows": []}, "'agents'"),
        ("agents show a", "GET /api/admin/search", {}, "'agents'"),
        ("instances list", "GET /api/admin/instances", {}, "'instances'"),
        ("clients create A", "POST /api/admin/clients/create", {"success": True}, "'client'"),
        ("clients rotate c", "POST /api/admin/clients/c/regenerate-token", {}, "'token'"),
        ("clients token c", "GET /api/admin/clients/c/token", {}, "'token'"),
        ("switch i-0 --ondemand --simulate", "POST /api/client/instances/i-0/simulate-switch", {}, "'simulation'"),
        ("switch i-0 --ondemand", "POST /api/client/instances/i-0/force-switch", {}, "'success'"),
        ("notifications read-all", "POST /api/notifications/mark-all-read", {}, "'marked_count'"),
        ("models fallback", "POST /api/admin/ml-models/fallback", {}, "'fallbackSessionId'"),
        ("pools list", "GET /api/admin/pools/statistics", {}, "'total_pools'"),
    ],
)
def test_what_an_answer_lacks_is_named_with_the_version_to_compare(
    cli: Cli, words: str, name: str, data: Any, missing: str
) -> None:
    cli.server.tell(name, success(data))
    result = cli(*words.split())
    assert result.exit_code == 1
    assert f"the answer has no {missing}" in result.stderr
    assert "spotcore --version" in result.stderr


@pytest.mark.parametrize(
    "words", ["stats", "clients list", "clients delete c --yes", "export stats", "events show --follow"]
)
def test_a_server_that_is_not_there_names_the_address_and_how_to_start_one(cli: Cli, words: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = cli(*words.split(), "--url", url)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert all(text in result.stderr for text in (f"cannot reach {url}", "spotcore up", "--url"))


@contextmanager
def a_mute_server(says: bytes = b"", *, hangs_up: bool) -> Iterator[str]:
    """Takes connections, reads a little, says something, and keeps silent or hangs up."""
    done = threading.Event()
    kept: list[socket.socket] = []

    def serve(listening: socket.socket) -> None:
        while not done.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            kept.append(connection)
            connection.recv(65_536)
            connection.sendall(says)
            if hangs_up:
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            done.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in kept:
                one.close()


def test_a_server_that_says_nothing_is_given_up_with_what_to_do(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "TIMEOUT", httpx2.Timeout(0.05))
    with a_mute_server(hangs_up=False) as url:
        result = cli("stats", "--url", url)
    assert result.exit_code == 1
    assert result.stderr == f"spotcore: {url} did not answer in time; try again, or look with: spotcore check\n"


CUT = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"


@pytest.mark.parametrize(
    "says", [b"", b"\x00\x01\x02", b"SSH-2.0-OpenSSH_9.6\r\n", CUT], ids=["nothing", "noise", "ssh", "cut"]
)
def test_what_does_not_speak_http_to_its_end_is_one_line(cli: Cli, says: bytes) -> None:
    with a_mute_server(says, hangs_up=True) as url:
        for words in ("stats", "export stats"):
            result = cli(*words.split(), "--url", url)
            assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
            assert f"cannot reach {url}" in result.stderr


def test_https_to_a_plain_port_is_one_line(cli: Cli) -> None:
    result = cli("stats", "--url", cli.server.url.replace("http://", "https://"))
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "cannot reach https://" in result.stderr


def test_a_redirect_is_not_followed_with_the_token(cli: Cli) -> None:
    cli.server.tell("GET /api/admin/stats", Told(302, b"{}"))
    assert cli("stats").exit_code == 1
    assert len(cli.server.asked) == 1


def test_an_address_with_a_path_is_kept_in_front_of_every_call(cli: Cli) -> None:
    cli("stats", "--url", f"{cli.server.url}/spot/")
    assert cli.server.asked[0].name == "GET /spot/api/admin/stats"


@pytest.mark.parametrize(
    "words",
    [["clients", "show", "\udcff"], ["clients", "create", "\udcff"], ["instances", "list", "--search", "\udcff"]],
)
def test_bytes_that_are_no_text_are_never_sent(cli: Cli, words: list[str]) -> None:
    result = cli(*words)
    assert (result.exit_code, cli.server.asked, len(result.stderr.splitlines())) == (1, [], 1)
    assert "type it again" in result.stderr


def test_debug_shows_where_an_odd_answer_broke(cli: Cli) -> None:
    cli.server.tell("GET /api/admin/agents", success(None))
    result = cli("--debug", "agents", "list")
    assert type(result.exception).__name__ == "ApiFailure"
    assert type(result.exception.__cause__).__name__ == "TypeError"
