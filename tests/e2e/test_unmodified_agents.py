"""Simulated agents of all four builds against the whole application: nobody speaks for them, they speak themselves.

The agents, their hosts and their cloud know only the wire; the server knows only what they send. Time is the site's.
"""

from collections.abc import Iterator

import pytest
from attrs import define

from spotadapters.fleet import ClientTransport, Installation, MachineState, World
from spotcore.agents import Link
from spotcore.builds import Build
from tests.support.scripted_server import POOL_THERE, PRICES
from tests.support.server import Site, Tenant

ALL = (Build.V2, Build.V4C, Build.V4N, Build.V5)


@define
class Stage:
    """A tenant of a real site, and its simulated fleet."""

    site: Site
    tenant: Tenant
    world: World

    def agent(self, build: Build, **settings: str) -> tuple[str, str]:
        """A registered agent on spot that has reported prices: its id and its machine."""
        machine = self.world.start(Installation(build=build, client_token=self.tenant.token, **settings))  # type: ignore[arg-type]
        self.world.advance(110)
        agent_id = self.world.agent(machine).agent_id
        assert agent_id is not None
        return agent_id, machine

    def primary(self, agent_id: str) -> str | None:
        return self.tenant.primary(agent_id)

    def state(self, machine: str) -> MachineState:
        return self.world.cloud.machine(machine).state

    def force_switch(self, machine: str, pool_id: str = POOL_THERE) -> None:
        wish = {"target": "pool", "pool_id": pool_id}
        answer = self.tenant.post(f"/api/client/instances/{machine}/force-switch", wish)
        assert answer.status == 200, answer

    def calm(self) -> None:
        """Nothing happened that must never happen, and no request ended in an error of the server."""
        assert self.world.violations() == []
        assert not {status for status in self.world.journal.answers if status == 0 or status >= 500}


@pytest.fixture
def stage(site: Site) -> Iterator[Stage]:
    world = World(clock=site.clock, transport=ClientTransport(site.http), prices=PRICES, os_boot_seconds=15)
    world.every(5, site.tick)
    opened = Stage(site, site.client("Acme"), world)
    yield opened
    opened.calm()


@pytest.mark.parametrize("build", ALL)
def test_every_build_registers_and_lives_quietly_for_ten_minutes(stage: Stage, build: Build) -> None:
    agent_id, machine = stage.agent(build)
    stage.world.advance(600)
    assert stage.primary(agent_id) == machine
    assert stage.tenant.aggregate(agent_id).agent.build is build
    assert set(stage.world.journal.answers) == {200}


def test_a_v4c_switches_ends_its_own_host_and_never_reports_z21(stage: Stage) -> None:
    agent_id, old = stage.agent(Build.V4C, logical_id="web")
    stage.force_switch(old)
    stage.world.advance(600)
    new = stage.primary(agent_id)
    assert new is not None
    assert (stage.state(old), stage.state(new)) == (MachineState.TERMINATED, MachineState.RUNNING)
    assert stage.world.journal.exchanges("switch-report") == []
    assert stage.world.orphans({new}) == []
    assert [one.state.value for one in stage.tenant.aggregate(agent_id).switches.values()] == ["completed"]


def test_a_v4c_without_a_configured_id_comes_back_as_another_agent_and_the_old_one_goes_offline_rg_10(
    stage: Stage,
) -> None:
    agent_id, old = stage.agent(Build.V4C)
    stage.force_switch(old)
    stage.world.advance(900)
    (launched,) = stage.world.journal.deeds("launched")
    new = str(launched.facts["machine"])
    successor = str(stage.world.agent(new).agent_id)
    assert successor != agent_id
    assert stage.primary(successor) == new
    assert stage.tenant.aggregate(agent_id).agent.link is Link.OFFLINE


