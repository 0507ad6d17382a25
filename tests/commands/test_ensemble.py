"""Ensembles as a person types them."""

import json

import numpy as np
import pytest

from fer_ablate.tracking.disk.predictions import read_predictions
from fer_ablate.tracking.disk.scan import scan

from ..study.voting_runs import finish, guesses

STUDY = """
base: [data.synthetic.train=70, data.synthetic.val=35, data.synthetic.test=35, model=pisa, trainer.max_epochs=2, tracking=none]
seeds: [0, 1]
rows:
  - {label: all}
  - {label: less, overrides: [model.conv_layers=4]}
  - {label: none yet, overrides: [model.conv_layers=3]}
"""
"""Its runs are written by hand, hence of another key: `study.accept_stale=true` takes them."""


@pytest.fixture
def runs(tmp_path):
    draw = np.random.default_rng(0)
    truths = draw.integers(0, 3, 120), draw.integers(0, 3, 120)
    return [
        finish(tmp_path / "runs", name, *((truth, guesses(draw, truth, 0.7)) for truth in truths), seed=seed)
        for name in ("all", "less")
        for seed in (0, 1)
    ]


@pytest.fixture
def ensemble(typed, runs, tmp_path):
    file = tmp_path / "conf" / "study" / "depth.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    return lambda *words: typed("ensemble", f"runs_dir={tmp_path / 'runs'}", *words)


def of_study(tmp_path):
    return ["--config-dir", str(tmp_path / "conf"), "study=depth", "study.accept_stale=true"]


def kept(tmp_path):
    return sorted((tmp_path / "runs" / "depth" / "ensembles").iterdir())


@pytest.mark.long
def test_all_finished_runs_of_a_study(ensemble, tmp_path):
    before = scan(tmp_path / "runs")
    printed = ensemble(*of_study(tmp_path))
    assert printed.code == 0, printed.err
    assert "4 of 4 networks (select=all), average of probabilities" in printed.out
    assert "4 of 6 runs are finished." in printed.out
    assert "n=1: these two networks only" in printed.out
    (folder,) = kept(tmp_path)
    assert {file.name for file in folder.iterdir()} == {"ensemble.json", "predictions.npz", "confusion.png"}
    described = json.loads((folder / "ensemble.json").read_text())
    labels = [f"{row}, seed {seed}" for row in ("all", "less") for seed in (0, 1)]
    assert [member["label"] for member in described["members"]] == labels
    stored = read_predictions(folder / "predictions.npz")
    right = (stored.probabilities.argmax(axis=1) == stored.labels)[stored.usage == 2]
    assert f"{100 * right.mean():.2f} %, 95 % interval" in printed.out
    assert described["splits"]["test"]["metrics"]["acc"] == pytest.approx(right.mean())
    after = scan(tmp_path / "runs")  # an ensemble is not taken for a run
    assert [record.folder.path for record in after.records] == [record.folder.path for record in before.records]


def test_rows_are_chosen_by_label(ensemble, tmp_path):
    printed = ensemble(*of_study(tmp_path), "rows=[less]", "name=both seeds", "average=logits")
    assert "2 of 2 networks" in printed.out
    assert kept(tmp_path)[0].name.startswith("both_seeds-")
    unknown = ensemble(*of_study(tmp_path), "rows=[les]").err
    assert "there is no row 'les'" in unknown
    assert "Did you mean 'less'?" in unknown


def test_missing_runs_are_named_with_the_command(ensemble, tmp_path):
    printed = ensemble(*of_study(tmp_path)[:-1], "rows=[less,none yet]")
    assert printed.code == 1
    assert "No run of less, none yet is finished (2 of an earlier config, data or code" in printed.err
    assert "study.accept_stale=true takes them). Train: python -m fer_ablate -m" in printed.err


def test_runs_by_key_and_by_row(ensemble, tmp_path):
    printed = ensemble("run=00ab", "run=depth/less, seed 1", "select=greedy")
    assert printed.code == 0
    assert "all, seed 0" in printed.out
    assert "less, seed 1" in printed.out
    assert "mlflow" not in printed.out  # its members were never recorded


REFUSED = {
    "one run": (["run=00ab"], "needs two finished networks or more"),
    "an unknown run": (["run=00ab", "run=zz"], "fits run=zz"),
    "the same run twice": (["run=00ab", "run=depth/all"], "was named 2 times"),
    "rows of no study": (["rows=[less]"], "are rows of a study"),
    "both ways at once": (["run=00ab", "run=01ab", "study=quickstart"], "Give either study="),
    "a word of others": (["run=00ab", "run=01ab", "optimizer.lr=1"], "optimizer.lr: was settled when the run was trained"),
}


@pytest.mark.long
@pytest.mark.parametrize(("words", "answer"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_ensemble_is_refused(ensemble, words, answer):
    printed = ensemble(*words)
    assert printed.code == 1
    assert answer in printed.err


def test_an_unfinished_run_is_no_member(ensemble, runs):
    runs[1].result_file.unlink()
    assert "is not finished" in ensemble("run=00ab", "run=01ab").err
