"""How the server holds connections."""

from starlette.applications import Starlette

from spotapp.web import server_config

LONGEST_PAUSE = 60  # seconds between two calls of a deployed agent's loop (agent-wire 2): its configuration


def test_t03_no_connection_is_closed_between_two_calls_of_an_agent() -> None:
    assert server_config(Starlette()).timeout_keep_alive > LONGEST_PAUSE
