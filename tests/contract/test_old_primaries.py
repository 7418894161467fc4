"""What a person said of the machine that lost the role is stored with it (CM-9, E46, IN-25)."""

import pytest

from tests.support.world import World, with_replica

WAIT = 300


@pytest.mark.parametrize(("setting", "word", "status"), [(True, False, "zombie"), (False, True, "terminating")])
def test_e46_the_word_on_the_old_primary_counts_when_its_wait_is_over(
    shared_world: World, setting: bool, word: bool, status: str
) -> None:
    ready = with_replica(shared_world)
    shared_world.set(ready.agent_id, auto_terminate_enabled=setting)
    shared_world.plane.replicas.promote(shared_world.user, ready.agent_id, ready.replica_id, terminate_old=word)
    shared_world.clock.advance(WAIT)
    shared_world.beat(ready.agent_id, ready.standby)
    shared_world.tick()
    assert shared_world.status(ready.agent_id, ready.primary) == status
