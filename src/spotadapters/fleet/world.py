"""A simulated fleet: a cloud, images with agents on them, and the hosts that come and go."""

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

from spotadapters.fleet.agents import PROGRAMS, Agent, Installation
from spotadapters.fleet.clocks import Clock, SteppedClock
from spotadapters.fleet.cloud import NOTICE_SECONDS, FakeCloud
from spotadapters.fleet.host import Host
from spotadapters.fleet.journal import Interruption, Journal, Violation
from spotadapters.fleet.machines import GONE, Machine, MachineState
from spotadapters.fleet.prices import PriceFeed
from spotadapters.fleet.scheduler import Process, Scheduler
from spotadapters.fleet.script import Exit, Sleep, Steps
from spotadapters.fleet.transport import HttpTransport
from spotcore.pools import Mode

RESTART_SECONDS: Final = 10.0  # how long a supervisor waits; not on the wire
DEFAULT_ZONES: Final = ("us-east-1a", "us-east-1b", "us-east-1c")


class World:
    """Hosts, their programs and their cloud, on one clock.

    Every interval and wait is divided by ``speed``; instants always come from the clock. Step it with
    ``advance`` (one thread, a ``SteppedClock``, the same history every time), or hand it to a ``LiveRunner``. All
    methods but ``advance`` are safe to call while a runner runs.

    ``shutdown_seconds``: how long a terminated machine still works. ``os_boot_seconds``: from the cloud's ``running``
    to the start of the program; with 0 a machine may register before the agent that launched it has seen it run.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        transport: HttpTransport,
        prices: PriceFeed,
        zones: tuple[str, ...] = DEFAULT_ZONES,
        speed: float = 1.0,
        seed: int = 1,
        shutdown_seconds: float = 0.0,
        os_boot_seconds: float = 0.0,
    ) -> None:
        self.clock = clock
        self.speed = speed
        self.journal = Journal()
        self.cloud = FakeCloud(
            clock=clock, prices=prices, zones=zones, speed=speed, seed=seed, shutdown_seconds=shutdown_seconds
        )
        self.scheduler = Scheduler(
            clock=clock, transport=transport, journal=self.journal, speed=speed, settle=self.settle
        )
        self._os_boot_seconds = os_boot_seconds
        self._installations: dict[str, Installation] = {}  # by image
        self._hosts: dict[str, Host] = {}
        self._programs: dict[str, tuple[Process, Agent]] = {}
        self._lock = threading.RLock()

    # ---- the fleet

    def start(
        self,
        installation: Installation,
        *,
        instance_type: str = "m5.large",
        az: str = DEFAULT_ZONES[0],
        mode: Mode = Mode.SPOT,
    ) -> str:
        """Launch a machine with an agent on it; the id. The agent starts when the machine has booted."""
        ami_id = self.cloud.new_image()
        with self._lock:
            self._installations[ami_id] = installation
        return self.cloud.launch(instance_type=instance_type, az=az, mode=mode, ami_id=ami_id).instance_id

    def host(self, instance_id: str) -> Host:
        """A machine that has booted, from the inside."""
        with self._lock:
            return self._hosts[instance_id]

    def agent(self, instance_id: str) -> Agent:
        """The program last run on a host."""
        with self._lock:
            return self._programs[instance_id][1]

    def running(self, instance_id: str) -> bool:
        """True while the host's program runs."""
        with self._lock:
            return instance_id in self._programs and self._programs[instance_id][0].alive

    def stop_agent(self, instance_id: str) -> None:
        """Stop the program cleanly: it says farewell and is not started again."""
        with self._lock:
            old, agent = self._programs[instance_id]
            old.alive = False
            leaving = self._process(self._hosts[instance_id], agent)
        self.scheduler.soon(agent.leave(), leaving)

    def kill_agent(self, instance_id: str) -> None:
        """Stop the program where it is, without a word; the machine runs on."""
        with self._lock:
            self._programs[instance_id][0].alive = False

    def restart_agent(self, instance_id: str) -> None:
        """Kill the program and start it again; only the disk remembers."""
        self.kill_agent(instance_id)
        self._run_program(self.host(instance_id))

    def interrupt(self, instance_id: str, *, notice_seconds: float = NOTICE_SECONDS) -> None:
        """Give a termination notice and take the machine at its deadline. Raises ``CloudRefusal`` off spot."""
        deadline_at = self.cloud.interrupt(instance_id, notice_seconds=notice_seconds)
        self.journal.noticed(instance_id, self.clock.now(), deadline_at)

    def rebalance(self, instance_id: str) -> None:
        """Raise the rebalance signal."""
        self.cloud.rebalance(instance_id)

    def every(self, seconds: float, happening: Callable[[], None]) -> None:
        """Call something again and again: a server's ticker in virtual time, a storm. Divided by the speed as well."""

        def script() -> Steps[None]:
            while True:
                yield Sleep(seconds)
                happening()

        self.scheduler.soon(script())

    # ---- outcome

    def violations(self) -> list[Violation]:
        """Everything that must never happen and did."""
        return self.journal.violations()

    def interruptions(self) -> list[Interruption]:
        """Every notice to a serving machine, and who replaced it when."""
        return self.journal.interruptions()

    def orphans(self, known: set[str]) -> list[Machine]:
        """Machines that run though the server (by the ids it knows) has never heard of them."""
        return [one for one in self.cloud.machines() if one.state not in GONE and one.instance_id not in known]

    # ---- time

    def advance(self, seconds: float) -> None:
        """Let that much time of the clock pass, everything in order of time. For a ``SteppedClock``, one thread."""
        clock: SteppedClock = self.clock  # type: ignore[assignment]
        end_at = clock.now() + timedelta(seconds=seconds)
        while True:
            self.settle()
            task = self.scheduler.agenda.take(clock.now())
            if task is not None:
                self.scheduler.run(task)
                continue
            coming = [at for at in (self.scheduler.agenda.next_at(), self.cloud.next_at()) if at is not None]
            next_at = min([*coming, end_at])
            clock.advance((next_at - clock.now()).total_seconds())
            if next_at == end_at and not any(at <= end_at for at in coming):
                self.settle()
                return

    def settle(self) -> None:
        """Start the programs of machines that booted and stop those of machines that ended."""
        for machine in self.cloud.settle():
            if machine.state is MachineState.RUNNING:
                self._boot(machine)
            else:
                with self._lock:
                    if machine.instance_id in self._programs:
                        self._programs[machine.instance_id][0].alive = False

    def _boot(self, machine: Machine) -> None:
        host = Host(instance_id=machine.instance_id, cloud=self.cloud, journal=self.journal, time=self.clock.now)
        with self._lock:
            parent = self._hosts.get(machine.launched_by or "")
            if parent is not None and self._installations[machine.ami_id].clones_disk:
                host.disk.update(parent.disk)
            self._hosts[machine.instance_id] = host
        self.scheduler.soon(self._start_after(host, self._os_boot_seconds))

    def _run_program(self, host: Host) -> None:
        installation = self._installations[host.me().ami_id]
        agent = PROGRAMS[installation.build](host=host, installation=installation)
        host.started_at = host.now()
        with self._lock:
            process = self._process(host, agent)
        self.scheduler.soon(agent.main(), process)

    def _process(self, host: Host, agent: Agent) -> Process:
        process = Process(instance_id=host.instance_id, build=agent.BUILD, on_exit=partial(self._exited, host))
        self._programs[host.instance_id] = (process, agent)
        return process

    def _exited(self, host: Host, exit_: Exit) -> None:
        host.did("exited", restart=exit_.restart)
        if exit_.restart:
            self.scheduler.soon(self._start_after(host, RESTART_SECONDS))

    def _start_after(self, host: Host, seconds: float) -> Steps[None]:
        """What an operating system does at boot, and a supervisor after a failed registration; nothing once the
        machine has gone."""
        yield Sleep(seconds)
        if host.me().state is MachineState.RUNNING:
            self._run_program(host)
