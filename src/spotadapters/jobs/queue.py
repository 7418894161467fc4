"""Jobs over Redis or Valkey, carried by dramatiq. The queue may be lost at any time: whatever it held is sent again as
long as its slot is neither done nor over (JB-3, JB-6)."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import dramatiq
import redis
from attrs import frozen
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, CurrentMessage, Retries, ShutdownNotifications

from spotadapters.channels.courier import THREADS
from spotadapters.jobs.hushed import hush
from spotadapters.jobs.limits import TimeLimits
from spotadapters.jobs.table import Done, JobTable
from spotadapters.jobs.workers import Workers
from spotcore.errors import NotFound, SpotError

log = logging.getLogger("spotadapters.jobs")

NAMESPACE: Final = "spotcore"
JOBS: Final = "jobs"
DELIVERIES: Final = "deliveries"
TIME_LIMIT_MS: Final = 3_600_000
MAX_AGE_MS: Final = 3_600_000
DELIVERY_LIMIT_MS: Final = 60_000
RETRIES: Final = 3
MIN_BACKOFF_MS: Final = 5_000
MAX_BACKOFF_MS: Final = 300_000
DEAD_KEPT_MS: Final = 7 * 86_400_000
SOCKET_SECONDS: Final = 2.0
SENT_SECONDS: Final = (60, 600)  # how soon a slot may be sent again
MAINTENANCE_CHANCE: Final = 20_000  # of a million commands: messages of a killed worker come back in a minute or two


class JobFailed(dramatiq.errors.Retry):
    """The job's run failed; its trouble is logged and recorded already. dramatiq tries again and has nothing to add."""


@frozen(kw_only=True)
class Dead:
    """A message that was given up."""

    message_id: str
    what: str
    arguments: tuple[str, ...]
    died_at: datetime
    reason: str | None


