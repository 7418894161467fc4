"""Real servers for the tests that need them: started once a session, a fresh database for each test that asks."""

import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Final

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings

from spotadapters.embedded import EmbeddedStack
from tests.support.databases import Spoilt, WarmDatabase
from tests.support.prepared import TEMPLATE, Preparation, add_template, lay_out
from tests.support.server import Site, a_site, site_on

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=40, suppress_health_check=SLOW)
settings.register_profile("dev", deadline=None, max_examples=30, suppress_health_check=SLOW)
settings.register_profile(
    "hunt",
    deadline=None,
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "400")),
    suppress_health_check=SLOW,
    phases=[Phase.generate],
)
settings.register_profile("long", deadline=None, max_examples=2_000, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_numbers = count(1)

SECONDS: Final[Mapping[str, float]] = {
    "tests/e2e/test_demo": 90, "tests/integration/test_benchmarks": 70, "tests/e2e/test_unmodified": 30,
    "tests/faults/": 30, "tests/docs/test_readme": 11, "tests/e2e/": 8, "tests/property/": 6, "tests/integration/": 6,
    "tests/contract/": 4, "": 0.5,
}  # fmt: skip
"""What a file takes, roughly, by how its name begins; the first that fits counts."""

WAITING: Final = ("tests/faults/", "tests/integration/test_benchmarks", "tests/e2e/")
"""Files whose tests wait for other processes most of the time."""

WAITING_TO_BUSY: Final = 1.0  # of the time in files that wait and in others: more than there is, so that they end first


def pytest_xdist_auto_num_workers() -> int:
    """Two for each processor: tests of faults and whole servers wait most of the time."""
    return 2 * (os.cpu_count() or 1)


_preparation: list[Preparation] = []


def pytest_configure(config: pytest.Config) -> None:
    """Where workers are to come, what each of them would have to make is made once."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        _preparation.append(Preparation.begin(_fastest_folder()))


def pytest_unconfigure() -> None:
    for one in _preparation:
        one.end()


def pytest_runtest_teardown() -> None:
    """A command that ran in this process has set up logging for itself."""
    logging.getLogger().setLevel(logging.WARNING)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Workers that will all read every test file read a share of their own first: pytest keeps what it makes of a file,
    and in a fresh clone the others find it instead of making it again."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers == 1 or collector.path != HERE or collector.config.args != ["tests"]:
        return
    mine = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    for file in sorted(HERE.rglob("test_*.py"))[mine::workers]:
        import_module(".".join(file.relative_to(HERE.parent).with_suffix("").parts))


gc.disable()  # what is collected stays, and the collector would look through it again and again


def pytest_collection_finish() -> None:
    """From here on there is garbage."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 20, 100)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that wait and files that keep a processor busy by turns, so that workers do some of both at any time; of
    either kind what takes long first, so that no worker is left alone with it in the end."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    waiting, busy = ([*sorted(names, key=_seconds)] for names in _parted(files))
    in_order: list[str] = []
    owed = 0.0  # seconds that those that wait are short of their share
    while waiting or busy:
        name = waiting.pop() if waiting and (owed >= 0 or not busy) else busy.pop()
        owed += -_seconds(name) if name.startswith(WAITING) else _seconds(name) * WAITING_TO_BUSY
        in_order.append(name)
    items[:] = [item for name in in_order for item in files[name]]


def _parted(names: Iterable[str]) -> tuple[list[str], list[str]]:
    some: list[str] = []
    others: list[str] = []
    for name in names:
        (some if name.startswith(WAITING) else others).append(name)
    return some, others


def _seconds(name: str) -> float:
    return next(seconds for start, seconds in SECONDS.items() if name.startswith(start))


HERE: Final = Path(__file__).parent
MEMORY = Path("/dev/shm")
ROOM = 2 << 30  # bytes; a session's databases take a tenth of it


def _fastest_folder() -> str | None:
    """Where the databases of a session lie: in memory if there is room, since a fresh one is copied for each test."""
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY).free > ROOM
    return str(MEMORY) if roomy else None


@pytest.fixture(scope="session")
def servers() -> Iterator[EmbeddedStack]:
    """PostgreSQL and Valkey, without waiting for disks."""
    prefix = "spotcore-test-"
    with (
        tempfile.TemporaryDirectory(prefix=prefix, dir=_fastest_folder(), ignore_cleanup_errors=True) as folder,
        _opened(Path(folder)) as stack,
    ):
        yield stack


