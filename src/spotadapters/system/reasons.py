"""Why something failed, in the few words of whoever refused it: for a log or a screen, where traces and values have no
place."""

from typing import Final

LONGEST: Final = 200


def reason(failure: BaseException) -> str:
    """The first line of a failure, shortened; its kind when it says nothing. Later lines of a database's errors
    (DETAIL, CONTEXT) hold rows and statements."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    if not lines:
        return type(failure).__name__
    return lines[0] if len(lines[0]) <= LONGEST else lines[0][: LONGEST - 1] + "…"
