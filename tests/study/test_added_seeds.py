"""Seeds added until rows are decided: what a study's file says, and which runs of a plan are due."""

import numpy as np
import pytest

from fer_ablate.errors import FaultyConfigError
from fer_ablate.execution import sweep
from fer_ablate.execution.added_seeds import due_seeds
from fer_ablate.metrics import SplitResult
from fer_ablate.study.spec import further_seeds, look_seeds, study_spec
from fer_ablate.tracking.disk.run_folder import StoredPredictions

from ..finished_runs import finish_run
from .conftest import folder_of, header_of

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
def mine(conf):
    (conf / "study" / "mine.yaml").write_text(STUDY)
    return conf


def test_looks_grow_to_the_most_seeds():
    assert look_seeds(3, 20) == (3, 5, 8, 12, 18, 20)
    assert look_seeds(4, 4) == (4,)
    assert further_seeds((3, 5), 5) == (3, 5, 6, 7, 8)


@pytest.mark.long
def test_a_study_has_all_seeds(mine):
    spec = study_spec(["study=mine"], mine)
    assert (spec.seeds, spec.looks) == ((3, 5, 6, 7, 8, 9), (2, 3, 5, 6))
    assert study_spec(["study=mine", "study.seeds_until=null"], mine).looks == ()


@pytest.mark.long
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
def test_what_cannot_be_is_a_fault(mine, word, problem):
    if not problem:
        assert study_spec(["study=mine", word], mine).looks == (2,)
        return
    with pytest.raises(FaultyConfigError, match=problem):
        study_spec(["study=mine", word], mine)


LOOKED_AT = """
base: [data.synthetic.train=70, data.synthetic.val=35, data.synthetic.test=35, model=pisa, trainer.max_epochs=2, tracking=none]
baseline: base
seeds: [0, 1, 2]
seeds_until: decided
max_seeds: 12
rows:
  - {label: base}
  - {label: clear, overrides: [model.conv_layers=4]}
  - {label: close, overrides: [optimizer=sgd]}
"""
SHARES = {"base": 0.7, "clear": 0.2, "close": 0.72}
"""Row -> share of the images that its runs get right: `clear` is much worse than the baseline, `close` equals it."""

TWO_DATA_SETS = (
    LOOKED_AT[: LOOKED_AT.index("baseline")].replace("model=pisa, ", "")
    + """
baseline: 5 drawn
seeds: [0, 1, 2]
seeds_until: decided
max_seeds: 12
rows:
  - {label: 5 drawn, overrides: [model.conv_layers=5, data.synthetic.seed=0]}
  - {label: 4 drawn, overrides: [model.conv_layers=4, data.synthetic.seed=0]}
  - {label: 5 other, overrides: [model.conv_layers=5, data.synthetic.seed=1]}
  - {label: 4 other, overrides: [model.conv_layers=4, data.synthetic.seed=1]}
"""
)


@pytest.fixture
def due(planned, conf):
    """Which runs of a study are due when the first seeds of each row are finished; takes their number or one for each row."""

    def found(finished, *words, text=LOOKED_AT, shares=SHARES):
        (conf / "study" / "depth.yaml").write_text(text)
        plan = planned(*words)
        for run in plan.runs:
            cell = run.cell
            if cell.config.seed < (finished if isinstance(finished, int) else finished[cell.row.label]):
                _finish(cell, shares[cell.row.label])
        return due_seeds(planned(*words))

    return found


def _finish(cell, share):
    generator = np.random.default_rng([cell.config.seed, *cell.row.label.encode()])
    right = generator.random(IMAGES) < share
    probabilities = np.where(np.stack([right, ~right], axis=1), 0.9, 0.1).astype(np.float32)
    labels = np.zeros(IMAGES, np.int64)
    stored = StoredPredictions(np.arange(IMAGES), np.full(IMAGES, 2), labels, probabilities, {"test": np.ones(IMAGES, bool)})
    confusion = [[int(right.sum()), int((~right).sum())], [0, 0]]
    splits = {"test": SplitResult(n=IMAGES, metrics={"acc": float(right.mean())}, per_class={}, confusion=confusion)}
    finish_run(folder_of(cell), header_of(cell), stored, splits=splits, seconds=1800.0)


def counts(plan):
    labels = [planned.cell.row.label for planned in plan.runs]
    return {label: labels.count(label) for label in labels}


def test_at_first_the_first_seeds_are_due(due):
    assert counts(due(0)) == {"base": 3, "clear": 3, "close": 3}


def test_rows_that_are_not_decided_get_more(due):
    found = due(3)
    assert counts(found) == {"base": 5, "clear": 3, "close": 5}
    assert found.seeds_added == "1 of 2 rows are decided by test/acc or not worth more seeds"


def test_runs_of_later_looks_are_not_looked_at(due):
    assert counts(due(12))["clear"] == 3


def test_a_budget_ends_the_adding(due):
    found = due(3, "study.budget_hours=4")  # 9 runs of half an hour
    assert counts(found) == {"base": 3, "clear": 3, "close": 3}
    assert "the budget of 4 hours is used up (4.5 trained)" in found.seeds_added


def test_other_studies_stay_as_they_are(planned):
    plan = planned()
    assert due_seeds(plan) is plan


def test_each_data_set_has_a_baseline(due):
    shares = {"5 drawn": 0.7, "4 drawn": 0.2, "5 other": 0.9, "4 other": 0.92}
    found = due(3, text=TWO_DATA_SETS, shares=shares)
    assert counts(found) == {"5 drawn": 3, "4 drawn": 3, "5 other": 5, "4 other": 5}
    assert found.seeds_added == "1 of 2 rows are decided by test/acc or not worth more seeds"


def test_rows_with_the_same_runs_count_once(due):
    text = LOOKED_AT + "  - {label: twin}\n"
    found = due(3, text=text, shares={**SHARES, "twin": SHARES["base"]})
    assert counts(found) == {"base": 5, "clear": 3, "close": 5, "twin": 5}
    assert found.seeds_added.startswith("1 of 2 rows are decided")


def test_no_row_to_compare_adds_no_seeds(due):
    found = due(3, "study.select=[base]")
    assert (counts(found), found.seeds_added) == (
        {"base": 3},
        "there is no row to compare with the baseline, so no seeds are added",
    )


def test_waiting_runs_are_no_reason_to_stop(due):
    found = due({"base": 3, "clear": 1, "close": 0})
    assert counts(found) == {"base": 3, "clear": 3, "close": 3}
    assert found.seeds_added.startswith("0 of 2 rows are decided")


def test_forced_seeds_are_trained_anew_once(due, cache_dir, monkeypatch):
    due(3)
    begun = []
    monkeypatch.setattr(sweep, "run_plan", lambda plan, words, config_dir, growth: begun.append((plan, growth)) or 0)
    sweep.run_sweep(["--config-dir", "conf", "study=depth", "runs_dir=runs", f"data.cache_dir={cache_dir}", "study.force=true"])
    plan, growth = begun[0]
    assert len(plan.to_train) == 3 + 5 + 5
    assert {run.cell.config.seed for run in growth.added(growth.again())} == {3, 4}
