"""Agents that go on calling while something is broken under them, and a record of what they were told is done."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from typing import Any

from attrs import define, field

from tests.support.up import TOKEN

MOST = 6_000  # calls of a load, however fast the machine
LONGEST = 60.0  # seconds of a load, however slow
BETWEEN = 0.01  # seconds a caller rests
SETTINGS = 10  # changes of settings by each caller: people may make 60 a minute (S24)
TRIES, TRY_SECONDS = 60, 0.3
PATIENCE = 20.0  # seconds a call may take before it counts as hung
TYPE, ZONE = "m5.large", "us-east-1a"


@define
class Answer:
    status: int
    body: Any
    seconds: float


def call(port: int, method: str, path: str, body: Any = None, token: str = TOKEN, patience: float = PATIENCE) -> Answer:
    """One call on a connection of its own. Raises ``OSError`` or ``HTTPException`` when there is no answer."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    return Answer(answer.status, json.loads(content), time.monotonic() - begun)


@define
class Balancer:
    """Gives each call to the next server; only a refused connection goes on to another one, as with any balancer."""

    ports: list[int]
    turn: "count[int]" = field(factory=count)

    def call(self, method: str, path: str, body: Any = None, token: str = TOKEN) -> Answer:
        refused: OSError | None = None
        for _ in range(len(self.ports) + 1):
            ports = list(self.ports)
            try:
                return call(ports[next(self.turn) % len(ports)], method, path, body, token)
            except ConnectionRefusedError as failure:
                refused = failure
        raise refused or OSError("no server")


@define
class Acknowledged:
    """What callers were told is done: it has to be in the database whatever happened."""

    machines: dict[str, str] = field(factory=dict)  # by agent: the machine it registered with
    heard: dict[str, datetime] = field(factory=dict)  # by agent: its latest heartbeat
    versions: dict[str, int] = field(factory=dict)  # by agent: its latest settings
    prices: Counter[str] = field(factory=Counter)  # by agent: prices stored
    successors: dict[str, str] = field(factory=dict)  # by agent: the machine that took over


def registration(number: int) -> dict[str, Any]:
    return {
        "instance_id": f"i-{number:017x}", "logical_agent_id": f"load-{number}", "instance_type": TYPE,
        "region": "us-east-1", "az": ZONE, "mode": "spot", "ami_id": "ami-1", "agent_version": "4.0.0",
    }  # fmt: skip


