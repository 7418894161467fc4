"""Compatibility traps, idempotency, authentication, and everything a hostile or broken caller can send."""

import json
import re
from typing import Any

import pytest

from spotadapters.http.app import ENDPOINTS
from spotadapters.http.auth import Needs
from spotadapters.http.errors import STATUS
from spotcore import errors
from tests.support.server import ADMIN_TOKEN, Site, Tenant
from tests.support.wire_agents import POOLS, V2, V5, V4c


@pytest.fixture
def tenant(shared_site: Site) -> Tenant:
    return _a_client(shared_site)


@pytest.fixture
def agent(tenant: Tenant) -> V4c:
    return _at_work(tenant)


@pytest.fixture(scope="module")
def standing(module_site: Site) -> V4c:
    """One agent for all calls that change nothing."""
    return _at_work(_a_client(module_site))


def _a_client(site: Site) -> Tenant:
    return site.client(f"Acme {site.new_machine()}")


def _at_work(tenant: Tenant) -> V4c:
    host = V4c(tenant, tenant.site.new_machine(), logical="web")
    assert host.register().status == 200
    host.heartbeat()
    host.prices()
    return host


def path_of(template: str, agent_id: str = "00000000-0000-4000-8000-000000000000") -> str:
    known = {"agent_id": agent_id, "instance_id": "i-0none"}
    return re.sub(r"\{(\w+)\}", lambda name: known.get(name[1], "none"), template)


PROTECTED = [one for one in ENDPOINTS if one.access.needs is not Needs.NOBODY]


@pytest.mark.parametrize("endpoint", PROTECTED, ids=lambda one: f"{one.number} {one.path}")
def test_every_endpoint_refuses_missing_and_wrong_tokens_failure_93(shared_site: Site, endpoint: Any) -> None:
    path = path_of(endpoint.path)
    assert shared_site.call(endpoint.method, path, token=None).body["code"] == "UNAUTHORIZED"
    wrong = "UNAUTHORIZED" if endpoint.access.needs is Needs.SESSION else "INVALID_TOKEN"
    assert shared_site.call(endpoint.method, path, token="wrong").body["code"] == wrong
    odd = shared_site.call(endpoint.method, path, token=None, headers={"Authorization": "Basic abc"})
    assert (odd.status, odd.body["code"]) == (401, "INVALID_AUTH_FORMAT")


@pytest.mark.parametrize(
    "endpoint",
    [one for one in PROTECTED if one.access.needs is Needs.ADMIN],
    ids=lambda one: f"{one.number} {one.path}",
)
def test_a_client_token_opens_no_admin_endpoint(shared_site: Site, standing: V4c, endpoint: Any) -> None:  # noqa: ARG001
    answer = standing.tenant.call(endpoint.method, path_of(endpoint.path), {})
    assert (answer.status, answer.body["code"]) == (401, "INVALID_TOKEN")


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: f"{one.number} {one.path}")
def test_every_route_is_there_and_never_answers_500_to_junk_failure_18(
    shared_site: Site, standing: V4c, endpoint: Any
) -> None:
    agent = standing if endpoint.method == "GET" else _at_work(_a_client(shared_site))
    token = ADMIN_TOKEN if endpoint.access.needs is Needs.ADMIN else agent.tenant.token
    path = path_of(endpoint.path, agent.agent_id)
    for body in (
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"instance_id": 7}',
        b'{"status": [], "x": {"y": NaN}}',
        b"{}",
        b'"' * 3,
    ):
        answer = shared_site.call(endpoint.method, path, body, token=token)
        assert answer.status < 500, (endpoint.number, body, answer)
        assert answer.body, "T03: never an empty body"
        assert answer.status != 404 or answer.body["error"] != "no such path"  # T28
        assert "x-request-id" in answer.headers


def test_an_unknown_path_and_an_unknown_id_read_differently_t28(tenant: Tenant) -> None:
    assert tenant.get("/api/agents/none/nothing").body["error"] == "no such path"
    assert tenant.get("/api/agents/none/config").body["error"] == "unknown agent"
    wrong = tenant.call("POST", "/api/agents/none/replicas/none", {})
    assert (wrong.status, wrong.body["code"]) == (405, "METHOD_NOT_ALLOWED")


def test_a_trailing_slash_is_no_redirect(tenant: Tenant) -> None:
    assert tenant.get("/api/client/validate/").status == 200
    assert tenant.site.call("GET", "/health/").status == 200


def test_a_body_over_one_mebibyte_is_refused_in_our_envelope(agent: V4c) -> None:
    answer = agent.post("/heartbeat", b'{"x": "' + b"y" * (1 << 20) + b'"}')
    assert (answer.status, answer.body["code"], answer.body["status"]) == (413, "PAYLOAD_TOO_LARGE", "error")


