"""Files that are sent and files that are written: whole, by their names, and nothing when something is wrong."""

from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_http import Asked, Told, refusal, success
from tests.unit.cli.bodies import UPLOADED
from tests.unit.cli.conftest import TOKEN, Cli

UPLOAD = "POST /api/admin/ml-models/upload"
STATS = "GET /api/admin/export/global-stats"
CSV = b'Client ID,Name,Email,Total Savings ($),Active Instances,Active Agents,Created At\r\nc-1,"\xc3\x9c, \'x",,1.00,1,1,2026-03-02T12:00:00Z\r\n'


def parts(asked: Asked) -> list[tuple[str, str | None, bytes]]:
    """Name, file name and content of each part."""
    head = f"Content-Type: {asked.headers['Content-Type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + asked.raw)
    found: list[Any] = list(message.iter_parts())
    return [
        (one.get_param("name", header="content-disposition"), one.get_filename(), one.get_payload(decode=True))
        for one in found
    ]


def file(folder: Path, name: str, content: bytes = b"{}") -> Path:
    made = folder / name
    made.write_bytes(content)
    return made


# ---- uploads (E64)


def test_every_file_is_sent_whole_under_its_name_with_the_fields_that_were_given(cli: Cli, tmp_path: Path) -> None:
    cli.server.tell(UPLOAD, success(UPLOADED))
    manifest, weights = (
        file(tmp_path, "manifest.json", b'{"a": 1}'),
        file(tmp_path, "w.safetensors", bytes(range(256)) * 9),
    )
    words = ["--name", "model 1", "--version", "2", "--type", "ranker"]
    assert cli("models", "upload", str(manifest), str(weights), *words).exit_code == 0
    (asked,) = cli.server.asked
    assert sorted(parts(asked), key=str) == sorted(
        [
            ("files", "manifest.json", b'{"a": 1}'), ("files", "w.safetensors", bytes(range(256)) * 9),
            ("model_name", None, b"model 1"), ("model_version", None, b"2"), ("model_type", None, b"ranker"),
        ],
        key=str,
    )  # fmt: skip


def test_fields_that_were_not_given_are_not_sent(cli: Cli, tmp_path: Path) -> None:
    cli.server.tell(UPLOAD, success(UPLOADED))
    cli("models", "upload", str(file(tmp_path, "manifest.json")))
    assert [name for name, *_ in parts(cli.server.asked[0])] == ["files"]


def test_an_upload_says_how_to_go_on_and_json_is_the_servers_data(cli: Cli, tmp_path: Path) -> None:
    cli.server.tell(UPLOAD, success(UPLOADED))
    manifest = str(file(tmp_path, "manifest.json"))
    assert cli.table("models", "upload", manifest) == (
        "session session-2 uploaded; activate it with: spotcore models activate session-2\n"
    )
    assert cli.json("models", "upload", manifest) == UPLOADED


def test_the_text_that_says_what_is_accepted_is_shown_z14(cli: Cli, tmp_path: Path) -> None:
    text = "Only .safetensors, state dicts and manifest.json are accepted, because nothing that is uploaded is ever run"
    cli.server.tell(UPLOAD, refusal(400, "UNSUPPORTED_FILE_TYPE", text))
    result = cli("models", "upload", str(file(tmp_path, "model.pkl")))
    assert (result.exit_code, text in result.stderr) == (1, True)


@pytest.mark.parametrize("words", [[], ["/nowhere/at/all"], ["."]])
def test_what_is_no_file_is_wrong_use_and_sends_nothing(cli: Cli, words: list[str]) -> None:
    result = cli("models", "upload", *words)
    assert (result.exit_code, cli.server.asked) == (2, [])


# ---- exports (E84, E85, E86)


def test_a_file_is_written_byte_for_byte_and_its_size_told_beside(cli: Cli, tmp_path: Path) -> None:
    cli.server.tell(STATS, Told(200, CSV, "text/csv; charset=utf-8"))
    target = tmp_path / "stats.csv"
    target.write_bytes(b"something longer that was there before" * 50)
    result = cli("export", "stats", "--to", str(target))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{len(CSV)} bytes in {target}\n"
    assert target.read_bytes() == CSV


def test_without_a_file_the_bytes_go_to_standard_output_and_nothing_else_does(cli: Cli) -> None:
    cli.server.tell(STATS, Told(200, CSV, "text/csv; charset=utf-8"))
    result = cli("export", "stats")
    assert (result.stdout_bytes, result.stderr) == (CSV, "")


@pytest.mark.parametrize(
    "told",
    [
        refusal(401, "INVALID_TOKEN", "x"),
        refusal(503, "UNAVAILABLE", "x"),
        Told(200, b"<html>", "text/html"),
        success([]),
    ],
    ids=["401", "503", "html", "json"],
)
def test_a_refusal_leaves_the_file_as_it_was(cli: Cli, tmp_path: Path, told: Told) -> None:
    target = file(tmp_path, "stats.csv", b"before")
    cli.server.tell(STATS, told)
    result = cli("export", "stats", "--to", str(target))
    assert (result.exit_code, target.read_bytes(), len(result.stderr.splitlines())) == (1, b"before", 1)
    assert TOKEN not in result.output


def test_a_folder_that_is_not_there_is_one_line_that_names_the_file(cli: Cli, tmp_path: Path) -> None:
    cli.server.tell(STATS, Told(200, CSV, "text/csv; charset=utf-8"))
    target = tmp_path / "no" / "stats.csv"
    result = cli("export", "stats", "--to", str(target))
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert str(target) in result.stderr


def test_a_folder_is_no_file_to_write(cli: Cli, tmp_path: Path) -> None:
    assert cli("export", "stats", "--to", str(tmp_path)).exit_code == 2
    assert cli.server.asked == []


@pytest.mark.parametrize("verb", ["savings c", "switches c", "stats"])
def test_an_export_has_no_other_form_than_csv(cli: Cli, verb: str) -> None:
    assert cli("export", *verb.split(), "--output", "json").exit_code == 2
