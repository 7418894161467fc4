"""What holds for every endpoint alike: shapes (1.2), unknown fields (T06), tenants (2.3), and clients and agents that are
disabled, suspended or on their way out (Z25, Z26)."""

from typing import Any

import pytest

from tests.support.server import Tenant
from tests.unit.endpoints.calls import CALLS, CREATED, NOT_MIRRORED, OF_CLIENT_ALONE, WITH_MESSAGE, Scene
from tests.unit.endpoints.desk import ADMIN, NOBODY, Desk, mirrored, refusal

RESERVED = {"status", "data", "error", "message", "code", "details"}
BY_AGENT = [number for number, row in CALLS.items() if "{agent}" in row[1]]
EVERY = pytest.mark.parametrize("number", CALLS)
# Z26: what a suspended client's token still opens
SUSPENDED_MAY = {
    "E16", "E17", "E18", "E26", "E27", "E28", "E40", "E41", "E43", "E45", "E48", "E49", "E50", "E51", "E52", "E53", "E54",
    "E55", "E56", "E57", "E58", "E59", "E69", "E70", "E71", "E72", "E73", "E75",
}  # fmt: skip
# Z25: what a deleted client's token still opens while machines are being ended
DELETED_MAY = {"E17", "E41", "E43", "E49", "E55", "E56", "E69", "E71", "E72"}
# a disabled agent refuses what is optimisation, and nothing else (AG-6)
DISABLED = {"E34": (400, "AGENT_DISABLED"), "E61": (400, "AGENT_DISABLED")}


@pytest.fixture
def scene(desk: Desk, tenant: Tenant) -> Scene:
    return Scene(desk, tenant)


def keys(data: Any) -> set[str]:
    return set(data)


@EVERY
def test_a_success_is_an_envelope_mirrored_where_an_agent_parses_it_1_2(scene: Scene, number: str) -> None:
    answer = scene.call(number)
    assert answer.status == (201 if number in CREATED else 200), answer
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    body = answer.body
    assert (body["status"], body["error"]) == ("success", None)
    assert body["data"]
    if number in NOT_MIRRORED:
        assert keys(body) <= RESERVED
    else:
        mirrored(answer)
    assert ("message" in body) is (number in WITH_MESSAGE)
    assert not {"code", "details"} & keys(body)


@EVERY
def test_the_legacy_shape_is_the_same_data_and_nothing_around_it_1_2(desk: Desk, scene: Scene, number: str) -> None:
    twin = Scene(desk, desk.client("Twin"))
    whole, bare = scene.call(number), twin.call(number, headers={"X-Response-Shape": "legacy"})
    assert bare.status == whole.status
    assert keys(bare.body) == keys(whole.body["data"])
    kinds = [{name: type(value) for name, value in one.items()} for one in (bare.body, whole.body["data"])]
    assert kinds[0] == kinds[1]


@EVERY
def test_fields_nobody_knows_are_ignored_t06(scene: Scene, number: str) -> None:
    if CALLS[number][0] in ("GET", "DELETE"):
        assert scene.call(number).status in (200, 201)  # a GET's body is never looked at
        return
    more = {
        "agent_id_of_old": None,
        "x": {"y": [1, None, "z"]},
        "client_id": "somebody",
        "role": "primary",
        "zzz": 1e308,
    }
    assert scene.call(number, more=more).status in (200, 201)


@pytest.mark.parametrize(
    "number", [one for one in CALLS if one not in ("E34", "E38", "E39", "E45", "E46", "E47", "E61")]
)
def test_a_stale_key_on_every_call_is_no_idempotency_key_2_5_t05(desk: Desk, scene: Scene, number: str) -> None:
    names, headers = scene.named(number), {"X-Request-ID": "set-once"}
    for _ in range(2):
        answer = scene.call(number, names=names, headers=headers)
        assert "x-idempotent-replay" not in answer.headers
        assert answer.headers["x-request-id"] == "set-once"
    assert desk.tables.answers == {}


@EVERY
def test_another_tenant_cannot_make_the_call_and_changes_nothing_2_3(desk: Desk, scene: Scene, number: str) -> None:
    names, other = scene.named(number), desk.client("Other")
    before = dict(desk.tables.agents)
    answer = scene.call(number, names=names, caller=other)
    if number == "E28":
        assert answer.data == {"success": True, "matched": False}
    else:
        wanted = {"E26": (403, "FORBIDDEN"), "E16": (409, "INSTANCE_OWNED")}.get(number, (404, "NOT_FOUND"))
        assert refusal(answer) == wanted
        assert not any(value in repr(answer.body) for value in names.values())
    assert {key: row.agent.revision for key, row in before.items()} == {
        key: row.agent.revision for key, row in desk.tables.agents.items()
    }


@pytest.mark.parametrize("number", BY_AGENT)
def test_an_agent_that_never_was_is_404_with_the_same_words_everywhere_t28(scene: Scene, number: str) -> None:
    names = {**scene.named(number), "agent": NOBODY}
    answer = scene.call(number, names=names)
    assert refusal(answer) == (404, "NOT_FOUND")
    assert answer.body["error"].startswith("unknown")
    assert answer.body["error"] != "no such path"
    assert "details" not in answer.body


