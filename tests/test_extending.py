"""The examples of docs/extending.md, trained as a person would type them, and what is said of parts that do not fit."""

import shlex
import sys
from pathlib import Path

import pytest

from fer_ablate.cli.main import main
from fer_ablate.tracking.disk.run_folder import RunFolder

from .snippets import PROGRAM, blocks

PAGE = "docs/extending.md"
HEAD = "# my_parts.py\n"
PARTS = "\n".join(block.removeprefix(HEAD) for block in blocks(PAGE, "python") if block.startswith(HEAD))
COMMANDS = [line.removeprefix(PROGRAM) for block in blocks(PAGE, "sh") for line in block.splitlines()]
STUDY = """# @package study
rows:
  - {label: slow, overrides: [optimizer.lr=0.001]}
  - {label: fast, overrides: [optimizer.lr=0.01]}
seeds: [0, 1]
columns: [test/acc, test/mcc]
"""
MCC = "evaluation.metrics.mcc=torchmetrics.MatthewsCorrCoef"


@pytest.fixture(autouse=True)
def parts(tmp_path, monkeypatch, cache_dir):
    """The file of all examples, in the current folder."""
    (tmp_path / "my_parts.py").write_text(PARTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "argv", ["fer_ablate"])
    monkeypatch.setenv("FER_ABLATE_CACHE", str(cache_dir))
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)
    return tmp_path / "my_parts.py"


@pytest.fixture
def typed(small_run, capsys):
    """Train a small run with some words; gives the exit code and what was printed."""

    def command(*words):
        epochs = [] if any(word.startswith("trainer.max_epochs=") for word in words) else ["trainer.max_epochs=1"]
        given = [
            *small_run,
            "runs_dir=runs",
            "trainer.num_threads=1",
            "tracking=none",
            "tracking.pictures=false",
            *epochs,
            *words,
        ]
        code = main(list(words) if words[0] in ("evaluate", "plan") else given)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return command


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_trains(typed, command):
    code, printed = typed(*shlex.split(command))
    assert code == 0, printed
    (run,) = (Path("runs") / "fer_ablate").iterdir()
    folder = RunFolder(run)
    assert folder.result.splits["test"].n > 0
    if "Mixup" in command:
        assert 0 <= folder.history[0]["train/share"] <= 1


def test_each_kind_has_an_example():
    kinds = ("model.name", "optimizer.name", "scheduler.name", "loss.name", "augment.steps", "data.prepare")
    kinds += ("evaluation.metrics", "trainer.callbacks", "data.reader")
    assert [kind for kind in kinds if not any(kind in command for command in COMMANDS)] == []


@pytest.fixture
def study(tmp_path):
    """The words of a study whose table shows a metric of torchmetrics."""
    (tmp_path / "conf" / "study").mkdir(parents=True)
    (tmp_path / "conf" / "study" / "own.yaml").write_text(STUDY)
    return ["-m", "--config-dir", "conf", "study=own", "plugins=[torchmetrics]"]


@pytest.mark.slow
def test_a_metric_is_judged_over_images(typed, study):
    code, printed = typed(*study, MCC)
    assert code == 0, printed
    assert "over seeds alone" not in printed
    (run, *_) = (Path("runs") / "own").glob("*-s0-*")
    result = RunFolder(run).result
    assert result.own_metrics == {"mcc": True}
    assert -1 <= result.splits["test"].metrics["mcc"] <= 1


@pytest.mark.slow
def test_a_metric_is_searched_for(typed):
    words = ["plugins=[my_parts,torchmetrics]", "hydra.sweeper.n_trials=2", "model.width=choice(0.0625,0.125)"]
    metrics = "evaluation.metrics={worst: my_parts.WorstRecall, hinge: torchmetrics.HingeLoss}"
    code, printed = typed("-m", "hydra/sweeper=optuna", *words, metrics, "search.objective=[val/worst,val/hinge]")
    assert code == 0, printed
    assert "val/worst (maximize), val/hinge (minimize)" in printed
    (front,) = Path("runs").glob("*/*/study/*-front.yaml")
    code, printed = typed("plan", "--config-dir", str(front.parents[1]), f"study={front.stem}", words[0])
    assert code == 0, printed


def test_a_column_needs_its_metric(typed, study):
    code, printed = typed(*study)
    assert code == 1
    assert "study.columns: test/mcc does not end with a metric." in printed
    assert "Metrics of your own are evaluation.metrics; here there are none." in printed


@pytest.mark.slow
def test_a_data_source_is_evaluated_again(typed):
    words = shlex.split(next(command for command in COMMANDS if "my_parts.bars" in command))
    assert typed(*words)[0] == 0
    (run,) = (Path("runs") / "fer_ablate").iterdir()
    code, printed = typed("evaluate", f"run={run}", "plugins=[my_parts]")
    assert code == 0, printed
