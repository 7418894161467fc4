"""Closing a listening socket without cutting anybody off.

Connections that the kernel has accepted and the process has not are reset when the socket is closed, and their callers
cannot know whether their call was heard. So new ones are kept out first: a filter on the socket drops the packet that
would begin one, whoever is in is let in, and then the socket is closed. Who was kept out is refused when it asks again.
"""

import contextlib
import ctypes
import socket
import struct
import sys
from typing import Final

SO_ATTACH_FILTER: Final = 26
SYN: Final = 0x02
FLAGS: Final = 13  # byte of a TCP header
NO_SYN: Final = (  # code, jump if true, jump if false, value
    (0x30, 0, 0, FLAGS),  # load the byte
    (0x45, 0, 1, SYN),  # is the bit set?
    (0x06, 0, 0, 0),  # yes: keep nothing of the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # no: keep all
)


def keep_out(listening: socket.socket) -> None:
    """Begin no new connections on the socket; those that have begun are completed. Does nothing but on Linux."""
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in NO_SYN))
    with contextlib.suppress(OSError):
        option = struct.pack("HP", len(NO_SYN), ctypes.addressof(program))
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)
