"""Files on their way in: multipart bodies, streamed to the store and never held in memory whole (1.3, MS-4).

A body that will be refused for what it is, is still read to its end, so that the browser gets to see why: one that
is answered early ends in a broken connection there. What is too large ends at once.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from attrs import field, frozen
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from spotcore.errors import PayloadTooLarge, SpotError, Unavailable, ValidationFailed
from spotcore.models import MAX_BATCH, MAX_FILE, MAX_FILES, SessionKind, accept_name, label_of
from spotcore.ports.models import BlobStore, Incoming
from spotcore.service.models import Uploaded

MAX_FRAMING: Final = 1 << 20  # boundaries, headers and text fields
MAX_TEXT: Final = 255
MAX_PARTS: Final = 50
FED_AT_ONCE: Final = 1 << 20
WRONG_FORM: Final = "send multipart/form-data with the files in the field files"


@frozen(kw_only=True)
class Upload:
    """A body that was read: its files, in order, and its text fields."""

    files: tuple[Uploaded, ...]
    texts: Mapping[str, str] = field(factory=dict)


class Receiver:
    """Takes a multipart body piece by piece. ``discard`` forgets every file that the store was not told to keep."""

    def __init__(self, kind: SessionKind, store: Callable[[], BlobStore]) -> None:
        self._kind = kind
        self._refusal: SpotError | None = None
        self._store: BlobStore | None = None
        try:
            self._store = store()
        except SpotError as refusal:
            self._refusal = refusal
        self._files: list[Uploaded] = []
        self._texts: dict[str, str] = {}
        self._parts = 0
        self._received = 0
        self._file_bytes = 0
        self._ended = False
        self._parser: MultipartParser | None = None
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._sink: Callable[[bytes], None] = _dropped

    def begin(self, content_type: str, announced: str) -> None:
        """Look at the request's headers. Raises ``PayloadTooLarge`` and ``ValidationFailed``."""
        if announced.isdecimal() and int(announced[:20]) > MAX_BATCH + MAX_FRAMING:
            raise PayloadTooLarge(f"more than {MAX_BATCH >> 20} MiB in all")
        name, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        try:
            if name != b"multipart/form-data" or not boundary:
                raise FormParserError(WRONG_FORM)
            self._parser = MultipartParser(boundary, self._callbacks())
        except FormParserError:
            raise self._refusal or ValidationFailed(WRONG_FORM, files=["required"]) from None

    def feed(self, chunk: bytes) -> None:
        """The next piece. Raises ``PayloadTooLarge`` and ``ValidationFailed``."""
        assert self._parser is not None
        self._received += len(chunk)
        if self._received > MAX_BATCH + MAX_FRAMING:
            raise PayloadTooLarge(f"more than {MAX_BATCH >> 20} MiB in all")
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise ValidationFailed(WRONG_FORM) from None
        except OSError as failure:
            raise Unavailable("the files cannot be written now") from failure

    def finish(self) -> Upload:
        """The whole body. Raises what it is refused for."""
        if self._refusal is not None:
            raise self._refusal
        if not self._ended:
            raise ValidationFailed("the body ends early")
        return Upload(files=tuple(self._files), texts=dict(self._texts))

    def discard(self) -> None:
        """Forget every file that was not kept."""
        for one in self._files:
            one.content.discard()

    def _callbacks(self) -> Any:
        return {
            "on_part_begin": self._part_begun,
            "on_header_field": self._header_field,
            "on_header_value": self._header_valued,
            "on_header_end": self._header_ended,
            "on_headers_finished": self._headers_finished,
            "on_part_data": lambda data, start, end: self._sink(data[start:end]),
            "on_end": self._end,
        }

    def _part_begun(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise PayloadTooLarge(f"more than {MAX_PARTS} parts")
        self._disposition = b""
        self._sink = _dropped

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_valued(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_ended(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode(errors="replace")
        filename = options.get(b"filename")
        if filename is None:
            self._sink = self._text_sink(name)
        elif filename and name in ("files", self._kind.value):  # C39; a field without a chosen file sends an empty name
            self._sink = self._file_sink(filename.decode(errors="replace"))

    def _text_sink(self, name: str) -> Callable[[bytes], None]:
        held = bytearray()

        def take(chunk: bytes) -> None:
            held.extend(chunk)
            if len(held) > MAX_FRAMING:
                raise PayloadTooLarge("a text field is too long")
            self._texts[name] = "".join(one for one in held.decode(errors="replace") if one.isprintable())[:MAX_TEXT]

        return take

    def _file_sink(self, filename: str) -> Callable[[bytes], None]:
        if len(self._files) >= MAX_FILES:
            raise PayloadTooLarge(f"more than {MAX_FILES} files")
        incoming = self._opened(filename)
        size = 0

        def take(chunk: bytes) -> None:
            nonlocal size
            size += len(chunk)
            self._file_bytes += len(chunk)
            if size > MAX_FILE:
                raise PayloadTooLarge(f"a file is larger than {MAX_FILE >> 20} MiB")
            if self._file_bytes > MAX_BATCH:
                raise PayloadTooLarge(f"more than {MAX_BATCH >> 20} MiB in all")
            if incoming is not None and self._refusal is None:
                incoming.write(chunk)

        return take

    def _opened(self, filename: str) -> Incoming | None:
        """Where the file goes; None when the batch is refused, already or for this file."""
        if self._refusal is not None or self._store is None:
            return None
        try:
            label = label_of(filename)
            accept_name(self._kind, label)
        except SpotError as refusal:
            self._refusal = refusal
            self.discard()
            return None
        incoming = self._store.incoming()
        self._files.append(Uploaded(label=label, content=incoming))
        return incoming

    def _end(self) -> None:
        self._ended = True


def _dropped(chunk: bytes) -> None:
    """What nobody asked for."""


async def receive(request: Request, receiver: Receiver, run: Callable[[Callable[[], None]], Awaitable[None]]) -> Upload:
    """Read the request's body into ``receiver``; ``run`` does the writing, off the event loop."""
    receiver.begin(request.headers.get("content-type", ""), request.headers.get("content-length", ""))
    held = bytearray()
    async for chunk in request.stream():
        held += chunk
        if len(held) >= FED_AT_ONCE:
            await _fed(receiver, held, run)
    await _fed(receiver, held, run)
    return receiver.finish()


async def _fed(receiver: Receiver, held: bytearray, run: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
    piece = bytes(held)
    held.clear()
    await run(lambda: receiver.feed(piece))
