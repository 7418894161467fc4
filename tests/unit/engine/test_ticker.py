"""The ticker: an engine that hangs holds up a decision round and no deadline (4.6, JB-5)."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from spotadapters.engine.runner import EngineRunner
from spotadapters.memory import MemoryStorage
from spotadapters.system.jobs import JobBoard
from spotapp.ticker import Ticker
from spotcore.agents import Link
from spotcore.control_plane import control_plane
from spotcore.decisions import Action, Proposal, Snapshot
from tests.support.world import CountingIdentity, a_world


class Hanging:
    """An engine that never answers while the test runs."""

    name, version = "hanging", "1"

    def __init__(self) -> None:
        self.asked, self.released = threading.Event(), threading.Event()

    def propose(self, snapshot: Snapshot) -> Proposal:
        self.asked.set()
        self.released.wait(30)
        return Proposal(action=Action.STAY, reason=snapshot.agent_id)


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def test_4_6_time_passes_for_agents_while_an_engine_is_thinking() -> None:
    storage, engine = MemoryStorage(), Hanging()
    world = a_world(storage.transactions)
    runner = EngineRunner(engine, world.clock, deadline=timedelta(seconds=20))
    plane = control_plane(
        transactions=world.transactions, clock=world.clock, identity=CountingIdentity("11111111"), advisor=runner
    )
    agent_id = world.register().agent_id
    ticker = Ticker(plane, world.clock, JobBoard(), tick_seconds=0.05, decision_seconds=0.05)
    ticker.start()
    try:
        assert engine.asked.wait(10)
        world.clock.advance(121)  # the agent is silent for longer than AG-1 allows
        assert within(5, lambda: world.aggregate(agent_id).agent.link is Link.OFFLINE)
    finally:
        engine.released.set()
        ticker.stop()
