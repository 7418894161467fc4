"""Builds, told apart by what agents send."""

import pytest

from spotcore.builds import ABILITIES, Build, Evidence, judge


@pytest.mark.parametrize(
    ("seen", "build"),
    [
        ((Evidence.CLOUD_ACCOUNT,), Build.V5),
        ((Evidence.CLASSIC_CALL,), Build.V4C),
        ((Evidence.MARK_EXECUTED,), Build.V2),
        ((Evidence.NOTICE_ONLY,), Build.V4N),
        ((Evidence.FETCHED_COMMANDS, Evidence.NOTICE_ONLY), Build.UNKNOWN),
        ((Evidence.CLASSIC_CALL, Evidence.NOTICE_ONLY), Build.V4C),
        ((Evidence.NOTICE_ONLY, Evidence.CLASSIC_CALL), Build.V4C),
    ],
)
def test_builds_are_told_apart_by_what_they_send_t22(seen: tuple[Evidence, ...], build: Build) -> None:
    judged: tuple[Build, bool] = (Build.UNKNOWN, False)
    for one in seen:
        judged = judge(*judged, one)
    assert judged[0] is build
    assert ABILITIES[Build.UNKNOWN].can_launch_replica  # an emergency is not dropped on a guess
