import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import yaml

from fer_ablate.data.ops.registry import FIXED, OPS, draws, read_op

PAGE = (Path(__file__).parents[2] / "docs/ops.md").read_text()
LINES = [line.split("|") for line in PAGE.splitlines() if line.startswith("| `")]
TABLE = {name: cells for cells in LINES for name in re.findall(r"`(\w+)`", cells[1])}


@pytest.mark.parametrize("name", OPS)
def test_the_page_of_ops_lists_all_arguments(name):
    documented = {}
    for given in re.findall(r"`(.*?)`", TABLE[name][2]):
        argument, _, default = given.partition(": ")
        documented[argument] = yaml.safe_load(default) if default else MISSING
    real = {argument.name: argument.default for argument in fields(OPS[name])}
    assert documented == {name: list(default) if isinstance(default, tuple) else default for name, default in real.items()}
    assert ("*" in TABLE[name][1]) == (name in FIXED)


@pytest.mark.parametrize(
    ("step", "random"),
    [
        ({"op": "equalize"}, False),
        ({"op": "equalize", "p": 0.5}, True),
        ({"op": "gamma", "gamma": 2}, False),
        ({"op": "gamma", "gamma": [1, 2]}, True),
        ({"op": "resize", "size": [40, 56]}, False),
    ],
    ids=str,
)
def test_intervals_and_chances_are_drawn(step, random):
    assert draws(read_op(step)) is random
