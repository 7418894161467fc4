"""E16, field by field: what a registration may say, what is kept of it, and what is refused."""

from typing import Any

import pytest

from spotcore.events import EventKind
from tests.support.server import Reply, Tenant
from tests.unit.endpoints.desk import Desk, mirrored, problems, refusal

REGISTER = "/api/agents/register"
BODY = {
    "logical_agent_id": "web", "instance_id": "i-0abc", "instance_type": "t3.medium", "region": "us-east-1",
    "az": "us-east-1a", "mode": "spot", "hostname": "ip-10-0-0-5", "ami_id": "ami-0abc", "agent_version": "4.0.0",
    "private_ip": "10.0.0.5", "public_ip": "54.1.2.3",
}  # fmt: skip
MINIMUM = {name: BODY[name] for name in ("instance_id", "instance_type", "region", "az")}
OPTIONAL = [*sorted(set(BODY) - set(MINIMUM)), "launch_token", "cloud_account", "project_id"]
REQUIRED_TEXTS = ("instance_id", "instance_type", "region", "az")


def register(tenant: Tenant, **changes: Any) -> Reply:
    return tenant.post(REGISTER, {**BODY, **changes})


def only_agent(desk: Desk) -> Any:
    [aggregate] = desk.tables.agents.values()
    return aggregate


def test_the_answer_has_these_fields_and_no_others(desk: Desk, tenant: Tenant) -> None:
    data = mirrored(register(tenant))
    assert set(data) == {"agent_id", "client_id", "role", "config", "config_version", "registered"}
    assert data["agent_id"] == only_agent(desk).agent.agent_id
    assert (data["client_id"], data["role"], data["registered"]) == (tenant.client_id, "primary", "new")
    assert data["config_version"] == data["config"]["config_version"] == 1


def test_the_config_is_the_defaults_of_section_5(tenant: Tenant) -> None:
    assert mirrored(register(tenant))["config"] == {
        "enabled": True, "auto_switch_enabled": True, "manual_replica_enabled": False, "auto_terminate_enabled": True,
        "terminate_wait_seconds": 300, "terminate_wait_minutes": 5, "replica_enabled": False, "replica_count": 0,
        "min_savings_percent": 15, "risk_threshold": 0.3, "max_switches_per_week": 10, "max_switches_per_day": 3,
        "min_pool_duration_hours": 2, "cleanup_enabled": True, "emergency_rebalance_only": False, "preferred_azs": [],
        "excluded_pools": [], "emergency_min_risk": 0, "failover_on_heartbeat_loss_seconds": None,
        "decision_engine_active": False, "config_version": 1,
    }  # fmt: skip


def test_everything_that_was_said_is_kept(desk: Desk, tenant: Tenant) -> None:
    register(tenant, cloud_account="1234", project_id="default")
    aggregate = only_agent(desk)
    agent, machine = aggregate.agent, aggregate.primary
    assert (agent.logical_agent_id, agent.hostname, agent.agent_version) == ("web", "ip-10-0-0-5", "4.0.0")
    assert dict(agent.metadata) == {"cloud_account": "1234", "project_id": "default"}
    assert (machine.cloud_id, machine.instance_type, machine.region, machine.az) == (
        "i-0abc", "t3.medium", "us-east-1", "us-east-1a",
    )  # fmt: skip
    assert (machine.ami_id, machine.private_ip, machine.public_ip) == ("ami-0abc", "10.0.0.5", "54.1.2.3")
    assert (machine.mode, machine.pool_id) == ("spot", "t3.medium.us-east-1a")


def test_four_fields_are_enough_and_the_machine_is_the_logical_id(desk: Desk, tenant: Tenant) -> None:
    assert tenant.post(REGISTER, MINIMUM).status == 200
    aggregate = only_agent(desk)
    assert aggregate.agent.logical_agent_id == "i-0abc"
    assert (aggregate.primary.mode, aggregate.primary.pool_id) == ("unknown", None)


@pytest.mark.parametrize("field", REQUIRED_TEXTS)
def test_a_missing_key_is_named_and_nothing_is_stored(desk: Desk, tenant: Tenant, field: str) -> None:
    answer = tenant.post(REGISTER, {name: value for name, value in BODY.items() if name != field})
    assert problems(answer) == [field]
    assert answer.body["details"] == {field: ["required"]}
    assert desk.tables.agents == {}