class JobQueue:
    """A queue on one Redis or Valkey. Opening it waits for nothing."""

    def __init__(
        self, redis_url: str, table: JobTable, deliver: Callable[[str], object], *, namespace: str = NAMESPACE
    ) -> None:
        """``deliver`` tries a delivery, and what else its channel waits for; it keeps its own retries (NT-1)."""
        self._table = table
        self._deliver = deliver
        self._namespace = namespace
        self.client = redis.Redis.from_url(
            redis_url, socket_timeout=SOCKET_SECONDS, socket_connect_timeout=SOCKET_SECONDS
        )
        jobs, deliveries = self._broker(TIME_LIMIT_MS), self._broker(DELIVERY_LIMIT_MS)
        self._job = dramatiq.actor(actor_name="job", queue_name=JOBS, broker=jobs)(self._perform)
        self._delivery = dramatiq.actor(actor_name="delivery", queue_name=DELIVERIES, broker=deliveries, max_retries=0)(
            self._attempt
        )

    def send(self, name: str, slot: datetime) -> None:
        """Hand a slot to a worker; again within minutes is nothing. Raises ``ConnectionError``."""
        seconds = self._table.named(name).schedule.every.total_seconds() / 2
        again = int(min(max(seconds, SENT_SECONDS[0]), SENT_SECONDS[1]))
        with _reached():
            if self._is_first(f"{name}:{slot.isoformat()}", again):
                self._job.send(name, slot.isoformat())

    def send_delivery(self, delivery_id: str) -> None:
        """Hand a due delivery to a worker; again is nothing until one has taken it, or for a minute. Raises
        ``ConnectionError``."""
        with _reached():
            if self._is_first(delivery_id, SENT_SECONDS[0]):
                self._delivery.send(delivery_id)

    def workers(self, threads: int) -> Workers:
        """What works this queue off, not started: that many ``threads`` for jobs, besides those of deliveries."""
        hush((JOBS, DELIVERIES))
        return Workers(
            dramatiq.Worker(self._job.broker, worker_threads=threads),
            dramatiq.Worker(self._delivery.broker, worker_threads=THREADS),
        )

    def dead(self) -> Sequence[Dead]:
        """What was given up within the last week, newest first. Raises ``ConnectionError``."""
        with _reached():
            found = [row for queue in (JOBS, DELIVERIES) for row in self._dead_of(queue)]
        return sorted(found, key=lambda one: one.died_at, reverse=True)

    def replay(self, message_id: str) -> None:
        """Send a dead message once more, now. Raises ``NotFound``, or ``ConnectionError``."""
        with _reached():
            for queue in (JOBS, DELIVERIES):
                for key, data in self._given_up(queue).items():
                    message: dramatiq.Message[Any] = dramatiq.Message.decode(data)
                    if message.message_id != message_id:
                        continue
                    if not self.client.hdel(self._key(queue) + ".msgs", key):
                        continue  # somebody else has just replayed it
                    self.client.zrem(self._key(queue), key)
                    if queue == JOBS:
                        self._job.send(message.args[0], message.args[1], True)
                    else:
                        self._delivery.send(*message.args)
                    return
        raise NotFound(f"no dead message {message_id!r}; see: spotcore jobs dead")

    def close(self) -> None:
        """Let go of the connections."""
        for actor in (self._job, self._delivery):
            actor.broker.close()
        self.client.close()

    def _broker(self, time_limit: int) -> dramatiq.Broker:
        broker: dramatiq.Broker = RedisBroker(  # type: ignore[no-untyped-call]
            client=self.client,
            namespace=self._namespace,
            dead_message_ttl=DEAD_KEPT_MS,
            maintenance_chance=MAINTENANCE_CHANCE,
            middleware=[
                AgeLimit(max_age=MAX_AGE_MS),
                TimeLimits(time_limit=time_limit),
                ShutdownNotifications(),
                CurrentMessage(),
                Retries(max_retries=RETRIES, min_backoff=MIN_BACKOFF_MS, max_backoff=MAX_BACKOFF_MS),
            ],
        )
        return broker

    def _perform(self, name: str, slot_text: str, is_replay: bool = False) -> None:
        job, slot = self._table.named(name), datetime.fromisoformat(slot_text)
        if is_replay:
            if self._table.run(job, job.schedule.slot(self._table.clock.now())) is not None:
                raise JobFailed(name)
            return
        if slot != job.schedule.slot(self._table.clock.now()):
            return  # missed: the slot of now covers it (JB-3)
        message = CurrentMessage.get_current_message()
        assert message is not None
        if self._table.perform(name, slot, by=f"message {message.message_id}") is Done.FAILED:
            raise JobFailed(name)

    def _attempt(self, delivery_id: str) -> None:
        with contextlib.suppress(redis.RedisError):  # then its next attempt is due a minute from now
            self.client.delete(self._mark(delivery_id))
        try:
            self._deliver(delivery_id)
        except SpotError as refusal:  # it stays due, and the courier sends it again
            log.warning("delivery_refused", extra={"code": refusal.code, "reason": refusal.message})

    def _is_first(self, what: str, seconds: int) -> bool:
        """Many schedulers, and one that looks again, send once. A lost mark costs a message with nothing to do."""
        return bool(self.client.set(self._mark(what), 1, nx=True, ex=seconds))

    def _mark(self, what: str) -> str:
        return f"{self._namespace}:sent:{what}"

    def _key(self, queue: str) -> str:
        return f"{self._namespace}:{queue}.XQ"

    def _given_up(self, queue: str) -> dict[bytes, bytes]:
        found: Any = self.client.hgetall(self._key(queue) + ".msgs")
        return dict(found)

    def _dead_of(self, queue: str) -> list[Dead]:
        rows: list[Dead] = []
        for key, data in self._given_up(queue).items():
            message: dramatiq.Message[Any] = dramatiq.Message.decode(data)
            died: Any = self.client.zscore(self._key(queue), key)
            trace = str(message.options.get("traceback") or "").strip().splitlines()
            rows.append(
                Dead(
                    message_id=message.message_id,
                    what=message.actor_name,
                    arguments=tuple(str(one) for one in message.args),
                    died_at=datetime.fromtimestamp((died or message.message_timestamp) / 1000, UTC),
                    reason=trace[-1] if trace else None,
                )
            )
        return rows


@contextmanager
def _reached() -> Iterator[None]:
    """Failures of the queue as ``ConnectionError``: the caller goes on without one."""
    try:
        yield
    except (redis.RedisError, dramatiq.errors.BrokerConnectionError) as failure:
        raise ConnectionError(f"Redis cannot be reached: {type(failure).__name__}") from failure
