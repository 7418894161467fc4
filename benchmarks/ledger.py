"""Accrual of a month for 10 000 machines on PostgreSQL, from empty; then one more hour.

Prices change twice a day: the mean of 1,241 us-east-1 pools in spring 2021 (152,472 changes in 66 days). Prints seconds
and lines; exits with 1 over a limit.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from benchmarks.results import Ratio, Report, finish, options_of
from spotadapters.embedded import EmbeddedStack
from spotadapters.postgres.migrate import migrate
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from spotadapters.system.identity import SecureIdentity
from spotcore.control_plane import control_plane

LIMIT_SECONDS = 60.0
NOW = datetime(2026, 3, 31, tzinfo=UTC)
START = NOW - timedelta(days=30)

FLEET = """
insert into clients (client_id, name, status, created_at, default_auto_switch, default_auto_terminate,
                     default_terminate_wait_seconds)
select 'client-' || c, 'Client ' || c, 'active', %(start)s, true, true, 300 from generate_series(1, 20) c;
insert into agents select (jsonb_populate_record(null::agents, jsonb_build_object(
    'client_id', 'client-' || (1 + n %% 20), 'agent_id', 'agent-' || n, 'logical_agent_id', 'agent-' || n,
    'life', 'live', 'link', 'online', 'enabled', true, 'auto_switch_enabled', true, 'manual_replica_enabled', false,
    'auto_terminate_enabled', true, 'terminate_wait_seconds', 300, 'replica_enabled', false, 'min_savings_percent', 5,
    'risk_threshold', 0.5, 'max_switches_per_week', 10, 'max_switches_per_day', 3, 'min_pool_duration_hours', 2,
    'cleanup_enabled', true, 'emergency_rebalance_only', false, 'preferred_azs', '[]'::jsonb,
    'excluded_pools', '[]'::jsonb, 'emergency_min_risk', 0, 'config_version', 1, 'build', 'v4c',
    'able_since_registration', true, 'metadata', '{}'::jsonb,
    'registered_at', %(start)s, 'updated_at', %(start)s, 'sequence', 0, 'revision', 0, 'replica_failures', 0))).*
from generate_series(1, %(machines)s) n;
insert into instances select (jsonb_populate_record(null::instances, jsonb_build_object(
    'client_id', a.client_id, 'instance_id', 'machine-' || n, 'agent_id', a.agent_id, 'status', 'running_primary',
    'cloud_id', 'i-' || lpad(n::text, 17, '0'), 'instance_type', 'm5.large', 'region', 'us-east-1',
    'az', 'us-east-1' || chr(97 + n %% 6), 'mode', 'spot', 'pool_id', 'm5.large.us-east-1' || chr(97 + n %% 6),
    'created_at', %(start)s, 'confirmed_at', %(start)s, 'end_failures', 0, 'inferred', false, 'end_asserted', false))).*
from generate_series(1, %(machines)s) n join agents a on a.agent_id = 'agent-' || n;
update agents a set primary_id = i.instance_id from instances i where i.agent_id = a.agent_id;
insert into primary_periods (client_id, agent_id, instance_id, started_at)
select client_id, agent_id, instance_id, %(start)s from instances;
insert into price_buckets (pool_id, bucket_start, instance_type, region, price, source, rank, confidence, observed_at,
                           submission_id)
select 'm5.large.us-east-1' || chr(97 + z), t, 'm5.large', 'us-east-1',
       0.03 + (hashint8extended(extract(epoch from t)::bigint / 43200, z) %% 1000)::numeric / 1000000,
       'primary', 5, 1, t, 's'
from generate_series(0, 5) z, generate_series(%(start)s::timestamptz, %(now)s::timestamptz, '5 minutes') t;
insert into ondemand_prices (instance_type, region, flagged, bucket_start, observed_at, price, rank, client_id)
values ('m5.large', 'us-east-1', false, %(start)s, %(start)s, 0.12, 5, 'client-1');
"""


class _Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        """The instant it was set to."""
        return self.at


@contextmanager
def fleet(machines: int) -> Iterator[str]:
    """A database with a month of history."""
    with tempfile.TemporaryDirectory(prefix="spotcore-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        with EmbeddedStack(Path(name) / "data") as stack:
            migrate(stack.database_url)
            with psycopg.connect(stack.database_url, cursor_factory=psycopg.ClientCursor) as connection:
                connection.execute(FLEET, {"machines": machines, "start": START, "now": NOW})
                connection.commit()
                connection.autocommit = True
                connection.execute("analyze")
            yield stack.database_url


def copied(url: str) -> float:
    """Seconds that the same lines take into a plain table, durably: the least there is to do."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop table if exists floor_lines")
        connection.execute("create table floor_lines as select * from ledger_lines limit 0")
        begin = time.perf_counter()
        connection.execute("insert into floor_lines select * from ledger_lines")
        return time.perf_counter() - begin


def main() -> int:
    """Run, print, judge."""
    options = options_of(__doc__, ("--machines", {"type": int, "default": 10_000}), quick={"machines": 1_000})
    print(f"a month of {options.machines} machines …", flush=True)
    clock = _Clock()
    figures: dict[str, float] = {"machines": options.machines}
    with fleet(options.machines) as url, Connections(url, size=4, reserve=1) as connections:
        storage = PostgresStorage(connections, clock)
        plane = control_plane(transactions=storage.transactions, clock=clock, identity=SecureIdentity(None))
        floors: list[float] = []
        for name, step in (("month", timedelta(0)), ("next_hour", timedelta(hours=1))):
            clock.at += step
            begin = time.perf_counter()
            done = plane.savings.accrue()
            figures[f"{name}_seconds"] = round(time.perf_counter() - begin, 2)
            figures[f"{name}_lines"] = done.added
            floors = floors or [copied(url) for _ in range(3)]
            if done.failed:
                print(done.failed[:3])
                return 1
    missed = []
    if figures["month_seconds"] > LIMIT_SECONDS:
        missed.append(f"a month in {LIMIT_SECONDS:.0f} s")
    rounds = tuple(figures["month_seconds"] / one for one in floors)
    ratio = Ratio(name="month_to_plain_copy", rounds=rounds, less_is_better=True)
    return finish(Report(benchmark="ledger", figures=figures, ratios=(ratio,), missed=missed), options)


if __name__ == "__main__":
    sys.exit(main())
