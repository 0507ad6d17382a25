"""Which rows of a study are combinations of the levels of factors."""

import pytest

from fer_ablate.config.schema import StudyConfig
from fer_ablate.config.study_rows import Row, rows_of
from fer_ablate.judgement.designs import complete, design_of
from fer_ablate.judgement.judged_table import Factor
from fer_ablate.study.plan import Plan
from fer_ablate.study.spec import StudySpec

from .factors import LOSS, OPTIMIZER, SCHEDULER, crossed


def plan_of(study=None, rows=None, swept=(), typed=(), baseline=None):
    study = StudyConfig(**(study or {}))
    rows = tuple(rows_of(study) if rows is None else rows)
    spec = StudySpec("s", study, True, rows, (0,), baseline or rows[0].label, tuple(typed), None, swept=tuple(swept))
    return Plan(spec, ())


def test_crossed_keys_are_factors():
    study = {"crossed": {"optimizer": ["adam", "sgd"], "optimizer.lr": [0.1, 0.01]}, "base": ["optimizer.lr=0.1"]}
    rows = [*rows_of(StudyConfig(**study)), Row("other", ("optimizer.lr=0.1", "optimizer=lion"))]
    found = design_of(plan_of(study, rows))
    assert found.factors == (Factor("optimizer", ("adam", "sgd"), "adam"), Factor("optimizer.lr", ("0.1", "0.01"), "0.1"))
    assert found.size == "2 x 2"
    assert "other" not in found.rows


def test_left_out_combinations_stay_left_out():
    study = {"crossed": {"a": [1, 2], "b": [1, 2, 3]}, "exclude": [{"a": 2, "b": 3}]}
    found = design_of(plan_of(study))
    assert (len(found.rows), len(found.combinations)) == (5, 6)
    assert complete(found, set(found.rows)).factors[1].levels == ("1", "2")


def test_one_factor_at_a_time_is_no_cross():
    found = design_of(plan_of({"one_factor": {"a": [1, 2], "b": [5]}}))
    assert not found.crossed
    assert found.rows["b=5"] == ("as in the base", "5")


def test_rows_times_a_grid_are_a_factor():
    rows = [
        Row(f"{name} optimizer={value}", (*words, f"optimizer={value}"))
        for name, words in (("small", ()), ("-1 Conv", ("model.conv_layers=4",)))
        for value in ("adam", "sgd")
    ]
    found = design_of(plan_of({}, rows, swept=["optimizer"]))
    assert [factor.name for factor in found.factors] == ["row", "optimizer"]
    assert found.rows["-1 Conv optimizer=sgd"] == ("-1 Conv", "sgd")


def test_a_written_full_cross_is_found():
    """As in the document of the shipped study of optimizers, where a rate belongs to one of the schedules."""
    words = {"plateau": (), "constant": ("scheduler=constant", "optimizer.lr=0.001")}
    rows = [Row(f"{o} {s}", ("experiment=vggnet", f"optimizer={o}", *words[s])) for o in ("adam", "sgd") for s in words]
    found = design_of(plan_of({}, rows))
    assert [factor.levels for factor in found.factors] == [("adam", "sgd"), ("as in the base", "constant, lr=0.001")]
    assert design_of(plan_of({}, rows[:-1])) is None


@pytest.mark.parametrize(
    "study", [{"one_factor": {"a": [1, 2, 3]}}, {"crossed": {"a": [1, 2]}}, {"zipped": {"a": [1, 2], "b": [1, 2]}}]
)
def test_a_single_factor_is_no_design(study):
    assert design_of(plan_of(study)) is None


def test_missing_combinations_leave_the_largest_complete_part():
    design = crossed(OPTIMIZER, SCHEDULER)
    assert complete(design, set(design.rows)) == design
    part = complete(design, set(design.rows) - {"sgd step"})
    assert (part.size, part.factors[1].levels) == ("2 x 2", ("constant", "cosine"))
    assert complete(crossed(OPTIMIZER, LOSS), {"adam ce", "adam focal", "sgd ce"}) is None
