"""Sections 1.1 and 1.2: clients, the registration matrix, heartbeats, offline, deletion."""

from datetime import timedelta
from decimal import Decimal

import pytest

from spotcore.agents import Life, Link
from spotcore.config import ALL_OFF, ConfigChange
from spotcore.errors import (
    ClientExists,
    DuplicateEmail,
    InactiveClient,
    InstanceOwned,
    LimitReached,
    LogicalAgentConflict,
    NotFound,
    StateConflict,
    ValidationFailed,
)
from spotcore.ids import CloudId, InstanceId
from spotcore.registration import Registration
from spotcore.service.kernel import Caller
from spotcore.switches import SwitchTrigger
from tests.support.world import TYPE, ZONES, World, with_replica


def test_rg1_the_first_machine_makes_a_new_agent_with_the_clients_defaults_cl7(world: World) -> None:
    answer = world.register("web", "i-0a")
    assert (answer.role, answer.registered.value, answer.config_version) == ("primary", "new", 1)  # CV-1
    aggregate = world.aggregate(answer.agent_id)
    assert aggregate.agent.config.auto_switch_enabled
    assert aggregate.agent.config.terminate_wait_seconds == 300
    assert not aggregate.switches  # I14: the first one has no record


def test_rg2_the_same_machine_again_changes_no_id(world: World) -> None:
    first = world.register("web", "i-0a")
    again = world.register("web", "i-0a")
    assert (again.agent_id, again.registered.value) == (first.agent_id, "updated")


def test_rg3_a_replica_that_registers_is_standby_and_may_not_act(world: World) -> None:
    ready = with_replica(world)
    answer = world.register("web", ready.standby, az="us-east-1b")
    assert (answer.agent_id, answer.role, answer.config) == (ready.agent_id, "replica", ALL_OFF)
    assert world.primary(ready.agent_id) == ready.primary


def test_rg4_a_retired_machine_is_ignored(world: World) -> None:
    ready = with_replica(world)
    world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)
    answer = world.register("web", ready.primary)
    assert (answer.role, answer.registered.value, answer.config.enabled) == ("retired", "ignored", False)
    assert world.primary(ready.agent_id) == ready.standby


def test_rg5_a_launch_token_binds_the_machine_wherever_it_runs(world: World) -> None:
    agent_id = world.register("web", "i-0a").agent_id
    world.report_prices(agent_id, {"us-east-1b": "0.03"})
    world.switch(agent_id)
    (command,) = world.fetch(agent_id)
    answer = world.register("other-name", "i-0b", az="us-east-1c", launch_token=command.request_id)
    assert (answer.agent_id, answer.role) == (agent_id, "pending")
    assert world.primary(agent_id) == "i-0a"
    assert world.beat(agent_id, "i-0b").role == "primary"  # Z21


def test_rg6_several_expected_launches_are_never_guessed_between(world: World) -> None:
    agent_id = world.register("web", "i-0a").agent_id
    world.report_prices(agent_id, {"us-east-1b": "0.03"})
    world.set(agent_id, manual_replica_enabled=True)
    world.switch(agent_id)
    world.fetch(agent_id)
    with pytest.raises(LogicalAgentConflict):
        world.register("web", "i-0b", az="us-east-1b")  # the replica or the switch?


def test_rg7_rg8_a_stranger_takes_over_only_when_the_agent_is_offline(world: World) -> None:
    agent_id = world.register("web", "i-0a").agent_id
    with pytest.raises(LogicalAgentConflict):
        world.register("web", "i-0b")
    world.tick(121)
    assert world.register("web", "i-0b").role == "primary"
    assert world.status(agent_id, "i-0a") == "zombie"
    (switch,) = world.aggregate(agent_id).switches.values()
    assert switch.trigger is SwitchTrigger.REHOME
    with pytest.raises(LogicalAgentConflict):  # failure 58: no flapping
        world.register("web", "i-0c")


def test_rg9_a_machine_belongs_to_whom_it_was_registered_for(world: World) -> None:
    world.register("web", "i-0a")
    other = world.plane.clients.create("Other").client.client_id
    wanted = Registration(
        cloud_id=CloudId("i-0a"), logical_agent_id="web", instance_type=TYPE, region="us-east-1", az=ZONES[0]
    )
    with pytest.raises(InstanceOwned):
        world.plane.agents.register(Caller(client_id=other), wanted)
    with pytest.raises(InstanceOwned):
        world.register("another-name", "i-0a")


