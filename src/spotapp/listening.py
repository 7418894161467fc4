"""The address a server listens on: taken before anything is started, refused with what to do about it."""

import errno
import socket
from typing import Final

from spotapp.settings import Settings

DOORS: Final = 16


class AddressInUse(Exception):
    """The address cannot be listened on; the message says why and what to do."""


def bound_socket(settings: Settings) -> socket.socket:
    """The listening socket. Raises ``AddressInUse``."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except (OSError, UnicodeError) as failure:  # a name that no resolver takes is the second
        listening.close()
        why = getattr(failure, "strerror", None) or failure
        raise AddressInUse(f"cannot listen on {settings.host}:{settings.port} ({why}); {way_out(failure)}") from failure
    return listening


def doors(listening: socket.socket) -> list[socket.socket]:
    """The listening socket by so many descriptors that a storm gets in.

    The loop takes in one new connection from each in a round (libuv does since 1.45), and rounds are long under load:
    through one alone, notices on new connections stand in line for seconds behind those who are in.
    """
    return [listening, *(listening.dup() for _ in range(DOORS - 1))]


def way_out(failure: Exception) -> str:
    """What to do about an address that cannot be listened on."""
    if getattr(failure, "errno", None) == errno.EADDRINUSE:
        return "stop what runs there or use another --port"
    return "use another --host or another --port"
