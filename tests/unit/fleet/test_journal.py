"""What the journal keeps, what it learns from answers about who serves, and what it calls a violation (I2, T08, Z23)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from spotadapters.fleet import Deed, Exchange, Interruption, Journal, Violation, VirtualClock
from spotcore.builds import Build

T0 = VirtualClock().now()


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def an_exchange(
    path: str = "agent-1/heartbeat",
    body: Mapping[str, Any] | None = None,
    answer: Any = None,
    *,
    asked: float = 0,
    took: float = 0,
    status: int = 200,
    host: str = "i-1",
    method: str = "POST",
) -> Exchange:
    return Exchange(
        at=at(asked), answered_at=at(asked + took), instance_id=host, build=Build.V4C, method=method,
        path=f"/api/agents/{path}", body=body, headers={}, status=status, answer=answer,
    )  # fmt: skip


def a_deed(what: str = "ended", seconds: float = 0, host: str = "i-1", **facts: Any) -> Deed:
    return Deed(at=at(seconds), instance_id=host, what=what, facts=facts)


def serving(*exchanges: Exchange) -> dict[str, str]:
    journal = Journal()
    for one in exchanges:
        journal.exchanged(one)
    return journal.serving()


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "agent_id", "name"),
    [
        ("register", None, "register"),
        ("agent-1/heartbeat", "agent-1", "heartbeat"),
        ("None/shutdown", "None", "shutdown"),
        ("agent-1/commands/pending", "agent-1", "commands/pending"),
        ("agent-1/commands/c-1/executed", "agent-1", "commands/c-1/executed"),
        ("agent-1/replicas?status=launching", "agent-1", "replicas"),
        ("agent-1/replicas/r-1/status", "agent-1", "replicas/r-1/status"),
        ("agent-1/config?x=/a/b", "agent-1", "config"),
    ],
)
def test_an_exchange_knows_its_agent_and_its_endpoint_from_its_path(path: str, agent_id: str | None, name: str) -> None:
    one = an_exchange(path)
    assert (one.agent_id, one.name) == (agent_id, name)


def test_a_base_path_is_no_part_of_the_name() -> None:
    one = Exchange(
        at=T0, answered_at=T0, instance_id="i", build=Build.V5, method="GET", path="/spot/api/agents/a/commands/pending",
        body=None, headers={}, status=200, answer=None,
    )  # fmt: skip
    assert (one.agent_id, one.name) == ("a", "commands/pending")


# --- keeping ----------------------------------------------------------------------------------------------------------


def test_exchanges_and_deeds_are_found_by_name_and_host_in_their_order() -> None:
    journal = Journal()
    for number, host in enumerate(["i-1", "i-2", "i-1"]):
        journal.exchanged(an_exchange(asked=number, host=host))
        journal.exchanged(an_exchange("agent-1/config", asked=number, host=host, method="GET"))
        journal.did(a_deed("launched", number, host))
        journal.did(a_deed("exited", number, host))
    assert [(one.at - T0).seconds for one in journal.exchanges("heartbeat")] == [0, 1, 2]
    assert [(one.at - T0).seconds for one in journal.exchanges(instance_id="i-1")] == [0, 0, 2, 2]
    assert [(one.at - T0).seconds for one in journal.exchanges("config", instance_id="i-2")] == [1]
    assert [(one.at - T0).seconds for one in journal.deeds("launched", instance_id="i-1")] == [0, 2]
    assert (len(journal.exchanges()), len(journal.deeds()), journal.deeds("nothing")) == (6, 6, [])


def test_only_the_last_ones_are_kept_but_every_answer_is_counted_and_every_violation_kept() -> None:
    journal = Journal(keep=3)
    for number in range(10):
        journal.exchanged(an_exchange(asked=number, status=200 if number % 2 else 503))
        journal.wronged(a_deed("silenced", number), "T03")
    assert [(one.at - T0).seconds for one in journal.exchanges()] == [7, 8, 9]
    assert len(journal.deeds()) == 3
    assert dict(journal.answers) == {200: 5, 503: 5}
    assert len(journal.violations()) == 10


def test_what_is_handed_out_is_a_copy() -> None:
    journal = Journal()
    journal.wronged(a_deed(), "T03")
    journal.violations().clear()
    journal.deeds().clear()
    assert (len(journal.violations()), len(journal.deeds())) == (1, 1)


# --- who serves -------------------------------------------------------------------------------------------------------

PRIMARY = {"role": "primary"}
LEARNED: dict[str, tuple[Exchange, dict[str, str]]] = {
    "a registration answered primary": (
        an_exchange("register", {"instance_id": "i-1"}, {**PRIMARY, "agent_id": "agent-1"}), {"agent-1": "i-1"},
    ),
    "a registration answered replica": (
        an_exchange("register", {"instance_id": "i-1"}, {"role": "replica", "agent_id": "agent-1"}), {},
    ),
    "a registration without an id": (an_exchange("register", {"instance_id": "i-1"}, PRIMARY), {}),
    "a registration whose id is no text": (
        an_exchange("register", {"instance_id": "i-1"}, {**PRIMARY, "agent_id": 7}), {},
    ),
    "a registration of a host without metadata": (
        an_exchange("register", {"instance_id": None}, {**PRIMARY, "agent_id": "agent-1"}), {},
    ),
    "a heartbeat that names its machine z23": (an_exchange(body={"instance_id": "i-1"}, answer=PRIMARY), {"agent-1": "i-1"}),
    "a heartbeat with one monitored instance z23": (
        an_exchange(body={"monitored_instances": ["i-1"]}, answer=PRIMARY), {"agent-1": "i-1"},
    ),
    "a heartbeat with two": (an_exchange(body={"monitored_instances": ["i-1", "i-2"]}, answer=PRIMARY), {}),
    "a heartbeat with none": (an_exchange(body={"monitored_instances": []}, answer=PRIMARY), {}),
    "a heartbeat that names none": (an_exchange(body={"status": "online"}, answer=PRIMARY), {}),
    "its own name before the list": (
        an_exchange(body={"instance_id": "i-1", "monitored_instances": ["i-2"]}, answer=PRIMARY), {"agent-1": "i-1"},
    ),
    "a heartbeat answered retired": (an_exchange(body={"instance_id": "i-1"}, answer={"role": "retired"}), {}),
    "a heartbeat answered with an error": (an_exchange(body={"instance_id": "i-1"}, answer=PRIMARY, status=409), {}),
    "a heartbeat answered with a list": (an_exchange(body={"instance_id": "i-1"}, answer=[PRIMARY]), {}),
    "a switch report": (
        an_exchange("agent-1/switch-report", {"new_instance": {"instance_id": "i-2"}}, {}), {"agent-1": "i-2"},
    ),
    "a refused switch report": (
        an_exchange("agent-1/switch-report", {"new_instance": {"instance_id": "i-2"}}, {}, status=500), {},
    ),
    "a promotion in answer to a notice": (
        an_exchange("agent-1/termination-imminent", {}, {"action": "replica_promoted", "new_instance_id": "i-3"}),
        {"agent-1": "i-3"},
    ),
    "a promotion that names nobody": (
        an_exchange("agent-1/termination-imminent", {}, {"action": "replica_promoted", "new_instance_id": None}), {},
    ),
    "another action": (
        an_exchange("agent-1/termination-imminent", {}, {"action": "ondemand_switch_queued", "new_instance_id": "i-3"}), {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", LEARNED)
def test_who_serves_is_learned_from_answers_alone(what: str) -> None:
    exchange, wanted = LEARNED[what]
    assert serving(exchange) == wanted


def test_the_last_word_counts_for_each_agent_by_itself() -> None:
    assert serving(
        an_exchange("a/heartbeat", {"instance_id": "i-1"}, PRIMARY, asked=0),
        an_exchange("b/heartbeat", {"instance_id": "i-9"}, PRIMARY, asked=1),
        an_exchange("a/heartbeat", {"instance_id": "i-2"}, PRIMARY, asked=2),
    ) == {"a": "i-2", "b": "i-9"}


@pytest.mark.parametrize(("asked", "wanted"), [(4, "i-2"), (5, "i-1"), (6, "i-1")])
def test_an_answer_to_a_question_asked_before_the_last_change_was_known_is_old_news(asked: float, wanted: str) -> None:
    """The change was asked for at 3 and known at 5; the old primary's heartbeat of 4 is answered at 9."""
    assert serving(
        an_exchange("a/heartbeat", {"instance_id": "i-1"}, PRIMARY, asked=0),
        an_exchange("a/switch-report", {"new_instance": {"instance_id": "i-2"}}, {}, asked=3, took=2),
        an_exchange("a/heartbeat", {"instance_id": "i-1"}, PRIMARY, asked=asked, took=9 - asked),
    ) == {"a": wanted}


