"""What an extra installs may be missing: a command that needs it says so in one line, and the rest works without it."""

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

from fer_ablate.cli.main import main
from fer_ablate.errors import UserError
from fer_ablate.extras import EXTRA_OF, extra_named, imported


@pytest.mark.parametrize("package", EXTRA_OF)
def test_a_missing_package_names_its_extra(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf" needs? {package}, .*: pip install 'fer-ablate\[{EXTRA_OF[package][0]}\]'$"):
        imported(f"{package}.part")


def test_other_missing_packages_stay_bugs():
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), extra_named():
        importlib.import_module("no_such_package")


def test_explain_asks_for_its_extra_first(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.delitem(sys.modules, "captum.attr", raising=False)
    assert main(["explain", "run=none"]) == 1
    assert "pip install 'fer-ablate[explain]'" in capsys.readouterr().err


def test_predict_asks_for_its_extra_first(monkeypatch, capsys):
    for name in [
        name for name in sys.modules if name.startswith("fer_ablate.inference.media") or name == "fer_ablate.commands.predict"
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert main(["predict", "run=none", "source=none"]) == 1
    assert "pip install 'fer-ablate[faces]'" in capsys.readouterr().err


def test_every_extra_is_in_pyproject_and_in_dev():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    (everything,) = [need for need in extras["dev"] if need.startswith("fer-ablate[")]
    assert {extra for extra, _ in EXTRA_OF.values()} <= set(extras)
    # kagglehub needs Kaggle, and wandb a service, to be of use; nobody who develops has to install them.
    assert set(extras) - {"dev", "download", "wandb"} == set(everything.removeprefix("fer-ablate[").removesuffix("]").split(","))
