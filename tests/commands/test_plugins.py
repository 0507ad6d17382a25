"""A user's own network: found in the current folder, run only if the command line says so."""

import sys

import pytest

from fer_ablate import plots
from fer_ablate.errors import UserError

NETWORK = """
from pathlib import Path
from torch import nn

Path({trace!r}).touch()

class Linear(nn.Sequential):
    def __init__(self, in_channels, num_classes, bias=True):
        super().__init__(nn.Flatten(), nn.Linear(in_channels * 48 * 48, num_classes, bias=bias))

class Pair(Linear):
    def forward(self, faces):
        return super().forward(faces), faces
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A package in the current folder, which no path names, as with the console script."""
    (tmp_path / "own_nets").mkdir()
    (tmp_path / "own_nets" / "__init__.py").write_text(NETWORK.format(trace=str(tmp_path / "imported")))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("own_nets", None)


@pytest.mark.long
def test_a_package_named_by_plugins_trains(typed, small, own):
    words = ["model.name=own_nets.Linear", "+model.arguments.bias=false", "trainer.max_epochs=1"]
    printed = typed(*small, *words, "plugins=[own_nets]")
    assert (printed.code, printed.err) == (0, "")
    run = next((own / "runs" / "fer_ablate").iterdir())
    again = typed("evaluate", f"run={run}")
    assert again.code == 1
    assert "Allow it with plugins=[own_nets] on the command line" in again.err
    assert typed("evaluate", f"run={run}", "plugins=[own_nets]").code == 0
    with pytest.raises(UserError, match="Allow it with plugins"):
        plots.heat_maps(run, method="saliency")
    assert plots.heat_maps(run, method="saliency", plugins=["own_nets"]).axes


def test_it_is_not_even_imported_without(typed, own):
    printed = typed("describe", "model.name=own_nets.Linear")
    assert printed.code == 1
    assert "Allow it with plugins=[own_nets] on the command line" in printed.err
    assert not (own / "imported").exists()


@pytest.mark.long
def test_a_file_cannot_allow_it(typed, own, monkeypatch):
    monkeypatch.syspath_prepend(own)
    (own / "conf" / "experiment").mkdir(parents=True)
    recipe = "# @package _global_\nplugins: [own_nets]\nmodel: {name: own_nets.Linear}\n"
    (own / "conf" / "experiment" / "gift.yaml").write_text(recipe)
    words = ["describe", "--config-dir", "conf", "experiment=gift"]
    printed = typed(*words)
    assert printed.code == 1
    assert "plugins: [own_nets] comes from a file" in printed.err
    assert not (own / "imported").exists()
    assert typed(*words, "plugins=[own_nets]").code == 0


def test_an_argument_it_does_not_take_is_answered(typed, own):
    printed = typed("describe", "model.name=own_nets.Linear", "+model.arguments.bais=true", "plugins=[own_nets]")
    assert "Did you mean 'bias'?" in printed.err


def test_a_wrong_network_ends_before_training(typed, small, own):
    printed = typed(*small, "model.name=own_nets.Pair", "trainer.max_epochs=1", "plugins=[own_nets]")
    assert printed.code == 1
    assert "model.name: own_nets.Pair returns a tuple of 2, not a tensor" in printed.err
    assert "Traceback" not in printed.err
    assert not (own / "runs" / "fer_ablate").exists()


def test_a_wrong_row_stops_the_study(typed, small, own):
    printed = typed(*small, "-m", "model.name=stages,own_nets.Pair", "trainer.max_epochs=1", "plugins=[own_nets]")
    assert printed.code == 1
    assert "[name=own_nets.Pair] model.name: own_nets.Pair returns a tuple of 2" in printed.err
    assert not list((own / "runs").rglob("result.json"))
