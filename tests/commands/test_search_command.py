"""Searches as a person types them: begun, continued, killed, pruned, failed, refused."""

import csv
import os
import re
import signal
import sqlite3
import subprocess
import sys

import pytest

from fer_ablate.tracking.disk.run_folder import RunFolder

SPACE = ("model.conv_layers=choice(2,3)", "optimizer.lr=tag(log, interval(1e-3, 1e-1))")


@pytest.fixture
def search(typed, small):
    """Type a search of runs of one epoch."""
    return lambda *words: typed("-m", "hydra/sweeper=optuna", *small, "trainer.max_epochs=1", *words)


def trained(printed):
    """Numbers of the trials that were trained, in order."""
    return [int(number) for number in re.findall(r"\] trial (\d+) [^\n]*: val/acc", printed.out)]


def trials(tmp_path):
    """The rows of trials.csv."""
    (file,) = (tmp_path / "runs").glob("*/*/trials.csv")
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_the_same_command_continues_to_the_number(search, tmp_path):
    words = (*SPACE, "hydra.sweeper.study_name=mine")
    first = search(*words, "hydra.sweeper.n_trials=1")
    assert first.code == 0, first.err
    assert trained(first) == [0]
    more = search(*words, "hydra.sweeper.n_trials=2")
    assert (more.code, trained(more)) == (0, [1])
    again = search(*words, "hydra.sweeper.n_trials=2")
    assert (again.code, trained(again)) == (0, [])
    assert "2 in all, 2 done, 0 to run" in again.out
    rows = trials(tmp_path)
    assert [row["state"] for row in rows] == ["done"] * 2
    best = max(rows, key=lambda row: float(row["val/acc"]))
    assert best["best"] == "1"
    assert f"model.conv_layers={best['model.conv_layers']} optimizer.lr={best['optimizer.lr']}" in again.out
    assert "confirm" in again.out
    assert {folder.name for folder in (tmp_path / "runs").iterdir()} >= {"search.db", "fer_ablate"}
    other = search(*words, "seed=1")
    assert other.code == 1
    assert "'mine' was begun with other settings:\n  seed: 0 then, 1 now" in other.err


@pytest.mark.slow
def test_failing_trials_do_not_end_the_search(search, tmp_path):
    words = ("hydra/sweeper/sampler=grid", "optimizer.lr=choice(1e30,0.001)", "model.stages.0.pool_kernel=2,50")
    printed = search(*words)
    assert printed.code == 1
    assert "4 trials: 1 done, 0 pruned, 2 impossible, 1 failed" in printed.out
    assert re.search(r"trial \d+ pool_kernel=50 lr=0.001: impossible: .*pool_kernel 50 on a 24x24 map", printed.out)
    assert re.search(r"(?s)1 trial failed .*\n  trial 00\d: The training loss became nan", printed.err)
    assert sorted(row["state"] for row in trials(tmp_path)) == ["done", "failed", "impossible", "impossible"]
    again = search(*words)
    assert (again.code, trained(again)) == (0, [])  # they count, and nothing failed in this start
    assert "The training loss became nan" in again.err


@pytest.mark.slow
def test_too_many_failures_end_the_search(search):
    printed = search("optimizer.lr=choice(1e30,1e29)", "hydra.sweeper.max_failure_rate=0.5", "hydra.sweeper.n_trials=5")
    assert printed.code == 1
    assert "1 of 1 trials failed, more than hydra.sweeper.max_failure_rate=0.5" in printed.err


@pytest.mark.slow
def test_hopeless_trials_are_given_up_and_kept(search, tmp_path):
    words = (*SPACE, "trainer.max_epochs=3", "hydra.sweeper.pruner.name=threshold", "+hydra.sweeper.pruner.lower=1.1")
    printed = search(*words, "hydra.sweeper.n_trials=1")
    assert printed.code == 0, printed.err
    assert "1 trial: 0 done, 1 pruned, 0 failed" in printed.out
    assert "pruned after epoch 1 with val/acc" in printed.out
    folders = [RunFolder(mark.parent) for mark in (tmp_path / "runs").glob("*/*/pruned.json")]
    assert [(folder.state.value, folder.pruned.epoch, folder.failure) for folder in folders] == [("pruned", 1, None)]


@pytest.mark.slow
def test_accuracy_and_size_are_searched_for_together(search, tmp_path):
    words = ("hydra/sweeper/sampler=nsgaii", "search.objective=[val/acc,run/parameters]", "model.width=choice(0.0625,0.125)")
    printed = search(*words, "hydra.sweeper.n_trials=1")
    assert printed.code == 0, printed.err
    assert "Optuna prunes by one objective only" in printed.out
    assert "trials that no other beats in every objective" in printed.out
    assert "pareto.png" in printed.out
    (row,) = trials(tmp_path)
    assert float(row["run/parameters"]) > 100
    assert row["best"] == "1"


FAULTS = {
    "the test role": ((*SPACE, "search.objective=test/acc"), "'test/acc' would choose by the test images"),
    "nothing to search": (("optimizer.lr=0.1",), "no key has several values"),
    "a misspelt key": (("modle.conv_layers=choice(2,3)",), "Did you mean 'model.conv_layers'"),
    "a misspelt pruner": ((*SPACE, "hydra.sweeper.pruner.name=medain"), "Did you mean 'median'"),
    "an interval that does not fit": (("trainer.max_epochs=interval(0.5,2.5)",), "trainer.max_epochs: 0.5 does not fit"),
    "no address": ((*SPACE, "hydra.sweeper.storage=runs"), "hydra.sweeper.storage: 'runs' is not an address"),
    "foreign code": ((*SPACE, "hydra.sweeper.custom_search_space=os.system"), "Allow it with plugins=[os]"),
}


