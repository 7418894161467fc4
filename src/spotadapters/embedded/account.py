"""Who the servers run as. PostgreSQL refuses root, so root hands them to a system user; everybody else keeps their own.

No folder's permissions are ever loosened for that: a data folder the system user cannot reach is refused, with a hint.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from attrs import frozen

from spotadapters.embedded.errors import EmbeddedError

SYSTEM_USER = "spotcore"
FALLBACK_USER = "nobody"


@frozen
class Account:
    """A user the servers run as; ``uid`` None means the caller's own."""

    uid: int | None
    gid: int | None

    def own(self, path: Path) -> None:
        """Hand a file or folder to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def make_folder(self, path: Path) -> None:
        """Make a folder, with those above it, that the account can pass also where root's umask closes new ones.
        What is there already stays as it is."""
        missing = [one for one in (path, *path.parents) if not one.exists()]
        path.mkdir(parents=True, exist_ok=True)
        if self.uid is not None:
            for one in missing:
                one.chmod(one.stat().st_mode | 0o011)

    def popen_arguments(self) -> dict[str, object]:
        """How ``subprocess`` starts a child under the account."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def service_account(*, create: bool = True) -> Account:
    """The caller's own account, or for root a system user, created when the system has the means and ``create`` is
    not false."""
    if os.geteuid() != 0:
        return Account(None, None)
    entry = _lookup(SYSTEM_USER)
    if entry is None and create and shutil.which("useradd"):
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
            check=False, capture_output=True, timeout=30,
        )  # fmt: skip
        entry = _lookup(SYSTEM_USER)
    entry = entry or _lookup(FALLBACK_USER)
    if entry is None:
        raise EmbeddedError(
            f"PostgreSQL does not run as root and this system has neither the user {SYSTEM_USER} nor {FALLBACK_USER}; "
            f"create one (useradd --system {SYSTEM_USER}) or run as an ordinary user"
        )
    return Account(entry.pw_uid, entry.pw_gid)


def _lookup(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def obstacle(path: Path) -> Path | None:
    """What stands where ``path`` or a folder above it should be; None when nothing does."""
    return next((one for one in (path, *path.absolute().parents) if one.exists() and not one.is_dir()), None)


def can_reach(account: Account, path: Path) -> bool:
    """True when every folder above ``path`` lets the account through."""
    if account.uid is None:
        return True
    for folder in path.resolve().parents:
        if not folder.exists():
            continue
        facts = folder.stat()
        if facts.st_uid == account.uid:
            allowed = facts.st_mode & 0o100
        elif facts.st_gid == account.gid:
            allowed = facts.st_mode & 0o010
        else:
            allowed = facts.st_mode & 0o001
        if not allowed:
            return False
    return True


def require_reachable(account: Account, path: Path) -> None:
    """Raises ``EmbeddedError`` for a data folder that is none, or that the servers cannot reach, as one under /root."""
    file = obstacle(path)
    if file is not None:
        raise EmbeddedError(f"{file} is not a folder; use another --data-dir")
    if not can_reach(account, path):
        raise EmbeddedError(
            f"the servers cannot reach {path}: root runs them as a system user, and a folder above it is closed to "
            f"others; use --data-dir /var/lib/spotcore (its folders need no loosening)"
        )
