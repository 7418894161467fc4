"""A pooler that lends its one session to whoever asks next, as poolers of transactions do."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from struct import pack, unpack
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg

REQUESTS: Final = {80877103, 80877104}  # for encryption, which it has none of
REPORTED: Final = ("server_version", "server_encoding", "client_encoding", "standard_conforming_strings")


@contextmanager
def pooled_by_transactions(url: str) -> Iterator[str]:
    """The address of the database behind such a pooler."""
    with psycopg.connect(url, autocommit=True) as owner, socket.create_server(("127.0.0.1", 0)) as doors:
        threading.Thread(target=_serve, args=(doors, owner), daemon=True).start()
        known = urlsplit(url)
        host = f"{known.username}:{known.password}@127.0.0.1:{doors.getsockname()[1]}"
        yield urlunsplit(known._replace(netloc=host))
        doors.shutdown(socket.SHUT_RDWR)


def _serve(doors: socket.socket, owner: psycopg.Connection[tuple[object, ...]]) -> None:
    lent = threading.Lock()
    with socket.socket(fileno=socket.dup(owner.pgconn.socket)) as session:
        session.setblocking(True)
        while True:
            try:
                caller, _ = doors.accept()
            except OSError:
                return
            threading.Thread(target=_talk, args=(caller, session, lent, _greeting(owner)), daemon=True).start()


def _greeting(owner: psycopg.Connection[tuple[object, ...]]) -> bytes:
    """Nobody has to say who he is."""
    told = (f"{name}\0{owner.info.parameter_status(name)}\0".encode() for name in REPORTED)
    return b"".join(
        (_message(b"R", pack("!i", 0)), *(_message(b"S", one) for one in told), _message(b"Z", b"I"))
    )  # fmt: skip


def _message(kind: bytes, content: bytes) -> bytes:
    return kind + pack("!i", len(content) + 4) + content


def _talk(caller: socket.socket, session: socket.socket, lent: threading.Lock, greeting: bytes) -> None:
    with caller:
        while unpack("!i", _exactly(caller, _length(caller))[:4])[0] in REQUESTS:
            caller.sendall(b"N")
        caller.sendall(greeting)
        while asked := caller.recv(65_536):
            if asked.startswith(b"X"):
                return
            with lent:
                session.sendall(asked)
                kind = b""
                while kind != b"Z":
                    kind = _exactly(session, 1)
                    content = _exactly(session, _length(session))
                    caller.sendall(_message(kind, content))


def _length(peer: socket.socket) -> int:
    length: int = unpack("!i", _exactly(peer, 4))[0]
    return length - 4


def _exactly(peer: socket.socket, length: int) -> bytes:
    read = b""
    while len(read) < length:
        read += peer.recv(length - len(read)) or _hung_up()
    return read


def _hung_up() -> bytes:
    raise ConnectionError("the peer has hung up")
