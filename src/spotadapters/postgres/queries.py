"""Named statements from ``sql/*.sql``: a block begins with ``-- name: <name>`` and ends where the next begins."""

from functools import cache
from importlib.resources import files
from typing import LiteralString


@cache
def _blocks() -> dict[str, LiteralString]:
    found: dict[str, LiteralString] = {}
    for file in sorted(files("spotadapters.postgres").joinpath("sql").iterdir(), key=lambda one: one.name):
        for block in file.read_text().split("-- name: ")[1:]:
            name, _, text = block.partition("\n")
            found[name.strip()] = text.strip().rstrip(";")
    return found


@cache
def query(name: str) -> LiteralString:
    """The statement of that name. Raises ``KeyError`` for one that does not exist."""
    return _blocks()[name]