def test_a_v5_is_told_who_serves_by_its_promotion() -> None:
    journal = Journal()
    journal.promoted("a", "i-2", at(1))
    assert journal.serving() == {"a": "i-2"}


# --- violations -------------------------------------------------------------------------------------------------------


def test_a_second_machine_for_one_order_is_a_violation_and_so_is_every_further_one_t08() -> None:
    journal = Journal()
    for number in range(3):
        journal.launched(a_deed("launched", number, order="command c-1"), agent_id="a", order="command c-1")
    journal.launched(a_deed("launched", 3), agent_id="a", order="command c-2")
    journal.launched(a_deed("launched", 4), agent_id="b", order="command c-1")
    assert journal.violations() == [
        Violation(at=at(n), rule="T08", instance_id="i-1", text=f"{n + 1} machines launched for command c-1")
        for n in (1, 2)
    ]
    assert len(journal.deeds("launched")) == 5


@pytest.mark.parametrize(
    ("host", "asked", "told", "wrong"),
    [
        ("i-2", 4, 5, False),  # both read the list before the server had heard of a machine
        ("i-2", 5, 5, True),  # the server listed what has a machine (T14)
        ("i-2", 4, None, False),
        ("i-1", 4, 5, True),  # it did this itself
    ],
)
def test_what_two_hosts_read_at_once_both_launch_and_the_server_is_not_to_blame_t08_t14(
    host: str, asked: int, told: int | None, wrong: bool
) -> None:
    journal = Journal()
    journal.launched(a_deed("launched", 2), agent_id="a", order="replica r-1", asked_at=at(1))
    if told is not None:
        body = {"instance_id": "i-9", "status": "syncing"}
        journal.exchanged(an_exchange("a/replicas/r-1", body, {"status": "success"}, asked=told, method="PUT"))
    journal.launched(a_deed("launched", 6, host), agent_id="a", order="replica r-1", asked_at=at(asked))
    assert [one.rule for one in journal.violations()] == ["T08"] * wrong


