"""Rows put straight into the tables, so that a screen's figures can be worked out by hand and no clock has to move."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final

from psycopg import sql
from psycopg.types.json import Jsonb

from spotcore.ids import ClientId, CloudId
from spotcore.pools import Mode
from spotcore.registration import Registration
from spotcore.service.kernel import Caller
from tests.support.server import Site, Tenant
from tests.support.world import START

_numbers = count(1)

DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "switches": {
        "state": "completed", "trigger": "manual", "recorded_at": START, "old_mode": "spot", "new_mode": "spot",
        "credited": 0, "times": {}, "unsolicited": False, "reported": True, "data_loss_possible": False,
    },
    "ledger_lines": {"role": "primary", "mode": "spot", "quality": "measured", "recorded_at": START},
    "incidents": {
        "severity": "termination", "state": "resolved", "opened_at": START, "last_signal_at": START, "signals": 1,
        "promote_on_ready": False, "launch_attempts": 0, "tried_pools": [], "data_loss_possible": False,
        "anomalies": [], "actions": [],
    },
    "decisions": {"made_at": START, "trigger": "round", "snapshot_hash": "0"},
    "commands": {
        "kind": "switch", "origin": "user", "state": "completed", "created_at": START, "deliveries": 1,
        "makes_primary": False, "terminate_old": False, "terminate_wait_seconds": 0, "params": {}, "result": {},
        "notes": {},
    },
    "audit_events": {"at": START, "actor": "system", "level": "info", "facts": {}},
    "instances": {
        "status": "running_replica", "mode": "spot", "region": "us-east-1", "created_at": START, "end_failures": 0,
        "inferred": False, "end_asserted": False,
    },
    "replicas": {
        "kind": "manual", "state": "launching", "mode": "spot", "created_by": "user", "created_at": START,
        "same_pool": False, "tags": {},
    },
    "notifications": {"severity": "info", "message": "text", "at": START},
    "primary_periods": {"started_at": START},
    "job_runs": {"job_type": "data pipeline", "status": "completed", "started_at": START},
    "raw_prices": {"source": "primary"},
}  # fmt: skip
IDS: Final = {
    "switches": "switch_id", "ledger_lines": "line_id", "incidents": "incident_id", "decisions": "decision_id",
    "commands": "command_id", "audit_events": "event_id", "instances": "instance_id", "replicas": "replica_id",
    "notifications": "notification_id", "raw_prices": "submission_id",
}  # fmt: skip


def new_id() -> str:
    """An id in the shape of all ids."""
    return f"{next(_numbers):08x}-0000-4000-9000-000000000000"


def at(hours: float = 0, **more: float) -> datetime:
    """So long before the clock's beginning; negative numbers lie after it."""
    return START - timedelta(hours=hours, **more)


def put(site: Site, table: str, **columns: Any) -> str:
    """One row with defaults for what is not told; its id, empty for a table that has none of its own."""
    identity = IDS.get(table)
    values = {**DEFAULTS.get(table, {}), **columns}
    if identity is not None:
        values.setdefault(identity, new_id())
    names = sql.SQL(", ").join(map(sql.Identifier, values))
    places = sql.SQL(", ").join(map(sql.Placeholder, values))
    statement = sql.SQL("insert into {} ({}) values ({})").format(sql.Identifier(table), names, places)
    site.connections.rows(statement, {name: _stored(value) for name, value in values.items()})  # type: ignore[arg-type]
    return str(values[identity]) if identity is not None else ""


def change(site: Site, table: str, where: Mapping[str, Any], **columns: Any) -> None:
    """Other values in the rows where every column of ``where`` is as given."""

    def equations(of: Mapping[str, Any], prefix: str) -> list[sql.Composed]:
        return [
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(prefix + name)) for name in of
        ]  # fmt: skip

    statement = sql.SQL("update {} set {} where {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(equations(columns, "new_")),
        sql.SQL(" and ").join(equations(where, "old_")),
    )
    values = {f"new_{name}": _stored(value) for name, value in columns.items()}
    with site.connections.connection() as connection:
        changed = connection.execute(statement, {**values, **{f"old_{name}": value for name, value in where.items()}})
        assert changed.rowcount, f"no row of {table} has {where}"


def _stored(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, dict | list) else value


def a_client(site: Site, name: str) -> Tenant:
    """A client, made without a request: what most tests begin with and none is about."""
    issued = site.plane.clients.create(name)
    return Tenant(site, issued.client.client_id, issued.token)


