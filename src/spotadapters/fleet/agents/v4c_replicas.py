"""v4c and the server's three lists: replicas to launch, replicas to end, machines to terminate."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Protocol

from spotadapters.fleet.agents.base import offset_time, zone_of
from spotadapters.fleet.agents.classic import BOOT_LIMIT_SECONDS
from spotadapters.fleet.host import Host
from spotadapters.fleet.machines import CloudRefusal, MachineState
from spotadapters.fleet.script import Response, Steps
from spotcore.pools import Mode

PLACEHOLDERS: Final = ("manual-", "replica-")  # ids the agent knows to be no machines (T13)


class Caller(Protocol):
    """What these turns need of an agent."""

    @property
    def host(self) -> Host: ...
    @property
    def agent_id(self) -> str | None: ...
    @property
    def tried_replicas(self) -> set[object]: ...
    def get(self, rest: str) -> Steps[Response]: ...
    def post(self, rest: str, body: Mapping[str, Any]) -> Steps[Response]: ...
    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Steps[Response]: ...
    def wait_until(self, instance_id: str, state: MachineState, *, seconds: float) -> Steps[bool]: ...


def _listed(answer: Response) -> list[dict[str, Any]]:
    """A bare list, or ``replicas``."""
    found = answer.json if isinstance(answer.json, list) else answer.fields.get("replicas")
    return [one for one in found if isinstance(one, dict)] if answer.ok and isinstance(found, list) else []


def launch_replicas(agent: Caller) -> Steps[None]:
    """Launch a spot machine for every entry listed. No memory: an entry still listed next time is launched again."""
    asked_at = agent.host.now()
    for entry in _listed((yield from agent.get("replicas?status=launching"))):
        inner = entry.get("pool")
        pool = inner if isinstance(inner, dict) else {}
        pool_id = entry.get("pool_id") or pool.get("id")
        az = entry.get("az") or pool.get("az")
        if entry.get("id") and pool_id and az:
            yield from _launch_replica(agent, entry["id"], str(az), asked_at)


def _launch_replica(agent: Caller, replica_id: object, az: str, asked_at: datetime) -> Steps[None]:
    if not isinstance(replica_id, str):  # cut into a tag
        agent.host.wronged("E43", "replica_id_is_no_text", replica_id=replica_id)
        return
    status_path = f"replicas/{replica_id}/status"
    try:
        machine = agent.host.launch(
            agent_id=agent.agent_id,
            order=f"replica {replica_id}",
            az=zone_of(az),
            mode=Mode.SPOT,
            asked_at=asked_at,
            tags={"Name": f"replica-{replica_id[:8]}"},
        )
    except CloudRefusal as refusal:
        yield from agent.post(status_path, {"status": "failed", "error_message": str(refusal)})
        return
    put = {"instance_id": machine.instance_id, "status": "syncing"}
    yield from agent.call("PUT", f"/api/agents/{agent.agent_id}/replicas/{replica_id}", put)
    if not (yield from agent.wait_until(machine.instance_id, MachineState.RUNNING, seconds=BOOT_LIMIT_SECONDS)):
        problem = {"status": "failed", "error_message": f"{machine.instance_id} did not start"}
        yield from agent.post(status_path, problem)
        return
    # whatever the PUT was answered
    yield from agent.post(status_path, {"status": "ready", "sync_completed_at": offset_time(agent.host.now())})


def end_replicas(agent: Caller) -> Steps[None]:
    """End the machines of ended replicas, each replica once per run, and confirm."""
    for entry in _listed((yield from agent.get("replicas?status=terminated"))):
        replica_id, machine = entry.get("id"), entry.get("instance_id")
        if not isinstance(machine, str) or machine.startswith(PLACEHOLDERS) or replica_id in agent.tried_replicas:
            continue
        agent.tried_replicas.add(replica_id)
        try:
            agent.host.end_by_order(machine, "replica_terminated")
        except CloudRefusal as refusal:
            agent.host.did("could_not_end", machine=machine, code=refusal.code)
            continue
        ended = {"status": "terminated", "is_active": False, "terminated_at": offset_time(agent.host.now())}
        yield from agent.post(f"replicas/{replica_id}/status", ended)


def end_zombies(agent: Caller) -> Steps[None]:
    """End at once every machine the server names, without asking whose it is; nothing unless the flag is true."""
    answer = yield from agent.get("instances-to-terminate")
    if not answer.ok or not answer.fields.get("auto_terminate_enabled"):
        return
    for entry in answer.fields.get("instances") or []:
        machine = entry["instance_id"]
        error: str | None = None
        try:
            agent.host.end_by_order(machine, str(entry.get("reason")))
        except CloudRefusal as refusal:
            error = str(refusal)
        yield from agent.post(
            "termination-report",
            {
                "instance_id": machine,
                "success": error is None,
                "error": error,
                "terminated_at": offset_time(agent.host.now()) if error is None else None,
            },
        )
