"""A judged price report as rows."""

from datetime import datetime
from typing import Any

from spotadapters.postgres.rows import to_row
from spotcore import prices
from spotcore.pools import parse_pool
from spotcore.prices import PriceReport


def report_facts(report: PriceReport) -> dict[str, Any]:
    """What is the same for all rows of a report."""
    return {
        "client_id": report.client_id,
        "agent_id": report.agent_id,
        "instance_id": report.instance_id,
        "source": report.source.value,
        "rank": prices.RANK[report.source],
        "confidence": prices.CONFIDENCE[report.source],
        "received_at": report.received_at,
    }


def spot_rows(report: PriceReport) -> list[dict[str, Any]]:
    """Its accepted observations, in the order of their keys: two who tell the same at once would otherwise each hold
    what the other waits for."""
    rows = []
    times: dict[datetime, tuple[str, str]] = {}  # most reports have one time for all
    for one in sorted(report.observations, key=lambda seen: (seen.observed_at, seen.submission_id)):
        pool, at = parse_pool(one.pool_id), one.observed_at
        if at not in times:
            times[at] = at.isoformat(), prices.bucket_start(at).isoformat()
        observed_at, bucket_start = times[at]
        rows.append(
            {
                "submission_id": one.submission_id,
                "pool_id": one.pool_id,
                "instance_type": pool.instance_type,
                "region": pool.region,
                "az": pool.az,
                "price": str(one.price),
                "observed_at": observed_at,
                "bucket_start": bucket_start,
            }
        )
    return rows


def ondemand_rows(report: PriceReport) -> list[dict[str, Any]]:
    """Its on-demand prices."""
    return [
        {**to_row(one), "bucket_start": prices.bucket_start(one.observed_at).isoformat()} for one in report.ondemand
    ]