def test_all_missing_keys_are_named_at_once(tenant: Tenant) -> None:
    assert problems(tenant.post(REGISTER, {})) == sorted(REQUIRED_TEXTS)


@pytest.mark.parametrize("value", ["unknown", "UNKNOWN", "", " ", "none", "i-pending-0a0b0c0d", "replica-0a0b0c0d",
                                   "manual-1", "i-", "i-ünï", "x" * 129, 7, ["i-0abc"], {"id": "i-0abc"}, True])  # fmt: skip
def test_a_machine_that_no_cloud_named_is_refused_so_that_the_agent_tries_again(
    desk: Desk, tenant: Tenant, value: Any
) -> None:
    assert problems(register(tenant, instance_id=value)) == ["instance_id"]
    assert desk.tables.agents == {}


@pytest.mark.parametrize("field", ["instance_type", "region", "az"])
@pytest.mark.parametrize("value", [None, "unknown", "Unknown", ""])
def test_metadata_that_could_not_be_read_is_unknown_and_filled_later(
    desk: Desk, tenant: Tenant, field: str, value: Any
) -> None:
    assert register(tenant, **{field: value}).status == 200
    assert getattr(only_agent(desk).primary, field) is None
    assert register(tenant).status == 200
    assert getattr(only_agent(desk).primary, field) == BODY[field]


@pytest.mark.parametrize("field", [*sorted(set(BODY) - {"instance_id"}), "launch_token", "cloud_account"])
@pytest.mark.parametrize("value", [7, 1.5, True, ["x"], {"x": "y"}])
def test_a_text_field_takes_nothing_but_a_text(desk: Desk, tenant: Tenant, field: str, value: Any) -> None:
    assert problems(register(tenant, **{field: value})) == [field]
    assert desk.tables.agents == {}


@pytest.mark.parametrize("field", OPTIONAL)
def test_null_is_the_same_as_absent_t06(tenant: Tenant, field: str) -> None:
    assert register(tenant, **{field: None}).status == 200


@pytest.mark.parametrize(
    ("field", "limit"),
    [("logical_agent_id", 255), ("instance_type", 64), ("region", 64), ("az", 64), ("launch_token", 128)],
)
def test_an_identity_longer_than_its_limit_is_refused_for_a_shortened_one_would_be_anothers(
    tenant: Tenant, field: str, limit: int
) -> None:
    assert register(tenant, **{field: "x" * limit}).status == 200
    assert problems(register(tenant, instance_id="i-0def", **{field: "x" * (limit + 1)})) == [field]


@pytest.mark.parametrize(
    ("field", "limit"), [("hostname", 255), ("agent_version", 32), ("private_ip", 45), ("public_ip", 45)]
)
def test_what_is_only_shown_is_cut_to_its_limit_s26(desk: Desk, tenant: Tenant, field: str, limit: int) -> None:
    assert register(tenant, **{field: "x" * (limit + 1)}).status == 200
    aggregate = only_agent(desk)
    holder = aggregate.agent if field in ("hostname", "agent_version") else aggregate.primary
    assert getattr(holder, field) == "x" * limit


def test_control_characters_never_get_in_s26(desk: Desk, tenant: Tenant) -> None:
    assert register(tenant, hostname="a\x1b[31mb\n", logical_agent_id="we\x00b").status == 200
    agent = only_agent(desk).agent
    assert (agent.hostname, agent.logical_agent_id) == ("a[31mb", "web")


@pytest.mark.parametrize(
    ("alias", "canonical"), [("availability_zone", "az"), ("current_mode", "mode"), ("version", "agent_version")]
)
def test_an_alias_says_the_same_and_the_canonical_spelling_wins_c09(
    desk: Desk, tenant: Tenant, alias: str, canonical: str
) -> None:
    renamed = {**{name: value for name, value in BODY.items() if name != canonical}, alias: BODY[canonical]}
    assert tenant.post(REGISTER, renamed).status == 200
    aggregate = only_agent(desk)
    found = {"az": aggregate.primary.az, "mode": aggregate.primary.mode, "agent_version": aggregate.agent.agent_version}
    assert found[canonical] == BODY[canonical]
    assert tenant.post(REGISTER, {**BODY, alias: "us-west-2c"}).status == 200
    after = only_agent(desk)
    assert (after.primary.az, after.primary.mode) == ("us-east-1a", "spot")
    assert after.agent.agent_version == "4.0.0"


