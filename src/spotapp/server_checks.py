"""Why a PostgreSQL of one's own cannot be reached, and what would be right. Never with a password."""

from typing import Final

import psycopg

from spotadapters.system.reasons import reason

UNREADABLE: Final = "the address cannot be read"
ADDRESS: Final = (
    "SPOTCORE_DATABASE_URL is postgresql://USER:PASSWORD@HOST:PORT/DATABASE; write @ : / ? % in a password as "
    "%40 %3A %2F %3F %25"
)
REMEDIES: Final = (
    ("too many clients already", "end processes or sessions that are not needed, or raise max_connections"),
    ("remaining connection slots", "end processes or sessions that are not needed, or raise max_connections"),
    ("too many connections for", "raise the connection limit of the role or database, or end sessions"),
    ("password authentication failed", "check the user and the password of SPOTCORE_DATABASE_URL"),
    ("no password supplied", "give a password in SPOTCORE_DATABASE_URL"),
    ("no pg_hba.conf entry", "let the server's pg_hba.conf admit this machine, or connect with TLS (?sslmode=require)"),
    ("does not exist", "make it (createdb, createuser), or check the names in SPOTCORE_DATABASE_URL"),
    ("is starting up", "wait until the server has started"),
    ("No space left", "make room on the database's disk"),
)
OTHERWISE: Final = "check SPOTCORE_DATABASE_URL and that the server runs"


def why_unreachable(failure: psycopg.Error, database_url: str) -> tuple[str, str]:
    """What was said, and what to do about it."""
    if isinstance(failure, psycopg.ProgrammingError) or _is_odd(database_url):
        return UNREADABLE, ADDRESS  # its pieces may be those of a password
    said = reason(failure).removeprefix("connection failed: ")
    return said, next((remedy for words, remedy in REMEDIES if words in said), OTHERWISE)


def _is_odd(database_url: str) -> bool:
    """Whether a password with a bare ``@``, ``/`` or ``?`` makes the host begin too early."""
    before_host = database_url.partition("://")[2].rpartition("@")[0]
    return any(letter in before_host for letter in "@/?")
