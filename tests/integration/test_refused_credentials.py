"""Audit ``auth_failed``: one a minute and source, after the answer, and nothing of the token in it (S16)."""

import hashlib
import json
import time
from typing import Any

import psycopg
import pytest

from spotcore.errors import SpotError
from spotcore.service.notices import RefusedCredential
from tests.support.server import Site
from tests.unit.http.asgi import GIVE_UP

TOKEN = "token-of-somebody-who-is-not-known-here"


def rows(site: Site, count: int) -> list[dict[str, Any]]:
    """The audit rows, once there are so many, and once writing has had its chance to make more."""
    until = time.monotonic() + GIVE_UP
    with psycopg.connect(site.connections.database_url, autocommit=True) as connection:
        while True:
            found = connection.execute(
                "select to_jsonb(a) from audit_events a where kind = 'auth_failed' order by audit_id"
            ).fetchall()
            if len(found) >= count or time.monotonic() > until:
                return [row[0] for row in found]
            time.sleep(0.01)


def settled(site: Site) -> None:
    """A call that answers after whatever was being written."""
    for _ in range(5):
        site.call("GET", "/health")
        time.sleep(0.02)


def test_a_wrong_token_is_audited_with_a_prefix_of_its_digest_s16(site: Site) -> None:
    assert site.call("GET", "/api/admin/clients/x/token", token=TOKEN).status == 401
    (row,) = rows(site, 1)
    assert (row["level"], row["client_id"], row["actor"]) == ("warning", None, "system")
    assert row["facts"] == {
        "source": "testclient",
        "code": "INVALID_TOKEN",
        "endpoint": "E13",
        "token_sha256_prefix": hashlib.sha256(TOKEN.encode()).hexdigest()[:8],
    }
    assert TOKEN not in json.dumps(row)


def test_a_minute_has_one_row_however_often_a_source_tries(site: Site) -> None:
    for _ in range(20):
        assert site.call("POST", "/api/agents/x/heartbeat", {}, token=TOKEN).status == 401
    rows(site, 1)
    settled(site)
    assert len(rows(site, 1)) == 1


def test_processes_that_see_the_same_minute_make_one_row(site: Site) -> None:
    refused = RefusedCredential(source="10.0.0.1", code="INVALID_TOKEN", endpoint="E17")
    site.plane.notices.auth_failed(refused)
    with pytest.raises(SpotError, match="event_once"):
        site.plane.notices.auth_failed(refused)
    site.clock.advance(60)
    site.plane.notices.auth_failed(refused)
    assert len(rows(site, 2)) == 2


@pytest.mark.parametrize(
    ("method", "path", "headers", "code"),
    [
        ("POST", "/api/agents/register", {}, "UNAUTHORIZED"),
        ("GET", "/api/notifications", {"Authorization": "Basic abc"}, "INVALID_AUTH_FORMAT"),
        ("GET", "/api/events/stream", {"Authorization": f"Bearer {TOKEN}"}, "INVALID_TOKEN"),
        ("GET", "/api/agents/x/commands/stream", {"Authorization": f"Bearer {TOKEN}"}, "INVALID_TOKEN"),
    ],
)
def test_what_else_is_audited(site: Site, method: str, path: str, headers: dict[str, str], code: str) -> None:
    assert site.http.request(method, path, headers=headers).json()["code"] == code
    (row,) = rows(site, 1)
    assert row["facts"]["code"] == code
    assert TOKEN not in json.dumps(row)


def test_a_page_that_polls_without_a_session_is_no_attack(site: Site) -> None:
    for path in ("/api/notifications", "/api/events/stream", "/api/events/stats"):
        assert site.call("GET", path, token=None).status == 401
    settled(site)
    assert rows(site, 0) == []


def test_what_succeeds_or_is_refused_for_another_reason_is_not_audited(site: Site) -> None:
    tenant = site.client("Acme")
    assert tenant.get("/api/notifications").status == 200
    assert tenant.get("/api/client/another/agents").status == 403
    assert tenant.get("/api/agents/unknown/config").status == 404
    settled(site)
    assert rows(site, 0) == []
