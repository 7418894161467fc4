"""E33, E34, E38, E39: what people order for machines."""

from decimal import Decimal
from typing import Final

from attrs import evolve, frozen

from spotadapters.http.envelope import Answer
from spotadapters.http.routes.agents import PEOPLE
from spotadapters.http.routing import Call, Endpoint
from spotadapters.wire import words
from spotadapters.wire.answers import shown
from spotadapters.wire.parsing import required, wire
from spotadapters.wire.shapes import shape
from spotcore import risk
from spotcore.errors import NotFound, ValidationFailed
from spotcore.ids import AgentId
from spotcore.pools import Mode, parse_mode, parse_pool
from spotcore.service.kernel import Caller
from spotcore.service.machines import LaunchRequest, SwitchRequest


@shape
class ForceSwitch:
    """E34, E61."""

    target: str | None = wire("target_type", "target_mode", limit=32)
    pool_id: str | None = wire("target_pool", "target_pool_id", limit=128)
    new_instance_type: str | None = wire(limit=50)
    auto_terminate: bool | None = wire()


def target_mode(word: str | None, pool_id: str | None) -> Mode | None:
    """The wanted mode. ``pool`` needs a pool; nothing at all is refused by the use case."""
    if word is None:
        return None
    mode = parse_mode(word)
    if mode is Mode.UNKNOWN:
        raise ValidationFailed("invalid: target", target=["use ondemand, spot or pool"])
    if word.strip().lower() == "pool" and pool_id is None:
        raise ValidationFailed("missing: pool_id", pool_id=["required when the target is pool"])
    return mode


@shape
class SwitchQueued:
    """E34. Where the workload is there already: ``success`` false and no command."""

    success: bool
    command_id: str | None = shown(default=None, optional=True)
    status: str
    current_mode: str | None = shown(default=None, optional=True)
    current_pool_id: str | None = shown(default=None, optional=True)


def force_switch(call: Call) -> Answer:
    """E34."""
    body = call.parse(ForceSwitch)
    wanted = SwitchRequest(
        target_mode=target_mode(body.target, body.pool_id),
        pool_id=body.pool_id,
        instance_type=body.new_instance_type,
        terminate_old=body.auto_terminate,
    )
    order = call.plane.machines.force_switch(
        call.person(), call.path_id("instance_id"), wanted, is_admin=call.principal.is_admin
    )
    if order.command is None:
        unchanged = SwitchQueued(
            success=False,
            status="unchanged",
            current_mode=order.current_mode,
            current_pool_id=order.current_pool_id,
        )
        return Answer(data=unchanged, message="The workload is there already")
    message = "Switch queued"
    if order.warnings:
        message += "; note: " + ", ".join(order.warnings)
    queued = SwitchQueued(success=True, command_id=order.command.command_id, status="pending")
    return Answer(data=queued, message=message)


@shape
class Launch:
    """E38."""

    agent_id: str = required(limit=128)
    instance_type: str | None = wire(limit=64)
    target_mode: str = wire(default="spot", limit=32)
    target_pool_id: str | None = wire("target_pool", limit=128)
    az: str | None = wire(limit=64)
    role_hint: str = wire(default="replica", limit=32)


@shape
class Launching:
    """E38."""

    success: bool = True
    instance_id: str = shown(doc="a placeholder until the machine is confirmed", example="i-pending-0f0e0d0c")
    command_id: str
    request_id: str
    status: str = "launching"


def launch_mode(word: str) -> Mode:
    """The mode to launch in; unknown is none."""
    mode = parse_mode(word)
    if mode is Mode.UNKNOWN:
        raise ValidationFailed("invalid: target_mode", target_mode=["use spot or ondemand"])
    return mode


def launch(call: Call) -> Answer:
    """E38."""
    body = call.parse(Launch)
    if body.role_hint not in ("replica", "primary"):
        raise ValidationFailed("invalid: role_hint", role_hint=["use replica or primary"])
    agent_id = AgentId(body.agent_id)
    caller = call.person()
    if call.principal.is_admin:
        with call.transactions() as uow:
            owner = uow.agents.find_owner(agent_id)
        if owner is None:
            raise NotFound("unknown agent")
        caller = Caller(client_id=owner, actor="admin")
    wanted = LaunchRequest(
        target_mode=launch_mode(body.target_mode),
        pool_id=body.target_pool_id,
        az=body.az,
        instance_type=body.instance_type,
        role_hint=body.role_hint,
    )
    order = call.plane.machines.launch(caller, agent_id, wanted)
    return Answer(
        data=Launching(
            instance_id=words.instance_word(order.instance),
            command_id=order.command.command_id,
            request_id=order.command.request_id,
        ),
        status=201,
    )


@shape
class Terminate:
    """E39. ``force`` is accepted and changes nothing (Z8)."""

    force: bool = wire(default=False)


