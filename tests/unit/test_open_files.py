"""Sockets of thousands of waiting agents: a server takes as many as the system allows."""

import resource

from spotapp.web import ENOUGH_FILES, raise_open_files


def test_a_server_raises_its_soft_limit_of_open_files_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = ENOUGH_FILES if hard == resource.RLIM_INFINITY else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed - 1, hard))
        assert raise_open_files() == allowed
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (allowed, hard)
        assert raise_open_files() == allowed  # and leaves it there
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (allowed, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
