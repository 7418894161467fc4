"""The three shapes over one story in which nothing is known: what the legacy shape pads, and that it pads nothing else (1.2,
T26, T40, T42, Z37)."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.screen_rows import Host, at, change
from tests.support.server import ADMIN_TOKEN, Site
from tests.support.world import START

LEGACY = {"X-Response-Shape": "legacy"}
OWN = {"Origin": "http://testserver"}

# What the page asks for, and the fields in which its shape may differ (http-api 7, "Legacy shape:")
PADDED: dict[str, tuple[str, set[str]]] = {
    "E03": ("/api/admin/stats", {"realisedSavings"}),
    "E04": ("/api/admin/clients", {"realisedSavings"}),
    "E05": ("/api/admin/clients/growth?days=3", set()),
    "E06": ("/api/admin/activity", set()),
    "E08": ("/api/admin/instances", set()),
    "E09": ("/api/admin/agents", set()),
    "E15": ("/api/client/{client_id}", {"realisedSavings"}),
    "E22": ("/api/client/{client_id}/agents", set()),
    "E23": ("/api/client/{client_id}/agents/decisions", set()),
    "E24": ("/api/client/{client_id}/agents/history", set()),
    "E29": ("/api/client/{client_id}/instances", {"spotPrice", "onDemandPrice"}),
    "E30": ("/api/client/instances/{machine}/pricing", {"price", "savings"}),
    "E31": (
        "/api/client/instances/{machine}/metrics",
        {"spotPrice", "onDemandPrice", "baselineOnDemandPrice", "savingsLast30Days", "totalSavings", "avgSwitchDowntimeSeconds"},
    ),
    "E32": ("/api/client/instances/{machine}/price-history", set()),
    "E33": ("/api/client/instances/{machine}/available-options", set()),
    "E35": ("/api/client/instances/{machine}/logs", set()),
    "E36": ("/api/client/instances/{machine}/pool-volatility", set()),
    "E42": ("/api/client/{client_id}/replicas", {"primary", "sync_latency_ms"}),
    "E67": ("/api/admin/ml-models/sessions", set()),
    "E77": ("/api/client/{client_id}/savings", set()),
    "E78": ("/api/client/{client_id}/switch-history", {"price", "savingsImpact", "timestamp"}),
    "E79": ("/api/client/{client_id}/stats/charts", set()),
    "E80": ("/api/client/pricing-history?client_id={client_id}", set()),
    "E82": ("/api/client/{client_id}/pricing-alerts", set()),
    "E87": ("/api/notifications?client_id={client_id}", set()),
    "E93": ("/api/admin/search?q=blind", set()),
    "E94": ("/api/admin/pools/statistics", set()),
    "E95": ("/api/admin/agents/health-summary", set()),
    "E97": ("/api/admin/metrics/operational", set()),
    "E98": ("/api/admin/consolidation-jobs", set()),
    "E99": ("/api/admin/emergency-events", set()),
}  # fmt: skip
# T26: what the page formats or maps; null, missing or text blanks it
NUMBERS = {
    "E30": {"price", "savings"}, "E31": {"totalSavings", "spotPrice", "onDemandPrice", "uptimeHours"},
    "E42": {"state_transfer_progress"}, "E78": {"price", "savingsImpact"},
    "E03": {"totalSavings", "totalAccounts", "agentsOnline", "agentsTotal", "totalInstances", "poolsCovered"},
    "E04": {"totalSavings"}, "E15": {"totalSavings"},
}  # fmt: skip
TEXTS = {"E04": {"id", "name"}, "E09": {"id"}, "E78": {"timestamp"}}
ARRAYS = ("E04", "E05", "E06", "E22", "E23", "E29", "E42", "E67", "E77", "E78", "E87")


@pytest.fixture(scope="module")
def ids(module_site: Site) -> dict[str, str]:
    """A client of whom as little as possible is known: no price, no time, no primary, a machine that tells nothing."""
    tenant = module_site.client("blind")
    host = Host(tenant, mode="unknown")
    row = host.machine_row("running_replica", instance_type=None, az=None, mode="unknown")
    host.put("replicas", instance_id=row, state="syncing", sync_latency_ms=0)
    host.switch(old_cloud_id=None, old_instance_id=None, old_mode="unknown", new_mode="unknown", recorded_at=at(1))
    host.put("incidents", instance_id=host.row_id)
    host.price("a", "0.02", at(5))  # too old to be shown
    host.change(primary_id=None, last_heartbeat_at=None, hostname=None)
    change(module_site, "instances", {"instance_id": host.row_id}, status="terminated", terminated_at=START)
    return {"client_id": tenant.client_id, "machine": host.machine}


def asked(site: Site, path: str, ids: dict[str, str], **more: Any) -> Any:
    answer = site.call("GET", path.format(**ids), **more)
    assert answer.status == 200, answer
    return answer.body


def differences(honest: Any, padded: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two shapes differ, by the name of the field."""
    if isinstance(honest, dict) and isinstance(padded, dict):
        assert honest.keys() == padded.keys()
        for key in honest:
            yield from differences(honest[key], padded[key], key)
    elif isinstance(honest, list) and isinstance(padded, list):
        assert len(honest) == len(padded)
        for one, other in zip(honest, padded, strict=True):
            yield from differences(one, other, name)
    elif honest != padded:
        yield name, honest, padded


