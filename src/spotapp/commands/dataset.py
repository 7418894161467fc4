"""``spotcore dataset``: what models are trained on. On the database itself."""

from typing import Any, Final

import click
from attrs import asdict

from spotapp.commands.database import Local, local

COLUMNS: Final = {
    "id": "dataset_id", "built": "built_at", "rows": "rows", "pools": "pools", "from": "first_at", "to": "last_at",
    "sha256": "sha256", "file": "file",
}  # fmt: skip


@click.group()
def dataset() -> None:
    """Training datasets: build, list, show. Versions never change."""


@dataset.command()
@local
def build(here: Local) -> None:
    """Build a new version of the last two years; the current one is kept when nothing changed.

    \b
    Example:
      spotcore dataset build
    """
    made = _datasets(here).build(here.clock.now())
    if made is None:
        raise click.ClickException("nothing was measured yet; import history with: spotcore prices import FILE")
    here.screen.facts(_facts(made))


@dataset.command("list")
@local
def list_versions(here: Local) -> None:
    """Every version, newest first.

    \b
    Example:
      spotcore dataset list
    """
    found = [_facts(one) for one in _datasets(here).versions()]
    here.screen.rows(found, found, COLUMNS, empty="no dataset yet; build one with: spotcore dataset build")


@dataset.command()
@click.argument("version", type=int, required=False)
@local
def show(here: Local, version: int | None) -> None:
    """One version, the newest without an id.

    \b
    Example:
      spotcore dataset show 3
    """
    found = _datasets(here).show(version)
    if found is None:
        raise click.ClickException("there is no such version; list them with: spotcore dataset list")
    here.screen.facts(_facts(found))


def _datasets(here: Local) -> Any:
    from spotadapters.history.dataset import Datasets

    return Datasets(here.connections.database_url, here.wiring.settings.data_dir / "datasets")


def _facts(version: Any) -> dict[str, Any]:
    facts = asdict(version)
    times = {name: facts[name].isoformat() for name in ("built_at", "first_at", "last_at")}
    return {**facts, **times}
