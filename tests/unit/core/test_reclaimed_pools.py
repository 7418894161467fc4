"""Where an emergency may go when more is being taken back than the primary (Z20), and what a wish for zones may not do."""

import pytest
from attrs import evolve

from spotcore.incidents import Severity
from spotcore.market import Market, PoolRecord
from spotcore.replicas import ReplicaState
from tests.support.rule_builders import POOL_A, POOL_B, POOL_C, REGION, a_market, an_aggregate, open_kinds
from tests.unit.core.test_emergencies import noticed, passed, standing_by

CHEAP_B = a_market(a="0.010", b="0.001", c="0.030")


def in_trouble(market: Market, pool: str) -> Market:
    return evolve(market, pools={**market.pools, pool: evolve(market.pools[pool], open_incident=True)})


def test_z20_the_successor_of_a_replica_that_is_taken_back_is_launched_elsewhere() -> None:
    pending = noticed(standing_by(ReplicaState.SYNCING), ahead=120, market=CHEAP_B).after
    after = noticed(pending, machine="i-0r", ahead=100, at=5, market=CHEAP_B).after
    assert after.live_replica is not None
    assert after.live_replica.pool_id == POOL_C


def test_z20_manual_mode_sends_its_successor_elsewhere_too() -> None:
    ready = standing_by(ReplicaState.READY, manual_replica_enabled=True, auto_switch_enabled=False)
    after = passed(noticed(ready, machine="i-0r", ahead=100, market=CHEAP_B).after, 60, CHEAP_B).after
    assert after.live_replica is not None
    assert after.live_replica.pool_id == POOL_C


def test_z20_the_pool_is_open_again_once_the_notice_is_over() -> None:
    ready = standing_by(ReplicaState.READY, auto_switch_enabled=False)
    taken = passed(noticed(ready, machine="i-0r", ahead=100, market=CHEAP_B).after, 300, CHEAP_B).after
    after = noticed(taken, at=400, ahead=120, market=a_market(a="0.010", b="0.001")).after
    assert after.live_replica is not None
    assert after.live_replica.pool_id == POOL_B


@pytest.mark.parametrize("enabled", [True, False])
def test_z20_a_wish_against_zones_never_leads_into_trouble(enabled: bool) -> None:
    # 7.7 rule 6: honoured while a pool remains; what is in trouble remains for nobody
    market = in_trouble(a_market(a="0.01", b="0.02", c="0.03"), POOL_B)
    after = noticed(an_aggregate(enabled=enabled), ahead=120, market=market, exclude_zones=(f"{REGION}c",)).after
    assert after.live_replica is not None
    assert after.live_replica.pool_id == POOL_C
    assert not open_kinds(after)


def test_7_7_a_wish_against_zones_is_honoured_while_another_pool_is_left() -> None:
    after = noticed(
        an_aggregate(), Severity.REBALANCE, market=a_market(a="0.01", b="0.02", c="0.03"), exclude_zones=(f"{REGION}b",)
    ).after
    assert after.live_replica is not None
    assert after.live_replica.pool_id == POOL_C


def test_troubled_pools_are_marked_as_far_as_they_are_known() -> None:
    market = evolve(a_market(a="0.01", b="0.02"), pools={POOL_A: PoolRecord(pool_id=POOL_A, incidents_7d=3)})
    marked = market.troubled([POOL_A, POOL_B, POOL_C])
    assert marked.pools == {
        POOL_A: PoolRecord(pool_id=POOL_A, incidents_7d=3, own_open_incident=True),
        POOL_B: PoolRecord(pool_id=POOL_B, own_open_incident=True),
    }
    assert market.troubled([]) is market
