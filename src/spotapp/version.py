"""Which spotcore this is."""

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """The installed version, ``0`` from a bare checkout."""
    try:
        return version("spotcore")
    except PackageNotFoundError:
        return "0"