@define
class Load:
    """``callers`` threads, each with an agent of its own: heartbeats, prices, settings, registrations. It ends when
    told, and by itself after ``MOST`` calls or ``LONGEST`` seconds."""

    balancer: Balancer
    token: str
    callers: int = 4
    first: int = 1
    between: float = BETWEEN
    done: Acknowledged = field(factory=Acknowledged)
    statuses: Counter[int] = field(factory=Counter)
    lost: list[str] = field(factory=list)  # calls without an answer
    refused: list[str] = field(factory=list)  # answers other than 2xx
    slowest: float = 0.0
    _lock: threading.Lock = field(factory=threading.Lock)
    _stopping: threading.Event = field(factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator["Load"]:
        end = time.monotonic() + LONGEST
        threads = [threading.Thread(target=self._call, args=(one, end)) for one in range(self.callers)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join(PATIENCE * 2)
        assert not any(thread.is_alive() for thread in threads), "a call hangs"

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """A call beside the load."""
        return self.balancer.call(method, path, body, self.token)

    def insist(self, path: str, body: Any) -> Answer:
        """As agents do with a notice: sent again until it is answered."""
        for _ in range(TRIES):
            try:
                answer = self.ask("POST", path, body)
                if answer.status == 200:
                    return answer
                assert answer.status == 503, answer
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(TRY_SECONDS)
        raise AssertionError(f"never answered: {path}")

    @property
    def calls(self) -> int:
        return sum(self.statuses.values()) + len(self.lost)

    @property
    def good(self) -> int:
        return sum(number for status, number in self.statuses.items() if 200 <= status < 300)

    def _call(self, place: int, end: float) -> None:
        numbers = count(self.first + place, self.callers)
        own = ""
        for turn in count():
            if self._stopping.wait(self.between) or time.monotonic() > end or self.calls > MOST:
                return
            step = turn % 8
            if not own or step == 0:
                own = self._register(next(numbers)) or own
            elif step in (3, 7):
                self._price(own, turn)
            elif step == 5 and turn < 8 * SETTINGS:
                self._configure(own, turn)
            else:
                self._beat(own)

    def _ask(self, method: str, path: str, body: Any) -> Any:
        """The answer's body, None when there was none that says yes."""
        try:
            answer = self.balancer.call(method, path, body, self.token)
        except (OSError, http.client.HTTPException, ValueError) as failure:
            with self._lock:
                self.lost.append(f"{method} {path}: {failure!r}")
            return None
        with self._lock:
            self.statuses[answer.status] += 1
            self.slowest = max(self.slowest, answer.seconds)
            if not 200 <= answer.status < 300:
                self.refused.append(f"{method} {path}: {answer.status} {answer.body}")
                return None
        return answer.body

    def _register(self, number: int) -> str | None:
        body = registration(number)
        answer = self._ask("POST", "/api/agents/register", body)
        if answer is not None:
            self.done.machines[answer["agent_id"]] = body["instance_id"]
        return answer and answer["agent_id"]

    def _beat(self, agent: str) -> None:
        body = {"status": "online", "instance_id": self.done.machines[agent]}
        answer = self._ask("POST", f"/api/agents/{agent}/heartbeat", body)
        if answer is not None and answer["acknowledged"]:
            self.done.heard[agent] = datetime.fromisoformat(answer["server_time"])

    def _price(self, agent: str, turn: int) -> None:
        machine = {"instance_id": self.done.machines[agent], "instance_type": TYPE, "region": "us-east-1", "az": ZONE,
                   "mode": "spot", "pool_id": f"{TYPE}.{ZONE}"}  # fmt: skip
        prices = [{"pool_id": f"{TYPE}.{ZONE}", "instance_type": TYPE, "az": ZONE, "price": 0.01 + turn / 1_000_000}]
        pricing = {"on_demand_price": 0.096, "spot_pools": prices, "collected_at": None}
        answer = self._ask("POST", f"/api/agents/{agent}/pricing-report", {"instance": machine, "pricing": pricing})
        if answer is not None:
            self.done.prices[agent] += answer["data"]["records_inserted"]

    def _configure(self, agent: str, turn: int) -> None:
        body = {"terminateWaitSeconds": 60 + turn % 1_000}
        answer = self._ask("POST", f"/api/client/agents/{agent}/config", body)
        if answer is not None:
            self.done.versions[agent] = answer["data"]["config_version"]


def with_replica(ask: Callable[..., Answer], number: int) -> tuple[str, str]:
    """Registers an agent and makes it a replica that is ready: its id and its machine. ``ask`` carries its token."""
    agent = ask("POST", "/api/agents/register", registration(number)).body["agent_id"]
    ask("POST", f"/api/client/agents/{agent}/config", {"manualReplicaEnabled": True})
    (entry,) = ask("GET", f"/api/agents/{agent}/replicas?status=launching").body["replicas"]
    path = f"/api/agents/{agent}/replicas/{entry['id']}"
    ask("PUT", path, {"instance_id": standby_of(number), "status": "syncing"})
    assert ask("POST", f"{path}/status", {"status": "ready"}).status == 200
    return agent, f"i-{number:017x}"


def standby_of(number: int) -> str:
    """The machine of that agent's replica."""
    return f"i-{number + 0x10000:017x}"


def notices(
    fleet: Sequence[tuple[str, str]], send: Callable[[str, Mapping[str, Any]], Answer], done: Acknowledged
) -> None:
    """Every agent's notice sent at once, and once more; what each was told goes into ``done``."""
    gate = threading.Barrier(len(fleet))
    answers: list[list[Answer]] = [[] for _ in fleet]

    def notify(place: int) -> None:
        agent, machine = fleet[place]
        gate.wait(30)
        body = {"instance_id": machine, "termination_time": None}
        answers[place] = [send(f"/api/agents/{agent}/termination-imminent", body) for _ in range(2)]

    threads = [threading.Thread(target=notify, args=(place,)) for place in range(len(fleet))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 3)
    assert not any(thread.is_alive() for thread in threads), "a notice hangs"
    for (agent, _), told in zip(fleet, answers, strict=True):
        (done.successors[agent],) = {answer.body["new_instance_id"] for answer in told}