@pytest.mark.parametrize(
    ("said", "mode", "pool_id"),
    [
        ("spot", "spot", "t3.medium.us-east-1a"), ("SPOT", "spot", "t3.medium.us-east-1a"), ("ondemand", "ondemand", None),
        ("on-demand", "ondemand", None), ("on_demand", "ondemand", None), ("unknown", "unknown", None),
        (None, "unknown", None), ("", "unknown", None), ("reserved", "unknown", None),
    ],
)  # fmt: skip
def test_a_mode_in_any_spelling_and_the_pool_it_means_4_1(
    desk: Desk, tenant: Tenant, said: str | None, mode: str, pool_id: str | None
) -> None:
    assert register(tenant, mode=said).status == 200
    machine = only_agent(desk).primary
    assert (machine.mode, machine.pool_id) == (mode, pool_id)


def test_unknown_fields_are_ignored_t06(tenant: Tenant) -> None:
    assert register(tenant, cpu_count=4, tags={"a": [1, None]}, status="x", role="primary", client_id="z").status == 200


def test_the_reporters_word_about_its_own_role_or_client_counts_for_nothing_gr9(desk: Desk, tenant: Tenant) -> None:
    other = desk.client("Other")
    answer = register(tenant, client_id=other.client_id, role="replica", agent_id="mine")
    assert answer.data["client_id"] == tenant.client_id
    assert answer.data["role"] == "primary"
    assert answer.data["agent_id"] != "mine"


@pytest.mark.parametrize(
    ("said", "build"),
    [({}, "unknown"), ({"cloud_account": ""}, "v5"), ({"cloud_account": "1"}, "v5"), ({"project_id": "default"}, "v5"),
     ({"agent_version": "5.0.1-production"}, "unknown")],
)  # fmt: skip
def test_the_build_is_known_by_what_it_sends_and_never_by_its_version_3_5(
    desk: Desk, tenant: Tenant, said: dict[str, Any], build: str
) -> None:
    register(tenant, **said)
    assert only_agent(desk).agent.build == build


def test_a_first_registration_is_audited_and_told_once_however_often_it_is_repeated(desk: Desk, tenant: Tenant) -> None:
    first, again = register(tenant), register(tenant)
    assert (first.data["registered"], again.data["registered"]) == ("new", "updated")
    assert first.data["agent_id"] == again.data["agent_id"]
    assert len(desk.events(EventKind.AGENT_REGISTERED)) == 1
    assert len(desk.tables.notifications) == 2  # the client itself, and its agent
    assert len(only_agent(desk).instances) == 1


def test_without_any_price_the_baseline_is_unknown_and_no_constant_s19(desk: Desk, tenant: Tenant) -> None:
    register(tenant)
    assert only_agent(desk).agent.registered_ondemand_price is None


def test_the_legacy_shape_is_the_data_alone(tenant: Tenant) -> None:
    answer = tenant.post(REGISTER, BODY, headers={"X-Response-Shape": "legacy"})
    assert set(answer.body) == {"agent_id", "client_id", "role", "config", "config_version", "registered"}


@pytest.mark.parametrize("token_field", ["client_token", "token"])
def test_a_token_in_the_body_serves_without_a_header_and_is_not_stored(
    desk: Desk, tenant: Tenant, token_field: str
) -> None:
    answer = desk.call("POST", REGISTER, {**BODY, token_field: tenant.token}, token=None)
    assert answer.data["client_id"] == tenant.client_id
    assert tenant.token not in repr(only_agent(desk))
    assert tenant.token not in repr(desk.tables.events)


@pytest.mark.parametrize(
    "said", [{}, {"client_token": None}, {"token": ""}, {"client_token": 5}, {"client_token": " "}]
)
def test_neither_header_nor_body_is_no_credential(desk: Desk, said: dict[str, Any]) -> None:
    answer = desk.call("POST", REGISTER, {**BODY, **said}, token=None)
    assert refusal(answer) == (401, "UNAUTHORIZED")
    assert answer.body["error"] == "Signed out. Open /login"


def test_the_same_key_is_no_idempotency_key_here_2_5(desk: Desk, tenant: Tenant) -> None:
    key = {"X-Request-ID": "stale"}
    first = tenant.post(REGISTER, BODY, headers=key)
    second = tenant.post(REGISTER, {**BODY, "instance_id": "i-0def", "logical_agent_id": "b"}, headers=key)
    assert first.data["agent_id"] != second.data["agent_id"]
    assert desk.tables.answers == {}
