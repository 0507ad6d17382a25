"""The short notations of a study's file, and what is said about a wrong one."""

import pytest

from fer_ablate.config.by_class import report_columns
from fer_ablate.config.schema import RowConfig, StudyConfig
from fer_ablate.config.study_rows import Row, baseline_of, rows_of, study_file_faults, waves


def labels(study):
    return [row.label for row in rows_of(study)]


def faults(**fields):
    return "\n".join(str(fault) for fault in study_file_faults(StudyConfig(**fields)))


def test_written_rows_stand_on_the_study_s_base():
    study = StudyConfig(base=["experiment=pisa"], rows=[RowConfig(label="wide", overrides=["model.width=2"])])
    assert rows_of(study) == [Row("wide", ("experiment=pisa", "model.width=2"))]


def test_one_factor_gives_rows_and_the_baseline():
    study = StudyConfig(one_factor={"optimizer.lr": [0.1, 0.01], "optimizer": ["adam"]})
    assert labels(study) == ["baseline", "lr=0.1", "lr=0.01", "optimizer=adam"]
    assert [row.overrides for row in rows_of(study)] == [(), ("optimizer.lr=0.1",), ("optimizer.lr=0.01",), ("optimizer=adam",)]


def test_one_factor_does_not_repeat_a_written_baseline():
    study = StudyConfig(baseline="all", rows=[RowConfig(label="all")], one_factor={"optimizer.lr": [0.1]})
    assert labels(study) == ["all", "lr=0.1"]


def test_zipped_lists_go_in_step():
    study = StudyConfig(zipped={"trainer.max_epochs": [2, 4], "optimizer.lr": [0.1, 0.05]})
    assert [row.overrides for row in rows_of(study)] == [
        ("trainer.max_epochs=2", "optimizer.lr=0.1"),
        ("trainer.max_epochs=4", "optimizer.lr=0.05"),
    ]


def test_crossed_lists_give_every_combination():
    study = StudyConfig(crossed={"model.conv_layers": [3, 4], "model.norm": ["batch", "none"]})
    assert labels(study) == [
        "conv_layers=3 norm=batch",
        "conv_layers=3 norm=none",
        "conv_layers=4 norm=batch",
        "conv_layers=4 norm=none",
    ]


def test_ambiguous_names_are_written_in_full():
    study = StudyConfig(crossed={"model.dropout": [0.1], "model.hidden.dropout": [0.2]})
    assert labels(study) == ["model.dropout=0.1 model.hidden.dropout=0.2"]


def test_a_seed_of_drawn_faces_is_named_so():
    study = StudyConfig(one_factor={"data.synthetic.seed": [1]})
    assert [row.label for row in rows_of(study)] == ["baseline", "synthetic.seed=1"]


def test_short_rows_get_published_numbers_by_label():
    study = StudyConfig(crossed={"model.conv_layers": [3]}, published={"conv_layers=3": {"test/acc": 60.1}})
    assert rows_of(study)[0].published == {"test/acc": 60.1}
    assert study_file_faults(study) == []


def test_a_report_gives_a_number_for_each_column():
    report = {"test": {"fear": [51, 33, 40], "sad": {"support": 653}, "accuracy": [63, 3589], "macro avg": [64, 58, 59, 3589]}}
    assert report_columns(report) == {
        "test/precision/fear": 51,
        "test/recall/fear": 33,
        "test/f1/fear": 40,
        "test/support/sad": 653,
        "test/acc": 63,
        "test/support/accuracy": 3589,
        "test/macro_precision": 64,
        "test/macro_recall": 58,
        "test/macro_f1": 59,
        "test/support/macro avg": 3589,
    }
    assert study_file_faults(StudyConfig(rows=[RowConfig(label="a", by_class=report)])) == []


def test_rows_wait_for_the_rows_they_start_from():
    rows = [Row("c", (), "b"), Row("a", ()), Row("b", (), "a"), Row("d", ())]
    assert [[row.label for row in wave] for wave in waves(rows)] == [["a", "d"], ["b"], ["c"]]


def test_no_row_waits_for_a_row_not_chosen():
    assert [[row.label for row in wave] for wave in waves([Row("b", (), "a")])] == [["b"]]