def values(body: Any, names: set[str]) -> Iterator[tuple[str, Any]]:
    """Every value under one of these names, wherever it stands."""
    if isinstance(body, dict):
        for key, value in body.items():
            if key in names:
                yield key, value
            yield from values(value, names)
    for one in body if isinstance(body, list) else ():
        yield from values(one, names)


@pytest.mark.parametrize("number", PADDED)
def test_the_legacy_shape_is_the_data_itself_but_for_the_fields_that_section_7_names(
    shared_site: Site, ids: dict[str, str], number: str
) -> None:
    path, allowed = PADDED[number]
    envelope = asked(shared_site, path, ids)
    assert (envelope["status"], envelope["error"]) == ("success", None)
    bare = asked(shared_site, path, ids, headers=LEGACY)
    volatile = {"uptimeSeconds", "connectionPool"}
    found = [one for one in differences(envelope["data"], bare) if one[0] not in volatile]
    for name, honest, padded in found:
        assert name in allowed, (name, honest, padded)
        # what is unknown is padded; of the other way there is one: a latency of 0 would print a stray 0
        assert honest is None or (name, honest, padded) == ("sync_latency_ms", 0, None)


@pytest.mark.parametrize("number", NUMBERS)
def test_what_the_page_formats_is_a_number_in_its_shape_t26(
    shared_site: Site, ids: dict[str, str], number: str
) -> None:
    body = asked(shared_site, PADDED[number][0], ids, headers=LEGACY)
    found = list(values(body, NUMBERS[number]))
    assert {name for name, _ in found} == NUMBERS[number]
    for name, value in found:
        assert isinstance(value, int | float), name
        assert not isinstance(value, bool), name


@pytest.mark.parametrize("number", TEXTS)
def test_what_the_page_prints_is_a_text_in_its_shape_t26_t42(
    shared_site: Site, ids: dict[str, str], number: str
) -> None:
    body = asked(shared_site, PADDED[number][0], ids, headers=LEGACY)
    found = list(values(body, TEXTS[number]))
    assert {name for name, _ in found} == TEXTS[number]
    assert all(isinstance(value, str) and value for _, value in found)


@pytest.mark.parametrize("number", ARRAYS)
def test_what_the_page_maps_over_is_a_bare_array_t26(shared_site: Site, ids: dict[str, str], number: str) -> None:
    assert isinstance(asked(shared_site, PADDED[number][0], ids, headers=LEGACY), list)


def test_a_replica_without_a_primary_names_one_in_words_for_the_page_t26(
    shared_site: Site, ids: dict[str, str]
) -> None:
    (row,) = asked(shared_site, PADDED["E42"][0], ids, headers=LEGACY)
    assert row["primary"]["instanceId"] == ids["machine"]  # the last that was known
    assert all(value is not None for value in row["primary"].values())


@pytest.mark.parametrize(
    ("shape", "is_bare"), [(None, True), ("legacy", True), ("envelope", False), ("other", True), ("LEGACY", True)]
)
def test_a_session_gets_the_legacy_shape_unless_it_asks_for_the_envelope_1_2(
    shared_site: Site, ids: dict[str, str], shape: str | None, is_bare: bool
) -> None:
    login = shared_site.http.post("/api/auth/login", json={"token": ADMIN_TOKEN}, headers=OWN)
    assert login.status_code == 200
    try:
        headers = {"X-Response-Shape": shape} if shape else {}
        body = shared_site.http.get(f"/api/client/{ids['client_id']}", headers=headers).json()
        assert ("data" not in body) is is_bare
        refused = shared_site.http.get("/api/client/nobody", headers=headers).json()
        assert (refused["status"], refused["code"]) == ("error", "NOT_FOUND")  # errors are always the envelope
    finally:
        shared_site.http.cookies.clear()


@pytest.mark.parametrize(
    ("shape", "is_bare"), [("legacy", True), ("envelope", False), ("other", False), ("LEGACY", False), ("", False)]
)
def test_a_token_gets_the_envelope_unless_it_asks_for_the_legacy_shape_1_2(
    shared_site: Site, ids: dict[str, str], shape: str, is_bare: bool
) -> None:
    body = asked(shared_site, "/api/client/{client_id}", ids, headers={"X-Response-Shape": shape})
    assert ("data" not in body) is is_bare


def test_an_open_tab_leaves_no_trace_in_the_audit_trail_also_with_a_dead_session_t40(
    shared_site: Site, ids: dict[str, str]
) -> None:
    def trail() -> int:
        with shared_site.connections.connection() as connection:
            row = connection.execute("select count(*) from audit_events").fetchone()
            assert row is not None
            return int(row[0])

    shared_site.http.post("/api/auth/login", json={"token": ADMIN_TOKEN}, headers=OWN)
    before = trail()
    polled = ("E08", "E22", "E29", "E42", "E05", "E06", "E23", "E87", "E03", "E04")
    paths = [*(PADDED[number][0].format(**ids) for number in polled), "/api/admin/system-health"]
    try:
        assert {shared_site.http.get(path).status_code for path in paths} == {200}
        shared_site.http.cookies.clear()
        dead = [shared_site.http.get(path, headers={"Cookie": "so_session=" + "0" * 64}) for path in paths]
    finally:
        shared_site.http.cookies.clear()
    assert {(answer.status_code, answer.json()["error"]) for answer in dead} == {(401, "Signed out. Open /login")}
    assert trail() == before
