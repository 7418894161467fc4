"""The short way against the ordinary one: groups of reports and signs leave the same rows, and stop at the same doors."""

import random
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from attrs import evolve, frozen

from spotadapters.postgres.pool import Connections
from spotadapters.postgres.pulses import Pulses, Sign
from spotcore.alerts import Alert, AlertType
from spotcore.ids import AgentId, ClientId
from spotcore.ports.storage import TokenRecord
from spotcore.prices import Observation, OndemandObservation, PriceReport, PriceSource
from tests.support.world import World

D = Decimal
REGION = "us-east-1"
_types = count(1)


@frozen(kw_only=True)
class Judged:
    """A report and who sends it."""

    sign: Sign
    report: PriceReport


@frozen
class Ward:
    """An agent, its token, and an instance type of which nobody else has prices."""

    world: World
    pulses: Pulses
    connections: Connections
    agent_id: AgentId
    token: str
    kind: str

    def sign(self, **facts: Any) -> Sign:
        agent = self.world.aggregate(self.agent_id).agent
        known = {
            "token_hash": self.token, "client_id": self.world.client_id, "agent_id": self.agent_id, "revision": agent.revision,
            "at": self.world.clock.now(), "instance_id": agent.primary_id, "is_agents": True, "due_at": agent.due_at, **facts,
        }  # fmt: skip
        return Sign(**known)

    def report(self, *prices: str, ondemand: Sequence[str] = (), seconds: float = 0, **facts: Any) -> PriceReport:
        at = self.world.clock.now() + timedelta(seconds=seconds)
        spot = tuple(
            Observation(
                submission_id=f"{self.kind}:{price}:{seconds}:{number}", pool_id=f"{self.kind}.{REGION}{'abc'[number]}", price=D(price),
                observed_at=at,
            )
            for number, price in enumerate(prices)
        )  # fmt: skip
        listed = tuple(
            OndemandObservation(
                instance_type=self.kind, region=REGION, price=D(price), observed_at=at, flagged=price == "0.1"
            )
            for price in ondemand
        )
        known = {"source": PriceSource.PRIMARY, "instance_id": None, **facts}
        return PriceReport(
            client_id=self.world.client_id, agent_id=self.agent_id, received_at=self.world.clock.now(), observations=spot,
            ondemand=listed, **known,
        )  # fmt: skip

    def send(self, *reports: PriceReport, **facts: Any) -> frozenset[int]:
        sign = self.sign(**facts)
        return self.pulses.record([Judged(sign=sign, report=one) for one in reports])

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """What is stored of the type, ids of agents and clients apart."""
        looks = {
            "raw": "select submission_id, source, pool_id, price, observed_at, received_at from raw_prices"
            " where pool_id like %(like)s order by 1",
            "buckets": "select replace(pool_id, %(kind)s, ''), bucket_start, price, source, rank, confidence, observed_at from price_buckets"
            " where pool_id like %(like)s order by 1, 2",
            "pools": "select replace(pool_id, %(kind)s, ''), region, az, first_observed_at from pools where pool_id like %(like)s order by 1",
            "ondemand": "select flagged, bucket_start, observed_at, price, rank from ondemand_prices"
            " where instance_type = %(kind)s order by 1, 2",
        }  # fmt: skip
        values = {"like": f"{self.kind}.%", "kind": self.kind}
        return {name: self.connections.rows(text, values) for name, text in looks.items()}

    def prices(self) -> dict[str, list[tuple[Any, ...]]]:
        found = self.rows()
        return {
            "raw": [row[1:2] + row[3:] for row in found["raw"]],
            **{key: found[key] for key in ("buckets", "pools", "ondemand")},
        }


def a_ward(world: World, connections: Connections, logical: str = "web") -> Ward:
    token = f"hash-{next(_types)}"
    with world.transactions() as uow:
        uow.clients.add_token(
            TokenRecord(
                token_hash=token, hint="t", sealed=None, client_id=world.client_id, created_at=world.clock.now()
            )
        )
    agent_id = world.register(logical).agent_id
    return Ward(world, Pulses(connections), connections, agent_id, token, f"p{next(_types)}.large")


