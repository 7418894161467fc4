"""A host: what a program on one machine can see and do besides HTTP."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from attrs import define, field

from spotadapters.fleet.cloud import FakeCloud
from spotadapters.fleet.journal import Deed, Journal
from spotadapters.fleet.machines import CloudRefusal, Machine, MachineState
from spotcore.pools import Mode


@define(kw_only=True)
class Host:
    """One machine from the inside. Its clock may be wrong; its disk outlives the program."""

    instance_id: str
    cloud: FakeCloud
    journal: Journal
    time: Callable[[], datetime]
    skew_seconds: float = 0.0
    disk: dict[str, str] = field(factory=dict)
    started_at: datetime | None = None  # of the program now running

    def now(self) -> datetime:
        """What the host believes the time is: aware, UTC."""
        return self.time() + timedelta(seconds=self.skew_seconds)

    def me(self) -> Machine:
        """The machine itself, as the cloud knows it."""
        return self.cloud.machine(self.instance_id)

    def metadata(self) -> Machine | None:
        """What the metadata service says, None while it fails."""
        machine = self.me()
        return machine if machine.metadata_works else None

    def uptime_seconds(self) -> float:
        """How long the program has been running, by the host's clock."""
        return (self.now() - (self.started_at or self.now())).total_seconds()

    def did(self, what: str, **facts: Any) -> None:
        """Note something for the journal."""
        self.journal.did(self._deed(what, facts))

    def wronged(self, rule: str, what: str, **facts: Any) -> None:
        """Note an answer that this build cannot live with."""
        self.journal.wronged(self._deed(what, facts), rule)

    def launch(
        self,
        *,
        agent_id: str | None,
        order: str,
        az: str,
        mode: Mode,
        asked_at: datetime | None = None,
        **wishes: Any,
    ) -> Machine:
        """Ask the cloud for a machine of the own type and image unless told otherwise; ``order`` names what the
        server asked for, ``asked_at`` when this host asked it. Raises ``CloudRefusal``."""
        me = self.me()
        request = {"instance_type": me.instance_type, "ami_id": me.ami_id, **wishes}
        try:
            machine = self.cloud.launch(az=az, mode=mode, launched_by=self.instance_id, **request)
        except CloudRefusal as refusal:
            self.did("launch_refused", order=order, code=refusal.code, az=az, mode=mode.value)
            raise
        facts = {"order": order, "machine": machine.instance_id, "az": az, "mode": mode.value}
        self.journal.launched(self._deed("launched", facts), agent_id=str(agent_id), order=order, asked_at=asked_at)
        return machine

    def end_by_order(self, machine: str, reason: str) -> None:
        """End a machine because the server said so. Raises ``CloudRefusal``."""
        deed = self._deed("ended", {"machine": machine, "reason": reason})
        alive = self.cloud.machine(machine).state in (MachineState.PENDING, MachineState.RUNNING)
        self.journal.ended_by_order(deed, machine, alive=alive)
        self.cloud.terminate(machine)

    def end_myself(self, reason: str) -> None:
        """End the machine this runs on. Raises ``CloudRefusal``; returning does not mean that there is a next line."""
        self.did("ended_itself", reason=reason)
        self.cloud.terminate(self.instance_id)

    def promoted(self, agent_id: str, machine: str) -> None:
        """Note that the server named another machine as the one that serves."""
        self.did("promoted", machine=machine)
        self.journal.promoted(agent_id, machine, self.time())

    def _deed(self, what: str, facts: dict[str, Any]) -> Deed:
        return Deed(at=self.time(), instance_id=self.instance_id, what=what, facts=facts)
