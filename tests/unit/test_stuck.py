"""A bad row is named in the log, and does not fill it (JB-4)."""

import logging

import pytest
from attrs import define

from spotapp.stuck import QUIET_SECONDS, Stuck
from spotcore.ids import AgentId

A, B = AgentId("a"), AgentId("b")


@define
class Moment:
    """Moves only when told."""

    at: float = 100.0

    def __call__(self) -> float:
        return self.at


def test_jb4_each_stuck_agent_is_told_once_in_five_minutes(caplog: pytest.LogCaptureFixture) -> None:
    moment = Moment()
    stuck = Stuck("a job", moment)
    with caplog.at_level(logging.ERROR):
        for seconds, failed in ((1, [A]), (QUIET_SECONDS - 1, [A, B]), (1, [A, B]), (1, [A, B])):
            stuck.tell([(agent_id, "why") for agent_id in failed])
            moment.at += seconds
    rows = [vars(record) for record in caplog.records]
    assert [(row["msg"], row["job"], row["agent_id"], row["reason"]) for row in rows] == [
        ("agent_stuck", "a job", who, "why") for who in (A, B, A, B)
    ]
