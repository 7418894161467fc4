"""Generated calls against the whole application: whatever is answered is what the OpenAPI document says.

Bounded for every run; ``HYPOTHESIS_PROFILE=long`` looks longer.
"""

from functools import cache
from typing import Any

import pytest
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotadapters.http.app import SERVED
from spotadapters.http.openapi import document
from spotadapters.http.routing import Endpoint
from tests.support.effort import fewer
from tests.support.server import ADMIN_TOKEN, Site, Tenant
from tests.support.wire_agents import V4c

STREAMS = "text/event-stream"  # endless: their frames have tests of their own
ROWS = [row for row in SERVED if row.gives != STREAMS]


@cache
def _described() -> Any:
    """The document as Schemathesis reads it. The library loads here: every worker collects this file, one runs it."""
    import schemathesis

    return schemathesis.openapi.from_dict(document(SERVED, "test"))


@cache
def _checks() -> list[Any]:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    conformances = [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]
    return [not_a_server_error, *conformances]


@frozen
class Scene:
    """A client with an agent at work."""

    tenant: Tenant
    host: V4c

    @classmethod
    def on(cls, site: Site) -> "Scene":
        tenant = site.client(f"Acme {site.new_machine()}")
        host = V4c(tenant, site.new_machine(), logical="web")
        host.register()
        host.heartbeat()
        host.prices()
        return cls(tenant, host)

    def check(self, row: Endpoint, case: Any, real: bool, content: bytes) -> None:
        """Send what was generated, to what is there or to nothing, and hold the answer against the document."""
        known = {"agent_id": self.host.agent_id, "client_id": self.tenant.client_id, "instance_id": self.host.machine}
        token = ADMIN_TOKEN if row.access.needs == "A" else self.tenant.token
        if real:
            case.path_parameters = {
                name: known.get(name, value) for name, value in (case.path_parameters or {}).items()
            }
        if row.waits:
            case.query = {name: value for name, value in (case.query or {}).items() if name != "wait"}
        sent = case.as_transport_kwargs(base_url="http://testserver")
        sent = {
            name: sent[name] for name in ("method", "url", "params", "json", "content", "data") if sent.get(name)
        } | {"headers": sent.get("headers")}
        if row.uploads is not None:  # what is generated for a file is not always bytes
            sent = {"method": sent["method"], "url": sent["url"], "files": {"files": ("m.json", content)}}
        headers = {**dict(sent.pop("headers", None) or {}), "Authorization": f"Bearer {token}"}
        response = self.tenant.site.http.request(headers=headers, **sent)
        case.validate_response(response, checks=_checks())


@pytest.fixture(scope="module")
def standing(module_site: Site) -> Scene:
    """One scene for all calls that change nothing."""
    return Scene.on(module_site)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.number} {row.path}")
def test_every_answer_is_one_that_the_document_describes(shared_site: Site, standing: Scene, row: Endpoint) -> None:
    scene = standing if row.method == "GET" else Scene.on(shared_site)
    cases = _described()[row.path][row.method].as_strategy()

    @settings(max_examples=fewer(16), suppress_health_check=list(HealthCheck), deadline=None)
    @given(case=cases, real=st.booleans(), content=st.binary(max_size=99) if row.uploads is not None else st.just(b""))
    def each(case: Any, real: bool, content: bytes) -> None:
        scene.check(row, case, real, content)

    each()
