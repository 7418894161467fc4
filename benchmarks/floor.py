"""The yardstick: Starlette and psycopg, one statement a call, nothing else. What the machine can do without rules.

``/one`` commits each call by itself, ``/group`` what arrives together, ``/prices`` writes six rows, ``/read`` reads one
row, ``/failover`` moves a role and ``/role`` says who has it.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

SCHEMA: Final = """
drop schema if exists floor cascade;
create schema floor;
create table floor.agents (agent_id text primary key, token text not null, heard_at timestamptz,
    primary_id text not null default 'old') with (fillfactor = 80);
create table floor.commands (agent_id text not null, state text not null);
create index on floor.commands (agent_id) where state = 'pending';
create table floor.prices (pool text not null, at timestamptz not null, price numeric not null);
insert into floor.agents select 'a' || n, 't' from generate_series(0, 9999) n;
"""
ONE: Final = """
update floor.agents set heard_at = now() where agent_id = %s and token = 't'
returning (select count(*) from floor.commands c where c.agent_id = agents.agent_id and c.state = 'pending')
"""
GROUP: Final = """
with given as (select * from unnest(%s::text[]) agent_id order by 1)
update floor.agents a set heard_at = now() from given g where a.agent_id = g.agent_id and a.token = 't'
returning a.agent_id,
    (select count(*) from floor.commands c where c.agent_id = a.agent_id and c.state = 'pending')
"""
FAILOVER: Final = """
update floor.agents set primary_id = %s where agent_id = %s and token = 't' and primary_id <> %s returning primary_id
"""
ROLE: Final = "select primary_id from floor.agents where agent_id = %s and token = 't'"
READ: Final = "select count(*) from floor.commands where agent_id = %s and state = 'pending'"
PRICES: Final = """
insert into floor.prices select pool, now(), price from unnest(%s::text[], %s::numeric[]) t (pool, price)
"""


class Floor:
    """Its calls over one pool."""

    def __init__(self, database_url: str) -> None:
        self._pool = AsyncConnectionPool(database_url, min_size=8, max_size=8, open=False, kwargs={"autocommit": True})
        self._waiting: list[tuple[str, asyncio.Future[int]]] = []
        self._wake = asyncio.Event()

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Open the pool, run the group's writer."""
        async with self._pool:
            writer = asyncio.create_task(self._write())
            yield
            writer.cancel()

    async def _fetch(self, statement: Any, values: Any) -> list[Any]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(statement, values)
            return await cursor.fetchall() if cursor.description else []

    async def one(self, request: Request) -> JSONResponse:
        """A statement and a commit."""
        await request.json()
        rows = await self._fetch(ONE, (request.path_params["agent"],))
        return JSONResponse({"pending": rows[0][0]})

    async def group(self, request: Request) -> JSONResponse:
        """A place in the next group."""
        await request.json()
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((request.path_params["agent"], future))
        self._wake.set()
        return JSONResponse({"pending": await future})

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group, self._waiting = self._waiting, []
                rows = dict(await self._fetch(GROUP, ([agent for agent, _ in group],)))
                for agent, future in group:
                    if not future.done():
                        future.set_result(rows.get(agent, 0))

    async def read(self, request: Request) -> JSONResponse:
        """One row."""
        rows = await self._fetch(READ, (request.path_params["agent"],))
        return JSONResponse({"pending": rows[0][0]})

    async def failover(self, request: Request) -> JSONResponse:
        """The role moves to the machine that is named, durably."""
        machine = (await request.json())["to"]
        rows = await self._fetch(FAILOVER, (machine, request.path_params["agent"], machine))
        return JSONResponse({"primary": rows[0][0] if rows else machine})

    async def role(self, request: Request) -> JSONResponse:
        """Who has the role."""
        rows = await self._fetch(ROLE, (request.path_params["agent"],))
        return JSONResponse({"primary": rows[0][0]})

    async def prices(self, request: Request) -> JSONResponse:
        """Six rows."""
        pools = (await request.json())["spot_pools"]
        await self._fetch(PRICES, ([one["pool_id"] for one in pools], [one["price"] for one in pools]))
        return JSONResponse({"stored": len(pools)})


def main() -> None:
    """Serve on a port of the database that standard input names."""
    where = json.load(sys.stdin)
    floor = Floor(where["database_url"])
    routes = [
        Route("/one/{agent}", floor.one, methods=["POST"]),
        Route("/group/{agent}", floor.group, methods=["POST"]),
        Route("/read/{agent}", floor.read),
        Route("/failover/{agent}", floor.failover, methods=["POST"]),
        Route("/role/{agent}", floor.role),
        Route("/prices/{agent}", floor.prices, methods=["POST"]),
    ]
    app = Starlette(routes=routes, lifespan=floor.lifespan)
    uvicorn.run(app, host="127.0.0.1", port=where["port"], loop="uvloop", http="httptools", log_level="error",
                access_log=False)  # fmt: skip


if __name__ == "__main__":
    main()