@pytest.mark.parametrize(
    ("machine", "alive", "waived", "wrong"),
    [
        ("i-1", True, False, True),
        ("i-1", False, False, False),  # AWS had taken it already
        ("i-1", True, True, False),  # its agent is being deleted
        ("i-2", True, False, False),  # it serves nobody
    ],
)
def test_ending_the_machine_that_serves_is_a_violation_while_it_lives_i2(
    machine: str, alive: bool, waived: bool, wrong: bool
) -> None:
    journal = Journal()
    journal.promoted("a", "i-1", T0)
    if waived:
        journal.waive("i-1")
    journal.ended_by_order(a_deed("ended", 5, "i-7", machine=machine), machine, alive=alive)
    text = "the server ordered the serving machine i-1 ended"
    assert journal.violations() == ([Violation(at=at(5), rule="I2", instance_id="i-7", text=text)] if wrong else [])
    assert len(journal.deeds("ended")) == 1


def test_an_answer_a_build_cannot_live_with_is_kept_with_its_facts() -> None:
    journal = Journal()
    journal.wronged(a_deed("silenced", 2, status=500), "T03")
    assert journal.violations() == [
        Violation(at=at(2), rule="T03", instance_id="i-1", text="silenced: {'status': 500}")
    ]


# --- interruptions ----------------------------------------------------------------------------------------------------


def test_the_story_of_an_interruption_ends_with_the_next_machine_that_serves() -> None:
    journal = Journal()
    journal.promoted("a", "i-1", at(0))
    journal.noticed("i-1", at(10), at(130))
    (story,) = journal.interruptions()
    assert story == Interruption(instance_id="i-1", agent_id="a", noticed_at=at(10), deadline_at=at(130))
    journal.promoted("a", "i-1", at(11))  # no news
    assert journal.interruptions() == [story]
    journal.promoted("a", "i-2", at(12))
    journal.promoted("a", "i-3", at(90))
    (ended,) = journal.interruptions()
    assert (ended.replaced_by, ended.replaced_at) == ("i-2", at(12))


def test_each_notice_has_its_own_story() -> None:
    journal = Journal()
    journal.promoted("a", "i-1", at(0))
    journal.noticed("i-1", at(10), at(130))
    journal.promoted("a", "i-2", at(20))
    journal.noticed("i-2", at(30), at(150))
    assert [(one.instance_id, one.replaced_by) for one in journal.interruptions()] == [("i-1", "i-2"), ("i-2", None)]


@pytest.mark.parametrize("machine", ["i-0", "i-2"])
def test_a_notice_to_a_machine_that_does_not_serve_is_no_story(machine: str) -> None:
    """Never known, or replaced already."""
    journal = Journal()
    journal.promoted("a", "i-2", at(0))
    journal.promoted("a", "i-1", at(1))
    journal.noticed(machine, at(10), at(130))
    assert journal.interruptions() == []
