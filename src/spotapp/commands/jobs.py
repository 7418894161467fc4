"""``spotcore jobs``: what runs in the background, when it last succeeded, and what was given up."""

from contextlib import AbstractContextManager
from typing import Any, Final

import click

from spotadapters.embedded import running_redis_url
from spotadapters.jobs.board import PARTS
from spotadapters.jobs.queue import JobQueue
from spotapp.background import open_queue
from spotapp.commands.api import ADMIN_CALL
from spotapp.commands.database import Local, local
from spotapp.commands.options import Remote, remote
from spotapp.settings import SettingsError
from spotcore.errors import Unavailable

JOBS: Final = {
    "job": "name", "every s": "every_seconds", "last run": "last_run", "status": "last_status",
    "last success": "last_success", "late": "late", "does": "does",
}  # fmt: skip
RUNS: Final = {
    "job": "job_type", "status": "status", "started": "started_at", "completed": "completed_at",
    "records": "records_processed", "duplicates": "duplicates_removed", "gaps filled": "gaps_filled", "error": "error",
}  # fmt: skip
DEAD: Final = {"message": "id", "what": "what", "of": "arguments", "died": "died_at", "reason": "reason"}


@click.group()
def jobs() -> None:
    """Background jobs."""


@jobs.command("list")
@local
def list_jobs(here: Local) -> None:
    """Every job: how often, when it last ran and succeeded, whether it is late. On the database itself.

    What another job does under a name of its own stands below the jobs.

    \b
    Example:
      spotcore jobs list
    """
    here.wiring.jobs.announce()
    now, known = here.clock.now(), {one.name: one for one in here.wiring.jobs.book.jobs()}
    data: list[dict[str, Any]] = []
    jobs = here.wiring.jobs.jobs
    parts = [(part, jobs[whole], f"part of: {whole}") for part, whole in PARTS.items()]
    for name, job, does in [*((name, job, job.does) for name, job in sorted(jobs.items())), *parts]:
        view = known[job.name]
        late = view.lateness(now, is_vital=job.schedule.is_vital)
        data.append(
            {
                "name": name,
                "every_seconds": job.schedule.every.total_seconds(),
                "last_run": view.last_run and view.last_run.isoformat(),
                "last_status": view.last_status,
                "last_success": view.last_success and view.last_success.isoformat(),
                "late": late.value if late is not None else None,
                "does": does,
            }
        )
    here.screen.rows(data, data, JOBS, empty="no jobs")


@jobs.command("runs")
@click.option("--days", type=click.IntRange(1, 90), default=7, show_default=True, help="How far back.")
@remote
def runs(remote: Remote, days: int) -> None:
    """Runs of the background jobs, newest first.

    \b
    Example:
      spotcore jobs runs --days 1
    """
    data = remote.api.get("/api/admin/consolidation-jobs", needs=ADMIN_CALL, days=days)  # E98
    remote.screen.rows(data, data, RUNS, empty=f"no runs in {days} days")


@jobs.command("run")
@click.argument("name")
@local
def run_job(here: Local, name: str) -> None:
    """Run a job now, here, whether or not it is due. Every job may run again at any time.

    \b
    Example:
      spotcore jobs run "ledger accrual"
    """
    table = here.wiring.jobs
    job = table.named(name)
    table.announce()
    error = table.run(job, job.schedule.slot(here.clock.now()))
    if error is not None:
        raise Unavailable(f"{job.name} failed: {error}")
    here.screen.done({"job": job.name, "status": "completed"}, f"{job.name} has run")


@jobs.command("dead")
@local
def dead(here: Local) -> None:
    """What workers gave up within the last week, newest first. Needs Redis.

    \b
    Example:
      spotcore jobs dead
    """
    with _queue(here) as queue:
        data = [
            {
                "id": one.message_id,
                "what": one.what,
                "arguments": list(one.arguments),
                "died_at": one.died_at.isoformat(),
                "reason": one.reason,
            }
            for one in queue.dead()
        ]
    here.screen.rows(data, data, DEAD, empty="nothing was given up")


@jobs.command("replay")
@click.argument("message")
@local
def replay(here: Local, message: str) -> None:
    """Send a message that was given up once more. Needs Redis and a worker.

    \b
    Example:
      spotcore jobs replay 0f2c…
    """
    with _queue(here) as queue:
        queue.replay(message)
    here.screen.done({"id": message, "sent": True}, f"{message} was sent again")


def _queue(here: Local) -> AbstractContextManager[JobQueue]:
    url = here.wiring.settings.redis_url or running_redis_url(here.wiring.settings.data_dir)
    if url is None:
        raise SettingsError("no queue is known: set SPOTCORE_REDIS_URL, or start: spotcore up")
    return open_queue(here.wiring, url)
