"""Seeds added until rows are decided: what a study's file says, and which runs of a plan are due."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fer_ablate.config.schema import StudyConfig
from fer_ablate.config.study_rows import Row
from fer_ablate.errors import FaultyConfigError
from fer_ablate.execution import added_seeds
from fer_ablate.execution.added_seeds import due_seeds
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.study.plan import Plan
from fer_ablate.study.spec import StudySpec, further_seeds, look_seeds, study_spec
from fer_ablate.tracking.disk.run_folder import RunFolder, StoredPredictions
from fer_ablate.tracking.disk.run_state import RunState

from ..finished_runs import finish_run, make_header

STUDY = """
base: [model=small, data=synthetic]
seeds: [3, 5]
seeds_until: decided
max_seeds: 6
rows:
  - {label: all}
  - {label: less, overrides: [model.conv_layers=4]}
"""
IMAGES = 400


@pytest.fixture
def conf(tmp_path):
    file = tmp_path / "conf" / "study" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    return tmp_path / "conf"


def test_looks_grow_to_the_most_seeds():
    assert look_seeds(3, 20) == (3, 5, 8, 12, 18, 20)
    assert look_seeds(4, 4) == (4,)
    assert further_seeds((3, 5), 5) == (3, 5, 6, 7, 8)


def test_a_study_has_all_seeds(conf):
    spec = study_spec(["study=mine"], conf)
    assert (spec.seeds, spec.looks) == ((3, 5, 6, 7, 8, 9), (2, 3, 5, 6))
    assert study_spec(["study=mine", "study.seeds_until=null"], conf).looks == ()


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("study.seeds=[1]", "one seed shows no spread"),
        ("study.max_seeds=2", ""),
        ("study.seeds=[1,2,3,4,5,6,7]", "6 is fewer than the first 7"),
        ("study.folds=5", "the seeds of a fold share its images"),
        ("study.max_seeds=1", "max_seeds"),
    ],
)
def test_what_cannot_be_is_a_fault(conf, word, problem):
    if not problem:
        assert study_spec(["study=mine", word], conf).looks == (2,)
        return
    with pytest.raises(FaultyConfigError, match=problem):
        study_spec(["study=mine", word], conf)


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """A plan of three rows: `clear` is much worse than the baseline, `close` equals it; so many seeds of each are finished."""
    labels = {"base": 0.7, "clear": 0.2, "close": 0.72}

    def plan(finished, **study):
        spec = StudySpec(
            name="mine",
            study=StudyConfig(columns=["val/acc", "test/acc"], max_seeds=12, **study),
            from_file=True,
            rows=tuple(Row(label, ()) for label in labels),
            seeds=tuple(range(12)),
            baseline="base",
            typed=(),
            factor=None,
            looks=look_seeds(3, 12),
        )
        runs, rows = [], []
        for label, share in labels.items():
            scored = []
            for seed in range(12):
                done = seed < finished
                folder = RunFolder(tmp_path / f"{label}-{seed}")
                if done:
                    scored.append(_finished(folder, label, seed, share))
                cell = SimpleNamespace(row=Row(label, ()), key=f"{label} {seed}", config=SimpleNamespace(seed=seed))
                runs.append(SimpleNamespace(cell=cell, folder=folder, state=RunState.finished if done else RunState.missing))
            rows.append(RowRuns(label, spec.seeds, tuple(scored)))
        monkeypatch.setattr(added_seeds, "rows_with_runs", lambda _: rows)
        return Plan(spec, tuple(runs))

    return plan


def _finished(folder, label, seed, share):
    generator = np.random.default_rng([seed, *label.encode()])
    right = generator.random(IMAGES) < share
    probabilities = np.where(np.stack([right, ~right], axis=1), 0.9, 0.1).astype(np.float32)
    labels = np.zeros(IMAGES, np.int64)
    predictions = StoredPredictions(np.arange(IMAGES), np.full(IMAGES, 2), labels, probabilities, {"test": np.ones(IMAGES, bool)})
    run = finish_run(folder, make_header(key=f"{label} {seed}", seed=seed), predictions, seconds=1800.0)
    split = replace(run.result.splits["test"], n=IMAGES, confusion=[[int(right.sum()), int((~right).sum())], [0, 0]])
    run = replace(run, result=replace(run.result, splits={"test": split}))
    folder.write_result(run.result)
    return run


def counts(plan):
    labels = [planned.cell.row.label for planned in plan.runs]
    return {label: labels.count(label) for label in labels}


def test_at_first_the_first_seeds_are_due(planned):
    found = due_seeds(planned(0))
    assert counts(found) == {"base": 3, "clear": 3, "close": 3}


def test_rows_that_are_not_decided_get_more(planned):
    found = due_seeds(planned(3))
    assert counts(found)["clear"] == 3
    assert counts(found)["base"] == max(counts(found).values())
    assert found.seeds_added.endswith("decided by test/acc or not worth more seeds")


def test_runs_of_later_looks_are_not_looked_at(planned):
    assert counts(due_seeds(planned(12)))["clear"] == 3


def test_a_budget_ends_the_adding(planned):
    found = due_seeds(planned(3, budget_hours=4.0))  # 9 runs of half an hour
    assert counts(found) == {"base": 3, "clear": 3, "close": 3}
    assert "the budget of 4 hours is used up (4.5 trained)" in found.seeds_added


def test_other_studies_stay_as_they_are(planned):
    plan = planned(1)
    plan = replace(plan, spec=replace(plan.spec, looks=()))
    assert due_seeds(plan) is plan
