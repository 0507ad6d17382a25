"""The page of results from exports: nothing is lost, and nothing is claimed that the files do not say."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from fer_ablate.config.schema import RowConfig, StudyConfig
from fer_ablate.config.study_rows import Repeat, rows_of
from fer_ablate.errors import UserError
from fer_ablate.judgement.judged_table import Failure, Published
from fer_ablate.report.results.confusions import confusions_in_words
from fer_ablate.report.results.costs import (
    RowTrial,
    cost_in_words,
    costs,
    merged_trials,
    read_trials,
    time_in_words,
    write_trials,
)
from fer_ablate.report.results.export import (
    ExportedRun,
    StudyExport,
    export_file,
    ignored_files,
    merged_export,
    read_export,
    trials_file,
)
from fer_ablate.report.results.measured import measured_in_words, measured_rows
from fer_ablate.report.results.page import results_page
from fer_ablate.report.results.table import StudyResults, results_table
from fer_ablate.report.table.formats import markdown_text
from fer_ablate.study.documents import documents, read_studies, study_names
from fer_ablate.study.spec import StudySpec

from .example_tables import difference, row, score, table

DOCS = Path(__file__).parents[2] / "docs"
STUDY = "fer_kd/table1"
CPU = {"hardware": "AMD EPYC", "device": "cpu", "threads": "2", "precision": "bf16-mixed", "torch": "2.13.0"}
GPU = {**CPU, "hardware": "NVIDIA H200", "device": "cuda", "threads": "16"}


def run(label, seed, acc, date="2026-01-02", **rest):
    """An exported run with this accuracy on test, and two points more on val."""
    given = {"environment": CPU, "code_digest": "c0de", "data_digest": "da7a", "seconds": 600.0, **rest}
    protocol, metrics = {"roles": "swapped", "tta": "none"}, {"test/acc": acc, "val/acc": acc + 0.02}
    return ExportedRun(label=label, seed=seed, protocol=protocol, date=date, metrics=metrics, **given)


RUNS = (
    run("FER_KD", 0, 0.62),
    run("FER_KD", 1, 0.64, "2026-01-03"),
    run("-1 Conv", 0, 0.60, "2026-01-05", environment=GPU, code_digest="c0df"),
)


def trial(label, **rest):
    """A trial of this row on the CPU."""
    machine = {"device": "cpu", "hardware": "AMD EPYC", "precision": "bf16-mixed", "threads": "2"}
    given = {"full_images": 28709, "epochs": 15, "date": "2026-01-01", "code_digest": "c0de", **machine, **rest}
    return RowTrial(study=STUDY, row=label, **given)


@pytest.fixture
def study():
    rows = [
        RowConfig(label="FER_KD", published={"val/acc": 65.43, "test/acc": 62.62}),
        RowConfig(label="-1 Conv", published={"test/acc": {"value": 60.78, "note": "read off"}}),
        RowConfig(label="first", auxiliary=True),
        RowConfig(label="-2 Conv", start_from="first", published={"test/acc": 58.96}),
    ]
    config = StudyConfig(source="FER_KD, Table 1", columns=["test/acc"], rows=rows)
    return StudySpec(STUDY, config, True, tuple(rows_of(config)), (0, 1), "FER_KD", (), None)


@pytest.fixture
def docs(tmp_path):
    """A folder with an export whose judged table has FER_KD with both seeds and -1 Conv with its one."""
    judged = table(
        [
            row("FER_KD", {"test/acc": score(0.63, n=2, agrees=True, published=Published(62.62))}, seeds=(0, 1), baseline=True),
            row("-1 Conv", {"test/acc": score(0.6, n=1, difference=difference(-0.03, 0.01, 1))}, seeds=(0, 1)),
            row("-2 Conv", seeds=(0, 1), failures=(Failure(0, "out of memory (8 GB)", Path("runs/a/log.txt")),)),
        ],
        notes=("n=1 (-1 Conv): of two networks.",),
    )
    (tmp_path / "results").mkdir()
    keep(tmp_path, judged, RUNS)
    tried = (
        trial("FER_KD", images=2000, seconds_per_epoch=2.0),
        trial("-1 Conv", images=1998, seconds_per_epoch=1.0, typed="model.width=0.5"),
        trial("-2 Conv", problem="out of memory"),
    )
    write_trials(tmp_path, tried)
    return tmp_path


def keep(docs, judged, runs):
    """Write an export of these runs."""
    export_file(docs, STUDY).write_text(StudyExport(judged, tuple(runs)).to_json())


def kept(docs):
    return read_export(export_file(docs, STUDY))


def rebuilt(study, docs):
    found = results_table(StudyResults(study, kept(docs)))
    return found, {line.label: line for line in found.rows}


@pytest.mark.long
def test_the_committed_page_agrees_with_its_files():
    if not (DOCS / "results.md").is_file():
        pytest.skip("no page is committed")
    page = results_page(read_studies(study_names(documents())), DOCS)
    assert page == (DOCS / "results.md").read_text(), "write it anew: python -m fer_ablate results"


def test_a_row_of_judged_runs_keeps_its_score(study, docs):
    found, rows = rebuilt(study, docs)
    measured = rows["FER_KD"].scores["test/acc"]
    assert (measured.n, measured.mean, measured.low, measured.high) == (2, 0.63, pytest.approx(0.621), pytest.approx(0.639))
    assert (measured.gap, measured.agrees) == (pytest.approx(63 - 62.62), True)
    assert rows["-1 Conv"].scores["test/acc"].difference.value == pytest.approx(-0.03)
    assert found.notes == ("n=1 (-1 Conv): of two networks.",)


def test_another_published_number_is_not_said_to_agree(study, docs):
    study.rows[0].published["test/acc"] = 70
    measured = rebuilt(study, docs)[1]["FER_KD"].scores["test/acc"]
    assert (measured.published, measured.gap, measured.agrees) == (Published(70.0), pytest.approx(-7), None)


def test_a_published_column_is_measured_as_well(study, docs):
    found, rows = rebuilt(study, docs)
    assert found.columns == ("test/acc", "val/acc")
    measured = rows["FER_KD"].scores["val/acc"]
    assert (measured.mean, measured.sd) == (pytest.approx(0.65), pytest.approx(0.02 / math.sqrt(2)))
    assert measured.gap == pytest.approx(65 - 65.43)


def test_runs_outside_the_judged_table_stay_unjudged(study, docs):
    keep(docs, kept(docs).table, (RUNS[0], replace(RUNS[1], seed=7), RUNS[2]))
    found, rows = rebuilt(study, docs)
    assert (rows["FER_KD"].scores["test/acc"].n, rows["FER_KD"].scores["test/acc"].mean) == (2, pytest.approx(0.63))
    assert math.isnan(rows["FER_KD"].scores["test/acc"].low)
    assert rows["-1 Conv"].scores["test/acc"].difference is None  # its baseline is another one now
    assert "without interval and verdict: FER_KD" in found.notes[-1]


def test_failed_rows_say_so_and_auxiliary_ones_vanish(study, docs):
    _, rows = rebuilt(study, docs)
    assert list(rows) == ["FER_KD", "-1 Conv", "-2 Conv"]
    assert rows["-2 Conv"].failures == (Failure(0, "out of memory (8 GB)", Path("runs/a/log.txt")),)
    assert rows["-1 Conv"].published == {"test/acc": Published(60.78, "read off")}


def test_folds_are_exported_and_averaged_over_seeds(study, docs):
    study = replace(study, study=replace(study.study, folds=2))
    runs = [run("FER_KD", seed, acc, fold=fold) for seed, fold, acc in ((0, 0, 0.5), (1, 0, 0.6), (0, 1, 0.75))]
    finished = (Repeat(0, 0), Repeat(0, 1), Repeat(1, 0))
    failed = Failure(1, "out of memory", Path("runs/a/log.txt"), 1)
    judged = row("FER_KD", {"test/acc": score(0.65)}, seeds=(0, 1), finished=finished, folds=2, failures=(failed,))
    keep(docs, replace(table([judged]), folds=2), runs)
    found, rows = rebuilt(study, docs)
    measured = rows["FER_KD"].scores
    assert (found.folds, rows["FER_KD"].finished, rows["FER_KD"].expected) == (2, finished, 4)
    assert (measured["test/acc"].mean, measured["test/acc"].low) == (0.65, pytest.approx(0.641))  # as judged
    assert (measured["val/acc"].n, measured["val/acc"].mean) == (2, pytest.approx((0.57 + 0.77) / 2))  # over the folds
    assert rows["FER_KD"].failures == (failed,)
    assert "partly run: 3 of 12 runs" in results_page([study], docs)
    newer = merged_export(kept(docs), found, [run("FER_KD", 0, 0.7, "2026-02-02", fold=1)], ["FER_KD"])
    assert [(one.seed, one.fold, one.date) for one in newer.runs] == [
        (0, 0, "2026-01-02"),
        (0, 1, "2026-02-02"),
        (1, 0, "2026-01-02"),
    ]


def test_the_page_tells_where_numbers_come_from(study, docs):
    page = results_page([study], docs)
    assert "| [fer_kd/table1](#fer_kdtable1) | 2 of 3 | 0, 1 | partly run: 3 of 6 runs | -0.8 (-1 Conv, test acc) |" in page
    assert "AMD EPYC, 2 threads, bf16-mixed, torch 2.13.0 (2 runs); NVIDIA H200, bf16-mixed, torch 2.13.0 (1 run)" in page
    assert "Trained: 2026-01-02 to 2026-01-05." in page
    assert "Code: c0de (2 runs); c0df (1 run)." in page
    assert "63.0 ± 0.4" in page
    assert "failed (seed 0): out of memory" in page
    assert page == results_page([study], docs)


@pytest.mark.parametrize(("stale", "runs"), [("code changed", 3), ("trainer.max_epochs 1 -> 15, code changed", 2)])
def test_earlier_runs_with_other_settings_do_not_count(study, docs, stale, runs):
    keep(docs, kept(docs).table, (*RUNS[:2], replace(RUNS[2], stale=stale)))
    page = results_page([study], docs)
    assert f"partly run: {runs} of 6 runs" in page
    assert f"Of an earlier state: {stale}." in page


def test_metrics_of_a_single_row_are_stacked(study, docs):
    alone = replace(study, rows=study.rows[:1], study=replace(study.study, rows=study.study.rows[:1]))
    lines = results_page([alone], docs).splitlines()
    assert "**FER_KD (baseline)**, n 2" in lines
    assert any(line.startswith("| test acc, % | 63.0 ± 0.4 |") and "62.62" in line for line in lines)
    assert any(line.startswith("| val acc, % | 65.0 ± 1.4 |") and "65.43" in line for line in lines)


def test_a_study_without_files_is_not_yet_run(study, tmp_path):
    page = results_page([study], tmp_path)
    assert "| FER_KD (baseline) | 62.62 | 65.43 | not yet run |" in page
    assert "| fer_kd/table1 | 0 of 4 | — | unknown | — |" in page


def test_the_cost_is_summed_over_tried_rows(docs):
    (cost,) = costs(read_trials(docs), STUDY)
    assert cost.seconds == pytest.approx(2 / 2000 * 28709 * 15 + 1 / 1998 * 28709 * 15)
    assert cost_in_words(cost, {"FER_KD": 3, "-1 Conv": 3}) == "32.3 min on AMD EPYC (2 threads, bf16-mixed)"
    untried = {"FER_KD": 1, "-1 Conv": 1, "-2 Conv": 1}
    assert cost_in_words(cost, untried) == "more than 10.8 min on AMD EPYC (2 threads, bf16-mixed)"
    assert cost.problems == {"-2 Conv": "out of memory"}
    assert time_in_words(cost, {"FER_KD": 0, "-2 Conv": 1}) == "unknown"
    assert time_in_words(cost, {"FER_KD": 0}) == "nothing"


def test_the_page_says_what_was_tried_otherwise(study, docs):
    page = results_page([study], docs)
    assert "Tried with other settings than the study's:\n\n- fer_kd/table1: model.width=0.5" in page


def counted(label, seed, counts):
    return replace(run(label, seed, 0.6), classes=("angry", "fear", "sad"), confusions={"test": counts})


def test_the_page_says_what_is_confused_most(study, docs):
    first = counted("FER_KD", 0, [[8, 2, 0], [1, 5, 4], [0, 0, 4]])
    second = counted("FER_KD", 1, [[8, 1, 1], [1, 4, 5], [1, 0, 3]])
    keep(docs, table([]), [first, second, counted("-1 Conv", 0, [[9, 0, 0], [0, 9, 0], [0, 0, 9]])])
    (sentence,) = confusions_in_words(StudyResults(study, kept(docs)))  # in the other row nothing is confused
    words = "fear for sad (45 % of 20), angry for fear (15 % of 20), sad for angry (12 % of 8)"
    assert sentence == f"FER_KD takes on test most often: {words}, fear for angry (10 % of 20), angry for sad (5 % of 20)."
    assert markdown_text(sentence) in results_page([study], docs)


def test_trials_replace_older_ones_of_their_machine(docs):
    again = trial("-2 Conv", images=2000, seconds_per_epoch=1.0)
    found = merged_trials(read_trials(docs), [again, replace(again, hardware="other")])
    assert [(one.row, one.hardware, one.images) for one in found[2:]] == [
        ("-2 Conv", "AMD EPYC", 2000),
        ("-2 Conv", "other", 2000),
    ]


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (('"val/acc": 0.64', '"val/acc": "high"'), r"fer_kd-table1.json: runs.0.metrics.val/acc: .*valid number"),
        (('"seed": 1,\n   "protocol"', '"seed": "one",\n   "protocol"'), r"fer_kd-table1.json: runs.1.seed: .*valid integer"),
        (('"label": "FER_KD",\n   "seed"', '"name": "FER_KD",\n   "seed"'), r"fer_kd-table1.json: runs.0.label: Field required"),
        (('"runs"', "runs"), r"fer_kd-table1.json: Invalid JSON"),
    ],
    ids=["no number", "no seed", "no label", "no JSON"],
)
def test_a_damaged_file_is_named_with_its_field(study, docs, damage, named):
    file = export_file(docs, STUDY)
    assert damage[0] in file.read_text()
    file.write_text(file.read_text().replace(*damage, 1))
    with pytest.raises(UserError, match=named):
        results_page([study], docs)


def test_files_that_are_not_read_are_named(docs):
    (docs / "results" / "other.json").touch()
    (docs / "results" / "fer_kd-table1.csv").touch()
    unknown, earlier = ignored_files(docs, [STUDY])
    assert "other.json belongs to no study known here" in unknown
    assert "fer_kd-table1.csv is of an earlier version, which exported csv, and is left out. Export its study again." in earlier
    assert trials_file(docs).is_file()


def test_what_is_measured_names_machines_and_dates(study, docs):
    results = StudyResults(study, read_export(export_file(docs, STUDY)))
    assert measured_rows(results) == "2 of 3"
    machines = "AMD EPYC, 2 threads, bf16-mixed, torch 2.13.0 (2 runs); NVIDIA H200, bf16-mixed, torch 2.13.0 (1 run)"
    assert measured_in_words(results) == f"2 of 3 rows, seeds 0, 1; {machines}; 2026-01-02 to 2026-01-05"
    assert measured_in_words(StudyResults(study, None)) == ""
