"""Runs every host's loops in virtual time over a few threads, each with a connection of its own."""

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from spotapp.demo.cloud import Cloud
from spotapp.demo.hosts import Host, World
from spotapp.demo.prices import Prices

THREADS: Final = 6
RETRY_SECONDS: Final = 20.0  # a refused agent's supervisor, virtual


class FastClock:
    """Time that runs ``speed`` times as fast as life, from now on."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._real = time.monotonic()
        self._start = datetime.now(UTC)

    def now(self) -> datetime:
        """The virtual instant."""
        return self._start + timedelta(seconds=(time.monotonic() - self._real) * self.speed)


class HttpApi:
    """Keep-alive requests with one client's token; a thread, a connection."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token
        self._local = threading.local()
        self.requests = 0
        self.failures: list[str] = []

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """Status and JSON; 599 when there was no answer."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        content = json.dumps(body).encode() if body is not None else None
        for attempt in (1, 2):  # an idle connection may have been closed under us: once more on a fresh one
            connection = self._connection(fresh=attempt == 2)
            try:
                connection.request(method, path, content, headers)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                continue
            self.requests += 1
            if answer.status >= 500:
                self.failures.append(f"{method} {path} → {answer.status}")
            return answer.status, json.loads(text) if text else {}
        self.failures.append(f"{method} {path} → no answer")
        return 599, {}

    def _connection(self, *, fresh: bool) -> http.client.HTTPConnection:
        known: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if known is None or fresh:
            known = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            self._local.connection = known
        return known


class Fleet:
    """Hosts and their loops. ``run`` blocks until stopped."""

    def __init__(self, api: HttpApi, cloud: Cloud, prices: Prices, clock: FastClock) -> None:
        self.cloud, self.clock = cloud, clock
        self.hosts: list[Host] = []
        self.notices: list[tuple[str, str, float]] = []
        self.world = World(cloud, prices, api, self.add, lambda *facts: self.notices.append(facts))
        self._lock = threading.Lock()
        self._busy: set[int] = set()
        self._retry: dict[int, datetime] = {}
        self._stopping = threading.Event()

    def add(self, host: Host) -> None:
        """A host begins; it registers when its machine runs."""
        with self._lock:
            self.hosts.append(host)

    def stop(self) -> None:
        """End the run after the actions at hand."""
        self._stopping.set()

    def run(self) -> None:
        """Run due actions, one at a time per host, until stopped."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="host") as pool:
            while not self._stopping.wait(0.01):
                now = self.clock.now()
                self.cloud.reclaim(now)
                with self._lock:
                    hosts = list(self.hosts)
                for host in hosts:
                    if host.machine.ended:
                        host.alive = False
                    if host.alive and id(host) not in self._busy and self._is_due(host, now):
                        self._busy.add(id(host))
                        pool.submit(self._step, host, now)

    def _is_due(self, host: Host, now: datetime) -> bool:
        if not host.agent_id:
            return now >= max(host.machine.runs_from, self._retry.get(id(host), now))
        return any(loop.due <= now for loop in host.loops)

    def _step(self, host: Host, now: datetime) -> None:
        try:
            if not host.agent_id:
                if not host.start(now):
                    self._retry[id(host)] = now + timedelta(seconds=RETRY_SECONDS)
                return
            for loop in [one for one in list(host.loops) if one.due <= now]:
                if not host.alive or host.machine.ended:
                    return
                if loop.every:
                    loop.due = max(loop.due + timedelta(seconds=loop.every), now)
                else:
                    host.loops.remove(loop)
                loop.act(now)
        finally:
            self._busy.discard(id(host))
