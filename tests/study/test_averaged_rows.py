"""Rows that average the networks of other rows: their scores, what the plan and the table say of them, and their faults."""

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from fer_ablate.commands import plan as plan_verb
from fer_ablate.config.choices import AverageOver, Roles, TestTimeAugmentation
from fer_ablate.config.schema import RowConfig, StudyConfig, StudySwitches
from fer_ablate.config.study_rows import Row, study_file_faults
from fer_ablate.ensemble.average import build_ensemble
from fer_ablate.ensemble.members import ensemble_candidates
from fer_ablate.execution.mlflow_summary import mlflow_summary
from fer_ablate.execution.study_output import StudyOutput, judged_study
from fer_ablate.execution.table_progress import TableProgress
from fer_ablate.judgement.averaged_runs import averaged_row
from fer_ablate.judgement.planned_rows import rows_with_runs
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.metrics import SplitResult, class_scores
from fer_ablate.metrics.split_result import counted_scores
from fer_ablate.report.page.study import study_page
from fer_ablate.report.results.export import exported_runs, merged_export
from fer_ablate.report.results.page import results_page
from fer_ablate.report.results.table import StudyResults
from fer_ablate.study.average_faults import different_tests
from fer_ablate.study.averaged_rows import averaged_networks
from fer_ablate.study.cells import compose_cells
from fer_ablate.study.plan import make_plan
from fer_ablate.study.spec import study_spec
from fer_ablate.tracking.disk.run_folder import StoredPredictions
from fer_ablate.tracking.disk.run_state import RunState

from ..finished_runs import finish_run
from .conftest import folder_of, header_of
from .voting_runs import CLASSES, guesses

STUDY = """
base: [data.synthetic.train=70, data.synthetic.val=35, data.synthetic.test=35, model=pisa, trainer.max_epochs=2, tracking=none]
baseline: wide
seeds: [0, 1]
columns: [test/acc, val/acc]
rows:
  - {label: wide}
  - {label: flat, overrides: [model.conv_layers=4]}
  - {label: hidden, overrides: [model.conv_layers=3], auxiliary: true}
  - {label: pairs, average_of: [wide, flat], published: {test/acc: 75.2}}
  - {label: four, average_of: [wide, flat], average_over: seeds}
  - {label: with hidden, average_of: [wide, hidden]}
"""
N = 400
"""Images of either split."""

TRUTH = np.arange(2 * N) % 3


@cache
def composed(words, text=STUDY):
    file = Path("conf") / "study" / "own.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    spec = study_spec(["study=own", "runs_dir=runs", *words], Path("conf"))
    return spec, compose_cells(spec, Path("conf"))


@pytest.fixture
def planned(tmp_path, monkeypatch, cache_dir):
    """The plan of the study, with fields of its spec replaced; relative paths let all tests share what was composed."""
    monkeypatch.chdir(tmp_path)
    spec, cells = composed((f"data.cache_dir={cache_dir}",))
    return lambda **fields: make_plan(replace(spec, **fields), cells)


def counted(probabilities, labels):
    """The scores that follow from the likeliest classes, in a tenth of the time that all scores take."""
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (labels, probabilities.argmax(axis=1)), 1)
    scores = class_scores(counts, CLASSES)
    return SplitResult(n=len(labels), metrics=counted_scores(counts), per_class=scores, confusion=counts.tolist())


def finish(cell, number, right=0.6, first_val=0, first_test=0, **result):
    """What a finished run leaves that is right about this part of the images; returns its run."""
    draw = np.random.default_rng(number)
    probabilities = guesses(draw, TRUTH, right)
    rows = np.concatenate([first_val + np.arange(N), 10_000 + first_test + np.arange(N)])
    masks = {"val": np.arange(2 * N) < N, "test": np.arange(2 * N) >= N}
    splits = {name: counted(probabilities[mask], TRUTH[mask]) for name, mask in masks.items()}
    predictions = StoredPredictions(rows, np.where(masks["val"], 1, 2), TRUTH, probabilities, masks)
    fields = {"classes": CLASSES, "splits": splits, "seconds": 10.0, "parameters": 100 + number, "macs": 7, **result}
    return finish_run(folder_of(cell), header_of(cell), predictions, **fields)


