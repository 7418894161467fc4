"""Multipart bodies on their way in: whatever the pieces they come in, one result, and nothing left behind (1.3, MS-4, Z14)."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.http import uploads
from spotadapters.http.uploads import MAX_PARTS, Receiver, Upload
from spotadapters.memory.models import MemoryBlobs
from spotcore.errors import (
    PayloadTooLarge,
    SpotError,
    Unavailable,
    UnsupportedFileType,
    UploadDisabled,
    ValidationFailed,
)
from spotcore.models import MAX_BATCH, MAX_FILES, SessionKind
from spotcore.ports.models import BlobStore

BOUNDARY = "the-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def part(disposition: str, content: bytes = b"", *headers: str) -> bytes:
    lines = [f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content + b"\r\n"


def a_file(name: str, content: bytes = b"{}", field: str = "files") -> bytes:
    return part(f'name="{field}"; filename="{name}"', content)


END = f"--{BOUNDARY}--\r\n".encode()


class Shelf(MemoryBlobs):
    """Bytes in memory, with an account of what was begun and not yet discarded."""

    def __init__(self) -> None:
        super().__init__()
        self.open_files: list[Any] = []

    def incoming(self) -> Any:
        made = super().incoming()
        self.open_files.append(made)
        return made


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    made = Shelf()
    yield made
    for one in made.open_files:
        one.discard()


def received(
    store: BlobStore, pieces: Sequence[bytes], kind: SessionKind = SessionKind.MODEL, content_type: str = FORM
) -> tuple[Upload, Receiver]:
    receiver = Receiver(kind, lambda: store)
    receiver.begin(content_type, "")
    for piece in pieces:
        receiver.feed(piece)
    return receiver.finish(), receiver


def contents(upload: Upload) -> dict[str, bytes]:
    return {one.label: one.content.head(1 << 20) for one in upload.files}


def test_files_and_texts_come_out_as_they_went_in(shelf: Shelf) -> None:
    body = (
        part('name="model_name"', b"risk")
        + a_file("manifest.json", b'{"a": 1}')
        + part('name="model_version"', "1.0 \u00e9".encode())
        + a_file("m.safetensors", b"\r\n--the-bound\r\n\x00\xff")
        + END
    )
    upload, _ = received(shelf, [body])
    assert contents(upload) == {"manifest.json": b'{"a": 1}', "m.safetensors": b"\r\n--the-bound\r\n\x00\xff"}
    assert dict(upload.texts) == {"model_name": "risk", "model_version": "1.0 \u00e9"}


@given(st.data())
def test_the_pieces_of_a_body_make_no_difference(data: st.DataObject) -> None:
    content = data.draw(st.binary(max_size=60))
    body = part('name="model_name"', b"risk") + a_file("manifest.json", content) + END
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=8)))
    pieces = [body[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    upload, receiver = received(MemoryBlobs(), pieces)
    assert (contents(upload), dict(upload.texts)) == ({"manifest.json": content}, {"model_name": "risk"})
    receiver.discard()


@pytest.mark.parametrize("kind", list(SessionKind))
def test_both_names_of_the_field_are_taken_and_no_other_c39(shelf: Shelf, kind: SessionKind) -> None:
    other = SessionKind.MODEL if kind is SessionKind.ENGINE else SessionKind.ENGINE
    body = (
        a_file("a.json", b"1", "files") + a_file("b.json", b"2", kind.value) + a_file("c.json", b"3", other.value)
        + a_file("d.py", b"4", "attachment") + END
    )  # fmt: skip
    accepted = (
        body.replace(b"a.json", b"manifest.json").replace(b"b.json", b"m.safetensors")
        if kind is SessionKind.MODEL
        else body
    )
    upload, _ = received(shelf, [accepted], kind)
    assert list(contents(upload).values()) == [b"1", b"2"]


def test_a_field_without_a_chosen_file_is_none(shelf: Shelf) -> None:
    upload, _ = received(shelf, [part('name="files"; filename=""') + END])
    assert upload.files == ()


@pytest.mark.parametrize(
    ("sent", "label"),
    [
        ("manifest.json", "manifest.json"), ("../../etc/manifest.json", "manifest.json"),
        ("C:\\\\models\\\\manifest.json", "manifest.json"), ("/tmp/manifest.json", "manifest.json"),
    ],
)  # fmt: skip
def test_a_name_is_a_label_and_never_a_path_s07(shelf: Shelf, sent: str, label: str) -> None:
    upload, _ = received(shelf, [a_file(sent) + END])
    assert [one.label for one in upload.files] == [label]


@pytest.mark.parametrize(
    "name", ["evil.py", "model.pkl", "model.joblib", "m.h5", "m.onnx", "m.pb", "noextension", "a.json.exe"]
)
def test_one_file_that_is_not_accepted_refuses_the_batch_and_keeps_nothing_e64(shelf: Shelf, name: str) -> None:
    for order in ((a_file("manifest.json"), a_file(name)), (a_file(name), a_file("manifest.json"))):
        receiver = Receiver(SessionKind.MODEL, lambda: shelf)
        receiver.begin(FORM, "")
        receiver.feed(b"".join(order) + END)
        with pytest.raises(UnsupportedFileType) as refused:
            receiver.finish()
        assert "all files" in refused.value.message
        assert not any(one.size for one in shelf.open_files)  # forgotten at once, not at the end
    assert shelf.names() == frozenset()


def test_a_batch_that_is_refused_is_read_to_its_end_so_that_the_browser_sees_why(shelf: Shelf) -> None:
    receiver = Receiver(SessionKind.MODEL, lambda: shelf)
    receiver.begin(FORM, "")
    receiver.feed(a_file("evil.py", b"x" * 100)[:-50])
    begun = len(shelf.open_files)
    receiver.feed(b"y" * 1_000)
    receiver.feed(b"\r\n" + a_file("manifest.json") + END)
    assert len(shelf.open_files) == begun == 0  # nothing more is written for it
    with pytest.raises(UnsupportedFileType):
        receiver.finish()


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/mixed; boundary=x",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "text/plain",
    ],
)
def test_another_content_type_is_told_what_to_send(shelf: Shelf, content_type: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        Receiver(SessionKind.MODEL, lambda: shelf).begin(content_type, "")
    assert "multipart/form-data" in refused.value.message
    assert refused.value.details == {"files": ["required"]}


@pytest.mark.parametrize(
    "content_type",
    ['multipart/form-data; boundary="the-boundary"', "Multipart/Form-Data; boundary=the-boundary; charset=utf-8"],
)
def test_spellings_of_the_content_type_that_mean_the_same(shelf: Shelf, content_type: str) -> None:
    upload, _ = received(shelf, [a_file("manifest.json") + END], content_type=content_type)
    assert len(upload.files) == 1


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", a_file("manifest.json"), (a_file("manifest.json") + END)[:-8], b"--another\r\n\r\n"]
)
def test_a_body_that_is_no_form_or_ends_early_is_refused(shelf: Shelf, body: bytes) -> None:
    with pytest.raises(ValidationFailed):
        received(shelf, [body])


def test_uploads_that_are_off_are_refused_for_that_whatever_is_sent_s06() -> None:
    def off() -> BlobStore:
        raise UploadDisabled("uploads are switched off")

    for content_type, body in (
        (FORM, a_file("manifest.json") + END),
        (FORM, a_file("evil.py") + END),
        ("text/plain", b""),
    ):
        with pytest.raises(UploadDisabled):
            _read(Receiver(SessionKind.MODEL, off), content_type, body)


def _read(receiver: Receiver, content_type: str, body: bytes) -> Upload:
    receiver.begin(content_type, "")
    receiver.feed(body)
    return receiver.finish()


# ---- limits


def test_as_many_files_as_the_limit_and_one_more(shelf: Shelf) -> None:
    files = [a_file("manifest.json"), *(a_file(f"m{number}.safetensors") for number in range(MAX_FILES))]
    upload, _ = received(shelf, [b"".join(files[:MAX_FILES]) + END])
    assert len(upload.files) == MAX_FILES
    with pytest.raises(PayloadTooLarge, match=f"more than {MAX_FILES} files"):
        received(shelf, [b"".join(files) + END])


def test_as_many_parts_as_the_limit_and_one_more(shelf: Shelf) -> None:
    texts = [part(f'name="t{number}"', b"x") for number in range(MAX_PARTS)]
    assert len(received(shelf, [b"".join(texts) + END])[0].texts) == MAX_PARTS
    with pytest.raises(PayloadTooLarge, match=f"more than {MAX_PARTS} parts"):
        received(shelf, [b"".join(texts) + part('name="more"') + END])


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65])
def test_a_file_up_to_the_limit_and_the_batch_up_to_its_own(
    shelf: Shelf, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_FILE", 64)
    monkeypatch.setattr(uploads, "MAX_BATCH", 100)
    body = a_file("manifest.json", b"x" * size) + END
    if size > 64:
        with pytest.raises(PayloadTooLarge, match="a file is larger"):
            received(shelf, [body])
        return
    assert contents(received(shelf, [body])[0]) == {"manifest.json": b"x" * size}
    two = a_file("manifest.json", b"x" * 64) + a_file("m.safetensors", b"x" * (36 + (size == 64))) + END
    if size == 64:
        with pytest.raises(PayloadTooLarge, match="in all"):
            received(shelf, [two])
    else:
        assert len(received(shelf, [two])[0].files) == 2


@pytest.mark.parametrize(
    ("announced", "fits"),
    [
        ("", True),
        ("12", True),
        ("not a number", True),
        (str(MAX_BATCH), True),
        (str(300 << 20), False),
        ("9" * 40, False),
    ],
)
def test_an_announced_length_is_believed_before_anything_is_read(shelf: Shelf, announced: str, fits: bool) -> None:
    receiver = Receiver(SessionKind.MODEL, lambda: shelf)
    if fits:
        receiver.begin(FORM, announced)
    else:
        with pytest.raises(PayloadTooLarge, match="256 MiB"):
            receiver.begin(FORM, announced)


def test_framing_has_a_limit_of_its_own_and_lies_about_the_length_do_not_help(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_BATCH", 1_000)
    monkeypatch.setattr(uploads, "MAX_FRAMING", 500)
    receiver = Receiver(SessionKind.MODEL, lambda: shelf)
    receiver.begin(FORM, "10")
    receiver.feed(part('name="ignored"; filename="x"', b"y" * 1_400, "X-Long: " + "z" * 0))
    with pytest.raises(PayloadTooLarge):
        receiver.feed(b"y" * 200)


def test_a_text_that_never_ends_is_too_large_and_a_long_one_is_cut(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, _ = received(shelf, [part('name="model_name"', b"n" * 300) + END])
    assert upload.texts["model_name"] == "n" * 255
    monkeypatch.setattr(uploads, "MAX_FRAMING", 299)
    with pytest.raises(PayloadTooLarge, match="text field"):
        received(shelf, [part('name="model_name"', b"n" * 300) + END])


def test_texts_hold_nothing_that_cannot_be_shown(shelf: Shelf) -> None:
    upload, _ = received(shelf, [part('name="model_name"', b"a\x00b\x1bc\xff\xc3\xa9") + END])
    assert upload.texts["model_name"] == "abc\ufffd\u00e9"


def test_a_disk_that_is_full_is_our_trouble_and_no_ones_fault() -> None:
    class Full(Shelf):
        def incoming(self) -> Any:
            made = super().incoming()

            class Broken:
                def write(self, _: bytes) -> None:
                    raise OSError(28, "No space left on device: /var/lib/spotcore")

                def discard(self) -> None:
                    made.discard()

            return Broken()

    with pytest.raises(Unavailable) as refused:
        received(Full(), [a_file("manifest.json") + END])
    assert "/var" not in refused.value.message


def test_discarding_forgets_every_file_and_may_be_done_twice(shelf: Shelf) -> None:
    _, receiver = received(shelf, [a_file("manifest.json") + a_file("m.safetensors") + END])
    assert len(shelf.open_files) == 2
    for _ in range(2):
        receiver.discard()
    assert shelf.names() == frozenset()


@given(
    st.lists(
        st.sampled_from(
            [
                b"--the-boundary",
                b"\r\n",
                b"--",
                b'Content-Disposition: form-data; name="files"',
                b"; filename=",
                b'"a.json"',
                b"\0",
                b"x" * 50,
            ]
        )
    )
)
def test_no_body_ends_in_anything_but_an_upload_or_a_refusal(pieces: list[bytes]) -> None:
    receiver = Receiver(SessionKind.ENGINE, MemoryBlobs)
    receiver.begin(FORM, "")
    try:
        for piece in pieces:
            receiver.feed(piece)
        assert isinstance(receiver.finish(), Upload)
    except SpotError as refusal:
        assert refusal.code in ("VALIDATION_ERROR", "UNSUPPORTED_FILE_TYPE")
    finally:
        receiver.discard()