def test_the_first_row_is_the_default_baseline():
    assert baseline_of(StudyConfig(rows=[RowConfig(label="x"), RowConfig(label="y")])) == "x"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "there are no rows"),
        ({"rows": [RowConfig(label="a"), RowConfig(label="a")]}, "2 rows are called 'a'"),
        ({"rows": [RowConfig(label="base")], "baseline": "bse"}, "there is no row 'bse'.\n    Did you mean 'base'"),
        ({"rows": [RowConfig(label="a")], "seeds": [0, 0]}, "[0, 0] is not a list of one or more different values"),
        ({"rows": [RowConfig(label="a", start_from="z")]}, "start_from: there is no row 'z'"),
        (
            {"rows": [RowConfig(label="a", start_from="b"), RowConfig(label="b", start_from="a")]},
            "starts from itself: a <- b <- a",
        ),
        ({"rows": [RowConfig(label="a", published={"test/acc": "65 %"})]}, "'65 %' is not a number"),
        (
            {"rows": [RowConfig(label="a", published={"tset/acc": 65})]},
            "tset/acc does not begin with a split. Did you mean 'test'?",
        ),
        ({"rows": [RowConfig(label="a", published={"test/recal/fear": 65})]}, "test/recal/fear does not end with a metric"),
        ({"rows": [RowConfig(label="a", by_class={"tset": {"fear": 3}})]}, "tset/acc does not begin with a split"),
        ({"rows": [RowConfig(label="a", by_class={"test": 3})]}, "by_class test: 3 has no lines"),
        ({"rows": [RowConfig(label="a", by_class={"test": {"fear": [51, 33]}})]}, "by_class test, fear: [51, 33] are 2 numbers"),
        (
            {"rows": [RowConfig(label="a", by_class={"test": {"fear": {"recal": 3}}})]},
            "'recal' is not one of its scores. Did you",
        ),
        ({"rows": [RowConfig(label="a", by_class={"test": {"fear": [51, 330, 40]}})]}, "330 is not a percentage"),
        ({"rows": [RowConfig(label="a", by_class={"test": {"accuracy": "63 %"}})]}, "'63 %' is not a number"),
        ({"rows": [RowConfig(label="a", by_class={"test": {"fear": {"recall": float("nan")}}})]}, "nan is not a percentage"),
        ({"rows": [RowConfig(label="a", by_class={"test": {"fear": {"support": 496.5}}})]}, "496.5 is not a number of images"),
        ({"rows": [RowConfig(label="a", published={"test/acc": float("nan")})]}, "published test/acc: nan is not a percentage"),
        ({"rows": [RowConfig(label="a", published={"test/loss": float("inf")})]}, "published test/loss: inf is not finite"),
        ({"rows": [RowConfig(label="a"), RowConfig(label="b", auxiliary=True)]}, "auxiliary, but no row starts from it"),
        (
            {"rows": [RowConfig(label="a", auxiliary=True), RowConfig(label="b", start_from="a")]},
            "'a' is auxiliary and part of no table",
        ),
        ({"rows": [RowConfig(label="a", overrides=["seed=3"])]}, "Seeds belong in study.seeds"),
        ({"rows": [RowConfig(label="a", overrides=["data.fold=3"])]}, "'data.fold=3' is not for rows to set"),
        ({"rows": [RowConfig(label="a")], "base": ["data.folds=3"], "folds": 10}, "'data.folds=3' is not for rows to set"),
        ({"one_factor": {"data.fold": [0, 1]}}, "Give the study folds: 10"),
        ({"one_factor": {"seed": [1, 2]}}, "Seeds belong in study.seeds"),
        ({"zipped": {"name": ["a", "b"]}}, "A row is named by its label"),
        ({"crossed": {"hydra.job.chdir": [True]}}, "study.crossed.hydra.job.chdir: is not for rows to set"),
        ({"rows": [RowConfig(label="a", overrides=["runs_dir=x"])]}, "one study has one folder"),
        ({"rows": [RowConfig(label="a", overrides=["++tracking.experiment=x"])]}, "one study is one experiment"),
        ({"rows": [RowConfig(label="a")], "folds": 1}, "study.folds: 1 is below 2"),
        ({"rows": [RowConfig(label="a", overrides=["optimizer.lr=1,2"])]}, "is several values"),
        ({"rows": [RowConfig(label="a", overrides=["optimizer lr"])]}, "is not an override"),
        ({"zipped": {"a": [1, 2], "b": [1]}}, "a has 2, b has 1"),
        ({"one_factor": {"a": 3}}, "3 is not a list of values"),
    ],
)
def test_faults_say_what_is_wrong(fields, message):
    assert message in faults(**fields)
