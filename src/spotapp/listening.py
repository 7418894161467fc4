"""The address a server listens on: taken before anything is started, refused with what to do about it."""

import errno
import socket

from spotapp.settings import Settings


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


def way_out(failure: Exception) -> str:
    """What to do about an address that cannot be listened on."""
    if getattr(failure, "errno", None) == errno.EADDRINUSE:
        return "stop what runs there or use another --port"
    return "use another --host or another --port"