@shape
class Terminating:
    """E39. The command is null for a v4c, which finds the machine in its list."""

    success: bool = True
    instance_id: str
    command_id: str | None
    request_id: str | None
    status: str


def terminate(call: Call) -> Answer:
    """E39."""
    call.parse(Terminate)
    order = call.plane.machines.terminate(call.person(), call.path_id("instance_id"), is_admin=call.principal.is_admin)
    return Answer(
        data=Terminating(
            instance_id=words.instance_word(order.instance),
            command_id=order.command.command_id if order.command else None,
            request_id=order.command.request_id if order.command else None,
            status=order.instance.status.value,
        )
    )


def _impact(paid: Decimal | None, price: Decimal | None) -> Decimal | None:
    return paid - price if paid is not None and price is not None else None


@frozen(kw_only=True)
class PoolOption:
    """E33: a pool the workload could run in."""

    CAMEL = True
    id: str
    az: str
    instance_type: str
    price: Decimal | None
    savings_impact: Decimal | None = shown(doc="$/h saved by being there")
    recommendation: str | None = shown(doc="best, safe, caution, avoid, or null when the risk is unknown")


@shape
class OndemandOption:
    """E33: the price of the type on demand."""

    CAMEL = True
    price: Decimal | None
    savings_impact: Decimal | None


@shape
class Options:
    """E33. ``pools`` and ``instanceTypes`` repeat two lists under the names the dashboard reads (C19)."""

    CAMEL = True
    current_type: str | None
    current_region: str | None
    current_az: str | None
    current_pool: str | None
    available_pools: tuple[PoolOption, ...]
    available_types: tuple[str, ...]
    pools: tuple[PoolOption, ...]
    instance_types: tuple[str, ...]
    on_demand_option: OndemandOption


def options(call: Call) -> Answer:
    """E33: for every row that is listed, also placeholders and ended machines (T41)."""
    machine, market = call.plane.machines.options(
        call.person(), call.path_id("instance_id"), is_admin=call.principal.is_admin
    )
    now = call.clock.now()
    ondemand = market.ondemand_price()
    paid = market.spot_price(machine.pool_id, now) if machine.mode is Mode.SPOT else ondemand
    rows: list[PoolOption] = []
    for pool_id, record in market.pools.items():
        pool, price = parse_pool(pool_id), market.spot_price(pool_id, now)
        advice = risk.advice(risk.pool_risk(record, now))
        rows.append(
            PoolOption(
                id=pool_id,
                az=pool.az,
                instance_type=pool.instance_type,
                price=price,
                savings_impact=_impact(paid, price),
                recommendation=advice.value if advice is not None else None,
            )
        )
    pools = _ranked(rows)
    types = call.plane.machines.types_like(machine.instance_type, machine.region)
    return Answer(
        data=Options(
            current_type=machine.instance_type,
            current_region=machine.region,
            current_az=machine.az,
            current_pool=machine.pool_id,
            available_pools=pools,
            available_types=types,
            pools=pools,
            instance_types=types,
            on_demand_option=OndemandOption(price=ondemand, savings_impact=_impact(paid, ondemand)),
        )
    )


def _ranked(rows: list[PoolOption]) -> tuple[PoolOption, ...]:
    """Cheapest first, unpriced last; the cheapest safe one is ``best`` (4.1)."""
    ranked = sorted(rows, key=lambda row: (row.price is None, row.price or 0, row.id))
    best = next((row for row in ranked if row.recommendation == "safe" and row.price is not None), None)
    return tuple(evolve(row, recommendation="best") if row is best else row for row in ranked)


ONE: Final = "/api/client/instances/{instance_id}"
routes = [
    Endpoint(
        number="E38", method="POST", path="/api/client/instances/launch", handler=launch, access=PEOPLE,
        idempotent=True, body=Launch, answers=Launching, statuses=(201,),
        refuses=("UNSUPPORTED_OPERATION", "REPLICA_EXISTS", "POOL_MISMATCH", "AGENT_DISABLED", "SWITCH_BLOCKED"),
    ),
    Endpoint(
        number="E33", method="GET", path=ONE + "/available-options", handler=options, access=PEOPLE, answers=Options
    ),
    Endpoint(
        number="E34", method="POST", path=ONE + "/force-switch", handler=force_switch, access=PEOPLE, idempotent=True,
        body=ForceSwitch, answers=SwitchQueued,
        refuses=("NOT_PRIMARY", "POOL_MISMATCH", "AGENT_DISABLED", "SWITCH_BLOCKED"),
    ),
    Endpoint(
        number="E39", method="POST", path=ONE + "/terminate", handler=terminate, access=PEOPLE, idempotent=True,
        body=Terminate, answers=Terminating, refuses=("IS_PRIMARY", "UNSUPPORTED_OPERATION"),
    ),
]  # fmt: skip
