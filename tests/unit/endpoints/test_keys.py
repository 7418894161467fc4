"""Idempotency keys, endpoint by endpoint: E34, E38, E39, E45, E46, E47, E61 (ID-1…ID-7, Z10, http-api 2.5)."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support.server import Tenant
from tests.unit.endpoints.calls import CALLS, Scene
from tests.unit.endpoints.desk import Desk, refusal

KEYED = ["E34", "E38", "E39", "E45", "E46", "E47", "E61"]
WITH_BODY = [number for number in KEYED if CALLS[number][0] == "POST"]
HEADERS = {"X-Request-ID": "k"}
REPLAY = "x-idempotent-replay"
EVERY = pytest.mark.parametrize("number", KEYED)


@pytest.fixture
def scene(desk: Desk, tenant: Tenant) -> Scene:
    return Scene(desk, tenant)


def state(scene: Scene, names: dict[str, str]) -> Any:
    aggregate = scene.tenant.aggregate(names["agent"])
    return aggregate.agent.revision, aggregate.commands, aggregate.replicas, aggregate.instances


@EVERY
def test_the_same_call_again_is_the_stored_answer_and_no_effect_id_2(scene: Scene, number: str) -> None:
    names = scene.named(number)
    first = scene.call(number, names=names, headers=HEADERS)
    after = state(scene, names)
    scene.desk.clock.advance(60)
    again = scene.call(number, names=names, headers=HEADERS)
    assert (again.status, again.body) == (first.status, first.body)
    assert REPLAY not in first.headers
    assert again.headers[REPLAY] == "true"
    assert state(scene, names) == after


@pytest.mark.parametrize("number", WITH_BODY)
def test_the_key_may_stand_in_the_body_id_1(scene: Scene, number: str) -> None:
    names = scene.named(number)
    first, again = (scene.call(number, names=names, more={"request_id": "in-body"}) for _ in range(2))
    assert again.headers[REPLAY] == "true"
    assert again.body == first.body


@pytest.mark.parametrize("number", WITH_BODY)
def test_another_body_under_the_same_key_is_422_and_does_nothing_id_3(scene: Scene, number: str) -> None:
    names = scene.named(number)
    scene.call(number, names=names, headers=HEADERS)
    after = state(scene, names)
    answer = scene.call(number, names=names, headers=HEADERS, more={"reason": "second thoughts"})
    assert refusal(answer) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert state(scene, names) == after


@EVERY
def test_a_refusal_is_remembered_with_its_details_id_5(scene: Scene, number: str) -> None:
    names = scene.named(number)
    wrong = {
        "E34": {"target": "moon"}, "E38": {"role_hint": "zombie"}, "E39": {"force": "x"}, "E45": {"max_hourly_cost": 0},
        "E46": {"demote_old_primary": "x"}, "E61": {"target_mode": "moon"},
    }.get(number)  # fmt: skip
    if wrong is None:  # E47 has no body: delete it twice under one key each
        scene.call(number, names=names)
        wrong = {}
    first, again = (scene.call(number, names=names, headers=HEADERS, more=wrong) for _ in range(2))
    assert first.status == again.status == 400
    assert first.body == again.body
    assert again.headers[REPLAY] == "true"
    assert REPLAY not in first.headers


@EVERY
def test_a_key_is_forgotten_after_24_hours_id_1(scene: Scene, number: str) -> None:
    names = scene.named(number)
    scene.call(number, names=names, headers=HEADERS)
    scene.desk.clock.at += timedelta(hours=24, seconds=1)
    assert REPLAY not in scene.call(number, names=names, headers=HEADERS).headers


@EVERY
def test_the_same_key_of_another_client_or_on_another_path_is_unrelated_2_5(desk: Desk, number: str) -> None:
    ours, theirs = Scene(desk, desk.client("Ours")), Scene(desk, desk.client("Theirs"))
    first, other = ours.call(number, headers=HEADERS), theirs.call(number, headers=HEADERS)
    assert first.status == other.status
    assert REPLAY not in other.headers
    elsewhere = ours.call("E34" if number != "E34" else "E45", headers=HEADERS)
    assert REPLAY not in elsewhere.headers


@pytest.mark.parametrize("number", ["E34", "E38", "E45", "E61"])
def test_without_a_key_the_second_call_is_judged_anew_id_7(scene: Scene, number: str) -> None:
    names = scene.named(number)
    first = scene.call(number, names=names)
    second = scene.call(number, names=names)
    assert REPLAY not in second.headers
    if number == "E45":  # the machine is the natural key
        assert second.data["replica_id"] == first.data["replica_id"]
    else:
        assert refusal(second)[1] in ("SWITCH_BLOCKED", "REPLICA_EXISTS")
