"""``spotcore worker`` and ``spotcore scheduler``: background work in processes of its own, as many as one likes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from spotadapters.jobs.queue import JobQueue
from spotadapters.postgres.migrate import require_schema
from spotadapters.system.logs import configure_logs
from spotapp.background import open_queue, scheduling, wait_for_stop, working
from spotapp.commands.options import data_dir_option
from spotapp.failures import console, one_line_failures
from spotapp.sealing import tell_wrong_key
from spotapp.settings import SettingsError, load_settings
from spotapp.wiring import Wiring, open_wiring


@click.command()
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Jobs at a time.")
@data_dir_option
@click.pass_obj
def worker(debug: bool, threads: int, data_dir: Path | None) -> None:
    """Work off background jobs from the queue of SPOTCORE_REDIS_URL. Any number may run.

    \b
    Example:
      SPOTCORE_DATABASE_URL=postgresql://… SPOTCORE_REDIS_URL=redis://… spotcore worker --threads 4
    """
    with _opened(debug, "worker", data_dir) as (_, queue), working(queue, threads):
        console.print(f"[green]ready[/green]: worker with {threads} threads (stop with Ctrl-C)")
        wait_for_stop()


@click.command()
@data_dir_option
@click.pass_obj
def scheduler(debug: bool, data_dir: Path | None) -> None:
    """Start background jobs when they are due. Run two for safety: each slot of a job has one winner.

    What failovers depend on runs here itself; all else goes to workers, or runs here while Redis cannot be reached.

    \b
    Example:
      SPOTCORE_DATABASE_URL=postgresql://… SPOTCORE_REDIS_URL=redis://… spotcore scheduler
    """
    with _opened(debug, "scheduler", data_dir) as (wiring, queue), scheduling(wiring, queue):
        console.print("[green]ready[/green]: scheduler (stop with Ctrl-C)")
        wait_for_stop()


@contextmanager
def _opened(debug: bool, what: str, data_dir: Path | None) -> Iterator[tuple[Wiring, JobQueue]]:
    with one_line_failures(debug):
        settings = load_settings(os.environ, data_dir=data_dir)
        configure_logs(settings.log_level)
        if settings.database_url is None or settings.redis_url is None:
            raise SettingsError(
                f"{what} needs SPOTCORE_DATABASE_URL and SPOTCORE_REDIS_URL; all in one is: spotcore up"
            )
        require_schema(settings.database_url)
        tell_wrong_key(settings, settings.database_url)
        with open_wiring(settings, settings.database_url) as wiring, open_queue(wiring, settings.redis_url) as queue:
            yield wiring, queue