@pytest.fixture
def ward(stored_world: World, connections: Connections) -> Ward:
    return a_ward(stored_world, connections)


def twin(ward: Ward) -> Ward:
    return evolve(ward, kind=f"p{next(_types)}.large")


@pytest.mark.parametrize("seed", range(4))
def test_dq4_dq7_a_group_leaves_the_rows_that_single_reports_would(ward: Ward, seed: int) -> None:
    """Spot and on-demand, every source, late and repeated ones, in groups of any size and order."""
    other, chance = twin(ward), random.Random(seed)
    drawn = [
        {
            "prices": [f"0.0{chance.randrange(200, 500)}" for _ in range(chance.randrange(0, 4))],
            "ondemand": chance.choice([(), ("0.0960",), ("0.1",), ("0.0960", "0.0970")]),
            "seconds": chance.choice([0, 1, 60, 299, 300, 301, -900]), "source": chance.choice(list(PriceSource)),
        }
        for _ in range(25)
    ]  # fmt: skip
    drawn += drawn[::4]
    made = [
        [one.report(*row["prices"], **{k: row[k] for k in ("ondemand", "seconds", "source")}) for row in drawn]
        for one in (ward, other)
    ]
    for report in made[1]:
        with other.world.transactions() as uow:
            uow.prices.record(report)
    rest = made[0]
    chance.shuffle(rest)
    while rest:
        size = chance.randrange(1, 9)
        assert ward.send(*rest[:size]) == frozenset(range(len(rest[:size])))
        rest = rest[size:]
    mine, theirs = ward.prices(), other.prices()
    assert sorted(mine["raw"]) == sorted(theirs["raw"])
    assert (mine["buckets"], mine["ondemand"]) == (theirs["buckets"], theirs["ondemand"])
    assert mine["pools"] == theirs["pools"]  # first observed when the earliest was, in whatever order they came (4.3)


def test_a_group_without_prices_and_an_empty_group_store_nothing(ward: Ward) -> None:
    assert ward.pulses.record([]) == ward.pulses.note([]) == ward.pulses.idle([]) == frozenset()
    assert ward.send(ward.report()) == {0}
    assert ward.rows() == {"raw": [], "buckets": [], "pools": [], "ondemand": []}


def test_e83_a_client_that_wants_to_be_told_of_prices_goes_the_ordinary_way(ward: Ward) -> None:
    alert = Alert(
        alert_id=f"alert-{ward.kind}", client_id=ward.world.client_id, alert_type=AlertType.PRICE_BELOW, threshold=D(1),
        created_at=ward.world.clock.now(), enabled=False,
    )  # fmt: skip
    with ward.world.transactions() as uow:
        uow.alerts.add(alert)
    assert ward.send(ward.report("0.03")) == {0}  # a switched-off alert asks for nothing
    with ward.world.transactions() as uow:
        uow.alerts.add(evolve(alert, alert_id=f"on-{ward.kind}", enabled=True))
    assert ward.send(ward.report("0.04", seconds=300)) == frozenset()
    assert len(ward.rows()["raw"]) == 1


def test_of_a_group_those_are_stored_whose_sign_holds(ward: Ward) -> None:
    good, late = ward.sign(), ward.sign(revision=ward.sign().revision - 1)
    foreign = ward.sign(client_id=ClientId("x"))
    reports = [
        Judged(sign=sign, report=ward.report(price, seconds=at))
        for sign, price, at in ((late, "0.01", 0), (good, "0.02", 300), (foreign, "0.03", 600), (good, "0.04", 900))
    ]
    assert ward.pulses.record(reports) == {1, 3}
    assert [row[2] for row in ward.rows()["buckets"]] == [D("0.02"), D("0.04")]


