"""Every query parameter of every endpoint for people: what cannot be read is 400 by its name, all else is answered (1.3)."""

from typing import Any

import pytest
from attrs import fields

from spotadapters.http.app import SERVED
from spotadapters.wire.asking import asked
from tests.support.screen_rows import Host
from tests.support.server import ADMIN_TOKEN, Site

# number, path, parameters: (name, kind); a number is clamped, a word is one of a few, a text has a limit
QUERIES = {
    "E05": ("/api/admin/clients/growth", {"days": "number"}),
    "E06": ("/api/admin/activity", {"limit": "number"}),
    "E08": (
        "/api/admin/instances",
        {"status": "all, active, terminated", "mode": "spot, ondemand, unknown, all", "region": "text 64",
         "client_id": "text 128", "search": "text 255", "limit": "number"},
    ),
    "E09": (
        "/api/admin/agents",
        {"status": "all, online, offline, disabled, switching, error, deleted", "client_id": "text 128", "limit": "number"},
    ),
    "E29": (
        "/api/client/{client_id}/instances",
        {"status": "all, active, terminated", "mode": "all, spot, ondemand, unknown", "search": "text 255"},
    ),
    "E32": (
        "/api/client/instances/{machine}/price-history",
        {"days": "number", "interval": "hour, day", "hours": "number"},
    ),
    "E35": ("/api/client/instances/{machine}/logs", {"limit": "number"}),
    "E77": ("/api/client/{client_id}/savings", {"range": "daily, weekly, monthly, yearly"}),
    "E78": ("/api/client/{client_id}/switch-history", {"instance_id": "text 128", "limit": "number"}),
    "E80": (
        "/api/client/pricing-history",
        {"days": "number", "interval": "hour, day", "agent_id": "text 128", "instance_type": "text 64",
         "client_id": "text 128"},
    ),
    "E81": ("/api/client/{client_id}/analytics/downtime", {"days": "number"}),
    "E87": ("/api/notifications", {"limit": "number", "client_id": "text 128", "unread": "switch"}),
    "E90": ("/api/events/stream", {"client_id": "text 128"}),
    "E93": ("/api/admin/search", {"q": "text 255", "types": "words clients, instances, agents"}),
    "E98": ("/api/admin/consolidation-jobs", {"days": "number"}),
    "E99": ("/api/admin/emergency-events", {"days": "number"}),
}  # fmt: skip
BAD: dict[str, tuple[list[str], str]] = {
    "number": (["ten", "1.5", "NaN"], "use a whole number"),
    "switch": (["maybe", "2"], "use true or false"),
}
PARAMETERS = [(number, name) for number, (_, known) in QUERIES.items() for name in known]


@pytest.fixture(scope="module")
def ids(module_site: Site) -> dict[str, str]:
    """A client with one machine; nothing here changes anything."""
    host = Host(module_site.client("asked"))
    return {"client_id": host.tenant.client_id, "machine": host.machine}


def call(site: Site, path: str, query: dict[str, str], token: str | None = ADMIN_TOKEN) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = site.http.get(path, params=query, headers=headers)
    return answer.status_code, answer.json()


def expected(kind: str) -> tuple[list[str], str]:
    """Values that cannot be read, and what the refusal says would be right."""
    if kind in BAD:
        return BAD[kind]
    if kind.startswith("text "):
        limit = int(kind.removeprefix("text "))
        return ["x" * (limit + 1)], f"longer than {limit} characters"
    if kind.startswith("words "):
        return ["pools", "clients;agents", "clients,pool"], "use a comma-separated list of " + kind.removeprefix(
            "words "
        )
    return ["x", kind.split(", ")[0] + "s", kind], "use " + kind


@pytest.mark.parametrize(("number", "name"), PARAMETERS)
def test_what_cannot_be_read_is_400_and_says_what_would_be_right(
    shared_site: Site, ids: dict[str, str], number: str, name: str
) -> None:
    path, known = QUERIES[number]
    values, advice = expected(known[name])
    for value in values:
        status, body = call(shared_site, path.format(**ids), {name: value})
        assert (status, body["code"], body["data"]) == (400, "VALIDATION_ERROR", None), (value, body)
        assert body["details"] == {name: [advice]}
        assert name in body["error"]
        assert value not in body["error"]


@pytest.mark.parametrize("number", [number for number, (_, known) in QUERIES.items() if len(known) > 1])
def test_every_wrong_parameter_is_told_at_once(shared_site: Site, ids: dict[str, str], number: str) -> None:
    path, known = QUERIES[number]
    wrong = {name: expected(kind)[0][0] for name, kind in known.items()}
    _, body = call(shared_site, path.format(**ids), wrong)
    assert body["details"] == {name: [expected(kind)[1]] for name, kind in known.items()}


def test_the_table_names_every_endpoint_for_people_that_asks_and_every_parameter_of_it() -> None:
    agents = {"E43", "E69", "E71"}  # what agents ask is another table
    asking = {row.number: row for row in SERVED if row.asks is not None and row.number not in agents}
    assert set(asking) == set(QUERIES)
    for number, row in asking.items():
        assert row.asks is not None
        names = [one.metadata.get("name") or one.name for one in fields(row.asks)]
        assert names == list(QUERIES[number][1])


DEFAULTS = {
    "E05": {"days": (30, 1, 365)}, "E06": {"limit": (50, 1, 100)}, "E08": {"limit": (500, 1, 1000)},
    "E09": {"limit": (500, 1, 1000)}, "E32": {"days": (7, 1, 90), "hours": (None, 1, 2160)},
    "E35": {"limit": (100, 1, 1000)}, "E78": {"limit": (100, 1, 1000)}, "E80": {"days": (7, 1, 30)},
    "E81": {"days": (30, 1, 365)}, "E87": {"limit": (10, 1, 100)}, "E98": {"days": (7, 1, 90)}, "E99": {"days": (30, 1, 365)},
}  # fmt: skip


@pytest.mark.parametrize(("number", "name"), [(number, name) for number, known in DEFAULTS.items() for name in known])
def test_numbers_have_the_defaults_and_bounds_of_the_contract(number: str, name: str) -> None:
    default, low, high = DEFAULTS[number][name]
    kind = next(row.asks for row in SERVED if row.number == number)
    assert kind is not None

    def read(**query: str) -> int | None:
        value: int | None = getattr(asked(query, kind), name)
        return value

    assert read() == read(**{name: ""}) == read(**{name: "  "}) == default
    for given, clamped in (
        (low, low),
        (high, high),
        (low - 1, low),
        (high + 1, high),
        (-(10**30), low),
        (10**30, high),
    ):
        assert read(**{name: str(given)}) == clamped
    assert read(**{name: f"{low}.0"}) == low
    assert read(**{name: f" +{high} "}) == high


@pytest.mark.parametrize("number", QUERIES)
def test_a_wrong_parameter_is_no_reason_to_tell_a_stranger_anything(
    shared_site: Site, ids: dict[str, str], number: str
) -> None:
    path, known = QUERIES[number]
    wrong = {name: expected(kind)[0][0] for name, kind in known.items()}
    status, body = call(shared_site, path.format(**ids), wrong, None)
    assert (status, body["code"]) == (401, "UNAUTHORIZED")
