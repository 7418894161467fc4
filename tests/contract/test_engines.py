"""Section 4.6 in the service: an engine thinks without the agent's lock, and what goes wrong with it is audited."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from attrs import define, evolve

from spotadapters.engine.runner import EngineRunner
from spotadapters.memory import MemoryStorage
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from spotapp.settings import Settings
from spotapp.wiring import open_wiring
from spotcore.builds import Evidence
from spotcore.commands import CommandKind, Origin
from spotcore.control_plane import control_plane
from spotcore.decisions import Action, Proposal, Snapshot
from spotcore.events import EventKind
from spotcore.ids import AgentId
from spotcore.liveness import Heartbeat
from spotcore.service.decisions import Recommendation
from tests.support.rule_builders import POOL_B, POOL_C, D
from tests.support.world import START, CountingIdentity, FakeClock, World, a_world

MOVE = Proposal(action=Action.SWITCH_POOL, target_pool_id=POOL_B, confidence=D("0.9"), reason="cheaper")


@define
class Scripted:
    """An engine that does what it is told now."""

    act: Callable[[Snapshot], Any]
    name: str = "scripted"
    version: str = "3"

    def propose(self, snapshot: Snapshot) -> Proposal:
        answer: Proposal = self.act(snapshot)
        return answer


@define
class Site:
    """A world whose decisions ask an engine, and what its audit log holds."""

    world: World
    engine: Scripted
    audited: Callable[[], list[tuple[str, str | None]]]
    agent_id: AgentId

    def decide(self, act: Callable[[Snapshot], Any]) -> Recommendation:
        self.engine.act = act
        return self.world.plane.decisions.decide(self.world.agent_caller, self.agent_id)

    def failures(self) -> list[str]:
        return [kind for kind, _ in self.audited() if kind.startswith("model_")]


def moves(_: Snapshot) -> Proposal:
    return MOVE


def boom(_: Snapshot) -> Proposal:
    raise RuntimeError("token=secret")


def nonsense(_: Snapshot) -> Any:
    return {"action": "stay"}


@pytest.fixture(params=["memory", "postgres"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    clock, engine = FakeClock(), Scripted(moves)
    if request.param == "memory":
        storage = MemoryStorage()

        def from_memory() -> list[tuple[str, str | None]]:
            return [(event.kind.value, event.agent_id) for event in storage.tables.events]

        yield _site(a_world(storage.transactions, clock), engine, from_memory)
        return
    url = request.getfixturevalue("database_url")

    def from_postgres() -> list[tuple[str, str | None]]:
        with psycopg.connect(url) as connection:
            return connection.execute("select kind, agent_id from audit_events order by audit_id").fetchall()

    with Connections(url, size=4, reserve=2) as connections:
        yield _site(a_world(PostgresStorage(connections, clock).transactions, clock), engine, from_postgres)


def _site(world: World, engine: Scripted, audited: Callable[[], list[tuple[str, str | None]]]) -> Site:
    runner = EngineRunner(engine, world.clock)
    world.plane = control_plane(
        transactions=world.transactions, clock=world.clock, identity=CountingIdentity("11111111"), advisor=runner
    )
    machine = world.new_machine()
    agent_id = world.register("web", machine).agent_id
    beat = Heartbeat(cloud_id=machine, evidence=(Evidence.CLASSIC_CALL,))
    world.plane.agents.heartbeat(world.agent_caller, agent_id, beat)
    world.set(agent_id, risk_threshold=D(1), min_pool_duration_hours=0)
    world.report_prices(agent_id, {"us-east-1a": "0.0500", "us-east-1b": "0.0300", "us-east-1c": "0.0400"})
    return Site(world, engine, audited, agent_id)


def test_4_1_an_engines_sound_advice_becomes_a_switch_with_its_name_on_it(site: Site) -> None:
    found = site.decide(moves)
    assert (found.decision.engine, found.decision.engine_version, found.decision.source) == ("scripted", "3", "engine")
    assert found.order is not None
    assert found.order.command is not None
    assert (found.order.command.kind, found.order.command.origin) == (CommandKind.SWITCH, Origin.DECISION)
    assert found.order.command.target_pool_id == POOL_B
    assert site.failures() == []


@pytest.mark.parametrize(
    ("act", "kind"), [(boom, "model_error"), (nonsense, "model_output_rejected")], ids=["raises", "nonsense"]
)
def test_4_6_what_an_engine_does_wrong_is_audited_and_the_rules_decide(
    site: Site, act: Callable[[Snapshot], Any], kind: str
) -> None:
    found = site.decide(act)
    assert (found.decision.source, found.decision.action) == ("fallback", Action.STAY)
    assert [row for row in site.audited() if row[0].startswith("model_")] == [(kind, site.agent_id)]


def test_4_6_a_late_engine_is_audited_as_late(site: Site) -> None:
    done = threading.Event()
    found = site.decide(lambda snapshot: (done.wait(10), MOVE)[1] if snapshot else None)
    done.set()
    assert found.decision.source == "fallback"
    assert site.failures() == ["model_timeout"]


def test_4_6_the_fifth_failure_adds_one_warning_and_then_the_log_is_quiet(site: Site) -> None:
    for _ in range(8):
        site.decide(boom)
    assert site.failures() == ["model_error"] * 5 + ["model_circuit_opened"]


@pytest.mark.parametrize("ask", ["decide", "recommend"])
def test_89_a_lone_agents_engine_that_fails_for_ten_minutes_is_one_more_warning_4_6(site: Site, ask: str) -> None:
    site.engine.act = boom
    for pause in (0, 300, 300, 300):
        site.world.clock.advance(pause)
        getattr(site.world.plane.decisions, ask)(site.world.agent_caller, site.agent_id)
    assert site.failures() == ["model_error"] * 3 + ["model_always_failed", "model_error"]


def test_e60_a_recommendation_asks_the_engine_too_and_queues_nothing(site: Site) -> None:
    site.engine.act = boom
    found = site.world.plane.decisions.recommend(site.world.user, site.agent_id)
    assert found.decision.source == "fallback"
    assert site.failures() == ["model_error"]
    site.engine.act = moves
    good = site.world.plane.decisions.recommend(site.world.user, site.agent_id)
    assert good.decision.will_auto_execute
    assert site.world.aggregate(site.agent_id).open_commands == ()


def test_4_7_while_an_engine_thinks_the_agent_is_free_and_its_advice_is_judged_again_afterwards(site: Site) -> None:
    """The engine itself turns auto-switch off while it thinks: were the lock held, it would be late."""

    def meddles(_: Snapshot) -> Proposal:
        site.world.set(site.agent_id, auto_switch_enabled=False)
        return MOVE

    found = site.decide(meddles)
    assert found.decision.source == "engine"
    assert found.decision.will_auto_execute  # as it stood when the engine was asked
    assert found.order is None
    assert found.refusal is not None
    assert "AUTO_SWITCH_DISABLED" in found.refusal
    assert site.world.aggregate(site.agent_id).open_commands == ()


def test_4_7_an_incident_that_opens_while_an_engine_thinks_blocks_its_advice(site: Site) -> None:
    def meanwhile(_: Snapshot) -> Proposal:
        site.world.notice(site.agent_id, site.world.primary(site.agent_id))
        return evolve(MOVE, target_pool_id=POOL_C)

    found = site.decide(meanwhile)
    assert found.decision.source == "engine"
    assert found.order is None
    assert all(command.origin is Origin.EMERGENCY for command in site.world.aggregate(site.agent_id).open_commands)


def test_4_6_the_decision_round_survives_an_engine_that_fails(site: Site) -> None:
    site.engine.act = boom
    site.world.clock.advance(301)
    assert site.world.plane.decisions.round().decided == 1
    assert site.failures() == ["model_error"]
    assert site.world.aggregate(site.agent_id).agent.last_decision_at == site.world.clock.now()


def test_nt3_what_an_engine_said_when_it_failed_is_not_repeated_in_the_audit_log(site: Site) -> None:
    found = site.decide(boom)
    assert "secret" not in found.decision.reason
    assert site.failures() == [EventKind.MODEL_ERROR.value]


@pytest.mark.parametrize("loaded", [True, False])
def test_z35_the_application_asks_an_engine_only_when_it_is_given_one(database_url: str, loaded: bool) -> None:
    engine = Scripted(moves) if loaded else None
    with open_wiring(Settings(token_readback=False), database_url, clock=FakeClock(START), engine=engine) as wiring:
        assert wiring.parts.server.engine_loaded is loaded
        assert isinstance(wiring.plane.decisions.advisor, EngineRunner) is loaded