@pytest.mark.long
@pytest.mark.parametrize(("words", "answer"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_answered_before_anything_is_written(typed, small, tmp_path, words, answer):
    places = [word for word in small if word.startswith(("data.", "runs_dir="))]
    printed = typed("-m", "hydra/sweeper=optuna", *places, *words)
    assert printed.code == 1
    assert printed.err.startswith("fer_ablate: ")
    assert answer in printed.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_search_with_a_function_of_ones_own(search, tmp_path, monkeypatch):
    file = tmp_path / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(
        "# @package _global_\nhydra:\n  sweeper:\n    n_trials: 1\n"
        "    custom_search_space: own_space.extend\n    params:\n      optimizer: choice(sgd)\n"
    )
    (tmp_path / "own_space.py").write_text(
        "def extend(config, trial):\n"
        "    if trial.params['optimizer'] == 'sgd':\n"
        "        trial.suggest_categorical('optimizer.weight_decay', [config.optimizer.lr / 2])\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ("--config-dir", "conf", "experiment=mine", "optimizer.lr=0.01")
    refused = search(*words)
    assert refused.code == 1
    assert "custom_search_space: 'own_space.extend' would run code" in refused.err
    printed = search(*words, "plugins=[own_space]")
    sys.modules.pop("own_space", None)
    assert printed.code == 0, printed.err
    assert trials(tmp_path)[0]["optimizer.weight_decay"] == "0.005"


@pytest.mark.slow
def test_what_a_trial_lacks_is_empty(search, tmp_path):
    words = ("optimizer=choice(adam,sgd_nesterov)", "optimizer.momentum=choice(0.5,0.9)", "optimizer.lr=choice(0.01,0.1)")
    conditions = (
        "hydra.sweeper.when={optimizer.momentum: {optimizer: sgd_nesterov}}",
        "hydra.sweeper.exclude=[{optimizer: sgd_nesterov, optimizer.lr: '>0.05'}]",
    )
    printed = search(*words, *conditions, "hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=8")
    assert printed.code == 0, printed.err
    assert "optimizer.momentum where optimizer=sgd_nesterov" in printed.out
    rows = trials(tmp_path)
    assert {row["state"] for row in rows} == {"done", "excluded"}
    assert re.search(rf"8 trials: \d done, 0 pruned, {sum(row['state'] == 'excluded' for row in rows)} excluded", printed.out)
    assert all((row["optimizer.momentum"] == "") == (row["optimizer"] == "adam") for row in rows)
    assert all((row["val/acc"] == "") == (row["optimizer"] == "sgd_nesterov" and row["optimizer.lr"] == "0.1") for row in rows)


@pytest.mark.slow
def test_trials_lie_below_the_search_in_mlflow(search, tmp_path):
    store = tmp_path / "mlflow.db"
    words = (SPACE[0], "hydra.sweeper.n_trials=1", "tracking=mlflow", f"tracking.uri=sqlite:///{store}")
    printed = search(*words)
    assert printed.code == 0, printed.err
    with sqlite3.connect(store) as database:
        runs = {run: (name, status) for run, name, status in database.execute("select run_uuid, name, status from runs")}
        parents = dict(database.execute("select run_uuid, value from tags where key = 'mlflow.parentRunId'"))
        (parent,) = set(parents.values())
        metrics = dict(database.execute("select key, value from latest_metrics where run_uuid = ?", [parent]))
    database.close()
    assert runs[parent][0].startswith("conv_layers-")
    assert runs[parent][1] == "FINISHED"
    assert sorted(name for run, (name, _) in runs.items() if run != parent)[0].startswith("trial 000 conv_layers=")
    assert metrics["trials/done"] == 1
    assert metrics["best/val/acc"] > 0


@pytest.mark.slow
def test_a_killed_search_resumes_its_run(typed, small, tmp_path, cache_dir):
    words = ["-m", "hydra/sweeper=optuna", *small, "trainer.max_epochs=20", SPACE[1], "hydra.sweeper.n_trials=1"]
    environment = {**os.environ, "FER_ABLATE_CACHE": str(cache_dir), "PYTHONPATH": os.pathsep.join(sys.path)}
    runs = tmp_path / "runs" / "fer_ablate"
    with subprocess.Popen([sys.executable, "-m", "fer_ablate", *words], env=environment, stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            if any(len(file.read_text().splitlines()) > 3 for file in runs.glob("*/metrics.csv")):
                process.send_signal(signal.SIGKILL)
                break
    printed = typed(*words)
    assert printed.code == 0, printed.err
    assert re.search(r"trial 001 .*resumes after epoch \d", printed.out)
    assert "interrupted and run again: 0 as 1" in printed.out
    assert [(row["state"], row["resumes"]) for row in trials(tmp_path)] == [("interrupted", ""), ("done", "0")]
    (file,) = runs.glob("*/result.json")
    assert RunFolder(file.parent).result.epochs == 20


@pytest.mark.slow
def test_trials_run_at_once_through_joblib(search, tmp_path):
    words = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2")
    printed = search(*words, *SPACE, "hydra.sweeper.n_trials=4")
    assert printed.code == 0, printed.err
    assert [row["state"] for row in trials(tmp_path)] == ["done"] * 4