DOORS = [
    ("an unknown token", {"token_hash": "nobody's"}), ("another client", {"client_id": ClientId("x")}),
    ("another agent", {"agent_id": AgentId("x")}), ("an older revision", {"revision": 0}),
    ("a newer revision", {"revision": 10**6}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "facts"), DOORS, ids=[why for why, _ in DOORS])
def test_s1_a_sign_that_does_not_hold_opens_nothing_on_any_of_the_ways(
    ward: Ward, why: str, facts: dict[str, Any]
) -> None:
    before = ward.world.aggregate(ward.agent_id)
    ward.world.clock.advance(5)
    assert ward.pulses.note([ward.sign(**facts)]) == frozenset(), why
    assert ward.pulses.idle([ward.sign(**facts)]) == frozenset()
    assert ward.send(ward.report("0.03", ondemand=["0.09"]), **facts) == frozenset()
    assert ward.world.aggregate(ward.agent_id) == before
    assert ward.rows() == {"raw": [], "buckets": [], "pools": [], "ondemand": []}


@pytest.mark.parametrize(("ends_in", "opens"), [(-1, False), (0, False), (1, True), (86_400, True)])
def test_cl3_a_token_in_its_grace_opens_the_short_way_to_its_last_second(
    ward: Ward, ends_in: float, opens: bool
) -> None:
    with ward.world.transactions() as uow:
        uow.clients.end_tokens(ward.world.client_id, ward.world.clock.now() + timedelta(seconds=ends_in))
    wanted = {0} if opens else frozenset()
    assert (
        ward.pulses.note([ward.sign()]) == ward.pulses.idle([ward.sign()]) == ward.send(ward.report("0.03")) == wanted
    )


def test_a_machine_of_another_agent_is_not_seen_by_a_sign(ward: Ward) -> None:
    """The pair (client, machine) is the sign's own: a machine of another client stays as it was."""
    other = a_ward(ward.world, ward.connections, "other")
    before = ward.world.aggregate(other.agent_id)
    ward.world.clock.advance(5)
    assert ward.pulses.note([ward.sign(instance_id=None)]) == {0}
    assert ward.world.aggregate(other.agent_id) == before
    after = ward.world.aggregate(ward.agent_id)
    assert after.agent.last_heartbeat_at == ward.world.clock.now()
    assert {row.last_seen_at for row in after.instances.values()} != {ward.world.clock.now()}  # it named none


@pytest.mark.parametrize(
    ("due_in", "wanted_in", "expected"),
    [
        (39, 121, 121), (40, 121, 40), (60, 121, 60), (121, 121, 121), (130, 121, 121), (None, 121, 121), (60, None, None),
    ],
)  # fmt: skip
def test_jb5_the_next_look_is_left_alone_while_it_comes_soon_enough(
    ward: Ward, due_in: float | None, wanted_in: float | None, expected: float | None
) -> None:
    """Too early costs a look; too late would cost a time-out. The index is spared a write a beat."""
    now = ward.world.clock.now()

    def after(seconds: float | None) -> Any:
        return now + timedelta(seconds=seconds) if seconds is not None else None

    ward.connections.rows(
        "update agents set due_at = %(due)s where agent_id = %(agent)s", {"due": after(due_in), "agent": ward.agent_id}
    )
    assert ward.pulses.note([ward.sign(due_at=after(wanted_in))]) == {0}
    assert ward.world.aggregate(ward.agent_id).agent.due_at == after(expected)


def test_a_sign_that_is_the_machines_alone_leaves_the_agents_liveness_ag2(ward: Ward) -> None:
    """A replica's heartbeat counts for the replica."""
    before = ward.world.aggregate(ward.agent_id)
    ward.world.clock.advance(30)
    assert ward.pulses.note([ward.sign(is_agents=False)]) == {0}
    after = ward.world.aggregate(ward.agent_id)
    assert after.agent == before.agent
    assert {row.last_seen_at for row in after.instances.values()} == {ward.world.clock.now()}