def finish_all(plan, **differing):
    """Finish every run; `differing` is what the last run of `flat` leaves otherwise."""
    last = max(number for number, planned in enumerate(plan.runs) if planned.cell.row.label == "flat")
    return [finish(planned.cell, number, **(differing if number == last else {})) for number, planned in enumerate(plan.runs)]


def row_named(plan, label):
    """One row of averages; the others are not computed."""
    networks = [network for network in averaged_networks(plan) if network.row.label == label]
    return averaged_row(networks[0].row, networks, plan)


def with_metrics(plan, metrics):
    """The plan with metrics of the user's own in all of its runs."""

    def changed(config):
        return replace(config, evaluation=replace(config.evaluation, metrics=metrics), plugins=["torchmetrics"])

    runs = [replace(one, cell=replace(one.cell, config=changed(one.cell.config))) for one in plan.runs]
    return replace(plan, runs=tuple(runs))


@pytest.mark.long
def test_an_average_is_measured_by_own_metrics(planned):
    finish_all(planned())
    plan = planned()
    assert row_named(plan, "pairs").runs[0].result.own_metrics == {}
    run = row_named(with_metrics(plan, {"mcc": "torchmetrics.MatthewsCorrCoef"}), "pairs").runs[0]
    assert run.result.own_metrics == {"mcc": True}
    labels = run.folder.predictions.labels[run.folder.predictions.splits["test"]]
    assert run.result.splits["test"].metrics["mcc"] == pytest.approx(matthews_corrcoef(labels, said(run).argmax(axis=1)))
    again = row_named(with_metrics(plan, {"mcc": "torchmetrics.MatthewsCorrCoef"}), "pairs").runs[0]
    assert again.result == run.result


def said(run, split="test"):
    stored = run.folder.predictions
    return stored.probabilities[stored.splits[split]]


def test_a_seed_s_networks_are_averaged(planned):
    runs = finish_all(planned())
    wide, flat = runs[:2], runs[2:4]
    row = row_named(planned(), "pairs")
    assert [run.header.seed for run in row.runs] == [0, 1]
    for average, one, other in zip(row.runs, wide, flat, strict=True):
        for split in ("val", "test"):
            expected = (said(one, split).astype(float) + said(other, split)) / 2
            np.testing.assert_allclose(said(average, split), expected, atol=1e-7)
        right = said(average).argmax(axis=1) == TRUTH[N:]
        assert average.result.splits["test"].metrics["acc"] == pytest.approx(right.mean())
        assert sum(map(sum, average.result.splits["test"].confusion)) == N


def test_all_seeds_together_are_one_network(planned):
    runs = finish_all(planned())
    row = row_named(planned(), "four")
    assert (len(row.runs), row.expected, row.average.networks) == (1, 1, 4)
    np.testing.assert_allclose(said(row.runs[0]), np.mean([said(run) for run in runs[:4]], axis=0, dtype=float), atol=1e-7)


def test_the_verb_ensemble_gives_the_same_network(planned):
    finish_all(planned())
    plan = planned()
    candidates = [one for one in ensemble_candidates(rows_with_runs(plan)) if not one.label.startswith("with")]
    assert len(candidates) == 4
    ensemble = build_ensemble(candidates)
    average = row_named(plan, "four").runs[0]
    assert average.result.splits["test"] == ensemble.splits["test"]
    assert average.result.splits["val"] == ensemble.splits["val"]


def test_costs_of_an_average_are_sums(planned):
    finish_all(planned())
    result = row_named(planned(), "pairs").runs[0].result
    assert (result.parameters, result.macs, result.seconds) == (100 + 102, 14, 20.0)


