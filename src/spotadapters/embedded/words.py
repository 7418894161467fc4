"""What a server that did not come up says of it in its log, in the words worth reading, and what to do about it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

TELLING: Final = re.compile(r"\b(?:FATAL|PANIC|DETAIL|HINT):.*")
OF_STARTING: Final = ("the database system is", "onsistent recovery state")  # what it tells whoever asks too early
LAST: Final = 8  # lines
OTHER_MAJOR: Final = "dump it with the spotcore that made it, and restore the dump into a new --data-dir"
BACKUP: Final = "it is damaged: put the data folder back from your backup"
REMEDIES: Final = (
    ("No space left on device", "make room on its disk"),
    ("Permission denied", "mend the owner of the data folder"),
    ("incompatible with server", OTHER_MAJOR),
    ("control file", BACKUP),
    ("checkpoint record", BACKUP),
    ("invalid data in file", BACKUP),
    ("could not open file", BACKUP),
    ("could not open directory", BACKUP),
    ("Cannot allocate memory", "leave it more memory, or use SPOTCORE_DATABASE_URL"),
)


def last_words(log: Path, since: int) -> str:
    """What was written to the log after its first ``since`` bytes: the lines that tell why, else the last of them;
    where all of it is; and the remedy where one is known."""
    try:
        with log.open("rb") as opened:
            opened.seek(since)
            lines = opened.read().decode(errors="replace").splitlines()
    except OSError:
        return "(no log)"
    found = "\n".join(_telling(lines) or lines[-LAST:]) or "(it said nothing)"
    remedy = next((remedy for words, remedy in REMEDIES if words in found), None)
    return f"{found}\nthe log: {log}" + (f"; {remedy}" if remedy else "")


def _telling(lines: Sequence[str]) -> list[str]:
    """Each once: a server that fails for a while repeats itself."""
    found = [match.group() for match in map(TELLING.search, lines) if match]
    return [*dict.fromkeys(line for line in found if not any(words in line for words in OF_STARTING))][-LAST:]
