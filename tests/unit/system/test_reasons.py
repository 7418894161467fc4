"""A failure in one line: without a trace, without rows, never endless."""

import pytest

from spotadapters.system.reasons import LONGEST, reason


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('could not extend file "base/1": No space left on device\nHINT:  Check free disk space.', 'could not extend file "base/1": No space left on device'),
        ("\n  refused \nDETAIL:  Key (email)=(a@example.com)", "refused"), ("", "ValueError"), (" \n", "ValueError"),
        ("x" * LONGEST, "x" * LONGEST), ("x" * (LONGEST + 1), "x" * (LONGEST - 1) + "…"),
    ],
)  # fmt: skip
def test_a_reason_is_the_first_line_that_says_something(text: str, shown: str) -> None:
    assert reason(ValueError(text)) == shown