def test_an_average_is_judged_like_any_row(planned):
    finish_all(planned())
    table, _ = judged_study(planned())
    assert [row.label for row in table.rows] == ["wide", "flat", "pairs", "four", "with hidden"]
    pairs, four = table.rows[2].scores["test/acc"], table.rows[3].scores["test/acc"]
    assert (pairs.n, four.n) == (2, 1)
    assert pairs.over_images
    assert pairs.low < pairs.mean < pairs.high
    assert (pairs.published.value, pairs.gap) == (75.2, pytest.approx(100 * pairs.mean - 75.2))
    assert pairs.difference.verdict.startswith("within noise")  # of two networks that disagree, either may be right
    assert (four.difference.value > 0.1, four.difference.p < 0.05) == (True, True)  # independent mistakes average out
    assert "these two networks only" in four.difference.verdict
    assert any(note.startswith("four: probabilities averaged over 4 networks (all seeds of wide, flat)") for note in table.notes)


def test_an_average_waits_for_its_members(planned):
    plan = planned()
    for place in (0, 2):
        finish(plan.runs[place].cell, place)
    plan = planned()
    found = {(one.row.label, one.repeat.seed): one for one in averaged_networks(plan)}
    assert found["pairs", 0].state.value == "finished"
    assert found["pairs", 1].reason == "members not finished: wide, seed 1; flat, seed 1"
    assert found["four", 0].reason == "members not finished: wide, seed 1; flat, seed 1"
    rows = {row.label: len(row.runs) for row in rows_with_runs(plan)}
    assert rows == {"wide": 1, "flat": 1, "pairs": 1, "four": 0, "with hidden": 0}
    assert len(plan.to_train) == 4


def test_an_average_is_computed_once(planned):
    finish_all(planned())
    folder = row_named(planned(), "four").runs[0].folder
    before = folder.result_file.stat().st_mtime_ns
    assert row_named(planned(), "four").runs[0].folder.result_file.stat().st_mtime_ns == before


def test_a_member_trained_anew_gives_a_new_average(planned):
    finish_all(planned())
    before = row_named(planned(), "four").runs[0]
    finish(planned().runs[0].cell, 77, finished_at="2026-01-03T03:05:05+00:00")
    after = row_named(planned(), "four").runs[0]
    assert after.header.key != before.header.key
    assert not np.array_equal(said(after), said(before))


def test_averages_are_no_runs_on_disk(planned):
    finish_all(planned())
    assert row_named(planned(), "pairs").runs[0].folder.finished
    assert len(planned().runs) == 6
    assert planned().damaged == ()


def test_other_test_images_are_not_averaged(planned):
    finish_all(planned(), first_test=5)
    row = row_named(planned(), "pairs")
    assert [run.header.seed for run in row.runs] == [0]
    (note,) = row.average.notes
    assert "were tested on different images of test" in note


def test_other_val_images_leave_the_test(planned):
    finish_all(planned(), first_val=5)
    row = row_named(planned(), "pairs")
    assert [set(run.result.splits) for run in row.runs] == [{"val", "test"}, {"test"}]
    assert row.average.notes == ("its networks were tested on different images of val, which has no average",)


def test_other_classes_are_not_averaged(planned):
    finish_all(planned(), classes=["happy", "sad", "angry"])
    (note,) = row_named(planned(), "pairs").average.notes
    assert "classes: happy, sad, fear in wide, seed 1; happy, sad, angry in flat, seed 1" in note


@pytest.mark.long
def test_each_fold_has_averages_of_its_own(planned, cache_dir):
    text = STUDY.replace("baseline: wide", "baseline: four\nfolds: 2").replace(", val/acc", "")
    text = "".join(line for line in text.splitlines(keepends=True) if "hidden" not in line)
    spec, cells = composed((f"data.cache_dir={cache_dir}",), text)
    for number, cell in enumerate(cells):
        finish(cell, number, first_test=1000 * cell.repeat.fold)
    table, rows = judged_study(make_plan(spec, cells))
    found = {row.label: [str(run.header.repeat) for run in row.runs] for row in rows}
    assert found["pairs"] == ["seed 0, fold 0", "seed 0, fold 1", "seed 1, fold 0", "seed 1, fold 1"]
    assert found["four"] == ["seed 0, fold 0", "seed 0, fold 1"]
    assert [row.expected for row in table.rows] == [4, 4, 4, 2]
    assert table.rows[3].baseline  # an average may be compared with as well
    assert table.rows[0].scores["test/acc"].difference.value < 0


