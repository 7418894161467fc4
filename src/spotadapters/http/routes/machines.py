"""E33, E34, E38, E39: what people order for machines."""

from decimal import Decimal
from typing import Any, Final

from attrs import frozen

from spotadapters.http.envelope import Answer
from spotadapters.http.routes.agents import PEOPLE
from spotadapters.http.routing import Call, Endpoint
from spotadapters.wire import words
from spotadapters.wire.parsing import required, wire
from spotcore import risk
from spotcore.errors import NotFound, ValidationFailed
from spotcore.ids import AgentId
from spotcore.pools import Mode, parse_mode, parse_pool
from spotcore.service.kernel import Caller
from spotcore.service.machines import LaunchRequest, SwitchRequest


@frozen(kw_only=True)
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
        current = {"current_mode": order.current_mode, "current_pool_id": order.current_pool_id}
        return Answer(
            data={"success": False, "status": "unchanged", **current}, message="The workload is there already"
        )
    message = "Switch queued"
    if order.warnings:
        message += "; note: " + ", ".join(order.warnings)
    return Answer(data={"success": True, "command_id": order.command.command_id, "status": "pending"}, message=message)


@frozen(kw_only=True)
class Launch:
    """E38."""

    agent_id: str = required(limit=128)
    instance_type: str | None = wire(limit=64)
    target_mode: str = wire(default="spot", limit=32)
    target_pool_id: str | None = wire("target_pool", limit=128)
    az: str | None = wire(limit=64)
    role_hint: str = wire(default="replica", limit=32)


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
        target_mode=parse_mode(body.target_mode),
        pool_id=body.target_pool_id,
        az=body.az,
        instance_type=body.instance_type,
        role_hint=body.role_hint,
    )
    order = call.plane.machines.launch(caller, agent_id, wanted)
    return Answer(
        data={
            "success": True,
            "instance_id": words.instance_word(order.instance),
            "command_id": order.command.command_id,
            "request_id": order.command.request_id,
            "status": "launching",
        },
        status=201,
    )


def terminate(call: Call) -> Answer:
    """E39."""
    call.data()
    order = call.plane.machines.terminate(call.person(), call.path_id("instance_id"), is_admin=call.principal.is_admin)
    return Answer(
        data={
            "success": True,
            "instance_id": words.instance_word(order.instance),
            "command_id": order.command.command_id if order.command else None,
            "request_id": order.command.request_id if order.command else None,
            "status": order.instance.status.value,
        }
    )


def _impact(paid: Decimal | None, price: Decimal | None) -> Decimal | None:
    return paid - price if paid is not None and price is not None else None


def options(call: Call) -> Answer:
    """E33: for every row that is listed, also placeholders and ended machines (T41)."""
    machine, market = call.plane.machines.options(
        call.person(), call.path_id("instance_id"), is_admin=call.principal.is_admin
    )
    now = call.clock.now()
    ondemand = market.ondemand_price()
    paid = market.spot_price(machine.pool_id, now) if machine.mode is Mode.SPOT else ondemand
    rows: list[dict[str, Any]] = []
    for pool_id, record in market.pools.items():
        pool, price = parse_pool(pool_id), market.spot_price(pool_id, now)
        advice = risk.advice(risk.pool_risk(record, now))
        rows.append(
            {
                "id": pool_id,
                "az": pool.az,
                "instanceType": pool.instance_type,
                "price": price,
                "savingsImpact": _impact(paid, price),
                "recommendation": advice.value if advice is not None else None,
            }
        )
    rows.sort(key=lambda row: (row["price"] is None, row["price"] or 0, row["id"]))
    _mark_best(rows)
    types = [machine.instance_type] if machine.instance_type else []
    return Answer(
        data={
            "currentType": machine.instance_type,
            "currentRegion": machine.region,
            "currentAz": machine.az,
            "currentPool": machine.pool_id,
            "availablePools": rows,
            "availableTypes": types,
            "pools": rows,
            "instanceTypes": types,
            "onDemandOption": {"price": ondemand, "savingsImpact": _impact(paid, ondemand)},
        }
    )


def _mark_best(rows: list[dict[str, Any]]) -> None:
    """``best`` is the cheapest safe pool (4.1)."""
    safe = [row for row in rows if row["recommendation"] == "safe" and row["price"] is not None]
    if safe:
        safe[0]["recommendation"] = "best"


ONE: Final = "/api/client/instances/{instance_id}"
routes = [
    Endpoint(
        number="E38", method="POST", path="/api/client/instances/launch", handler=launch, access=PEOPLE,
        idempotent=True,
    ),
    Endpoint(number="E33", method="GET", path=ONE + "/available-options", handler=options, access=PEOPLE),
    Endpoint(
        number="E34", method="POST", path=ONE + "/force-switch", handler=force_switch, access=PEOPLE, idempotent=True
    ),
    Endpoint(number="E39", method="POST", path=ONE + "/terminate", handler=terminate, access=PEOPLE, idempotent=True),
]  # fmt: skip