def test_a_v4c_whose_host_shuts_down_slowly_reports_and_changes_nothing_twice_sw_5(stage: Stage) -> None:
    stage.world.cloud.shutdown_seconds = 5
    agent_id, old = stage.agent(Build.V4C, logical_id="web")
    stage.force_switch(old)
    stage.world.advance(600)
    assert len(stage.world.journal.exchanges("switch-report")) == 1
    assert len(stage.tenant.aggregate(agent_id).switches) == 1
    assert stage.primary(agent_id) != old


def test_a_v4c_without_auto_terminate_leaves_two_hosts_and_the_new_one_keeps_the_agent_t08(stage: Stage) -> None:
    agent_id, old = stage.agent(Build.V4C, logical_id="web")
    stage.tenant.post(f"/api/client/agents/{agent_id}/config", {"autoTerminateEnabled": False})
    stage.force_switch(old)
    stage.world.advance(900)
    new = stage.primary(agent_id)
    assert new != old
    assert stage.world.running(old)
    assert stage.state(old) is MachineState.RUNNING
    assert len(stage.world.journal.deeds("launched")) == 1


def test_a_rebalanced_v4c_has_a_replica_that_takes_over_when_the_notice_comes(stage: Stage) -> None:
    agent_id, old = stage.agent(Build.V4C, logical_id="web")
    stage.world.rebalance(old)
    stage.world.advance(120)
    (launched,) = stage.world.journal.deeds("launched")
    stage.world.interrupt(old)
    stage.world.advance(10)
    assert stage.primary(agent_id) == launched.facts["machine"]
    assert not stage.world.running(old), "success:true ended it"
    stage.world.advance(600)
    assert stage.primary(agent_id) == launched.facts["machine"]
    (story,) = stage.world.interruptions()
    assert story.replaced_by == launched.facts["machine"]


def test_a_v4c_without_a_replica_launches_one_within_its_notice_and_it_takes_over(stage: Stage) -> None:
    agent_id, old = stage.agent(Build.V4C, logical_id="web")
    stage.world.interrupt(old)
    stage.world.advance(115)
    new = stage.primary(agent_id)
    assert new != old
    stage.world.advance(600)
    (story,) = stage.world.interruptions()
    assert story.replaced_by == new
    assert stage.world.orphans({str(stage.primary(agent_id))}) == []


def test_a_v4c_in_manual_mode_gets_its_replica_and_loses_it_again(stage: Stage) -> None:
    agent_id, old = stage.agent(Build.V4C, logical_id="web")
    settings = f"/api/client/agents/{agent_id}/config"
    stage.tenant.post(settings, {"manualReplicaEnabled": True})
    stage.world.advance(120)
    (launched,) = stage.world.journal.deeds("launched")
    replica = str(launched.facts["machine"])
    assert stage.state(replica) is MachineState.RUNNING
    stage.tenant.post(settings, {"manualReplicaEnabled": False})
    stage.world.advance(180)
    assert stage.state(replica) is MachineState.TERMINATED
    assert stage.primary(agent_id) == old


def test_a_deleted_v4c_ends_its_replica_and_leaves_its_primary_running_ag_9(stage: Stage) -> None:
    agent_id, machine = stage.agent(Build.V4C, logical_id="web")
    stage.tenant.post(f"/api/client/agents/{agent_id}/config", {"manualReplicaEnabled": True})
    stage.world.advance(120)
    assert stage.tenant.call("DELETE", f"/api/client/agents/{agent_id}").status == 200
    stage.world.advance(300)
    assert stage.state(machine) is MachineState.RUNNING
    assert stage.world.orphans({machine}) == []


def test_a_v2_switches_and_its_acknowledgement_alone_proves_nothing_t19(stage: Stage) -> None:
    agent_id, old = stage.agent(Build.V2, logical_id="web")
    stage.force_switch(old)
    stage.world.advance(600)
    new = stage.primary(agent_id)
    assert new != old
    assert stage.state(old) is MachineState.TERMINATED
    assert stage.world.orphans({str(new)}) == []


