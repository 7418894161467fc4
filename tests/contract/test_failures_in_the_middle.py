"""A port that raises at any call of a use case leaves the state before it or the state after, nothing between (12.1 #1)."""

import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from attrs import frozen

from spotadapters.postgres.storage import PostgresStorage
from spotcore.aggregate import Aggregate
from spotcore.clients import Defaults
from spotcore.config import ConfigChange
from spotcore.control_plane import ControlPlane, control_plane
from spotcore.emergencies import Signal
from spotcore.errors import Unavailable
from spotcore.incidents import Severity
from spotcore.service.machines import SwitchRequest
from spotcore.service.prices import PriceItem, PriceSheet
from tests.support.faults import Broken, Faulty
from tests.support.world import TYPE, CountingIdentity, Ready, World, with_replica

_planes = count(1)


@frozen
class Scene:
    """A world in front of the use case, and the same control plane over storage that fails."""

    world: World
    ready: Ready

    def plane(self, faulty: Faulty) -> ControlPlane:
        identity = CountingIdentity(f"f{next(_planes):07x}")
        return control_plane(transactions=faulty, clock=self.world.clock, identity=identity)

    def state(self) -> Any:
        """All that the use cases below may touch."""
        with self.world.transactions() as uow:
            return (
                self.world.aggregate(self.ready.agent_id),
                uow.clients.get(self.world.client_id),
                uow.clients.current_token(self.world.client_id),
                tuple(uow.clients.agent_ids(self.world.client_id)),
                uow.prices.market(self.world.client_id, TYPE, "us-east-1", self.world.clock.now()).spot.get(f"{TYPE}.us-east-1f"),
            )  # fmt: skip


def promote(scene: Scene, plane: ControlPlane) -> object:
    return plane.replicas.promote(scene.world.user, scene.ready.agent_id, scene.ready.replica_id)


def emergency(scene: Scene, plane: ControlPlane) -> object:
    notice = Signal(severity=Severity.TERMINATION, cloud_id=scene.ready.primary, received_at=scene.world.clock.now())
    return plane.emergencies.signal(scene.world.agent_caller, scene.ready.agent_id, notice)


def configure(scene: Scene, plane: ControlPlane) -> object:
    return plane.agents.configure(
        scene.world.user, scene.ready.agent_id, ConfigChange(wanted={"auto_switch_enabled": True})
    )


def end_replica(scene: Scene, plane: ControlPlane) -> object:
    return plane.replicas.delete(scene.world.user, scene.ready.agent_id, scene.ready.replica_id)


def switch(scene: Scene, plane: ControlPlane) -> object:
    wanted = SwitchRequest(
        target_mode=scene.world.aggregate(scene.ready.agent_id).primary.mode, pool_id=f"{TYPE}.us-east-1b"
    )
    return plane.machines.force_switch(scene.world.user, scene.ready.primary, wanted)


def delete(scene: Scene, plane: ControlPlane) -> object:
    return plane.agents.delete(scene.world.user, scene.ready.agent_id)


def rotate(scene: Scene, plane: ControlPlane) -> object:
    return plane.clients.rotate(scene.world.client_id)


def report(scene: Scene, plane: ControlPlane) -> object:
    price = Decimal(next(_planes)).scaleb(-6)  # told apart from what other tests reported of the pool
    sheet = PriceSheet(spot=(PriceItem(pool=f"{TYPE}.us-east-1f", price=price),))
    return plane.prices.report(scene.world.agent_caller, scene.ready.agent_id, sheet)


def defaults(scene: Scene, plane: ControlPlane) -> object:
    return plane.clients.set_defaults(scene.world.client_id, Defaults(auto_switch=False))


STORIES: Mapping[str, Callable[[Scene, ControlPlane], object]] = {
    "a promotion by hand": promote, "an emergency": emergency, "a change of modes": configure, "the end of a replica": end_replica,
    "a forced switch": switch, "the deletion of an agent": delete, "a new token": rotate, "a price report": report,
    "new defaults": defaults,
}  # fmt: skip
FOREVER = 40  # more calls than any of them makes