def test_ag1_offline_after_120_seconds_and_one_notice_each_way_ag7(world: World) -> None:
    agent_id = world.register("web", "i-0a").agent_id
    world.beat(agent_id, "i-0a")
    world.tick(120)
    assert world.aggregate(agent_id).agent.link is Link.ONLINE
    world.tick(1)
    assert world.aggregate(agent_id).agent.link is Link.OFFLINE
    world.beat(agent_id, "i-0a")
    assert world.aggregate(agent_id).agent.link is Link.ONLINE
    assert world.primary(agent_id) == "i-0a"  # AG-5


def test_ag2_only_the_primarys_heartbeat_keeps_the_agent_online(world: World) -> None:
    ready = with_replica(world)
    for _ in range(5):
        world.clock.advance(30)
        world.beat(ready.agent_id, ready.standby)
    world.tick()
    assert world.aggregate(ready.agent_id).agent.link is Link.OFFLINE


def test_ag3_a_heartbeat_reports_and_changes_no_role_mode_or_pool(world: World) -> None:
    from spotcore.pools import Mode

    agent_id = world.register("web", "i-0a").agent_id
    world.beat(agent_id, "i-0a", mode=Mode.ONDEMAND, az="us-east-1c", instance_type="m5.xlarge")
    primary = world.aggregate(agent_id).primary
    assert primary is not None
    assert (primary.mode, primary.az, primary.instance_type) == (Mode.SPOT, "us-east-1a", TYPE)
    assert primary.drift == "az=us-east-1c, instance_type=m5.xlarge, mode=ondemand"


def test_ag4_in6_a_retired_machine_hears_that_it_is_retired(world: World) -> None:
    ready = with_replica(world)
    world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)
    answer = world.beat(ready.agent_id, ready.primary)
    assert (answer.role, answer.config.enabled) == ("retired", False)
    zombie = world.aggregate(ready.agent_id).machine(ready.primary)
    assert zombie is not None
    assert zombie.terminated_at is None  # failure 25


def test_ag6_mr12_a_disabled_agent_keeps_its_replica(world: World) -> None:
    ready = with_replica(world)
    world.plane.agents.toggle(world.user, ready.agent_id, False)
    world.plane.replicas.delete(world.user, ready.agent_id, ready.replica_id)
    assert world.aggregate(ready.agent_id).live_replica is not None


def test_ag8_pending_commands_survive_an_outage(world: World) -> None:
    agent_id = world.register("web", "i-0a").agent_id
    world.report_prices(agent_id, {"us-east-1b": "0.03"})
    world.switch(agent_id)
    world.tick(300)
    world.beat(agent_id, "i-0a")
    assert len(world.fetch(agent_id)) == 1


def test_z23_an_offline_without_a_machine_does_not_silence_a_healthy_primary(world: World) -> None:
    ready = with_replica(world)
    world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)
    world.beat(ready.agent_id, ready.standby)
    world.beat(ready.agent_id, ready.primary)  # the old host still runs beside it
    world.beat(ready.agent_id, None, going_offline=True)
    assert world.aggregate(ready.agent_id).agent.link is Link.ONLINE


def test_ag9_deletion_releases_the_primary_and_ends_the_replica(world: World) -> None:
    ready = with_replica(world)
    world.plane.agents.delete(world.user, ready.agent_id)
    world.plane.agents.delete(world.user, ready.agent_id)
    aggregate = world.aggregate(ready.agent_id)
    assert aggregate.agent.life is Life.RETIRING
    assert world.status(ready.agent_id, ready.primary) == "released"  # IN-12
    assert world.status(ready.agent_id, ready.standby) == "terminating"
    assert [
        one.instance.cloud_id for one in world.plane.commands.terminate_list(world.agent_caller, ready.agent_id).entries
    ] == [ready.standby]
    assert world.beat(ready.agent_id, ready.primary).role == "retired"  # Z25
    world.plane.commands.termination_result(world.agent_caller, ready.agent_id, ready.standby, True, None)
    assert world.aggregate(ready.agent_id).agent.life is Life.DELETED
    with pytest.raises(NotFound):
        world.beat(ready.agent_id, ready.primary)


def test_ag9_after_24_hours_the_agent_is_deleted_whatever_was_confirmed(world: World) -> None:
    ready = with_replica(world)
    world.plane.agents.delete(world.user, ready.agent_id)
    world.tick(86_401)
    assert world.aggregate(ready.agent_id).agent.life is Life.DELETED


def test_ag10_i13_a_deleted_name_is_free_and_makes_a_new_agent(world: World) -> None:
    old = world.register("web", "i-0a").agent_id
    world.plane.agents.delete(world.user, old)
    again = world.register("web", "i-0a")
    assert again.agent_id != old
    assert again.config.enabled  # failure 61


