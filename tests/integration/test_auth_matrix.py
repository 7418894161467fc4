"""Every route × every kind of caller → the status of http-api 2.2 and 2.3 (failure 93)."""

import re
from typing import Any

import pytest

from spotadapters.http.app import SERVED
from spotadapters.http.routing import Endpoint
from spotadapters.http.sessions import COOKIE
from tests.support.server import ADMIN_TOKEN, Site, Tenant
from tests.support.wire_agents import V4c

OWN = {"Origin": "http://testserver"}
OPEN, ADMIN, CLIENT, EITHER, SESSION = "-", "A", "C", "C/A", "cookie"
BY_BODY = {"E38": {"agent_id": "{agent_id}"}, "E96": {"operation": "delete_agents", "agent_ids": [], "confirm": True}}
STREAMS = [row for row in SERVED if row.gives == "text/event-stream"]
ROWS = [row for row in SERVED if row not in STREAMS]

# caller → what it gets, by who may call: a refusal (status, code), or None for "let in"
MATRIX: dict[str, dict[str, tuple[int, str] | None]] = {
    "nobody": {
        OPEN: None, ADMIN: (401, "UNAUTHORIZED"), CLIENT: (401, "UNAUTHORIZED"), EITHER: (401, "UNAUTHORIZED"),
        SESSION: (401, "UNAUTHORIZED"),
    },
    "a wrong token": {
        OPEN: None, ADMIN: (401, "INVALID_TOKEN"), CLIENT: (401, "INVALID_TOKEN"), EITHER: (401, "INVALID_TOKEN"),
        SESSION: (401, "UNAUTHORIZED"),
    },
    "a browser signed out": {
        OPEN: None, ADMIN: (401, "UNAUTHORIZED"), CLIENT: (401, "UNAUTHORIZED"), EITHER: (401, "UNAUTHORIZED"),
        SESSION: (401, "UNAUTHORIZED"),
    },
    "the client": {
        OPEN: None, ADMIN: (401, "INVALID_TOKEN"), CLIENT: None, EITHER: None, SESSION: (401, "UNAUTHORIZED"),
    },
    "the client's browser": {OPEN: None, ADMIN: (401, "INVALID_TOKEN"), CLIENT: None, EITHER: None, SESSION: None},
    # last, because two of the calls end the client or its token
    "the operator": {
        OPEN: None, ADMIN: None, CLIENT: (401, "INVALID_TOKEN"), EITHER: None, SESSION: (401, "UNAUTHORIZED"),
    },
    "the operator's browser": {OPEN: None, ADMIN: None, CLIENT: (401, "INVALID_TOKEN"), EITHER: None, SESSION: None},
}  # fmt: skip
LEFT_TO_OTHERS = {"E16": "a cookie registers nobody: registration reads a token from its header or body"}


