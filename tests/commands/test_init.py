"""`init` makes a folder whose study composes as it is made."""

import re
from pathlib import Path

import pytest

from fer_ablate.cli.main import main


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "my_study"]) == 0
    return tmp_path / "my_study"


@pytest.mark.long
def test_all_its_rows_can_be_planned(made, monkeypatch):
    monkeypatch.chdir(made)
    monkeypatch.syspath_prepend(str(made))
    plan = ["plan", "--config-dir", "conf", "study=my_study", f"runs_dir={made}/runs"]
    assert main([*plan, "plugins=[my_parts]"]) == 0
    assert main(plan) == 1  # code runs only if the command line names it


def test_its_files_name_the_study(made):
    assert {file.relative_to(made).as_posix() for file in made.rglob("*") if file.is_file()} == {
        "README.md",
        "my_parts.py",
        "conf/model/my_model.yaml",
        "conf/study/my_study.yaml",
    }
    assert "study=my_study" in (made / "README.md").read_text()
    assert not [file for file in made.rglob("*") if file.is_file() and ("$" in file.read_text() or "NAME" in file.read_text())]


BAD = ["my_study", "a b", "-x", "x=1", "$name", "null", "123", "true", "1e5", "maé", "quickstart", "n/..", "x" * 300]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_name_makes_nothing(made, name, capsys, monkeypatch):
    monkeypatch.chdir(made.parent)
    before = sorted(made.parent.rglob("*"))
    assert main(["init", name]) == 1
    assert capsys.readouterr().err.startswith("fer_ablate: ")
    assert sorted(made.parent.rglob("*")) == before


def test_the_tutorial_shows_its_files(made):
    tutorial = (Path(__file__).parents[2] / "docs" / "first_study.md").read_text()
    study = (made / "conf" / "study" / "my_study.yaml").read_text()
    (shown,) = re.findall(r"```yaml\n(.*?)```", tutorial, re.S)
    assert [line for line in shown.splitlines() if line not in [one.split("  #")[0].rstrip() for one in study.splitlines()]] == []
    commands = re.findall(r"^python -m fer_ablate .*study=my_study[^#\n]*", (made / "README.md").read_text(), re.M)
    assert [command for command in commands if command.strip() not in tutorial] == []


@pytest.mark.slow
def test_its_study_trains_as_it_is_made(made, monkeypatch):
    monkeypatch.chdir(made)
    monkeypatch.syspath_prepend(str(made))
    words = ["study=my_study", "plugins=[my_parts]", "study.seeds=[0]", "trainer.max_epochs=1", "hydra/launcher=basic"]
    assert main(["-m", "--config-dir", "conf", *words]) == 0
    assert len(list((made / "runs" / "my_study").rglob("result.json"))) == 4
