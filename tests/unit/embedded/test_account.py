"""Who the servers run as, and whether that user gets through to a folder. No folder is ever opened for it."""

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.embedded import EmbeddedError, account
from spotadapters.embedded.account import Account, can_reach, require_reachable, service_account

ME, MINE = os.geteuid(), os.getegid()
OWN = Account(None, None)
SOMEBODY = Account(ME + 10_000, MINE + 10_000)  # nobody that owns anything here


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def known(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[list[str]]:
    """Only these users exist, until ``useradd`` makes another; the commands that were run."""
    there = set(names)
    ran: list[list[str]] = []

    def look_up(name: str) -> Any:
        if name not in there:
            raise KeyError(name)
        return pwd.struct_passwd((name, "x", 4_000 + len(name), 5_000 + len(name), "", "/", "/bin/false"))

    def run(command: list[str], **_: Any) -> None:
        ran.append(command)
        there.add(command[-1])

    monkeypatch.setattr(pwd, "getpwnam", look_up)
    monkeypatch.setattr(subprocess, "run", run)
    return ran


# ---- which user


def test_everybody_but_root_keeps_their_own_account(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = known(monkeypatch, "spotcore", "nobody")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert service_account() == OWN
    assert ran == []


@pytest.mark.usefixtures("root")
def test_root_hands_the_servers_to_the_system_user(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = known(monkeypatch, "spotcore", "nobody")
    assert service_account() == Account(4_008, 5_008)
    assert ran == []


@pytest.mark.usefixtures("root")
def test_a_system_user_is_made_once_without_home_and_without_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = known(monkeypatch, "nobody")
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/sbin/useradd")
    assert service_account() == Account(4_008, 5_008)
    assert service_account() == Account(4_008, 5_008)
    (command,) = ran
    assert command == ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "spotcore"]


@pytest.mark.usefixtures("root")
def test_who_only_looks_makes_no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = known(monkeypatch, "nobody")
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/sbin/useradd")
    assert service_account(create=False) == Account(4_006, 5_006)
    assert ran == []


@pytest.mark.usefixtures("root")
def test_where_no_user_can_be_made_nobody_has_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = known(monkeypatch, "nobody")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert service_account() == Account(4_006, 5_006)
    assert ran == []


@pytest.mark.usefixtures("root")
def test_without_any_user_it_is_refused_with_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(EmbeddedError) as refused:
        service_account()
    assert "useradd --system spotcore" in str(refused.value)
    assert "run as an ordinary user" in str(refused.value)


# ---- how it is used


def test_a_child_of_ones_own_account_is_started_as_it_is() -> None:
    assert OWN.popen_arguments() == {}


def test_a_child_of_the_system_user_has_no_group_of_roots() -> None:
    assert Account(7, 8).popen_arguments() == {"user": 7, "group": 8, "extra_groups": []}


def test_ones_own_files_stay_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "chown", lambda *words: asked.append(words))
    OWN.own(tmp_path)
    assert asked == []
    Account(7, 8).own(tmp_path)
    assert asked == [(tmp_path, 7, 8)]


@pytest.fixture
def closed_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("closed_umask")
def test_new_folders_for_the_system_user_can_be_passed_under_any_umask(tmp_path: Path) -> None:
    SOMEBODY.make_folder(tmp_path / "a" / "b")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b")]
    assert modes == [0o711, 0o711]  # to pass, not to look into
    OWN.make_folder(tmp_path / "c")
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_there_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o700)
    SOMEBODY.make_folder(tmp_path / "a")
    SOMEBODY.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


# ---- the way to a folder


@pytest.fixture
def way(folder: Path) -> Path:
    """Three folders, one in the other, that everybody may pass."""
    deep = folder / "b" / "c"
    deep.mkdir(parents=True)
    for one in (folder, folder / "b", deep):
        one.chmod(0o755)
    return deep


def test_ones_own_account_is_not_asked(way: Path) -> None:
    way.parent.chmod(0o000)
    assert can_reach(OWN, way / "file")
    way.parent.chmod(0o755)


def test_open_folders_let_anybody_through(way: Path) -> None:
    assert can_reach(SOMEBODY, way / "file")


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_one_closed_folder_above_is_enough(way: Path, closed: int) -> None:
    (way, *way.parents)[closed].chmod(0o700)
    assert not can_reach(SOMEBODY, way / "file")


def test_the_thing_itself_is_not_judged_only_the_way_to_it(way: Path) -> None:
    way.chmod(0o700)
    assert can_reach(SOMEBODY, way)
    assert not can_reach(SOMEBODY, way / "below")


def test_folders_that_do_not_exist_yet_are_no_obstacle(way: Path) -> None:
    assert can_reach(SOMEBODY, way / "not" / "made" / "yet")
    way.chmod(0o700)
    assert not can_reach(SOMEBODY, way / "not" / "made" / "yet")


@pytest.mark.parametrize(
    ("who", "mode", "passes"),
    [
        (Account(ME, MINE), 0o100, True),
        (Account(ME, MINE), 0o611, False),  # the owner's bits decide for the owner, though others may
        (Account(ME + 1, MINE), 0o010, True),
        (Account(ME + 1, MINE), 0o701, False),  # the group's bits decide for the group
        (Account(ME + 1, MINE + 1), 0o001, True),
        (Account(ME + 1, MINE + 1), 0o770, False),
    ],
)
def test_owner_group_and_others_are_judged_by_their_own_bits(way: Path, who: Account, mode: int, passes: bool) -> None:
    way.chmod(mode)
    for above in (way.parent, way.parent.parent):
        above.chmod(0o755)
    assert can_reach(who, way / "file") is passes
    way.chmod(0o755)


@given(mode=st.integers(0, 0o777), shift=st.sampled_from([0, 3, 6]))
def test_any_mode_is_judged_as_the_system_judges_it(mode: int, shift: int) -> None:
    who = {0: Account(ME + 1, MINE + 1), 3: Account(ME + 1, MINE), 6: Account(ME, MINE)}[shift]
    facts = os.stat_result((stat.S_IFDIR | mode, 1, 1, 1, ME, MINE, 0, 0, 0, 0))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "stat", lambda *_, **__: facts)
        assert can_reach(who, Path("/a/b")) is bool(mode & (1 << shift))


def test_a_link_is_followed_to_where_it_leads(way: Path) -> None:
    closed = way / "closed"
    closed.mkdir(mode=0o700)
    link = way / "link"
    link.symlink_to(closed)
    assert not can_reach(SOMEBODY, link / "file")


def test_a_closed_folder_is_refused_and_stays_closed(way: Path) -> None:
    way.parent.chmod(0o700)
    with pytest.raises(EmbeddedError) as refused:
        require_reachable(SOMEBODY, way / "file")
    assert f"cannot reach {way / 'file'}" in str(refused.value)
    assert "--data-dir /var/lib/spotcore" in str(refused.value)
    assert way.parent.stat().st_mode & 0o777 == 0o700
    require_reachable(OWN, way / "file")


def test_the_users_names_are_those_of_the_documentation() -> None:
    assert (account.SYSTEM_USER, account.FALLBACK_USER) == ("spotcore", "nobody")