@EVERY
def test_the_operators_token_opens_what_people_use_and_never_what_agents_alone_call_2_2(
    desk: Desk, scene: Scene, number: str
) -> None:
    names = scene.named(number)
    method, path, _, _ = CALLS[number]
    if number in OF_CLIENT_ALONE:
        assert refusal(desk.call(method, path.format_map(names), {}, token=ADMIN)) == (401, "INVALID_TOKEN")
    else:
        operator = Tenant(scene.tenant.site, "", ADMIN)
        assert scene.call(number, names=names, caller=operator).status in (200, 201)


@EVERY
def test_a_disabled_agent_loses_optimisation_alone_ag_6(desk: Desk, scene: Scene, number: str) -> None:
    names = scene.named(number)
    desk.call("POST", f"/api/client/agents/{names['agent']}/toggle-enabled", {"enabled": False})
    answer = scene.call(number, names=names)
    if number in DISABLED:
        assert refusal(answer) == DISABLED[number]
    else:
        assert answer.status in (200, 201), answer


@EVERY
def test_a_suspended_client_may_do_what_an_emergency_needs_and_nothing_else_z26(
    desk: Desk, scene: Scene, number: str
) -> None:
    names = scene.named(number)
    desk.suspend(scene.tenant)
    answer = scene.call(number, names=names)
    if number in SUSPENDED_MAY:
        assert answer.status in (200, 201), answer
    else:
        assert refusal(answer) == (403, "INACTIVE_CLIENT")
    desk.plane.clients.resume(scene.tenant.client_id)  # type: ignore[arg-type]


def test_a_suspended_client_creates_no_replica_without_a_machine_that_runs_already_z26(
    desk: Desk, scene: Scene
) -> None:
    names = scene.named("E45")
    desk.suspend(scene.tenant)
    for body in ({}, {"pool_id": "t3.medium.us-east-1b"}, {"instance_id": "unknown"}):
        answer = scene.tenant.post(f"/api/agents/{names['agent']}/replicas", body)
        assert refusal(answer) == (403, "INACTIVE_CLIENT")


@EVERY
def test_a_deleted_client_may_wind_down_and_nothing_else_z25(desk: Desk, scene: Scene, number: str) -> None:
    names = scene.named(number)
    _ = scene.guarded  # a replica that is still to end keeps the token alive
    assert desk.call("DELETE", f"/api/admin/clients/{scene.tenant.client_id}").status == 200
    answer = scene.call(number, names=names)
    if number not in DELETED_MAY:
        assert refusal(answer) == (401, "INVALID_TOKEN")
    elif number in ("E17", "E55", "E69") and names == scene.plain | {"new": names["new"]}:
        assert refusal(answer) == (404, "NOT_FOUND")  # that agent had nothing to end, and is gone
    else:
        assert answer.status == 200, answer


@pytest.mark.parametrize("number", ["E17", "E41", "E43", "E49", "E55", "E56", "E69", "E71"])
def test_a_retiring_agent_may_wind_down_z25(desk: Desk, scene: Scene, number: str) -> None:
    names = {**scene.guarded, "new": desk.new_machine()}
    scene.tenant.call("DELETE", f"/api/client/agents/{names['agent']}")
    assert scene.call(number, names=names).status == 200


RETIRING = {  # what else is asked of an agent on its way out
    "E26": 200, "E21": 200, "E28": 200, "E16": 200, "E39": 200, "E18": 404, "E19": 404, "E20": 404, "E25": 404, "E27": 404,
    "E34": 404, "E44": 404, "E45": 404, "E46": 404, "E47": 404, "E48": 404, "E50": 404, "E51": 404, "E52": 404, "E53": 404,
    "E54": 404, "E57": 404, "E60": 404, "E58": 404, "E59": 404, "E61": 404, "E62": 404, "E74": 404, "E75": 404, "E76": 404,
}  # fmt: skip


@pytest.mark.parametrize("number", RETIRING)
def test_a_retiring_agent_is_gone_for_everything_else_ag_9(desk: Desk, scene: Scene, number: str) -> None:
    names = {**scene.guarded, "new": desk.new_machine()}
    scene.tenant.call("DELETE", f"/api/client/agents/{names['agent']}")
    before = scene.tenant.aggregate(names["agent"]).instances
    answer = scene.call(number, names=names)
    assert answer.status == RETIRING[number], answer
    if answer.status == 404:
        assert refusal(answer) == (404, "NOT_FOUND")
        assert scene.tenant.aggregate(names["agent"]).instances == before


@pytest.mark.parametrize("number", [one for one in BY_AGENT if one not in ("E21", "E26")])
def test_a_deleted_agent_is_404_for_all_but_being_deleted_again_gr_4(desk: Desk, scene: Scene, number: str) -> None:
    names = scene.named(number)
    scene.tenant.call("DELETE", f"/api/client/agents/{names['agent']}")
    desk.tick(24 * 3600 + 1)
    assert refusal(scene.call(number, names=names)) == (404, "NOT_FOUND")
