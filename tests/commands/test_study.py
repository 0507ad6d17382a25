"""Studies as a person types them: trained, shown, cached, failed, resumed."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from functools import partial

import pytest

STUDY = """
base: [model=small, model.width=0.25, trainer=cpu, trainer.batch_size=32, trainer.max_epochs=1, trainer.num_threads=1,
  data.synthetic.train=140, data.synthetic.val=70, data.synthetic.test=70]
baseline: all
seeds: [0, 1]
rows:
  - {label: all}
  - {label: -2 conv, overrides: [model.conv_layers=4], published: {test/acc: 60.5}}
"""


@pytest.fixture
def conf(tmp_path):
    file = tmp_path / "conf" / "study" / "tiny.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    return file


@pytest.fixture
def study(typed, conf, tmp_path):
    """Type a verb about the study; `-m` trains it."""

    def command(verb, *words, more=()):
        places = ("--config-dir", str(conf.parents[1]), "study=tiny", f"runs_dir={tmp_path / 'runs'}")
        return typed(verb, *places, "tracking=none", "tracking.pictures=false", *words, *more)

    return command


def trained(printed):
    """Which runs were trained, in order."""
    return re.findall(r"\[\d+/\d+\] (.+?): val/acc", printed.out)


@pytest.mark.parametrize("seeds", [(0,), pytest.param((0, 1), marks=pytest.mark.slow)], ids=["one seed", "two seeds"])
def test_a_study_is_trained_once_and_judged(study, conf, tmp_path, seeds):
    study = partial(study, more=[f"seed={','.join(map(str, seeds))}"])
    first = study("-m")
    assert first.code == 0, first.err
    assert trained(first) == [f"{label}, seed {seed}" for label in ("all", "-2 conv") for seed in seeds]
    assert "60.5" in first.out  # the published number beside the measured one
    files = {file.name for file in (tmp_path / "runs" / "tiny" / "table").iterdir()}
    assert {"table.md", "table.tex", "table.csv", "table.html", "table.json"} <= files

    (tmp_path / "runs" / "tiny" / "table" / "table.md").unlink()
    again = study("-m")
    assert (tmp_path / "runs" / "tiny" / "table" / "table.md").is_file()
    assert (again.code, trained(again)) == (0, [])
    assert f"{2 * len(seeds)} finished" in again.out

    conf.write_text(STUDY.replace("conv_layers=4", "conv_layers=3"))
    assert study("plan").out.count("stale") >= len(seeds)
    assert trained(study("-m")) == [f"-2 conv, seed {seed}" for seed in seeds]


@pytest.mark.slow
def test_a_study_over_folds_trains_every_fold(study):
    first = study("-m", "study.folds=2", "study.seeds=[0]")
    assert first.code == 0, first.err
    assert trained(first) == [f"{label}, seed 0, fold {fold}" for label in ("all", "-2 conv") for fold in (0, 1)]
    assert "Folds: 2 by class; corrected resampled t test over folds (Nadeau and Bengio 2003); the folds together" in first.out
    assert trained(study("-m", "study.folds=2", "study.seeds=[0,1]")) == [
        f"{label}, seed 1, fold {fold}" for label in ("all", "-2 conv") for fold in (0, 1)
    ]
    plan = study("plan", "study.folds=2", "study.seeds=[0,1]")
    assert "8 finished" in plan.out


@pytest.mark.slow
def test_a_failing_row_is_a_failed_cell(study, conf):
    conf.write_text(STUDY + "  - {label: broken, overrides: [optimizer.lr=1e30]}\n")
    printed = study("-m", "seed=0")
    assert printed.code == 1
    assert trained(printed) == ["all, seed 0", "-2 conv, seed 0"]
    assert printed.err.count("The training loss became") == 2  # at once, and again at the end
    assert "log.txt" in printed.err
    assert "failed" in study("table").out
    assert trained(study("-m", "seed=0", "study.only=failed")) == []


@pytest.mark.slow
def test_chosen_rows_alone_are_trained(study):
    assert trained(study("-m", "study.rows=[-2 conv]", "seed=0")) == ["-2 conv, seed 0"]


@pytest.mark.slow
def test_rows_start_from_the_weights_of_others(study, conf, tmp_path):
    conf.write_text(STUDY + "  - {label: tuned, overrides: [optimizer.lr=0], start_from: all}\n")
    printed = study("-m", "seed=0")
    assert printed.code == 0, printed.err
    table = {
        row["row"]: row
        for row in csv.DictReader(io.StringIO(study("table", "seed=0", "format=csv").out))
        if row["column"] == "test/acc"
    }
    assert table["tuned"]["mean"] == table["all"]["mean"]  # nothing was learned on top


@pytest.mark.long
def test_words_for_the_launcher_reach_it(study):
    printed = study("-m", "seed=0", "hydra/launcher=joblib", "++hydra.launcher.backend=nonsense")
    assert printed.code == 1
    assert "Unsupported Joblib backend 'nonsense'" in printed.err


@pytest.mark.slow
def test_stale_runs_are_shown_where_they_are_accepted(study, conf):
    study("-m", "seed=0")
    conf.write_text(STUDY.replace("trainer.max_epochs=1", "trainer.max_epochs=2"))
    printed = study("-m", "seed=0", "study.accept_stale=true")
    assert (printed.code, trained(printed)) == (0, [])
    assert "†" in printed.out


@pytest.mark.slow
def test_a_grid_needs_no_file(typed, small):
    printed = typed("-m", *small, "trainer.max_epochs=1", "model.conv_layers=2,3", "seed=0,1")
    assert printed.code == 0, printed.err
    assert len(trained(printed)) == 4
    assert "conv_layers=3" in printed.out


def test_faults_of_all_rows_come_before_training(study, conf):
    conf.write_text(
        STUDY + "  - {label: typo, overrides: [optimizer.lrr=1]}\n  - {label: deep, overrides: [model.conv_layers=99]}\n"
    )
    printed = study("-m")
    assert printed.code == 1
    assert "[typo] optimizer.lrr" in printed.err
    assert "[deep] model.conv_layers" in printed.err
    assert trained(printed) == []


def test_table_of_what_is_not_there_says_so(study):
    printed = study("table")
    assert (printed.code, printed.out.count("not yet run")) == (0, 4)


@pytest.mark.long
def test_a_study_without_m_is_no_run(study):
    assert "study: a study is several runs.\n    Add -m to train it" in study("train").err


def test_unknown_format(study):
    assert "Choices: markdown, latex, csv, html" in study("table", "format=word").err


def test_a_table_is_written_where_asked(study, tmp_path):
    printed = study("table", "format=latex", f"output={tmp_path / 'out' / 'table.tex'}")
    assert printed.code == 0
    assert r"\toprule" in (tmp_path / "out" / "table.tex").read_text()


def results(tmp_path):
    """Label and seed -> devices that shared the run, its epochs and its accuracy."""
    found = [json.loads(file.read_text()) for file in sorted((tmp_path / "runs" / "tiny").glob("*/result.json"))]
    return {
        (run["name"], run["seed"]): (run["environment"]["devices"], run["epochs"], run["splits"]["test"]["metrics"]["acc"])
        for run in found
    }


@pytest.mark.slow
def test_two_processes_run_each_row_once(study, tmp_path):
    study("-m", "seed=0", "trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu")
    assert {name: found[:2] for name, found in results(tmp_path).items()} == {("all", 0): ("2", 1), ("-2 conv", 0): ("2", 1)}


LAUNCHERS = {
    "machine": [],
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit_local": ["hydra/launcher=submitit_local"],
    "ray": ["hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_gives_the_same_results(launcher, conf, tmp_path):
    if launcher not in ("machine", "joblib"):
        pytest.importorskip({"ray": "ray", "submitit_local": "submitit"}[launcher], reason="comes with the extras ray and slurm")
    words = [f"data.cache_dir={tmp_path / 'cache'}", "tracking=none", "study=tiny", "--config-dir", str(conf.parents[1])]
    here, there = tmp_path / "here", tmp_path / "there"
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}  # two cores, whatever this machine has
    for place, more in ((here, ["hydra/launcher=basic"]), (there, LAUNCHERS[launcher])):
        command = [sys.executable, "-m", "fer_ablate", "-m", *words, f"runs_dir={place / 'runs'}", *more]
        subprocess.run(command, check=True, capture_output=True, timeout=300, env=environment)
    assert len(results(here)) == 4
    assert results(here) == results(there)
