"""What shows before a study is trained: rows that its table would refuse, classes that do not exist, the same test images."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from fer_ablate.commands import plan as plan_verb
from fer_ablate.config.schema import RowConfig, StudyConfig
from fer_ablate.config.study_rows import rows_of
from fer_ablate.errors import FaultyConfigError
from fer_ablate.execution.planning import check_comparable
from fer_ablate.study.cells import compose_cells
from fer_ablate.study.faults import class_faults
from fer_ablate.study.plan import make_plan
from fer_ablate.study.spec import study_spec

STUDY = """
base: [data.synthetic.train=70, data.synthetic.val=35, data.synthetic.test=35, model=small, trainer.max_epochs=1, tracking=none]
crossed: {evaluation.tta: [none, flip], data.synthetic.label_noise: [0.0, 0.5]}
"""


@cache
def composed(cache_dir):
    file = Path("conf") / "study" / "views.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    spec = study_spec(["study=views", f"data.cache_dir={cache_dir}"], Path("conf"))
    return spec, compose_cells(spec, Path("conf"))


@pytest.fixture
def plan(tmp_path, monkeypatch, cache_dir):
    """The study without any run, two ways of testing on two data sets; relative paths let all tests share what was composed."""
    monkeypatch.chdir(tmp_path)
    spec, cells = composed(cache_dir)
    return make_plan(spec, cells)


def with_study(plan, **fields):
    return replace(plan, spec=replace(plan.spec, study=replace(plan.spec.study, **fields)))


def with_protocols(plan, *parts):
    """The plan with one protocol for each of its runs."""
    runs = [replace(one, cell=replace(one.cell, protocol=part)) for one, part in zip(plan.runs, parts, strict=True)]
    return replace(plan, runs=tuple(runs))


def test_unlike_protocols_are_refused_before_training(plan):
    with pytest.raises(FaultyConfigError) as caught:
        check_comparable(plan)
    (fault,) = caught.value.faults
    assert fault.problem.splitlines() == [
        "These rows use different evaluation protocols and cannot share a column:",
        "      evaluation.tta: none in tta=none label_noise=0.0; flip in tta=flip label_noise=0.0",
        "      evaluation.tta: none in tta=none label_noise=0.5; flip in tta=flip label_noise=0.5",
    ]
    assert fault.remedy.endswith("with study.mixed_protocols=true.")


def test_a_grid_is_shown_the_study_that_may(plan):
    grid = replace(plan.spec, from_file=False, swept=("evaluation.tta", "data.synthetic.label_noise"))
    with pytest.raises(FaultyConfigError) as caught:
        check_comparable(replace(plan, spec=grid))
    assert "'crossed: {evaluation.tta: [none, flip], data.synthetic.label_noise: [0.0, 0.5]}'" in caught.value.faults[0].remedy


def test_what_the_table_allows_is_trained(plan):
    check_comparable(with_study(plan, mixed_protocols=True))
    none, flip = {"tta": "none"}, {"tta": "flip"}
    # Between data sets protocols may differ, and rows that are not chosen or in no table have no part in it.
    check_comparable(with_protocols(plan, none, flip, none, flip))
    check_comparable(replace(plan, runs=plan.runs[:2]))
    hidden = tuple(replace(row, auxiliary=row.label.startswith("tta=flip")) for row in plan.spec.rows)
    check_comparable(replace(plan, spec=replace(plan.spec, rows=hidden)))
    with pytest.raises(FaultyConfigError, match=r"data.balance: none in tta=none label_noise=0.5; copies 2 in tta=flip label"):
        check_comparable(with_protocols(plan, none, none, none, none | {"balance": "copies 2"}))


def test_averages_have_the_protocol_of_their_members(plan):
    none, flip = {"tta": "none"}, {"tta": "flip"}
    first, other, *members = plan.spec.rows
    rows = (first, other, *(replace(row, auxiliary=True) for row in members))
    mean = replace(first, label="mean", average_of=tuple(row.label for row in members))
    spec = replace(plan.spec, rows=(*rows, mean))
    check_comparable(with_protocols(replace(plan, spec=spec), none, none, none, none))
    with pytest.raises(FaultyConfigError, match="flip in mean"):
        check_comparable(with_protocols(replace(plan, spec=spec), none, none, flip, flip))


def test_data_sets_know_their_test_images(plan):
    clean, noisy = plan.runs[0].cell, plan.runs[1].cell
    assert clean.identity.data_digest != noisy.identity.data_digest
    assert clean.tested == noisy.tested
    assert set(clean.tested) == {"val", "test", "public", "private"}
    assert clean.tested["test"] == clean.tested["private"] != clean.tested["val"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({}, ""),
        ({"published": {"test/recall/hapy": 50}}, "published test/recall/hapy: there is no class 'hapy'"),
        ({"by_class": {"test": {"angri": [54, 62, 58, 467]}}}, "published test/precision/angri: there is no class 'angri'"),
        # What stands below a printed report, and an emotion that these images lack.
        ({"by_class": {"test": {"accuracy": [60, 30], "macro avg": [1, 2, 3, 30], "contempt": [1, 2, 3, 4]}}}, ""),
    ],
)
def test_published_classes_exist(row, fault):
    study = StudyConfig(rows=[RowConfig(label="a", **row)])
    assert [one.problem.rstrip(".") for one in class_faults(study, rows_of(study), {"a": ["happy", "angry"]})] == [fault] * bool(
        fault
    )


def test_columns_name_classes_of_some_row():
    rows = [RowConfig(label="a"), RowConfig(label="b"), RowConfig(label="mean", average_of=["a"])]
    study = StudyConfig(rows=rows, columns=["test/acc", "test/recall/sad", "val/f1/hapy", "test/mine/x"])
    (fault,) = class_faults(study, rows_of(study), {"a": ["happy"], "b": ["happy", "sad"]})
    assert str(fault) == ("study.columns: val/f1/hapy: there is no class 'hapy'.\n    Did you mean 'happy'? Choices: happy, sad.")


def test_composing_checks_classes(plan, cache_dir):
    with pytest.raises(FaultyConfigError, match="Did you mean 'happy'"):
        compose_cells(replace(plan.spec, study=replace(plan.spec.study, columns=["test/f1/hapy"])), Path("conf"))


def test_a_search_detects_no_difference():
    with pytest.raises(FaultyConfigError, match="detect: a search compares no seeds"):
        plan_verb.run(["hydra/sweeper=optuna", "optimizer.lr=interval(0.1,0.2)", "detect=1"])
