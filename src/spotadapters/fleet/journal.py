"""What every simulated host sent, was answered and did, and what must never have happened."""

import threading
from collections import Counter, deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import evolve, field, frozen

from spotcore.builds import Build

PROMOTED: Final = "replica_promoted"
REPLICA: Final = "replicas/"  # a PUT there names the machine of a replica


@frozen(kw_only=True)
class Exchange:
    """One request with its answer; ``status`` 0 means that none came."""

    at: datetime  # when it was sent
    answered_at: datetime
    instance_id: str
    build: Build
    method: str
    path: str
    body: Mapping[str, Any] | None
    headers: Mapping[str, str]
    status: int
    answer: Any

    @property
    def agent_id(self) -> str | None:
        """The id in the path."""
        parts = self.path.partition("/api/agents/")[2].split("/")
        return parts[0] if len(parts) > 1 else None

    @property
    def name(self) -> str:
        """The path after the agent's id without query: ``heartbeat``, ``commands/pending``, ``register``."""
        rest = self.path.partition("/api/agents/")[2].partition("?")[0]
        return rest.partition("/")[2] or rest


@frozen(kw_only=True)
class Deed:
    """Something an agent did or noticed, in one word, with its facts."""

    at: datetime
    instance_id: str
    what: str
    facts: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class Violation:
    """Something that must never happen to a fleet. ``rule`` is the number of the rule that forbids it."""

    at: datetime
    rule: str
    instance_id: str
    text: str


@frozen(kw_only=True)
class Interruption:
    """A notice to a machine that served an agent, and what came of it. ``replaced_by`` None: still unserved."""

    instance_id: str
    agent_id: str
    noticed_at: datetime
    deadline_at: datetime
    replaced_by: str | None = None
    replaced_at: datetime | None = None


@frozen(kw_only=True)
class _Turn:
    """From when on a machine serves: known since ``known_at``, from an answer to a question of ``asked_at``."""

    asked_at: datetime
    known_at: datetime
    machine: str