class Host:
    """An agent that registered, and the rows that tell its story. Each has an instance type of its own, so that
    no other test of the module moves its prices."""

    def __init__(self, tenant: Tenant, logical: str = "web", **facts: Any) -> None:
        self.tenant, self.site, self.logical = tenant, tenant.site, logical
        self.machine = facts.pop("machine", None) or tenant.site.new_machine()
        self.type = facts.pop("type", None) or f"m{next(_numbers)}.large"
        self.az = facts.get("az", "us-east-1a")
        facts = {"az": self.az, "hostname": f"host-{logical}", "agent_version": "4.0.0", **facts}
        wanted = Registration(
            cloud_id=CloudId(self.machine), logical_agent_id=logical, instance_type=self.type, region="us-east-1",
            mode=Mode(facts.pop("mode", "spot")), **facts,
        )  # fmt: skip
        caller = Caller(client_id=ClientId(tenant.client_id), actor="agent")
        self.agent_id: str = self.site.plane.agents.register(caller, wanted).agent_id
        (row,) = self.site.connections.rows(
            "select primary_id from agents where agent_id = %(agent_id)s", {"agent_id": self.agent_id}
        )
        self.row_id: str = row[0]

    @property
    def keys(self) -> dict[str, str]:
        """What every row of the agent has."""
        return {"client_id": self.tenant.client_id, "agent_id": self.agent_id}

    def pool(self, zone: str = "a") -> str:
        """A pool of the agent's type."""
        return f"{self.type}.us-east-1{zone}"

    def beat(self) -> None:
        """A heartbeat of the primary."""
        assert self.tenant.post(f"/api/agents/{self.agent_id}/heartbeat", {"instance_id": self.machine}).status == 200

    def put(self, table: str, **columns: Any) -> str:
        """A row of the agent."""
        return put(self.site, table, **self.keys, **columns)

    def change(self, **columns: Any) -> None:
        """Other facts of the agent."""
        change(self.site, "agents", self.keys, **columns)

    def machine_row(self, status: str, cloud_id: str | None = None, **columns: Any) -> str:
        """One more machine of the agent; the id of its row."""
        facts = {"instance_type": self.type, "az": self.az, "cloud_id": cloud_id, "status": status}
        return self.put("instances", **{**facts, **columns})

    def switch(self, **columns: Any) -> str:
        """A switch of the agent from its primary to another machine."""
        facts = {"old_instance_id": self.row_id, "old_cloud_id": self.machine}
        return self.put("switches", **{**facts, **columns})

    def line(self, start: datetime, hours: float, baseline: str | None, cost: str | None, **columns: Any) -> str:
        """A line of the ledger for the primary, or another machine; ``None`` for what is not priced."""
        saving = None if baseline is None or cost is None else f"{float(baseline) - float(cost):.8f}"
        facts = {
            "instance_id": self.row_id, "started_at": start, "ended_at": start + timedelta(hours=hours),
            "baseline": baseline, "cost": cost, "saving": saving,
        }  # fmt: skip
        return self.put("ledger_lines", **{**facts, **columns})

    def price(self, zone: str, price: str, when: datetime = START, **columns: Any) -> None:
        """A clean price of one of the agent's pools, in the bucket of ``when``."""
        bucket = when.replace(minute=when.minute - when.minute % 5, second=0, microsecond=0)
        place = {"instance_type": self.type, "region": "us-east-1"}
        facts = {
            "pool_id": self.pool(zone), "bucket_start": bucket, **place, "price": price, "source": "primary", "rank": 5,
            "confidence": 1, "observed_at": when, "submission_id": new_id(),
            "method": "linear" if columns.get("source") == "interpolated" else None,
        }  # fmt: skip
        put(self.site, "price_buckets", **{**facts, **columns})
        with self.site.connections.connection() as connection:
            connection.execute(
                "insert into pools (pool_id, instance_type, region, az, first_observed_at) values (%s, %s, %s, %s, %s)"
                " on conflict (pool_id) do update"
                " set first_observed_at = least(pools.first_observed_at, excluded.first_observed_at)",
                (self.pool(zone), self.type, "us-east-1", f"us-east-1{zone}", when),
            )

    def ondemand(self, price: str, when: datetime = START, **columns: Any) -> None:
        """A list price of the agent's type."""
        facts = {
            "instance_type": self.type, "region": "us-east-1", "flagged": False, "observed_at": when,
            "bucket_start": when, "rank": 5, "price": price, "client_id": self.tenant.client_id,
        }  # fmt: skip
        put(self.site, "ondemand_prices", **{**facts, **columns})
