"""Buckets are right the moment a report is committed, in memory and on PostgreSQL alike (DQ-3, DQ-4, DQ-6)."""

import random
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from spotcore.buckets import Contender, judge_buckets
from spotcore.ids import AgentId, ClientId
from spotcore.market import SpotQuote
from spotcore.prices import CONFIDENCE, Observation, PriceReport, PriceSource, submission_id
from tests.support.world import FakeClock, World, a_world

CLIENT, READER = ClientId("c-prices"), ClientId("c-reader")
TYPE, REGION = "m5.large", "us-east-1"
POOLS = ("m5.large.us-east-1a", "m5.large.us-east-1b")


def history(seed: int, now: datetime) -> list[Contender]:
    """Reports of four sources over an hour, often in the same bucket."""
    chance = random.Random(seed)
    rows = []
    for _ in range(40):
        source = chance.choice(list(PriceSource))
        pool_id = chance.choice(POOLS)
        at = now - timedelta(seconds=chance.randrange(0, 3600))
        price = Decimal(chance.randrange(30_000, 50_000)).scaleb(-6)
        name = submission_id(CLIENT, source.value, pool_id, at, price)
        rows.append(
            Contender(
                source=source,
                observation=Observation(submission_id=name, pool_id=pool_id, price=price, observed_at=at),
            )
        )
    return rows


def record(world: World, rows: Sequence[Contender]) -> None:
    for one in rows:
        with world.transactions() as uow:
            uow.prices.record(
                PriceReport(
                    client_id=CLIENT,
                    agent_id=AgentId("a-prices"),
                    instance_id=None,
                    source=one.source,
                    received_at=world.clock.now(),
                    observations=(one.observation,),
                )
            )


def shown(world: World) -> tuple[dict[str, SpotQuote], dict[str, tuple[Decimal, ...]]]:
    """What another client is shown: buckets only, none of its own observations."""
    with world.transactions() as uow:
        market = uow.prices.market(READER, TYPE, REGION, world.clock.now())
    return dict(market.spot), {pool_id: row.recent_prices for pool_id, row in market.pools.items()}


@pytest.mark.parametrize("seed", range(5))
def test_dq4_dq6_live_buckets_equal_the_pure_function_whatever_order_they_came_in_failures_73_74(
    world: World, seed: int
) -> None:
    rows = history(seed, world.clock.now())
    arrival = rows + rows[::3]  # DQ-3: some twice
    random.Random(seed + 100).shuffle(arrival)
    record(world, arrival)
    assert_buckets(world, rows)


def assert_buckets(world: World, rows: Sequence[Contender]) -> None:
    """What is shown is what the pure function makes of ``rows``."""
    quotes, recent = shown(world)
    judged = judge_buckets(rows)
    for pool_id in POOLS:
        winners = [judged[key].winner for key in sorted(judged) if key[0] == pool_id]
        latest = winners[-1]
        assert recent[pool_id] == tuple(deque((one.observation.price for one in winners), maxlen=10))
        assert quotes[pool_id].price == latest.observation.price
        assert quotes[pool_id].observed_at == latest.observation.observed_at
        assert quotes[pool_id].confidence == CONFIDENCE[latest.source]


def test_dq3_the_same_submission_in_a_better_role_is_a_no_op_failure_78(world: World) -> None:
    """A replica repeats itself after its promotion: raw holds the first receipt, and so does the bucket."""
    at = world.clock.now()
    seen = Observation(submission_id="s-1", pool_id=POOLS[0], price=Decimal("0.04"), observed_at=at)
    for source in (PriceSource.MANUAL_REPLICA, PriceSource.PRIMARY):
        record(world, [Contender(source=source, observation=seen)])
    quotes, _ = shown(world)
    assert quotes[POOLS[0]].confidence == CONFIDENCE[PriceSource.MANUAL_REPLICA]


def test_z15_a_filled_bucket_is_no_quote_and_no_recent_price(database_url: str) -> None:
    """A fill of a whole bucket later than the last measured one changes nothing that a rule is shown."""
    clock = FakeClock()
    with Connections(database_url, size=2, reserve=1) as connections:
        world = a_world(PostgresStorage(connections, clock).transactions, clock)
        record(world, history(1, clock.now()))
        before = shown(world)
        with psycopg.connect(database_url) as connection:
            connection.execute(
                """insert into price_buckets (pool_id, bucket_start, instance_type, region, price, source, rank,
                                              confidence, observed_at, submission_id, method)
                   values (%s, %s, %s, %s, 9, 'interpolated', 1, 0.85, %s, '', 'linear')""",
                (POOLS[0], clock.now() + timedelta(minutes=5), TYPE, REGION, clock.now()),
            )
        assert shown(world) == before