class Journal:
    """Keeps the last ``keep`` exchanges and deeds, and all violations. Safe for several threads."""

    def __init__(self, *, keep: int = 200_000) -> None:
        self._lock = threading.RLock()
        self._exchanges: deque[Exchange] = deque(maxlen=keep)
        self._deeds: deque[Deed] = deque(maxlen=keep)
        self._violations: list[Violation] = []
        self._launches: dict[tuple[str, str], list[Deed]] = {}  # by agent and order
        self._told: dict[tuple[str, str], datetime] = {}  # when the server had heard of an order's machine
        self._serving: dict[str, list[_Turn]] = {}
        self._notices: list[tuple[Interruption, int]] = []  # with the number of turns before it
        self._waived: set[str] = set()
        self.answers: Counter[int] = Counter()  # by status, over the whole run

    # ---- reading

    def exchanges(self, name: str | None = None, *, instance_id: str | None = None) -> list[Exchange]:
        """The kept exchanges in the order they were answered, perhaps of one endpoint or host only."""
        with self._lock:
            return [
                one
                for one in self._exchanges
                if (name is None or one.name == name) and (instance_id is None or one.instance_id == instance_id)
            ]

    def deeds(self, what: str | None = None, *, instance_id: str | None = None) -> list[Deed]:
        """The kept deeds, perhaps of one kind or host only."""
        with self._lock:
            return [
                one
                for one in self._deeds
                if (what is None or one.what == what) and (instance_id is None or one.instance_id == instance_id)
            ]

    def violations(self) -> list[Violation]:
        """Everything that must never happen and did."""
        with self._lock:
            return list(self._violations)

    def serving(self) -> dict[str, str]:
        """The machine that serves each agent, as far as the server's answers have told its hosts."""
        with self._lock:
            return {agent_id: turns[-1].machine for agent_id, turns in self._serving.items()}

    def interruptions(self) -> list[Interruption]:
        """Every termination notice to a serving machine, with its replacement."""
        with self._lock:
            return [self._outcome(story, self._serving[story.agent_id][turns:]) for story, turns in self._notices]

    # ---- writing

    def exchanged(self, exchange: Exchange) -> None:
        """Keep an exchange and learn from it who serves."""
        with self._lock:
            self._exchanges.append(exchange)
            self.answers[exchange.status] += 1
            if 200 <= exchange.status < 300 and isinstance(exchange.answer, dict):
                self._learn(exchange, exchange.answer)

    def did(self, deed: Deed) -> None:
        """Keep a deed."""
        with self._lock:
            self._deeds.append(deed)

    def launched(self, deed: Deed, *, agent_id: str, order: str, asked_at: datetime | None = None) -> None:
        """A machine launched for an order of the server, which the host asked for ``asked_at``. The second one for the
        same order is a violation, unless another host launched the first and the server had not heard of that: two
        hosts of an agent that read its list at once both launch, and the server ends the machine that is too many."""
        with self._lock:
            self.did(deed)
            told_at = self._told.get((agent_id, order))
            made = self._launches.setdefault((agent_id, order), [])
            made.append(deed)
            is_too_early = asked_at is not None and (told_at is None or asked_at < told_at)
            if len(made) > 1 and not (is_too_early and made[0].instance_id != deed.instance_id):
                self._violate(deed, "T08", f"{len(made)} machines launched for {order}")

    def ended_by_order(self, deed: Deed, machine: str, *, alive: bool) -> None:
        """A machine ended because the server said so; ending the one that serves, while it lives, is a violation."""
        with self._lock:
            self.did(deed)
            if alive and machine in self.serving().values() and machine not in self._waived:
                self._violate(deed, "I2", f"the server ordered the serving machine {machine} ended")

    def wronged(self, deed: Deed, rule: str) -> None:
        """An answer that a deployed agent cannot live with."""
        with self._lock:
            self.did(deed)
            self._violate(deed, rule, f"{deed.what}: {dict(deed.facts)}")

    def promoted(self, agent_id: str, machine: str, at: datetime) -> None:
        """The server told a host that ``machine`` serves now."""
        with self._lock:
            self._serves(agent_id, machine, at, at)

    def noticed(self, instance_id: str, noticed_at: datetime, deadline_at: datetime) -> None:
        """The cloud announced that a machine will go."""
        with self._lock:
            for agent_id, turns in self._serving.items():
                if turns[-1].machine == instance_id:
                    story = Interruption(
                        instance_id=instance_id, agent_id=agent_id, noticed_at=noticed_at, deadline_at=deadline_at
                    )
                    self._notices.append((story, len(turns)))

    def waive(self, instance_id: str) -> None:
        """Ending this machine is wanted, even while it serves (its agent is being deleted)."""
        with self._lock:
            self._waived.add(instance_id)

    # ---- inside, lock held

    def _violate(self, deed: Deed, rule: str, text: str) -> None:
        self._violations.append(Violation(at=deed.at, rule=rule, instance_id=deed.instance_id, text=text))

    def _learn(self, exchange: Exchange, answer: Mapping[str, Any]) -> None:
        body = exchange.body or {}
        if exchange.method == "PUT" and exchange.name.startswith(REPLICA):
            order = f"replica {exchange.name.removeprefix(REPLICA)}"
            self._told.setdefault((str(exchange.agent_id), order), exchange.answered_at)
        if exchange.name == "register":
            agent_id, machine = answer.get("agent_id"), body.get("instance_id")
        else:
            agent_id, machine = exchange.agent_id, _named_machine(body)
        if not isinstance(agent_id, str):
            return
        serving: object = None
        if exchange.name in ("register", "heartbeat"):
            serving = machine if answer.get("role") == "primary" else None
        elif exchange.name == "switch-report":
            serving = body["new_instance"]["instance_id"]
        elif answer.get("action") == PROMOTED:
            serving = answer.get("new_instance_id")
        if isinstance(serving, str):
            self._serves(agent_id, serving, exchange.at, exchange.answered_at)

    def _serves(self, agent_id: str, machine: str, asked_at: datetime, known_at: datetime) -> None:
        turns = self._serving.setdefault(agent_id, [])
        if turns and (turns[-1].machine == machine or asked_at < turns[-1].known_at):
            return  # no news, or the answer to a question asked before the last change
        turns.append(_Turn(asked_at=asked_at, known_at=known_at, machine=machine))

    @staticmethod
    def _outcome(story: Interruption, later: list[_Turn]) -> Interruption:
        return evolve(story, replaced_by=later[0].machine, replaced_at=later[0].known_at) if later else story


def _named_machine(body: Mapping[str, Any]) -> object:
    """The machine a heartbeat names (Z23)."""
    monitored = body.get("monitored_instances")
    if body.get("instance_id") is not None:
        return body["instance_id"]
    return monitored[0] if isinstance(monitored, list) and len(monitored) == 1 else None