def test_cl1_cl5_a_suspended_client_keeps_what_an_emergency_needs(world: World) -> None:
    ready = with_replica(world)
    world.plane.agents.configure(world.user, ready.agent_id, ConfigChange(wanted={"auto_switch_enabled": True}))
    world.plane.clients.suspend(world.client_id)
    assert world.fetch(ready.agent_id) == ()
    with pytest.raises(InactiveClient):
        world.plane.agents.register(
            world.agent_caller,
            Registration(
                cloud_id=CloudId("i-0f"), logical_agent_id="new", instance_type=TYPE, region="us-east-1", az=ZONES[0]
            ),
            known_only=True,
        )
    world.plane.clients.resume(world.client_id)
    world.plane.clients.delete(world.client_id)
    with pytest.raises(StateConflict):
        world.plane.clients.resume(world.client_id)  # GR-4: deleted is terminal


def test_cl2_tokens_are_found_by_hash_and_read_back_only_sealed(world: World) -> None:
    issued = world.plane.clients.create("Token Ltd")
    view = world.plane.clients.read_token(issued.client.client_id)
    assert view.token == issued.token
    assert view.hint == issued.token[-4:]
    with world.transactions() as uow:
        record = uow.clients.current_token(issued.client.client_id)
    assert record is not None
    assert issued.token not in (record.token_hash, record.hint)


def test_cl3_rotation_ends_the_old_token_now_or_after_its_grace(world: World) -> None:
    issued = world.plane.clients.create("Token Ltd")
    second = world.plane.clients.rotate(issued.client.client_id)
    assert second.token != issued.token
    with pytest.raises(ValidationFailed):
        world.plane.clients.rotate(issued.client.client_id, timedelta(seconds=86_401))


def test_cl4_limits_refuse_one_agent_too_many(world: World) -> None:
    from attrs import evolve

    with world.transactions() as uow:
        uow.clients.put(evolve(uow.clients.lock(world.client_id), max_agents=1))
    world.register("one", "i-0a")
    with pytest.raises(LimitReached):
        world.register("two", "i-0b")
    world.tick(121)
    assert world.register("one", "i-0c").role == "primary"


def test_cl6_a_deleted_clients_name_is_free_and_its_agents_are_retired(world: World) -> None:
    agent_id = world.register("web", "i-0a").agent_id
    with pytest.raises(ClientExists):
        world.plane.clients.create("aCME")
    with pytest.raises(DuplicateEmail):
        world.plane.clients.create("Fresh", "OPS@acme.example")
    world.plane.clients.delete(world.client_id)
    assert world.plane.clients.create("Acme", "ops@acme.example").client.client_id != world.client_id
    assert world.aggregate(agent_id).agent.life is not Life.LIVE
    assert world.aggregate(agent_id).client.total_savings == Decimal(0)  # history stays
    with pytest.raises(NotFound):
        world.plane.clients.read_token(world.client_id)


def test_gr8_a_foreign_id_is_an_unknown_id(world: World) -> None:
    agent_id = world.register("web", "i-0a").agent_id
    other = Caller(client_id=world.plane.clients.create("Other").client.client_id)
    for call in (
        lambda: world.plane.agents.config(other, agent_id),
        lambda: world.plane.agents.delete(other, agent_id),
        lambda: world.plane.machines.terminate(other, "i-0a"),
        lambda: world.plane.replicas.delete(other, agent_id, "none"),
    ):
        with pytest.raises(NotFound, match="unknown"):
            call()


def test_cv8_an_agent_behind_on_its_config_is_warned_of_once_a_version(world: World) -> None:
    agent_id = world.register("web", "i-0a").agent_id
    world.set(agent_id, terminate_wait_seconds=400)
    for _ in range(12):
        world.clock.advance(30)
        world.beat(agent_id, "i-0a", config_version_applied=1)
    world.tick()
    assert world.aggregate(agent_id).agent.config_lag_warned == 2


def test_placeholders_and_own_ids_find_the_same_machine_gr9(world: World) -> None:
    ready = with_replica(world)
    row = world.aggregate(ready.agent_id).machine(ready.standby)
    assert row is not None
    with world.transactions() as uow:
        for name in (ready.standby, row.instance_id):
            assert uow.agents.find_by_instance(world.client_id, name) == (world.client_id, ready.agent_id)
        assert uow.agents.find_by_instance(world.client_id, InstanceId("i-pending-00000000")) is None
