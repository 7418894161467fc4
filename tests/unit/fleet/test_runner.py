"""The live runner: the same programs in real time, over real sockets."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from spotadapters.fleet import FastClock, Installation, LiveRunner, Response, SocketTransport, VirtualClock, World
from spotadapters.system.clock import SystemClock
from spotcore.builds import Build
from tests.support.scripted_server import PRICES, ScriptedServer
from tests.unit.fleet.test_transport import Echo, listening

SPEED = 100.0


def until(done: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether something became true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(0.01)
    return False


def test_a_fleet_lives_and_dies_in_real_time_over_sockets() -> None:
    handler = type("FreshEcho", (Echo,), {"connections": set()})
    with listening(handler) as url:
        transport = SocketTransport(url)
        world = World(clock=SystemClock(), transport=transport, prices=PRICES, speed=SPEED)
        hosts = [world.start(Installation(build=Build.V4N, client_token="t")) for _ in range(6)]
        with LiveRunner(world, workers=4):
            assert until(lambda: len(world.journal.exchanges("heartbeat")) >= 18)
            world.interrupt(hosts[0])
            assert until(lambda: not world.running(hosts[0]))
        transport.close()
    assert world.journal.exchanges("rebalance-recommendation", instance_id=hosts[0])
    assert all(world.running(one) for one in hosts[1:])
    assert len(handler.connections) <= 4, "requests in flight are bounded by the workers"


def test_a_clock_that_runs_fast_leaves_the_programs_their_own_intervals() -> None:
    clock = FastClock(VirtualClock().now(), rate=200)
    world = World(clock=clock, transport=ScriptedServer(), prices=PRICES)
    world.start(Installation(build=Build.V2, client_token="t"))
    with LiveRunner(world, rate=200):
        assert until(lambda: len(world.journal.exchanges("heartbeat")) >= 4)
    beats = [one.at for one in world.journal.exchanges("heartbeat")]
    assert (beats[1] - beats[0]).total_seconds() == pytest.approx(30, abs=15)


def test_loops_of_one_program_never_run_its_code_at_the_same_time() -> None:
    world = World(clock=SystemClock(), transport=ScriptedServer(), prices=PRICES, speed=2000)
    world.start(Installation(build=Build.V4C, client_token="t"))
    with LiveRunner(world, workers=8) as runner:
        assert until(lambda: len(world.journal.exchanges()) > 500)
        assert not runner.failed


def test_hosts_can_be_started_while_it_runs() -> None:
    world = World(clock=SystemClock(), transport=ScriptedServer(), prices=PRICES, speed=SPEED)
    with LiveRunner(world):
        host = world.start(Installation(build=Build.V2, client_token="t"))
        assert until(lambda: bool(world.journal.exchanges("register", instance_id=host)))
        world.stop_agent(host)
        assert until(lambda: not world.running(host))
    assert world.journal.exchanges()[-1].body == {"status": "offline", "monitored_instances": []}


def test_an_error_in_a_program_ends_the_run_and_is_raised_at_its_end() -> None:
    def broken(*_: object) -> Response:
        raise RuntimeError("unexpected")

    world = World(clock=SystemClock(), transport=broken, prices=PRICES, speed=SPEED)
    world.start(Installation(build=Build.V2, client_token="t"))
    with pytest.raises(RuntimeError, match="unexpected"), LiveRunner(world) as runner:
        assert until(lambda: runner.failed)


def test_leaving_waits_for_requests_under_way_and_starts_no_more() -> None:
    entered, release = threading.Event(), threading.Event()

    def slow(_: str, __: str, ___: Mapping[str, Any] | None, ____: Mapping[str, str]) -> Response:
        entered.set()
        release.wait(5)
        return Response(status=200)

    world = World(clock=SystemClock(), transport=slow, prices=PRICES, speed=SPEED)
    world.start(Installation(build=Build.V2, client_token="t"))
    with LiveRunner(world):
        assert entered.wait(5)
        threading.Timer(0.1, release.set).start()
    sent = len(world.journal.exchanges())
    time.sleep(0.1)
    assert len(world.journal.exchanges()) == sent
