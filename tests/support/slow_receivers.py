"""Receivers that answer as none should: never to the end."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from attrs import define, field


@define
class SlowReceiver:
    """``taken`` counts who came in."""

    url: str
    taken: int = 0
    ending: threading.Event = field(factory=threading.Event)
    lock: threading.Lock = field(factory=threading.Lock)

    def drip(self, connection: socket.socket, text: bytes, seconds: float = 0.02) -> None:
        """A byte now and then, the last one for ever."""
        while not self.ending.wait(seconds):
            connection.sendall(text[:1])
            text = text[1:] or text

    def flood(self, connection: socket.socket) -> None:
        """A body without an end, as fast as it is read."""
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not self.ending.is_set():
            connection.sendall(bytes(1 << 16))


Answer = Callable[[SlowReceiver, socket.socket], object]


def header_by_header(receiver: SlowReceiver, connection: socket.socket) -> None:
    """Its head never ends."""
    receiver.drip(connection, b"HTTP/1.1 200 OK\r\nX-Long: xx")


def body_byte_by_byte(receiver: SlowReceiver, connection: socket.socket) -> None:
    """The head says all, the body never ends."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    receiver.drip(connection, b"x")


def without_end(receiver: SlowReceiver, connection: socket.socket) -> None:
    """Gigabytes."""
    receiver.flood(connection)


@contextmanager
def a_slow_receiver(answer: Answer) -> Iterator[SlowReceiver]:
    """A receiver on a port of its own; ended with the block."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        receiver = SlowReceiver(f"http://127.0.0.1:{server.getsockname()[1]}/hook")
        threads: list[threading.Thread] = []

        def talk(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.settimeout(5)
                connection.recv(1 << 16)
                with receiver.lock:
                    receiver.taken += 1
                answer(receiver, connection)

        def listen() -> None:
            while not receiver.ending.is_set():
                with suppress(TimeoutError):
                    connection, _ = server.accept()
                    threads.append(threading.Thread(target=talk, args=(connection,)))
                    threads[-1].start()

        listening = threading.Thread(target=listen)
        listening.start()
        try:
            yield receiver
        finally:
            receiver.ending.set()
            listening.join()
            for thread in threads:
                thread.join()
