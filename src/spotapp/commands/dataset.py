"""``spotcore dataset``: what models are trained on. On the database itself."""

from typing import Any, Final

import click
from attrs import asdict

from spotapp.commands.database import Local, local

COLUMNS: Final = {
    "id": "dataset_id", "built": "built_at", "rows": "rows", "pools": "pools", "from": "first_at", "to": "last_at",
    "sha256": "sha256", "file": "file", "kept": "has_file",
}  # fmt: skip


@click.group()
def dataset() -> None:
    """Training datasets: build, list, show. Versions never change; the files of old ones are removed."""


@dataset.command()
@local
def build(here: Local) -> None:
    """Build a new version of the last two years; the current one is kept when nothing changed.

    Files of old versions are removed first: those of the newest 8 stay, and those that a model's manifest names.

    \b
    Example:
      spotcore dataset build
    """
    datasets = _datasets(here)
    datasets.remove_old(here.plane.models.mentioned)
    made = datasets.build(here.clock.now())
    if made is None:
        raise click.ClickException("nothing was measured yet; import history with: spotcore prices import FILE")
    here.screen.facts(_facts(datasets, made))


@dataset.command("list")
@local
def list_versions(here: Local) -> None:
    """Every version, newest first, and whether its file is still kept.

    \b
    Example:
      spotcore dataset list
    """
    datasets = _datasets(here)
    found = [_facts(datasets, one) for one in datasets.versions()]
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
    datasets = _datasets(here)
    found = datasets.show(version)
    if found is None:
        raise click.ClickException("there is no such version; list them with: spotcore dataset list")
    here.screen.facts(_facts(datasets, found))


@dataset.command()
@click.argument("version", type=int, required=False)
@local
def path(here: Local, version: int | None) -> None:
    """Where the file of a version lies, of the newest without an id.

    A version whose file was removed is refused, with those that have theirs.

    \b
    Example:
      spotcore dataset path 3
    """
    file = str(_datasets(here).file(version))
    here.screen.done({"path": file}, file)


def _datasets(here: Local) -> Any:
    from spotadapters.history.dataset import Datasets

    return Datasets(here.connections.database_url, here.wiring.settings.data_dir / "datasets")


def _facts(datasets: Any, version: Any) -> dict[str, Any]:
    facts = asdict(version)
    times = {name: facts[name].isoformat() for name in ("built_at", "first_at", "last_at")}
    return {**facts, **times, "has_file": datasets.has_file(version)}
