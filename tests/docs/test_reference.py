"""The reference pages say what the code does: they are made from it, and nobody forgot to make them again."""

from pathlib import Path

import pytest

from spotadapters.http.errors import STATUS
from spotapp.reference import OURS, PAGES, write
from spotapp.settings import ABOUT, VARIABLES
from spotcore import errors
from spotcore.errors import SpotError

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_the_one_that_the_code_makes(name: str, tmp_path: Path) -> None:
    write(tmp_path)
    assert (FOLDER / name).read_text() == (tmp_path / name).read_text(), "run: make docs"


def test_every_setting_is_explained() -> None:
    assert set(ABOUT) == set(VARIABLES)


def test_every_error_of_the_core_has_a_status_and_a_meaning() -> None:
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, SpotError)]
    assert {kind.code for kind in kinds} | set(OURS) == set(STATUS)
    assert all((kind.__doc__ or "").strip() for kind in kinds)