class Scene:
    """Two tenants with an agent each."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.own, self.other = site.client(f"Own {site.new_machine()}"), site.client(f"Other {site.new_machine()}")
        self.agent, self.foreign = self._agent(self.own), self._agent(self.other)

    def _agent(self, tenant: Tenant) -> V4c:
        host = V4c(tenant, self.site.new_machine(), logical="web")
        host.register()
        host.heartbeat()
        host.prices()
        return host

    def known(self) -> dict[str, str]:
        return {
            "agent_id": self.agent.agent_id, "client_id": self.own.client_id, "instance_id": self.agent.machine,
        }  # fmt: skip

    def call(self, row: Endpoint, *, token: str | None = None, cookie: str | None = None, **more: Any) -> Any:
        path = re.sub(r"\{(\w+)\}", lambda name: self.known().get(name[1], "none"), row.path)
        headers = dict(more.get("headers", {}))
        self.site.http.cookies.clear()
        if cookie is not None:
            headers["Cookie"] = f"{COOKIE}={cookie}"
        body = {name: str(v).format_map(self.known()) if isinstance(v, str) else v
                for name, v in BY_BODY.get(row.number, {}).items()}  # fmt: skip
        return self.site.call(row.method, path, body if row.method != "GET" else None, token=token, headers=headers)

    def sign_in(self, token: str) -> str:
        answer = self.site.http.post("/api/auth/login", json={"token": token}, headers=OWN)
        assert answer.status_code == 200
        return str(self.site.http.cookies[COOKIE])

    def as_caller(self, caller: str) -> dict[str, Any]:
        match caller:
            case "nobody":
                return {}
            case "a wrong token":
                return {"token": "wrong"}
            case "the client":
                return {"token": self.own.token}
            case "the operator":
                return {"token": ADMIN_TOKEN}
            case "the client's browser":
                return {"cookie": self.sign_in(self.own.token), "headers": OWN}
            case "the operator's browser":
                return {"cookie": self.sign_in(ADMIN_TOKEN), "headers": OWN}
            case _:
                return {"cookie": "long gone", "headers": OWN}


@pytest.fixture
def scene(shared_site: Site) -> Scene:
    return Scene(shared_site)


@pytest.fixture(scope="module")
def module_scene(module_site: Site) -> Scene:
    return Scene(module_site)


@pytest.fixture
def standing(shared_site: Site, module_scene: Scene) -> Scene:  # noqa: ARG001
    """One scene for all tests whose calls change nothing."""
    return module_scene


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.number} {row.path}")
def test_every_caller_gets_what_the_table_of_2_2_says_failure_93(request: pytest.FixtureRequest, row: Endpoint) -> None:
    scene: Scene = request.getfixturevalue("standing" if row.method == "GET" else "scene")
    for caller, expected in MATRIX.items():
        if "browser" in caller and row.number in LEFT_TO_OTHERS:
            continue
        answer = scene.call(row, **scene.as_caller(caller))
        wanted = expected[row.access.needs]
        if wanted is not None:
            assert (answer.status, answer.body["code"]) == wanted, caller
        else:
            refused = answer.body.get("code") if isinstance(answer.body, dict) else None
            assert refused not in {"UNAUTHORIZED", "INVALID_AUTH_FORMAT", "FORBIDDEN", "INACTIVE_CLIENT"}, caller
            assert row.number == "E100" or refused != "INVALID_TOKEN", caller


@pytest.mark.parametrize(
    "row", [row for row in ROWS if "{" in row.path and row.access.needs in (CLIENT, EITHER)],
    ids=lambda row: f"{row.number} {row.path}",
)  # fmt: skip
def test_another_tenant_sees_nothing_there_2_3(standing: Scene, row: Endpoint) -> None:
    before = standing.own.aggregate(standing.agent.agent_id)
    for caller in ({"token": standing.other.token}, {"cookie": standing.sign_in(standing.other.token), "headers": OWN}):
        answer = standing.call(row, **caller)
        names_a_client = "{client_id}" in row.path or row.number == "E26"
        expected = (403, "FORBIDDEN") if names_a_client else (404, "NOT_FOUND")
        body_came_first = answer.status == 400 and row.method != "GET"
        assert (answer.status, answer.body["code"]) == expected or body_came_first, answer
    assert standing.own.aggregate(standing.agent.agent_id) == before


@pytest.mark.parametrize(
    "row", [row for row in ROWS if "{agent_id}" in row.path and row.method == "GET" and row.number != "E26"],
    ids=lambda row: f"{row.number} {row.path}",
)  # fmt: skip
def test_a_foreign_id_answers_exactly_like_an_unknown_one_gr8(standing: Scene, row: Endpoint) -> None:
    foreign = standing.call(row, token=standing.other.token)
    path = row.path.replace("{agent_id}", "00000000-0000-4000-8000-000000000000")
    unknown = standing.site.call(row.method, path, token=standing.other.token)
    assert (foreign.status, foreign.body) == (unknown.status, unknown.body)


@pytest.mark.parametrize("row", STREAMS, ids=lambda row: f"{row.number} {row.path}")
@pytest.mark.parametrize("caller", ["nobody", "a wrong token", "a browser signed out"])
def test_a_stream_is_opened_for_nobody_unknown(standing: Scene, row: Endpoint, caller: str) -> None:
    answer = standing.call(row, **standing.as_caller(caller))
    wanted = MATRIX[caller][row.access.needs]
    assert wanted is not None
    assert (answer.status, answer.body["code"]) == wanted


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.method != "GET" and row.access.needs != OPEN],
    ids=lambda row: f"{row.number} {row.path}",
)
def test_a_browser_changes_nothing_from_another_sites_page(standing: Scene, row: Endpoint) -> None:
    if row.number in LEFT_TO_OTHERS:
        return
    token = standing.own.token if row.access.needs in (CLIENT, EITHER) else ADMIN_TOKEN
    cookie = standing.sign_in(token)
    for headers in ({}, {"Origin": "http://evil.example"}):
        answer = standing.call(row, cookie=cookie, headers=headers)
        assert (answer.status, answer.body["code"]) == (403, "FORBIDDEN")
