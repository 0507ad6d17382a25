"""Several studies in one command, and rows that a study leaves out."""

import pytest

from fer_ablate.cli.command_line import by_study
from fer_ablate.cli.main import main

STUDY = """
base: [model=small, data=synthetic]
crossed: {optimizer: [adam, sgd_momentum], optimizer.lr: [0.1, 0.01]}
exclude: [{optimizer: adam, optimizer.lr: '>0.05'}]
"""

IMPOSSIBLE = """
base: [model=pisa, data=synthetic]
crossed: {optimizer: [adam, sgd_momentum], optimizer.momentum: [0.9, 0.99]}
"""


@pytest.fixture
def typed(tmp_path, capsys):
    """Types a command about studies of the user's; gives its exit code, its output and its messages."""
    folder = tmp_path / "conf" / "study"
    folder.mkdir(parents=True)
    for name, text in (("first", STUDY), ("second", STUDY.replace("0.1, ", "0.2, ")), ("impossible", IMPOSSIBLE)):
        (folder / f"{name}.yaml").write_text(text)

    def command(*words):
        place = ["--config-dir", str(tmp_path / "conf"), f"runs_dir={tmp_path / 'runs'}", "tracking=none"]
        return main([*words, *place]), *capsys.readouterr()

    return command


def test_each_named_study_has_a_command():
    assert by_study(["-m", "study=a,b/c", "seed=0,1"]) == [["-m", "study=a", "seed=0,1"], ["-m", "study=b/c", "seed=0,1"]]
    assert by_study(["study=a"]) == [["study=a"]]
    assert by_study(["seed=0,1", "study=[", "x"]) == [["seed=0,1", "study=[", "x"]]


@pytest.mark.long
def test_plans_of_several_studies_follow_each_other(typed):
    code, printed, _ = typed("plan", "study=first,second")
    assert code == 0
    assert [line for line in printed.splitlines() if line.startswith("study=")] == ["study=first", "study=second"]
    assert printed.count("3 runs: 3 missing; exclude leaves out 1 row") == 2


@pytest.mark.long
def test_a_fault_in_one_study_trains_none(typed, tmp_path):
    code, _, problem = typed("-m", "study=first,impossible")
    assert code == 1
    assert "optimizer.momentum: there is no such key" in problem
    assert not list((tmp_path / "runs").glob("first/*-s0-*"))


def test_combinations_that_cannot_be_have_a_way_out(typed):
    code, _, problem = typed("plan", "study=impossible")
    assert code == 1
    assert "2 of 4 rows cannot be." in problem
    assert "exclude: [{optimizer: adam}]" in problem
    assert typed("plan", "study=impossible", "study.exclude=[{optimizer:adam}]")[0] == 0


@pytest.mark.long
def test_what_is_typed_decides_what_is_left_out(typed):
    code, printed, _ = typed("plan", "study=first", "optimizer=adamw")
    assert (code, "4 runs: 4 missing" in printed, "leaves out" in printed) == (0, True, False)


def test_what_a_study_needs_is_not_left_out(typed):
    for excluded, expected in {
        "[{optimizer:adam,optimizer.lr:0.01}]": "the baseline, is left out",
        "[{optimizr:adam}]": "leaves no row out",
        "[{optimizer:[adam,sgd_momentum]}]": "leaves out all of them",
    }.items():
        code, _, problem = typed("plan", "study=first", f"study.exclude={excluded}", "study.baseline='optimizer=adam lr=0.01'")
        assert code == 1
        assert expected in problem or "there is no row" in problem, problem


def test_a_plan_says_how_many_seeds_are_needed(typed):
    code, printed, _ = typed("plan", "study=first", "detect=6")
    assert code == 0
    shown = " ".join(printed.split())
    assert "detect a difference of 6 points in test/acc: " in shown
    assert "seeds show it in 80 % of such tables" in shown
    assert "spreads are assumed, from two small networks on FER2013, for 700 test images" in shown
    assert "no number of seeds shows it on these images" in typed("plan", "study=first", "detect=0.5")[1]
    for points in ("0", "150"):
        assert f"detect: '{points}' is not a number from 0.01 to 100." in typed("plan", "study=first", f"detect={points}")[2]
