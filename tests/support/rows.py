"""A valid row for every table, so that a test of a guard names only what is wrong."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.support.world import START

Connection = psycopg.Connection[Any]
EMPTY, NONE = Jsonb({}), Jsonb([])
DIGEST: Final = "0123456789abcdef" * 4
AGENT: Final = {"client_id": "c", "agent_id": "a"}
MACHINE: Final = {**AGENT, "instance_id": "m"}
POOL: Final = {"pool_id": "m5.large.us-east-1a", "instance_type": "m5.large", "region": "us-east-1"}
HOUR: Final = timedelta(hours=1)

VALID: Final[Mapping[str, Mapping[str, Any]]] = {
    "clients": {
        "client_id": "c", "name": "Acme", "email": "ops@acme.example", "status": "active", "created_at": START,
        "default_auto_switch": True, "default_auto_terminate": True, "default_terminate_wait_seconds": 300,
    },
    "tokens": {"token_hash": "t", "client_id": "c", "hint": "aaaa", "created_at": START},
    "sessions": {"session_hash": "s", "token_hash": "t", "created_at": START, "seen_at": START},
    "agents": {
        **AGENT, "logical_agent_id": "web", "life": "live", "link": "online", "enabled": True, "auto_switch_enabled": True,
        "manual_replica_enabled": False, "auto_terminate_enabled": True, "terminate_wait_seconds": 300,
        "replica_enabled": False, "min_savings_percent": 15, "risk_threshold": 0.3, "max_switches_per_week": 10,
        "max_switches_per_day": 3, "min_pool_duration_hours": 2, "cleanup_enabled": True, "emergency_rebalance_only": False,
        "preferred_azs": NONE, "excluded_pools": NONE, "emergency_min_risk": 0, "config_version": 1, "build": "v4c",
        "able_since_registration": True, "metadata": EMPTY, "registered_at": START, "updated_at": START, "sequence": 0,
        "replica_failures": 0,
    },
    "instances": {
        **MACHINE, "status": "running_primary", "cloud_id": "i-0m", "mode": "spot", "created_at": START, "end_failures": 0,
        "inferred": False, "end_asserted": False,
    },
    "incidents": {
        **MACHINE, "incident_id": "n", "severity": "termination", "state": "handling", "opened_at": START,
        "last_signal_at": START, "signals": 1, "promote_on_ready": False, "launch_attempts": 0, "tried_pools": NONE,
        "data_loss_possible": False, "anomalies": NONE, "actions": NONE,
    },
    "replicas": {
        **MACHINE, "replica_id": "r", "kind": "manual", "state": "ready", "mode": "spot", "created_by": "system",
        "created_at": START, "same_pool": False, "tags": EMPTY,
    },
    "commands": {
        **AGENT, "command_id": "k", "request_id": "q", "kind": "switch", "origin": "user", "state": "pending",
        "created_at": START, "deliveries": 0, "makes_primary": False, "terminate_old": True, "terminate_wait_seconds": 300,
        "params": EMPTY, "result": EMPTY, "notes": NONE,
    },
    "switches": {
        **AGENT, "switch_id": "s", "state": "completed", "trigger": "manual", "recorded_at": START, "old_mode": "spot",
        "new_mode": "spot", "credited": 0, "times": EMPTY, "unsolicited": False, "reported": False,
        "data_loss_possible": False,
    },
    "primary_periods": {**MACHINE, "started_at": START},
    "audit_events": {
        "event_id": "e", "kind": "token_viewed", "at": START, "client_id": "c", "actor": "admin", "level": "info",
        "facts": EMPTY,
    },
    "audit_seals": {
        "client_id": "c", "seal_no": 1, "audit_ids": [1], "digest": "d", "previous": "", "sealed_at": START
    },
    "notifications": {
        "notification_id": "n", "client_id": "c", "severity": "info", "message": "m", "at": START, "dedupe_key": "k",
        "event_id": "e",
    },
    "notification_reads": {"client_id": "c", "notification_id": "n", "read_at": START},
    "outbox": {"event_id": "e", "client_id": "c"},
    "pricing_alerts": {
        "client_id": "c", "alert_id": "p", "alert_type": "price_above", "threshold": 1, "enabled": True,
        "notification_channels": NONE, "created_at": START,
    },
    "recent_reports": {**AGENT, "received_at": START, "prices": EMPTY},  # the one that the next row adds to
    "raw_prices": {
        **AGENT, "submission_id": "u", "source": "primary", "pool_id": POOL["pool_id"], "price": 0.03, "observed_at": START,
        "received_at": START,
    },
    "price_buckets": {
        **POOL, "bucket_start": START, "price": 0.03, "source": "primary", "rank": 5, "confidence": 1,
        "observed_at": START, "submission_id": "u",
    },
    "pools": {**POOL, "az": "us-east-1a", "first_observed_at": START},
    "ondemand_prices": {
        "instance_type": "m5.large", "region": "us-east-1", "flagged": False, "observed_at": START, "price": 0.096,
        "client_id": "c", "bucket_start": START, "rank": 5,
    },
    "ondemand_list": {
        "instance_type": "m5.large", "region": "us-east-1", "price": 0.096, "source": "list", "imported_at": START
    },
    "decision_days": {**AGENT, "day": START.date(), "decisions": 1},  # the one that counts the next row
    "decisions": {
        **AGENT, "decision_id": "d", "made_at": START, "trigger": "user", "snapshot_hash": "h", "body": EMPTY
    },
    "idempotency_keys": {"client_id": "c", "scope": "s", "key": "k", "body_hash": "h", "created_at": START},
    "ledger_lines": {
        **MACHINE, "line_id": "l", "started_at": START, "ended_at": START + HOUR, "role": "primary", "mode": "spot",
        "baseline": 3, "cost": 1, "saving": 2, "quality": "measured", "recorded_at": START,
    },
    "ledger_seals": {
        "client_id": "c", "seal_no": 1, "final": START, "upto": 1, "lines": 1, "digest": "d", "previous": "",
        "sealed_at": START,
    },
    "client_snapshots": {"day": START.date(), "total": 1, "new": 1, "active": 1},
    "job_runs": {"job_type": "seal", "status": "completed", "started_at": START},
    "job_slots": {"job": "seal", "slot_start": START, "claimed_by": "me", "claimed_at": START},
    "job_states": {"job": "seal", "every_seconds": 60, "known_since": START, "last_status": "completed"},
    "model_sessions": {
        "session_id": "m", "kind": "model", "state": "active", "scope": "global", "created_at": START, "changed_at": START,
        "activated_at": START,
    },
    "model_files": {"session_id": "m", "position": 0, "label": "x", "sha256": DIGEST, "size": 1},
    "datasets": {
        "built_at": START, "rows": 1, "pools": 1, "first_at": START, "last_at": START, "sha256": DIGEST, "file": "f"
    },
    "channels": {
        "client_id": "c", "channel_id": "h", "kind": "webhook", "label": "https://acme.example", "sealed_address": b"a",
        "sealed_secret": b"s", "min_severity": "info", "created_at": START,
    },
    "deliveries": {
        "client_id": "c", "delivery_id": "y", "channel_id": "h", "notification_id": "n", "state": "pending",
        "created_at": START, "next_attempt_at": START,
    },
    "spot_advice": {
        "region": "us-east-1", "os": "Linux", "instance_type": "m5.large", "as_of": START.date(), "band": 0,
        "savings_percent": 70, "source": "file", "imported_at": START,
    },
}  # fmt: skip
"""In an order in which one row of each can be put in."""


def put(connection: Connection, table: str, **changes: Any) -> None:
    """A valid row of the table but for the changes."""
    row = {**VALID[table], **changes}
    names = sql.SQL(", ").join(map(sql.Identifier, row))
    places = sql.SQL(", ").join(map(sql.Placeholder, row))
    connection.execute(sql.SQL("insert into {} ({}) values ({})").format(sql.Identifier(table), names, places), row)


def put_all(connection: Connection, **changes: Any) -> None:
    """One row in every table; ``changes`` hold for every table that has the column."""
    for table, row in VALID.items():
        put(connection, table, **{name: value for name, value in changes.items() if name in row})


def count_of(connection: Connection, table: str) -> int:
    """How many rows this connection may see."""
    row = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table))).fetchone()
    assert row is not None
    return int(row[0])
