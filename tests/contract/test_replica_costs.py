"""E43 on both storages: what a replica costs an hour, and has cost (http-api 7.6, SV-4, SV-5, P8, P12, GR-7)."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal

import pytest
from attrs import evolve

from spotcore.builds import Evidence
from spotcore.errors import Unavailable
from spotcore.ids import AgentId
from spotcore.ledger import Line, Revision
from spotcore.liveness import Heartbeat
from spotcore.pools import Mode
from spotcore.ports.storage import UnitOfWork
from spotcore.pricing import Quality
from spotcore.service.machines import LaunchRequest
from spotcore.service.replicas import ReplicaRequest, ReplicaView
from spotcore.standby import MachineFacts
from spotcore.tenure import Role
from tests.support.world import START, TYPE, World, a_world, with_replica

D = Decimal
HOUR = timedelta(hours=1)
PRICES = {"us-east-1a": "0.0300", "us-east-1b": "0.0310", "us-east-1c": "0.0350"}


def listed(world: World, agent_id: AgentId, *, ended: bool = False) -> list[ReplicaView]:
    return list(world.plane.replicas.listed(world.agent_caller, agent_id, include_ended=ended))


def hourly(world: World, agent_id: AgentId) -> Decimal | None:
    (view,) = listed(world, agent_id)
    return view.hourly_cost


def test_e43_every_list_names_the_price_in_force_of_the_replicas_pool(world: World) -> None:
    agent_id = world.register(machine=(primary := world.new_machine())).agent_id
    world.report_prices(agent_id, PRICES)
    world.set(agent_id, manual_replica_enabled=True)
    (to_launch,) = world.plane.replicas.to_launch(world.agent_caller, agent_id)
    assert to_launch.hourly_cost == hourly(world, agent_id) == D("0.0310")  # of zone b, not the primary's zone
    world.start_replica(agent_id, to_launch.replica.replica_id, world.new_machine())
    world.beat(agent_id, primary)
    world.clock.advance(300)
    world.report_prices(agent_id, {**PRICES, "us-east-1b": "0.0290"})
    assert hourly(world, agent_id) == D("0.0290")
    world.set(agent_id, manual_replica_enabled=False)
    (to_end,) = world.plane.replicas.to_end(world.agent_caller, agent_id)
    assert to_end.hourly_cost == listed(world, agent_id, ended=True)[0].hourly_cost == D("0.0290")


def test_e43_a_price_is_in_force_for_60_minutes_from_its_bucket_and_then_unknown_p8_gr_7(world: World) -> None:
    ready = with_replica(world)
    world.clock.at = START + HOUR - timedelta(microseconds=1)
    assert hourly(world, ready.agent_id) == D("0.0310")
    world.clock.at = START + HOUR
    assert hourly(world, ready.agent_id) is None


def test_e43_the_cost_in_a_pool_nobody_has_a_price_of_is_unknown_not_0_mr_9_gr_7(world: World) -> None:
    agent_id = world.register().agent_id
    world.report_prices(agent_id, {"us-east-1a": "0.0300"})
    machine = MachineFacts(cloud_id=world.new_machine(), instance_type=TYPE, az="us-east-1c")
    wanted = ReplicaRequest(machine=machine, pool_id=f"{TYPE}.us-east-1c")
    world.plane.replicas.create(world.agent_caller, agent_id, wanted)
    assert hourly(world, agent_id) is None


@pytest.mark.parametrize(("ondemand", "cost"), [("0.0960", D("0.0960")), (None, None)])
def test_e43_a_replica_on_demand_costs_the_on_demand_price_sv_5(
    world: World, ondemand: str | None, cost: Decimal | None
) -> None:
    agent_id = world.register(machine=(primary := world.new_machine())).agent_id
    world.plane.agents.heartbeat(
        world.agent_caller, agent_id, Heartbeat(cloud_id=primary, evidence=(Evidence.MODERN_CALL,))
    )
    world.report_prices(agent_id, PRICES, ondemand)
    world.plane.machines.launch(world.user, agent_id, LaunchRequest(target_mode=Mode.ONDEMAND))
    assert hourly(world, agent_id) == cost


def test_e43_the_total_is_what_the_ledger_says_of_its_time_as_a_replica_rounded_once_p12(world: World) -> None:
    ready = with_replica(world)
    (view,) = listed(world, ready.agent_id)
    assert view.total_cost == 0
    known = {
        "client_id": world.client_id,
        "agent_id": ready.agent_id,
        "mode": Mode.SPOT,
        "pool_id": "m5.large.us-east-1b",
    }

    def a_line(hour: float, seconds: float, price: str | None, **facts: object) -> Line:
        begins = START + hour * HOUR
        told = {
            "instance_id": view.instance.instance_id, "role": Role.REPLICA, "quality": Quality.MEASURED,
            "ondemand_price": D("0.096"), **known, **facts,
        }  # fmt: skip
        ends = begins + timedelta(seconds=seconds)
        return Line(started_at=begins, ended_at=ends, paid_price=D(price) if price else None, **told)  # type: ignore[arg-type]

    primary = world.aggregate(ready.agent_id).primary
    assert primary is not None
    lines = (
        a_line(0, 1, "0.000016"),  # 0.0000000044… each: rounded one by one they would be nothing
        a_line(1, 1, "0.000016"),
        a_line(2, 3600, "0.031000"),
        a_line(3, 3600, None, quality=Quality.UNPRICED),
        a_line(4, 3600, "5", role=Role.ZOMBIE),
        a_line(5, 3600, "7", instance_id=primary.instance_id),
    )
    with world.transactions() as uow:
        uow.ledger.write(world.client_id, Revision(remove=(), add=lines), START)
    assert listed(world, ready.agent_id)[0].total_cost == D("0.03100001")
    with world.transactions() as uow:
        assert uow.ledger.costs(world.client_id, [primary.instance_id], Role.REPLICA) == {primary.instance_id: D(7)}
        assert uow.ledger.costs(world.client_id, [view.instance.instance_id], Role.PRIMARY) == {}


def test_a_list_of_replicas_to_launch_does_not_fail_over_a_price_5_2() -> None:
    world = a_world()
    agent_id = world.register().agent_id
    world.report_prices(agent_id, PRICES)
    world.set(agent_id, manual_replica_enabled=True)
    (before,) = world.plane.replicas.to_launch(world.agent_caller, agent_id)
    calls: list[int] = []

    @contextmanager
    def once(*, urgent: bool = False) -> Iterator[UnitOfWork]:
        calls.append(1)
        if len(calls) > 1:
            raise Unavailable("no connection is free")
        with world.transactions(urgent=urgent) as uow:
            yield uow

    replicas = evolve(world.plane.replicas, kernel=evolve(world.plane.replicas.kernel, transactions=once))
    (view,) = replicas.to_launch(world.agent_caller, agent_id)
    assert (view.replica, view.hourly_cost, len(calls)) == (before.replica, None, 2)