def test_the_plan_shows_averages(planned, cache_dir, capsys):
    (Path("conf") / "study").mkdir(parents=True, exist_ok=True)
    (Path("conf") / "study" / "own.yaml").write_text(STUDY)
    finish(planned().runs[0].cell, 0)
    finish(planned().runs[2].cell, 2)
    assert plan_verb.run(["--config-dir", "conf", "study=own", "runs_dir=runs", f"data.cache_dir={cache_dir}"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["pairs", "0", "—", "finished", "average", "of", "2", "networks"] in lines
    assert ["four", "all", "—", "missing", "members", "not", "finished:", "wide,", "seed", "1;", "flat,", "seed", "1"] in lines


@pytest.mark.long
def test_the_page_shows_averages_among_the_rows(planned, tmp_path):
    finish_all(planned(), right=0.9)
    plan = planned()
    table, rows = judged_study(plan)
    page = study_page(plan.spec, table, rows, tmp_path)
    assert "probabilities averaged over 4 networks" in page.html
    assert page.runs == 4  # an average is no run
    for row in rows:  # nor has it weights to be explained
        keys = [run.header.key[:10] for run in row.runs]
        assert any(f"explain run={key}" in page.html for key in keys) == (row.label in ("wide", "flat"))


def test_mlflow_is_given_averages_like_rows(planned):
    finish_all(planned())
    table, rows = judged_study(planned())
    summary = mlflow_summary(StudyOutput(table, tuple(rows), (), None), RunState.finished)
    assert summary.rows["pairs"]["published/test/acc"] == pytest.approx(0.752)
    assert summary.rows["four"]["run/parameters"] == 406
    assert summary.details["four"].parameters == {"average_of": "wide, flat", "average_over": "seeds", "networks": "4"}
    assert "average_of" not in summary.details["wide"].parameters
    assert [len(summary.runs[label]) for label in ("pairs", "four")] == [2, 1]


def test_the_page_of_results_has_averages(planned, tmp_path):
    finish_all(planned())
    plan = planned()
    table, rows = judged_study(plan)
    labels = [row.label for row in plan.spec.rows]
    export = merged_export(None, table, exported_runs(rows, "", {}), labels)
    (tmp_path / "docs" / "results").mkdir(parents=True)
    (tmp_path / "docs" / "results" / "own.json").write_text(export.to_json())
    page = results_page([plan.spec], tmp_path / "docs")
    assert "| [own](#own) | 5 of 5 | 0, 1 | run in full |" in page
    assert "75.2" in page
    assert {run.label for run in StudyResults(plan.spec, export).trained} == {"wide", "flat"}


def test_progress_counts_trained_rows_only(planned):
    counts = {label: Counter({RunState.finished: 1}) for label in ("wide", "flat")}
    progress = TableProgress(planned().spec, counts)
    assert progress.in_words(progress.labels) == "2 of 4"
    assert progress.in_words(["four"]) == "an average"


def test_a_chosen_average_brings_its_members(planned):
    plan = planned(switches=StudySwitches(select=["with hidden"]))
    assert [run.cell.name for run in plan.runs] == ["wide, seed 0", "wide, seed 1", "hidden, seed 0", "hidden, seed 1"]
    assert [row.label for row in rows_with_runs(plan)] == ["wide", "with hidden"]
    assert averaged_networks(planned(switches=StudySwitches(select=["flat"]))) == []


def test_one_seed_alone_is_no_average(planned):
    """Where the study has more, but the command has one."""
    spec = planned().spec
    alone = Row("alone", (), average_of=("wide",), average_over=AverageOver.seeds)
    plan = planned(rows=(*spec.rows, alone))
    plan = replace(plan, runs=tuple(run for run in plan.runs if run.cell.config.seed == 0))
    finish(plan.runs[0].cell, 0)
    plan = replace(plan, runs=tuple(run for run in planned(rows=plan.spec.rows).runs if run.cell.config.seed == 0))
    (network,) = (one for one in averaged_networks(plan) if one.row.label == "alone")
    assert network.reason == "one network alone is no average: give more seeds"


def test_a_grid_crosses_averages_too(planned):
    words = ["study=own", "optimizer.lr=0.1,0.2", f"data.cache_dir={planned().runs[0].cell.config.data.cache_dir}"]
    Path("conf/study").mkdir(parents=True, exist_ok=True)
    Path("conf/study/own.yaml").write_text(STUDY)
    rows = {row.label: row.average_of for row in study_spec(words, Path("conf")).rows}
    assert rows["pairs lr=0.1"] == ("wide lr=0.1", "flat lr=0.1")
    assert rows["wide lr=0.2"] == ()


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("evaluation", {"tta": TestTimeAugmentation.flip}, "tta none in wide, flip in flat"),
        ("data", {"roles": Roles.swapped}, "roles official in wide, swapped in flat"),
        ("trainer", {"limit_test_batches": 2.0}, "images none in wide, first 2 batches in flat"),
    ],
)
def test_rows_tested_differently_are_a_fault(planned, section, change, message):
    plan = planned()
    trained = {run.cell.row.label: (run.cell.config, run.cell.identity.data_digest) for run in plan.runs}
    assert different_tests(plan.spec.rows, trained) == []
    config, digest = trained["flat"]
    other = replace(config, **{section: replace(getattr(config, section), **change)})
    found = different_tests(plan.spec.rows, {**trained, "flat": (other, digest)})
    assert [fault.key for fault in found] == ["study.rows 'pairs'", "study.rows 'four'"]
    assert message in found[0].problem


