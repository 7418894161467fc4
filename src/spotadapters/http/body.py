"""The body of a request, bounded."""

from typing import Final

from starlette.requests import Request

from spotcore.errors import PayloadTooLarge

MAX_BODY: Final = 1 << 20


async def read_body(request: Request) -> bytes:
    """The body, at most 1 MiB; nothing beyond is kept, whatever length was announced. Raises ``PayloadTooLarge``."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY:
        raise PayloadTooLarge("the body is larger than 1 MiB")
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise PayloadTooLarge("the body is larger than 1 MiB")
        parts.append(chunk)
    return b"".join(parts)
