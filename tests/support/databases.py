"""A database that is as good as new for each test: emptied rather than copied, its connections and their plans kept."""

import json
from typing import Any, Final

import psycopg
from attrs import define, field
from psycopg import sql

from spotadapters.postgres.pool import Connections

SIZE: Final = 7
RESERVE: Final = 4

TABLES: Final = """
select c.oid::regclass::text from pg_class c
where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and c.relname <> 'schema_migrations' order by 1"""

SCHEMA: Final = """
with parts (xmin) as (
    select xmin from pg_class where oid >= 16384 and relkind <> 't'
    union all select xmin from pg_attribute where attrelid >= 16384
    union all select xmin from pg_proc where oid >= 16384
    union all select xmin from pg_constraint where oid >= 16384
    union all select xmin from pg_trigger where oid >= 16384
    union all select xmin from pg_policy
    union all select xmin from pg_namespace where nspname !~ '^pg_(toast_)?temp_'
    union all select xmin from pg_database where datname = current_database()
    union all select xmin from schema_migrations
)
select count(*), sum(xmin::text::bigint) from parts"""
"""Changes whenever a part of the schema, or what is known of it, is added, altered or removed: each names the
transaction that wrote it."""

RENEWAL: Final = """
create function pg_temp.renew() returns void language plpgsql as $$
begin
    -- final lines and links between rows must not keep them
    perform set_config('session_replication_role', 'replica', true);
    {}
end $$"""
"""With its statements spelled out it is planned once, and only the connection that made it has it."""

DELETE: Final = sql.SQL("delete from only {};")
REWIND: Final = sql.SQL("perform setval({}::regclass, 1, false);")
SEED: Final = sql.SQL("insert into {0} overriding system value select * from jsonb_populate_recordset(null::{0}, {1});")

SEQUENCES: Final = """
select c.oid::regclass::text from pg_class c
where c.relkind = 'S' and c.relnamespace = 'public'::regnamespace order by 1"""


class Spoilt(Exception):
    """The database cannot be made as good as new."""


@define
class WarmDatabase:
    """A migrated database, and connections to it. The superuser's own stays open: to open one costs more than to use
    it."""

    url: str
    connections: Connections
    _root: psycopg.Connection[Any]
    _schema: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        tables = [table for (table,) in self._root.execute(TABLES)]
        steps = [DELETE.format(sql.Identifier(table)) for table in tables]
        steps += [REWIND.format(sql.Literal(name)) for (name,) in self._root.execute(SEQUENCES)]
        steps += [
            SEED.format(sql.Identifier(table), sql.Literal(json.dumps(rows)))
            for table in tables
            if (rows := self._rows(table))
        ]
        self._root.execute(sql.SQL(RENEWAL).format(sql.SQL("\n    ").join(steps)))
        self._schema = self._root.execute(SCHEMA).fetchone()

    @classmethod
    def opened(cls, url: str) -> "WarmDatabase":
        """Call ``close`` in the end."""
        root = psycopg.connect(url, autocommit=True, options="-c lock_timeout=500")
        connections = Connections(url, size=SIZE, reserve=RESERVE).__enter__()
        wait_until_open(connections)
        return cls(url, connections, root)

    def close(self) -> None:
        self._root.close()
        self.connections.__exit__(None, None, None)

    def renew(self) -> None:
        """Empty it. Raises ``Spoilt`` when a test has changed more than rows, or has left something at work."""
        try:
            if self._root.execute(SCHEMA).fetchone() != self._schema:
                raise Spoilt("a test has changed the schema")
            self._root.execute("select pg_temp.renew()")
        except psycopg.Error as error:
            raise Spoilt(str(error)) from error

    def _rows(self, table: str) -> list[Any]:
        text = sql.SQL("select to_jsonb(t) from only {} t").format(sql.Identifier(table))
        return [row for (row,) in self._root.execute(text)]


def wait_until_open(connections: Connections) -> None:
    """Until nothing opens connections any more: that reads tables, and uses ``random``, which must rest while Hypothesis
    draws."""
    for lender in connections._lenders:
        lender.pool.wait()