def test_a_v4n_tells_its_notice_and_freezes_nothing_with_its_stale_request_id_t05(stage: Stage) -> None:
    agent_id, machine = stage.agent(Build.V4N, logical_id="web")
    stage.world.interrupt(machine)
    stage.world.advance(110)
    notices = stage.world.journal.exchanges("rebalance-recommendation")
    assert len(notices) == 11
    assert {one.answer["action"] for one in notices} == {"emergency_snapshot_required"}
    beats = stage.world.journal.exchanges("heartbeat")
    assert len({one.answer["server_time"] for one in beats}) == len(beats)
    assert len(stage.tenant.aggregate(agent_id).incidents) == 1


def test_a_v5_switches_by_the_chain_and_the_host_it_launched_serves_the_same_agent_z22(stage: Stage) -> None:
    agent_id, old = stage.agent(Build.V5)
    stage.force_switch(old, "m5.large.us-east-1a")
    stage.world.advance(700)
    assert stage.primary(agent_id) == old, "already there: nothing to do"
    answer = stage.tenant.post(f"/api/client/instances/{old}/force-switch", {"target": "ondemand"})
    assert answer.status == 200
    stage.world.advance(900)
    new = stage.primary(agent_id)
    assert new is not None
    assert new != old
    assert (stage.state(old), stage.state(new)) == (MachineState.TERMINATED, MachineState.RUNNING)
    assert stage.world.agent(new).agent_id == agent_id


def test_a_v5_under_notice_launches_on_demand_in_its_zone_and_that_machine_takes_over_z28(stage: Stage) -> None:
    agent_id, old = stage.agent(Build.V5)
    stage.world.interrupt(old)
    stage.world.advance(119)
    new = stage.primary(agent_id)
    assert new is not None
    assert new != old
    machine = stage.world.cloud.machine(new)
    assert (machine.mode.value, machine.az) == ("ondemand", "us-east-1a")
    assert {one.status for one in stage.world.journal.exchanges("instance-launched")} == {200}
    stage.world.advance(900)
    assert stage.primary(agent_id) == new
    assert stage.world.orphans({new}) == []


def test_a_deleted_v5_ends_its_replica_before_it_destroys_itself_t33(stage: Stage) -> None:
    agent_id, machine = stage.agent(Build.V5)
    stage.tenant.post(f"/api/client/agents/{agent_id}/config", {"manualReplicaEnabled": True})
    stage.world.advance(180)
    assert len(stage.world.journal.deeds("launched")) == 1
    assert stage.tenant.call("DELETE", f"/api/client/agents/{agent_id}").status == 200
    stage.world.advance(400)
    assert stage.world.orphans({machine}) == []
    assert stage.state(machine) is MachineState.RUNNING
    assert stage.world.journal.deeds("self_destruct")


def test_a_v5_that_restarts_reconnects_under_its_stored_id(stage: Stage) -> None:
    agent_id, machine = stage.agent(Build.V5)
    stage.world.restart_agent(machine)
    stage.world.advance(120)
    assert stage.world.agent(machine).agent_id == agent_id
    assert stage.primary(agent_id) == machine
    assert stage.world.journal.violations() == []


def test_a_storm_over_a_mixed_fleet_replaces_every_agent_that_can_be_replaced(stage: Stage) -> None:
    fleet = [stage.agent(build, logical_id=f"{build.value}-{n}") for build in (Build.V4C, Build.V5) for n in (1, 2)]
    for _, machine in fleet:
        stage.world.interrupt(machine)
    stage.world.advance(900)
    stories = stage.world.interruptions()
    assert len(stories) == len(fleet)
    assert all(story.replaced_by is not None for story in stories)
    primaries = {str(stage.primary(agent_id)) for agent_id, _ in fleet}
    assert len(primaries) == len(fleet)
    assert all(stage.state(one) is MachineState.RUNNING for one in primaries)
    assert stage.world.orphans(primaries) == []