@pytest.mark.parametrize("after", [False, True], ids=["before its work", "after its work"])
@pytest.mark.parametrize("story", STORIES)
def test_failure_1_whatever_call_fails_nothing_is_left_between(shared_world: World, story: str, after: bool) -> None:
    scene = Scene(shared_world, with_replica(shared_world))
    before = scene.state()
    act, failed = STORIES[story], 0
    for number in range(FOREVER):
        faulty = Faulty(shared_world.transactions, number, after)
        plane = scene.plane(faulty)
        try:
            act(scene, plane)
        except Broken:
            failed += 1
            assert scene.state() == before, faulty.calls
        else:
            assert number == len(faulty.calls)
            break
    assert failed >= 2  # at the least loading and saving
    after_all = scene.state()
    assert after_all != before
    retried = Faulty(shared_world.transactions)
    plane = scene.plane(retried)
    if story in ("a promotion by hand", "an emergency", "a change of modes", "new defaults", "a price report"):
        act(scene, plane)  # these are repeatable: once more changes nothing that counts
        assert roles(scene.state()[0]) == roles(after_all[0])


def roles(aggregate: Aggregate) -> tuple[object, ...]:
    return (
        aggregate.agent.primary_id, aggregate.agent.config, aggregate.agent.config_version, len(aggregate.switches),
        len(aggregate.periods), {key: row.state for key, row in aggregate.replicas.items()},
        {key: row.status for key, row in aggregate.instances.items()},
    )  # fmt: skip


def test_the_calls_of_a_promotion_are_few_and_one_of_them_saves_gr1(shared_world: World) -> None:
    """One lock, one load, one save, one commit: no multi-step change is split over several commits."""
    scene = Scene(shared_world, with_replica(shared_world))
    faulty = Faulty(shared_world.transactions)
    promote(scene, scene.plane(faulty))
    assert faulty.calls.count("commit") == 1
    assert faulty.calls.count("agents.lock") == faulty.calls.count("agents.save") == 1
    assert faulty.calls.index("agents.lock") < faulty.calls.index("agents.save")


def test_5_2_an_emergency_turns_to_agents_and_prices_alone(shared_world: World) -> None:
    scene = Scene(shared_world, with_replica(shared_world))
    faulty = Faulty(shared_world.transactions)
    emergency(scene, scene.plane(faulty))
    assert {name.partition(".")[0] for name in faulty.calls} <= {"agents", "prices", "commit"}


def test_failure_16_an_emergency_that_cannot_read_prices_fails_over_without(shared_world: World) -> None:
    """5.2: no price look-up must succeed. Only the core's own refusals may stand for a price that cannot be read."""
    scene = Scene(shared_world, with_replica(shared_world))

    class NoPrices(Faulty):
        def count(self, name: str, act: Callable[[], Any]) -> Any:
            if name == "prices.market":
                raise Unavailable("prices are away")
            return super().count(name, act)

    emergency(scene, scene.plane(NoPrices(shared_world.transactions)))
    assert shared_world.primary(scene.ready.agent_id) == scene.ready.standby


# ---- what is not committed is nobody else's to see


def test_pr7_nothing_of_a_promotion_is_visible_before_its_commit(stored_world: World) -> None:
    """Read by a second connection between the save and the commit."""
    scene = Scene(stored_world, with_replica(stored_world))
    before, seen = scene.state(), []

    class Looking(Faulty):
        def count(self, name: str, act: Callable[[], Any]) -> Any:
            if name == "commit":
                reader = threading.Thread(target=lambda: seen.append(scene.state()))
                reader.start()
                reader.join()
            return super().count(name, act)

    promote(scene, scene.plane(Looking(stored_world.transactions)))
    assert seen == [before]
    assert scene.state()[0].primary.cloud_id == scene.ready.standby


def test_gr10_nobody_is_woken_for_a_transaction_that_fails(stored_world: World) -> None:
    """What wakes the relay is a commit of something that is told; a rollback and a silent commit wake nobody."""
    woken = []
    connections = stored_world.transactions.__self__._connections
    storage = PostgresStorage(connections, stored_world.clock, lambda: woken.append(1))
    scene = Scene(stored_world, with_replica(stored_world))

    class FailsAfterSaving(Faulty):
        def count(self, name: str, act: Callable[[], Any]) -> Any:
            found = super().count(name, act)
            if name == "agents.save":
                raise Broken(name)
            return found

    with pytest.raises(Broken):
        promote(scene, scene.plane(FailsAfterSaving(storage.transactions)))
    assert woken == []
    with storage.transactions() as uow:
        uow.agents.lock(stored_world.client_id, scene.ready.agent_id)
    assert woken == []
    promote(scene, scene.plane(Faulty(storage.transactions)))
    assert woken == [1]