def _opened(folder: Path) -> EmbeddedStack:
    folder.chmod(0o755)  # ours alone; the servers' user must pass through
    lay_out(folder / "data")
    return EmbeddedStack(folder / "data", on_event=lambda _: None, durable=False)


@pytest.fixture(scope="session")
def template_url(servers: EmbeddedStack) -> str:
    """A migrated database to copy from."""
    add_template(servers)
    return servers.database_url.rpartition("/")[0] + f"/{TEMPLATE}"


@pytest.fixture(scope="module")
def module_site(servers: EmbeddedStack, template_url: str) -> Iterator[Site]:  # noqa: ARG001
    """See ``shared_site``."""
    with _fresh(servers, "test", template=TEMPLATE) as url, site_on(url) as opened:
        yield opened


@pytest.fixture
def shared_site(module_site: Site) -> Site:
    """One application for all tests of a module that bring their own clients and look at nothing else."""
    module_site.counted.reset()  # what one test used up of a rate limit is no other's
    return module_site


@pytest.fixture(scope="session")
def warm_databases(servers: EmbeddedStack, template_url: str) -> Iterator[list[WarmDatabase]]:  # noqa: ARG001
    """The one that the next test gets; none before the first test and after one that spoilt it."""
    kept: list[WarmDatabase] = []
    yield kept
    for one in kept:
        one.close()


@pytest.fixture
def warm_database(servers: EmbeddedStack, warm_databases: list[WarmDatabase]) -> Iterator[WarmDatabase]:
    """A migrated database as good as new, with open connections."""
    if not warm_databases:
        name = f"warm_{next(_numbers)}"
        warm_databases.append(WarmDatabase.opened(_create(servers, name, TEMPLATE)))
    one = warm_databases[0]
    yield one
    try:
        one.renew()
    except Spoilt:
        warm_databases.remove(one)
        one.close()
        _drop(servers, one.url)


@pytest.fixture
def database_url(warm_database: WarmDatabase) -> str:
    """A migrated database as good as new."""
    return warm_database.url


@pytest.fixture(scope="module")
def module_database_url(servers: EmbeddedStack, template_url: str) -> Iterator[str]:  # noqa: ARG001
    """A migrated database for all tests of a module that bring their own clients and look at nothing else."""
    with _fresh(servers, "test", template=TEMPLATE) as url:
        yield url


@pytest.fixture
def empty_database_url(servers: EmbeddedStack) -> Iterator[str]:
    """A fresh database without tables."""
    with _fresh(servers, "empty", template="template1") as url:
        yield url


@contextmanager
def _fresh(servers: EmbeddedStack, kind: str, template: str) -> Iterator[str]:
    """A database of its own, gone afterwards: thousands of them left behind cost minutes to write and to remove."""
    url = _create(servers, f"{kind}_{next(_numbers)}", template)
    yield url
    _drop(servers, url)


def _drop(servers: EmbeddedStack, url: str) -> None:
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"drop database if exists {url.rpartition('/')[2]} with (force)")


def _create(servers: EmbeddedStack, name: str, template: str = "template1") -> str:
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        # copied as files: half the time of copying through the log
        connection.execute(f"create database {name} template {template} strategy file_copy")
    return servers.database_url.rpartition("/")[0] + f"/{name}"


@pytest.fixture
def redis_url(servers: EmbeddedStack) -> str:
    """The session's Valkey; take a namespace of your own."""
    return servers.redis_url


@pytest.fixture
def site(warm_database: WarmDatabase) -> Iterator[Site]:
    """The whole application on a database as good as new."""
    with a_site(warm_database.connections) as opened:
        yield opened


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the servers' user can reach; pytest's own is closed to others. In memory it outlives what the tests
    of faults end: processes, not machines."""
    with _reachable_folder() as found:
        yield found


@pytest.fixture(scope="module")
def module_folder() -> Iterator[Path]:
    """``folder`` for servers that several tests of a module share."""
    with _reachable_folder() as found:
        yield found


@contextmanager
def _reachable_folder() -> Iterator[Path]:
    prefix = "spotcore-fault-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=_fastest_folder(), ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name) / "data"
