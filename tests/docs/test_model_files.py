"""The examples of the page about model files are files that are accepted."""

import json
import re
from pathlib import Path

from spotcore.engines.parameters import parameters_of, self_test
from spotcore.manifest import ARCHITECTURES, FEATURES, OUTPUTS, manifest_of

PAGE = (Path(__file__).parents[2] / "docs" / "model-files.md").read_text()
MODEL, ENGINE = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_manifest_is_accepted_and_gives_the_tensors_the_page_describes() -> None:
    assert manifest_of(json.loads(MODEL)).shapes == {
        "layers.0.weight": (32, 3),
        "layers.0.bias": (32,),
        "layers.1.weight": (16, 32),
        "layers.1.bias": (16,),
        "layers.2.weight": (1, 16),
        "layers.2.bias": (1,),
    }


def test_the_parameters_are_accepted() -> None:
    self_test(parameters_of(ENGINE.encode()))


def test_every_name_that_may_stand_in_a_manifest_is_on_the_page() -> None:
    assert all(f"`{name}`" in PAGE for name in (*ARCHITECTURES, *FEATURES, *OUTPUTS))