def test_t01_t03_t26_shapes_of_answers(agent: V4c, tenant: Tenant) -> None:
    listing = tenant.get(f"/api/client/{tenant.client_id}/agents")
    assert listing.body["status"] == "success"
    legacy = tenant.get(f"/api/client/{tenant.client_id}/agents", headers={"X-Response-Shape": "legacy"})
    assert isinstance(legacy.body, list)  # T26: a naked array
    assert agent.heartbeat().body["status"] == "success"
    assert agent.get("").status == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_t37_an_empty_body_with_a_json_type_is_no_error(agent: V4c, tenant: Tenant, method: str) -> None:
    path = f"/api/agents/{agent.agent_id}/config" if method == "GET" else f"/api/client/agents/{agent.agent_id}"
    assert tenant.call(method, path).status == 200


def test_t05_t34_request_ids_of_reports_are_no_idempotency_keys(tenant: Tenant) -> None:
    host = V5(tenant, tenant.site.new_machine())
    host.register()
    host.heartbeat()
    for error in ("first", "second"):
        body = {"request_id": "same", "result": "FAILURE", "error_message": error, "metadata": {}}
        assert host.post("/action-result", body, headers={"X-Request-ID": "same"}).status == 200


def test_t08_t10_t11_t12_what_a_classic_agent_is_handed(agent: V4c, tenant: Tenant) -> None:
    tenant.post(
        f"/api/client/agents/{agent.agent_id}/config", {"autoTerminateEnabled": False, "manualReplicaEnabled": True}
    )
    tenant.post(
        f"/api/client/instances/{agent.machine}/force-switch", {"target": "pool", "pool_id": "t3.medium.us-east-1c"}
    )
    (command,) = agent.commands()  # T11, T12: switches alone, no create_replica beside it
    assert command["command_type"] == "switch"
    assert (command["terminate_wait_seconds"], command["terminate_old"]) == (0, False)  # T10, CM-9
    assert agent.commands() == []


def test_t13_a_placeholder_is_never_listed_for_ending(agent: V4c, tenant: Tenant) -> None:
    tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"manualReplicaEnabled": True})
    tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"manualReplicaEnabled": False})
    assert agent.to_end() == []
    assert agent.get("/instances-to-terminate").body["instances"] == []


def test_t17_emergencies_answer_2xx_whatever_is_wrong_with_the_details(agent: V4c) -> None:
    for body in (
        {},
        {"instance_id": "i-0unknown"},
        {"instance_id": 7},
        {"termination_time": "soon"},
        {"replica_id": []},
    ):
        answer = agent.post("/termination-imminent", body)
        assert answer.status == 200, body
    assert agent.post("/create-emergency-replica", {"signal_type": "earthquake"}).status == 400


def test_t21_a_switch_is_not_redelivered_while_its_agent_sleeps(site: Site) -> None:
    tenant = site.client("Acme")
    agent = _at_work(tenant)
    tenant.post(f"/api/client/agents/{agent.agent_id}/settings", {"terminate_wait_seconds": 86_400})
    tenant.post(f"/api/client/instances/{agent.machine}/force-switch", {"target": "ondemand"})
    agent.commands()
    for _ in range(20):
        site.clock.advance(4_000)
        agent.heartbeat()
        site.tick()
        assert agent.commands() == []


def test_t24_t25_naive_times_are_utc_and_pool_ids_end_in_their_zone(tenant: Tenant) -> None:
    host = V5(tenant, tenant.site.new_machine())
    host.register()
    host.heartbeat()
    host.prices()
    answer = host.termination_notice("2026-03-02T12:01:00")
    assert answer.status == 200
    assert host.get("/emergency-status").body["notice_deadline"] == "2026-03-02T12:01:00Z"
    options = tenant.get(f"/api/client/instances/{host.machine}/available-options").data
    assert all(row["id"].rpartition(".")[2] == row["az"] for row in options["pools"])


