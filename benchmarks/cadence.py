"""What the four deployed builds send, how often, and with which words."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from attrs import frozen

from benchmarks.fleet import Member

TYPE: Final = "m5.large"
ZONES: Final = {f"us-east-1{zone}": 0.03 + place / 1000 for place, zone in enumerate("abcdef")}
POOLS: Final = [
    {"pool_id": f"{TYPE}.{zone}", "instance_type": TYPE, "az": zone, "price": price} for zone, price in ZONES.items()
]
ONDEMAND: Final = 0.096
Body = Callable[[Member], Any]


@frozen(kw_only=True)
class Habit:
    """One loop of a build."""

    kind: str
    every: float  # seconds
    method: str
    path: str  # below the agent
    body: Body = lambda _: None


def _beat_v2(one: Member) -> Any:
    return {"status": "online", "monitored_instances": [one.machine]}


def _beat_v4c(one: Member) -> Any:
    return {
        "status": "online", "monitored_instances": [one.machine], "instance_id": one.machine, "instance_type": TYPE,
        "mode": "spot", "az": "us-east-1a",
    }  # fmt: skip


def _beat_v4n(_: Member) -> Any:
    return {"status": "online"}


def _beat_v5(one: Member) -> Any:
    entry: dict[str, Any] = {
        "instance_id": one.machine, "state": "running", "az": "us-east-1a", "instance_type": TYPE,
        "pool": f"{TYPE}.us-east-1a", "tags": {}, "launch_time": "2026-03-02T11:00:00", "private_ip": "10.0.0.9",
        "public_ip": None,
    }  # fmt: skip
    metrics = {"uptime": 10, "cpu_percent": 1.5, "memory_percent": 20.0}
    inventory = {"instances": [entry], "count": 1}
    return {"status": "online", "inventory_snapshot": inventory, "health_metrics": metrics, "reconnect": False}


def _machine(one: Member, **more: Any) -> dict[str, Any]:
    return {"instance_id": one.machine, "instance_type": TYPE, "region": "us-east-1", "az": "us-east-1a", **more}


def _prices_v2(one: Member) -> Any:
    instance = _machine(one, current_mode="spot", current_pool_id=POOLS[0]["pool_id"])
    return {"instance": instance, "on_demand_price": {"price": ONDEMAND}, "spot_pools": POOLS}


def _prices_v4c(one: Member) -> Any:
    instance = _machine(one, mode="spot", pool_id=POOLS[0]["pool_id"])
    pricing = {"on_demand_price": ONDEMAND, "current_spot_price": 0.03, "cheapest_pool": None, "spot_pools": POOLS}
    return {"instance": instance, "pricing": pricing}


def _prices_v5(one: Member) -> Any:
    stamp = datetime.now(UTC).replace(tzinfo=None).isoformat()
    records: list[dict[str, Any]] = [
        {"instance_type": TYPE, "az": zone, "pool_id": f"{TYPE}.{zone}", "spot_price": price, "timestamp": stamp}
        for zone, price in ZONES.items()
    ]
    records.append({"instance_type": TYPE, "price_type": "ondemand", "price": ONDEMAND, "timestamp": stamp})
    return {"agent_id": one.agent_id, "pricing_data_array": records, "timestamp": stamp}


def _decide(_: Member) -> Any:
    pools = [{**pool, "is_current": place == 0} for place, pool in enumerate(POOLS)]
    return {"spot_pools": pools, "ondemand_price": ONDEMAND, "current_az": "us-east-1a"}


def _beats(body: Body) -> Habit:
    return Habit(kind="heartbeat", every=30, method="POST", path="/heartbeat", body=body)


def _prices(body: Body) -> Habit:
    return Habit(kind="price report", every=300, method="POST", path="/pricing-report", body=body)


_CONFIG: Final = Habit(kind="config", every=60, method="GET", path="/config")
_CLASSIC_POLL: Final = Habit(kind="command poll", every=15, method="GET", path="/pending-commands")
HABITS: Final[dict[str, tuple[Habit, ...]]] = {
    "v2": (_beats(_beat_v2), _CLASSIC_POLL, _CONFIG, _prices(_prices_v2)),
    "v4c": (
        _beats(_beat_v4c), _CLASSIC_POLL, _CONFIG, _prices(_prices_v4c),
        Habit(kind="replica list", every=30, method="GET", path="/replicas?status=launching"),
        Habit(kind="replica list", every=30, method="GET", path="/replicas?status=terminated"),
        Habit(kind="terminate list", every=60, method="GET", path="/instances-to-terminate"),
    ),
    "v4n": (
        _beats(_beat_v4n), Habit(kind="config", every=30, method="GET", path="/config"),
        Habit(kind="decision", every=300, method="POST", path="/decide", body=_decide),
    ),
    "v5": (
        _beats(_beat_v5), Habit(kind="command poll", every=5, method="GET", path="/commands/pending"),
        _prices(_prices_v5),
    ),
}  # fmt: skip
KINDS: Final = tuple(dict.fromkeys(habit.kind for some in HABITS.values() for habit in some))


def rates(agents: int) -> dict[str, float]:
    """Calls per second of a fleet that is shared evenly among the builds, by kind; decisions with those of the server's
    own round (Z34)."""
    found = dict.fromkeys(KINDS, 0.0)
    for some in HABITS.values():
        for habit in some:
            found[habit.kind] += agents / len(HABITS) / habit.every
    found["decision"] += agents / 300
    return found


def habits_of(members: list[Member], kind: str) -> Iterator[tuple[Member, Habit]]:
    """Who does something of that kind, and how."""
    for one in members:
        for habit in HABITS[one.build]:
            if habit.kind == kind:
                yield one, habit