def test_rows_with_other_images_are_a_fault(planned):
    plan = planned()
    trained = {run.cell.row.label: (run.cell.config, run.cell.identity.data_digest) for run in plan.runs}
    (fault, _) = different_tests(plan.spec.rows, {**trained, "flat": (trained["flat"][0], "0" * 64)})
    assert "digest of the images" in fault.problem


ROWS = (RowConfig(label="wide"), RowConfig(label="flat"), RowConfig(label="both", average_of=["wide", "flat"]))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (RowConfig(label="x", average_of=["wide", "flaat"]), "there is no row 'flaat'. Did you mean 'flat'?"),
        (RowConfig(label="x", average_of=["wide", "x"]), "the row would average itself"),
        (
            RowConfig(label="x", average_of=["wide", "both"]),
            "'both' is an average itself. Name the rows that are trained: 'wide', 'flat'",
        ),
        (RowConfig(label="x", average_of=["wide", "wide"]), "'wide' is named more than once"),
        (
            RowConfig(label="x", average_of=["wide"]),
            "one network alone is no average. Name more rows, or set average_over: seeds",
        ),
        (
            RowConfig(label="x", average_of=["wide", "flat"], overrides=["a=1"], start_from="wide"),
            "overrides and start_from would have",
        ),
        (RowConfig(label="x", average_over=AverageOver.seeds), "average_over is set, but not average_of"),
        (RowConfig(label="x", start_from="both"), "'both' is an average of networks and has no weights"),
    ],
)
def test_faults_of_averages_are_said_in_words(row, message):
    faults = study_file_faults(StudyConfig(rows=[*ROWS, row], seeds=[0, 1]))
    assert message in " ".join(f"{fault.problem} {fault.remedy}" for fault in faults)


def test_averages_in_a_circle_are_faults():
    rows = [RowConfig(label="a", average_of=["b", "wide"]), RowConfig(label="b", average_of=["a", "wide"])]
    found = [str(fault) for fault in study_file_faults(StudyConfig(rows=[*ROWS[:2], *rows]))]
    assert len(found) == 2
    assert all("is an average itself" in text for text in found)


def test_a_sound_average_has_no_fault():
    assert (
        study_file_faults(
            StudyConfig(rows=[*ROWS, RowConfig(label="x", average_of=["wide"], average_over=AverageOver.seeds)], seeds=[0, 1])
        )
        == []
    )
    assert RowRuns("x", (0,), ()).average is None