def test_t27_a_server_error_says_nothing_of_pools(
    shared_site: Site, agent: V4c, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("pool exhausted at /srv/secret")

    monkeypatch.setattr(type(shared_site.plane.agents), "config", broken)
    answer = agent.get("/config")
    assert (answer.status, answer.body["code"]) == (500, "SERVER_ERROR")
    assert "pool" not in json.dumps(answer.body)
    assert "secret" not in json.dumps(answer.body)  # failure 97


@pytest.mark.usefixtures("agent")
def test_t30_two_machines_of_one_name_are_one_agent(tenant: Tenant) -> None:
    twin = V4c(tenant, tenant.site.new_machine(), logical="web")
    assert twin.register().status == 409


@pytest.mark.parametrize("key", ["instance_type", "region", "az"])
def test_registration_takes_unknown_metadata_and_refuses_missing_keys(tenant: Tenant, key: str) -> None:
    body = V4c(tenant, tenant.site.new_machine(), logical="web").registration()
    without = {name: value for name, value in body.items() if name != key}
    answer = tenant.post("/api/agents/register", without)
    assert (answer.status, list(answer.body["details"])) == (400, [key])
    assert tenant.post("/api/agents/register", {**body, key: "unknown"}).status == 200
    assert tenant.post("/api/agents/register", {**body, "instance_id": "unknown"}).status == 400


def test_the_body_token_works_at_registration_alone_s13(tenant: Tenant) -> None:
    host = V4c(tenant, tenant.site.new_machine(), logical="web")
    body = host.registration()
    registered = tenant.site.call("POST", "/api/agents/register", body, token=None)
    assert registered.status == 200
    beat = {"status": "online", "client_token": tenant.token}
    assert (
        tenant.site.call("POST", f"/api/agents/{registered.body['agent_id']}/heartbeat", beat, token=None).status == 401
    )


def test_id1_id2_the_same_key_replays_the_stored_answer(shared_site: Site) -> None:
    headers = {"X-Request-ID": "key-1"}
    first = shared_site.call("POST", "/api/admin/clients/create", {"name": "Once"}, headers=headers)
    again = shared_site.call("POST", "/api/admin/clients/create", {"name": "Once"}, headers=headers)
    assert (first.status, again.status) == (201, 201)
    assert again.body["data"] == first.body["data"]  # the token is unsealed for it, never stored
    assert again.headers["x-idempotent-replay"] == "true"
    with shared_site.connections.connection() as connection:
        stored = connection.execute("select body from idempotency_keys").fetchall()
    assert all(first.data["client"]["token"].encode() not in bytes(row[0]) for row in stored)  # failure 92, Z10


def test_id3_the_same_key_with_another_body_is_refused_gr11(shared_site: Site) -> None:
    headers = {"X-Request-ID": "key-2"}
    shared_site.call("POST", "/api/admin/clients/create", {"name": "One"}, headers=headers)
    answer = shared_site.call("POST", "/api/admin/clients/create", {"name": "Two"}, headers=headers)
    assert (answer.status, answer.body["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_id5_a_refusal_is_remembered_and_does_nothing(agent: V4c, tenant: Tenant) -> None:
    path, headers = f"/api/client/instances/{agent.machine}/terminate", {"X-Request-ID": "key-3"}
    first = tenant.post(path, {}, headers=headers)
    assert (first.status, first.body["code"]) == (409, "IS_PRIMARY")
    assert tenant.post(path, {}, headers=headers).body["code"] == "IS_PRIMARY"


def test_id7_without_a_key_nothing_is_remembered(agent: V4c, tenant: Tenant) -> None:
    path = f"/api/client/instances/{agent.machine}/force-switch"
    assert tenant.post(path, {"target": "ondemand"}).data["success"] is True
    assert tenant.post(path, {"target": "ondemand"}).body["details"]["guards"] == ["COMMAND_IN_FLIGHT"]


def test_id4_parallel_twins_have_one_effect_failure_43(agent: V4c, tenant: Tenant) -> None:
    from concurrent.futures import ThreadPoolExecutor

    path, headers = f"/api/client/instances/{agent.machine}/force-switch", {"X-Request-ID": "key-4"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: tenant.post(path, {"target": "ondemand"}, headers=headers), range(4)))
    assert {answer.status for answer in answers} <= {200, 409}
    ids = {answer.data["command_id"] for answer in answers if answer.status == 200}
    assert len(ids) == 1
    assert len(tenant.aggregate(agent.agent_id).commands) == 1


def test_tenants_never_see_each_other_failure_21(agent: V4c, shared_site: Site) -> None:
    other = shared_site.client("Other")
    for method, path in (
        ("GET", f"/api/agents/{agent.agent_id}/replicas"), ("GET", f"/api/agents/{agent.agent_id}/instances-to-terminate"),
        ("POST", f"/api/client/agents/{agent.agent_id}/config"), ("DELETE", f"/api/client/agents/{agent.agent_id}"),
        ("POST", f"/api/client/instances/{agent.machine}/force-switch"), ("POST", f"/api/client/instances/{agent.machine}/terminate"),
    ):  # fmt: skip
        assert other.call(method, path, {"target": "ondemand"} if method == "POST" else None).status == 404
    assert other.get(f"/api/client/{agent.tenant.client_id}/agents").body["code"] == "FORBIDDEN"
    own = V4c(other, shared_site.new_machine(), logical="mine")
    own.register()
    body = {"instance_id": agent.machine, "success": True}
    assert own.post("/termination-report", body).status == 404
    assert own.post("/termination-imminent", {"instance_id": agent.machine}).body["reason"] == "unknown_instance"


def test_a_deleted_client_winds_down_and_then_is_gone_z25(tenant: Tenant, shared_site: Site) -> None:
    host = V5(tenant, shared_site.new_machine())
    host.register()
    host.heartbeat()
    host.prices()
    assert shared_site.call("DELETE", f"/api/admin/clients/{tenant.client_id}").status == 200
    assert shared_site.call("DELETE", f"/api/admin/clients/{tenant.client_id}").status == 200
    assert host.heartbeat().status == 200
    assert host.prices().body["code"] == "INVALID_TOKEN"
    (destruct,) = host.commands()
    assert destruct["command_type"] == "SELF_DESTRUCT"
    host.result(destruct)
    assert host.heartbeat().body["code"] == "INVALID_TOKEN"


def test_a_suspended_client_may_do_what_an_emergency_needs_z26(agent: V4c, tenant: Tenant, shared_site: Site) -> None:
    from spotcore.ids import ClientId

    shared_site.plane.clients.suspend(ClientId(tenant.client_id))
    assert agent.heartbeat().status == 200
    assert agent.prices().body["code"] == "INACTIVE_CLIENT"
    _, second = agent.termination()
    assert second.status == 200
    assert second.body["action"] == "emergency_replica_created"
    assert len(agent.to_launch()) == 1
    assert V4c(tenant, shared_site.new_machine(), logical="fresh").register().body["code"] == "INACTIVE_CLIENT"


@pytest.mark.parametrize("item", [{"price": 0}, {"price": -1}, {"price": 1001}, {"price": "0.1"}, {"price": None}, {"timestamp": "x", "price": 0.1}, {"price": 0.1, "timestamp": "2026-02-01T00:00:00Z"}, {"price": 0.1, "timestamp": "2026-03-02T12:03:00Z"}, "junk"])  # fmt: skip
def test_a_bad_price_is_refused_alone_dq2(agent: V4c, item: Any) -> None:
    bad = {"pool_id": "t3.medium.us-east-1a", **item} if isinstance(item, dict) else item
    good = {"pool_id": "t3.medium.us-east-1b", "price": POOLS["us-east-1b"]}
    body = {"instance": {"instance_id": agent.machine}, "pricing": {"spot_pools": [bad, good]}}
    answer = agent.post("/pricing-report", body)
    assert (answer.status, answer.body["records_inserted"], answer.body["records_rejected"]) == (200, 1, 1)


def test_gr10_every_change_leaves_an_audit_row_and_people_one_message(site: Site) -> None:
    agent = _at_work(site.client("Acme"))
    agent.termination()
    agent.termination()
    with site.connections.connection() as connection:
        kinds = [row[0] for row in connection.execute("select kind from audit_events order by audit_id")]
        messages = connection.execute(
            "select count(*) from notifications where message like 'AWS will take%'"
        ).fetchone()
        waiting = connection.execute("select count(*) from outbox where delivered_at is null").fetchone()
    assert kinds.count("termination_notice") == 1
    assert messages == (1,)
    assert waiting is not None
    assert waiting[0] > 0


def test_every_code_of_the_core_has_a_status() -> None:
    codes = {one.code for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.SpotError)}
    assert codes <= set(STATUS)


def test_a_v2_is_known_by_its_reports_t19_t22(tenant: Tenant) -> None:
    host = V2(tenant, tenant.site.new_machine(), logical="batch")
    host.register()
    host.heartbeat()
    assert tenant.aggregate(host.agent_id).agent.build.value == "v2"


def test_the_compatibility_script_finds_every_endpoint_agent_wire_7(tenant: Tenant) -> None:
    posts = ("register", "X/heartbeat", "X/commands/c/executed", "X/pricing-report", "X/switch-report", "X/cleanup-report", "X/termination-imminent", "X/rebalance-recommendation", "X/create-emergency-replica", "X/replicas", "X/replicas/r", "X/replicas/r/status", "X/replicas/r/promote", "X/decide")  # fmt: skip
    gets = ("X/config", "X/pending-commands", "X/replicas", "X/replica-config", "X/switch-recommendation")
    for method, names in (("POST", posts), ("GET", gets)):
        for name in names:
            answer = tenant.site.call(
                method,
                "/api/agents/" + name.replace("X", "test-agent-id"),
                {} if method == "POST" else None,
                token="made-up",
            )
            assert answer.status in (401, 405), name
