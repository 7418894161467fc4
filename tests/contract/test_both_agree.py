"""The same story on both storages, step by step: both answer alike, refuse alike and hold the same state (section 13)."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, evolve, field

from spotadapters.memory import MemoryStorage
from spotadapters.postgres.storage import PostgresStorage
from spotcore.aggregate import Aggregate
from spotcore.builds import Evidence
from spotcore.config import AgentConfig
from spotcore.dispatch import Dialect
from spotcore.errors import SpotError
from spotcore.ids import AgentId
from spotcore.incidents import Severity
from spotcore.ledger import effective, merged
from spotcore.market import Market
from spotcore.pools import Mode
from spotcore.replicas import ReplicaState
from spotcore.reports import ReplicaStatusReport
from spotcore.service.alerts import AlertRequest
from tests.support.databases import WarmDatabase
from tests.support.world import TYPE, ZONES, FakeClock, World, a_world

AGENTS = ("web", "api", "batch")
EVIDENCE = {"web": (Evidence.CLASSIC_CALL,), "api": (Evidence.CLOUD_ACCOUNT,), "batch": ()}


@define
class Teller:
    """Draws the steps of a story from what the world holds: twins with equal chances tell the same one."""

    world: World
    chance: random.Random
    machines: list[str] = field(factory=list)
    fetched: list[tuple[AgentId, Any]] = field(factory=list)

    def step(self) -> tuple[str, object]:
        """One step: its name, and its answer or refusal."""
        name = self.chance.choice(list(STEPS))
        try:
            return name, STEPS[name](self)
        except SpotError as refusal:
            return name, (refusal.code, refusal.message)

    @property
    def agents(self) -> Sequence[AgentId]:
        with self.world.transactions() as uow:
            return tuple(uow.clients.agent_ids(self.world.client_id))

    def agent(self) -> AgentId:
        return (
            self.chance.choice([*self.agents, AgentId("nobody")])
            if self.chance.random() < 0.05
            else self._some(self.agents)
        )

    def _some(self, known: Sequence[Any]) -> Any:
        return self.chance.choice(known) if known else AgentId("nobody")

    def machine(self) -> str:
        if not self.machines or self.chance.random() < 0.1:
            self.machines.append(self.world.new_machine())
        return self.chance.choice(self.machines)

    def own_machine(self, agent_id: AgentId) -> str:
        try:
            rows = sorted(row.cloud_id for row in self.world.aggregate(agent_id).instances.values() if row.cloud_id)
        except SpotError:
            rows = []
        return self.chance.choice(rows) if rows and self.chance.random() < 0.9 else self.machine()


def registers(teller: Teller) -> object:
    logical = teller.chance.choice(AGENTS)
    az, mode = teller.chance.choice(ZONES), teller.chance.choice([Mode.SPOT, Mode.ONDEMAND, Mode.UNKNOWN])
    return teller.world.register(logical, teller.machine(), az=az, mode=mode, evidence=EVIDENCE[logical])


def beats(teller: Teller) -> object:
    agent_id = teller.agent()
    return teller.world.beat(agent_id, teller.own_machine(agent_id))


def reports(teller: Teller) -> object:
    prices = {az: f"0.0{teller.chance.randrange(200, 500)}" for az in ZONES}
    ondemand = teller.chance.choice([None, "0.0960", "0.1", "0.0970"])
    return teller.world.report_prices(teller.agent(), prices, ondemand)


def configures(teller: Teller) -> AgentConfig:
    wanted = teller.chance.choice(
        [
            {"manual_replica_enabled": True}, {"auto_switch_enabled": True}, {"manual_replica_enabled": False},
            {"min_savings_percent": teller.chance.randrange(0, 91)}, {"terminate_wait_seconds": teller.chance.choice([59, 60, 300])},
            {"auto_switch_enabled": True, "manual_replica_enabled": True}, {"enabled": teller.chance.random() < 0.7},
        ]
    )  # fmt: skip
    return teller.world.set(teller.agent(), **wanted)


def is_noticed(teller: Teller) -> object:
    agent_id = teller.agent()
    severity = teller.chance.choice(list(Severity))
    return teller.world.notice(
        agent_id, teller.own_machine(agent_id), severity=severity, ahead=teller.chance.choice([None, 90, 300])
    )


def orders_a_switch(teller: Teller) -> object:
    return teller.world.switch(teller.agent(), teller.chance.choice([*ZONES, None]))


def fetches(teller: Teller) -> object:
    agent_id = teller.agent()
    dialect = teller.chance.choice(list(Dialect))
    commands = teller.world.fetch(agent_id, dialect)
    teller.fetched += [(agent_id, command) for command in commands]
    return commands


def answers(teller: Teller) -> object:
    if not teller.fetched:
        return None
    agent_id, command = teller.chance.choice(teller.fetched)
    machine = teller.world.new_machine() if teller.chance.random() < 0.7 else None
    return teller.world.result(agent_id, command, teller.chance.random() < 0.8, machine)


def launches(teller: Teller) -> object:
    agent_id = teller.agent()
    views = teller.world.plane.replicas.to_launch(teller.world.agent_caller, agent_id)
    for view in views:
        teller.world.start_replica(
            agent_id, view.replica.replica_id, teller.world.new_machine(), ready=teller.chance.random() < 0.6
        )
    return views


def _replica(teller: Teller) -> tuple[AgentId, str]:
    agent_id = teller.agent()
    replicas = sorted(teller.world.aggregate(agent_id).replicas)
    return agent_id, teller.chance.choice(replicas) if replicas else "no-replica"


def is_ready(teller: Teller) -> object:
    agent_id, replica_id = _replica(teller)
    report = ReplicaStatusReport(state=ReplicaState.READY)
    return teller.world.plane.replicas.report_status(teller.world.agent_caller, agent_id, replica_id, report)


def promotes(teller: Teller) -> object:
    return teller.world.plane.replicas.promote(teller.world.user, *_replica(teller))


def ends_a_replica(teller: Teller) -> object:
    return teller.world.plane.replicas.delete(teller.world.user, *_replica(teller))


def confirms_an_end(teller: Teller) -> object:
    agent_id = teller.agent()
    machine = teller.own_machine(agent_id)
    return teller.world.plane.commands.termination_result(teller.world.agent_caller, agent_id, machine, True, None)


def deletes(teller: Teller) -> object:
    if teller.chance.random() < 0.7:
        return None
    return teller.world.plane.agents.delete(teller.world.user, teller.agent())


def passes(teller: Teller) -> object:
    return teller.world.tick(teller.chance.choice([1, 31, 121, 301, 901, 3_600]))


def accrues(teller: Teller) -> object:
    done = teller.world.plane.savings.accrue(limit=teller.chance.choice([1, 50]))
    return done.machines, done.failed


def cleans(teller: Teller) -> object:
    done = teller.world.plane.pipeline.run()
    return done.groups, done.repaired, done.fills_changed, done.failed


def decides(teller: Teller) -> object:
    return teller.world.plane.decisions.round().decided


def watches(teller: Teller) -> object:
    limit = Decimal(teller.chance.randrange(200, 500)).scaleb(-4)
    teller.world.plane.alerts.add(teller.world.user, AlertRequest(threshold=limit))
    return None


def reads(teller: Teller) -> object:
    return teller.world.plane.notices.mark_all_read(teller.chance.choice([None, teller.world.client_id]))


STEPS: Mapping[str, Callable[[Teller], object]] = {
    "registers": registers, "beats": beats, "beats again": beats, "reports": reports, "configures": configures,
    "is noticed": is_noticed, "orders a switch": orders_a_switch, "fetches": fetches, "answers": answers, "launches": launches,
    "is ready": is_ready, "promotes": promotes, "ends a replica": ends_a_replica, "confirms an end": confirms_an_end,
    "deletes": deletes, "time passes": passes, "time passes on": passes, "accrues": accrues, "cleans": cleans,
    "decides": decides, "watches": watches, "reads": reads,
}  # fmt: skip


def plain(market: Market) -> Market:
    """Boot times in PostgreSQL are rounded by its own mean."""
    return evolve(market, pools={key: evolve(row, boot_seconds=None) for key, row in market.pools.items()})


def state(world: World) -> dict[str, object]:
    """Everything that the ports show of the client."""
    now = world.clock.now()
    with world.transactions() as uow:
        ids = list(uow.clients.agent_ids(world.client_id))
        aggregates: list[Aggregate] = [uow.agents.get(world.client_id, one) for one in ids]
        machines = [row.instance_id for one in aggregates for row in one.instances.values()]
        lines = uow.ledger.entries(world.client_id, machines, now - timedelta(days=400))
        return {
            "client": uow.clients.get(world.client_id),
            "agents": [evolve(one, instances=dict(sorted(one.instances.items()))) for one in aggregates],
            "count": uow.agents.count(world.client_id),
            "due": list(uow.agents.due(now, 50)),
            "pressed": list(uow.agents.pressed(now, 50)),
            "polls": [uow.agents.poll(world.client_id, one) for one in ids],
            "market": plain(uow.prices.market(world.client_id, TYPE, "us-east-1", now)),
            "measured": uow.prices.measured((TYPE, "us-east-1"), now - timedelta(days=7)),
            "doubts": list(uow.prices.discrepancies((TYPE, "us-east-1"), now - timedelta(days=7))),
            "decisions": [[row.snapshot_hash for row in uow.decisions.recent(world.client_id, one, 5)] for one in ids],
            "alerts": [(row.threshold, row.fired_at) for row in uow.alerts.of_client(world.client_id)],
            "lines": {key: merged([row.line for row in effective(rows)]) for key, rows in sorted(lines.items())},
        }  # fmt: skip


@pytest.fixture
def twins(warm_database: WarmDatabase) -> tuple[World, World]:
    memory = a_world(MemoryStorage().transactions, FakeClock())
    clock = FakeClock()
    return memory, a_world(PostgresStorage(warm_database.connections, clock).transactions, clock)


@pytest.mark.parametrize("seed", range(4))
def test_section_13_both_storages_tell_the_same_story(twins: tuple[World, World], seed: int) -> None:
    tellers = [Teller(world, random.Random(seed)) for world in twins]
    told: list[str] = []
    for number in range(70):
        (name, here), (other, there) = (teller.step() for teller in tellers)
        told.append(name)
        assert (name, here) == (other, there), told
        if number % 5 == 4:
            mine, theirs = (state(world) for world in twins)
            for part in mine:
                assert mine[part] == theirs[part], (part, told)
    assert len(set(told)) > len(STEPS) // 2
