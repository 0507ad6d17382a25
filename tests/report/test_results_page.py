"""The page of results from csv files: nothing lost, nothing claimed that the files do not say."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from fer_ablate.config.repeats import Repeat
from fer_ablate.config.schema import RowConfig, StudyConfig
from fer_ablate.config.study_rows import rows_of
from fer_ablate.errors import UserError
from fer_ablate.judgement.records import Failure, Published
from fer_ablate.report.results.files import read_lines, runs_file, table_file, trials_file
from fer_ablate.report.results.page import exported, results_page
from fer_ablate.report.results.runs import NEEDED, judged_lines, merged
from fer_ablate.report.results.table import table_of
from fer_ablate.report.results.trials import COLUMNS, costs, in_words, merged_trials
from fer_ablate.study.documents import documents, read_studies, study_names
from fer_ablate.study.spec import Asked

from .example_tables import difference, row, score, table

DOCS = Path(__file__).parents[2] / "docs"
HOW = "roles=swapped; tta=none,AMD EPYC,cpu,2,bf16-mixed,2.13.0"
FACTS = "changes,protocol,hardware,device,threads,precision,torch,date,seconds,code_digest,data_digest"
RUNS = f"""label,seed,{FACTS},test/acc,val/acc
FER_KD,0,,{HOW},2026-01-02,600,c0de,da7a,0.62,0.64
FER_KD,1,,{HOW},2026-01-03,800,c0de,da7a,0.64,0.66
-1 Conv,0,,roles=swapped; tta=none,NVIDIA H200,cuda,16,bf16-mixed,2.13.0,2026-01-05,30,c0df,da7a,0.60,0.61
"""
WHERE = "cpu,AMD EPYC,bf16-mixed,2,2026-01-01,c0de"
TRIALS = f"""{",".join(COLUMNS)}
fer_kd/table1,FER_KD,2000,2,28709,15,430.635,{WHERE},yes,,
fer_kd/table1,-1 Conv,1998,1,28709,15,215.533,{WHERE},yes,,model.width=0.5
fer_kd/table1,-2 Conv,,,28709,15,,{WHERE},no,out of memory,
"""


@pytest.fixture
def study():
    rows = [
        RowConfig(label="FER_KD", published={"val/acc": 65.43, "test/acc": 62.62}),
        RowConfig(label="-1 Conv", published={"test/acc": {"value": 60.78, "note": "read off"}}),
        RowConfig(label="first", auxiliary=True),
        RowConfig(label="-2 Conv", start_from="first", published={"test/acc": 58.96}),
    ]
    config = StudyConfig(source="FER_KD, Table 1", columns=["test/acc"], rows=rows)
    return Asked("fer_kd/table1", config, True, tuple(rows_of(config)), (0, 1), "FER_KD", (), None)


@pytest.fixture
def docs(tmp_path):
    """A folder with an export whose judged table knows FER_KD with both seeds and -1 Conv with its one."""
    judged = table(
        [
            row("FER_KD", {"test/acc": score(0.63, n=2)}, seeds=(0, 1), baseline=True),
            row("-1 Conv", {"test/acc": score(0.6, n=1, difference=difference(-0.03, 0.01, 1))}, seeds=(0, 1)),
            row("-2 Conv", seeds=(0, 1), failures=(Failure(0, "out of memory (8 GB)", Path("runs/a/log.txt")),)),
        ],
        notes=("n=1 (-1 Conv): of two networks.",),
    )
    (tmp_path / "results").mkdir()
    runs_file(tmp_path, "fer_kd/table1").write_text(RUNS)
    table_file(tmp_path, "fer_kd/table1").write_text(judged_lines(judged))
    trials_file(tmp_path).write_text(TRIALS)
    return tmp_path


def rebuilt(study, docs):
    found = table_of(exported(study, docs))
    return found, {line.label: line for line in found.rows}


def test_the_committed_page_is_what_the_committed_files_give():
    if not (DOCS / "results.md").is_file():
        pytest.skip("no page is committed")
    page = results_page(read_studies(study_names(documents())), DOCS)
    assert page == (DOCS / "results.md").read_text(), "write it anew: python -m fer_ablate results"


def test_means_are_of_the_runs_and_intervals_of_the_judged_table(study, docs):
    found, rows = rebuilt(study, docs)
    measured = rows["FER_KD"].scores["test/acc"]
    assert (measured.n, measured.mean) == (2, pytest.approx(0.63))
    assert measured.sd == pytest.approx(0.02 / math.sqrt(2))
    assert (measured.low, measured.high) == (pytest.approx(0.621), pytest.approx(0.639))
    assert measured.gap == pytest.approx(63 - 62.62)
    assert rows["-1 Conv"].scores["test/acc"].difference.value == pytest.approx(-0.03)
    assert found.notes == ("n=1 (-1 Conv): of two networks.",)


def test_a_column_that_is_only_published_is_measured_as_well(study, docs):
    found, rows = rebuilt(study, docs)
    assert found.columns == ("test/acc", "val/acc")
    assert rows["FER_KD"].scores["val/acc"].gap == pytest.approx(65 - 65.43)


def test_runs_that_the_judged_table_had_not_are_not_judged(study, docs):
    file = runs_file(docs, "fer_kd/table1")
    file.write_text(RUNS.replace("FER_KD,1,", "FER_KD,7,"))
    found, rows = rebuilt(study, docs)
    assert math.isnan(rows["FER_KD"].scores["test/acc"].low)
    assert rows["-1 Conv"].scores["test/acc"].difference is None  # its baseline is another one now
    assert "without interval and verdict: FER_KD" in found.notes[-1]


def test_a_failed_row_says_so_and_an_auxiliary_one_stands_in_no_table(study, docs):
    _, rows = rebuilt(study, docs)
    assert list(rows) == ["FER_KD", "-1 Conv", "-2 Conv"]
    assert rows["-2 Conv"].failures == (Failure(0, "out of memory (8 GB)", Path("runs/a/log.txt")),)
    assert rows["-1 Conv"].published == {"test/acc": Published(60.78, "read off")}


def test_folds_are_exported_one_by_one_and_averaged_over_their_seeds(study, docs):
    study = replace(study, study=replace(study.study, folds=2))
    lines = RUNS.splitlines()
    header = lines[0].replace("seed,", "seed,fold,")
    runs = [f"FER_KD,{seed},{fold},{lines[1].split(',', 2)[2]}" for seed, fold in ((0, 0), (1, 0), (0, 1))]
    runs = [run.replace(",0.62,", f",{acc},") for run, acc in zip(runs, (0.5, 0.6, 0.75), strict=True)]
    file = runs_file(docs, "fer_kd/table1")
    file.write_text("\n".join([header, *runs]) + "\n")
    finished = (Repeat(0, 0), Repeat(0, 1), Repeat(1, 0))
    failed = Failure(1, "out of memory", Path("runs/a/log.txt"), 1)
    judged = row("FER_KD", {"test/acc": score(0.65)}, seeds=(0, 1), finished=finished, folds=2, failures=(failed,))
    table_file(docs, "fer_kd/table1").write_text(judged_lines(replace(table([judged]), folds=2)))
    found, rows = rebuilt(study, docs)
    measured = rows["FER_KD"].scores["test/acc"]
    assert (found.folds, rows["FER_KD"].finished, rows["FER_KD"].asked) == (2, finished, 4)
    assert (measured.n, measured.mean) == (2, pytest.approx((0.55 + 0.75) / 2))
    assert measured.low == pytest.approx(0.641)  # the judged table had the same three runs
    assert rows["FER_KD"].failures == (failed,)
    assert "partly run: 3 of 12 runs" in results_page([study], docs)
    newer = {"label": "FER_KD", "seed": "0", "fold": "1", "date": "2026-02-02"}
    text = merged(read_lines(file, NEEDED), [newer], ["FER_KD"])
    assert [line.split(",")[:3] for line in text.splitlines()[1:]] == [["FER_KD", *which] for which in ("00", "01", "10")]
    assert "2026-02-02" in text.splitlines()[2]


def test_the_page_tells_where_numbers_come_from(study, docs):
    page = results_page([study], docs)
    assert "| [fer_kd/table1](#fer_kdtable1) | 2 of 3 | 0, 1 | partly run: 3 of 6 runs | -0.8 (-1 Conv, test acc) |" in page
    assert "AMD EPYC, 2 threads, bf16-mixed, torch 2.13.0 (2 runs); NVIDIA H200, bf16-mixed, torch 2.13.0 (1 run)" in page
    assert "Trained: 2026-01-02 to 2026-01-05." in page
    assert "Code: c0de (2 runs); c0df (1 run)." in page
    assert "63.0 ± 1.4" in page
    assert "failed (seed 0): out of memory" in page
    assert page == results_page([study], docs)


@pytest.mark.parametrize(("stale", "runs"), [("code changed", 3), ("trainer.max_epochs 1 -> 15, code changed", 2)])
def test_an_earlier_run_with_other_settings_is_not_the_studys(study, docs, stale, runs):
    file = runs_file(docs, "fer_kd/table1")
    file.write_text(RUNS.replace("seed,changes", "seed,stale").replace("-1 Conv,0,", f'-1 Conv,0,"{stale}"'))
    page = results_page([study], docs)
    assert f"partly run: {runs} of 6 runs" in page
    assert f"Of an earlier state: {stale}." in page


def test_the_metrics_of_a_single_row_stand_below_each_other(study, docs):
    alone = replace(study, rows=study.rows[:1], study=replace(study.study, rows=study.study.rows[:1]))
    lines = results_page([alone], docs).splitlines()
    assert "**FER_KD (baseline)**, n 2" in lines
    assert any(line.startswith("| test acc, % | 63.0 ± 1.4 |") and "62.62" in line for line in lines)
    assert any(line.startswith("| val acc, % | 65.0 ± 1.4 |") and "65.43" in line for line in lines)


def test_a_study_without_files_is_not_yet_run(study, tmp_path):
    page = results_page([study], tmp_path)
    assert "| FER_KD (baseline) | 62.62 | 65.43 | not yet run |" in page
    assert "| fer_kd/table1 | 0 of 4 | — | unknown | — |" in page


def test_the_cost_is_the_sum_over_the_rows_tried(docs):
    (cost,) = costs(read_lines(trials_file(docs), COLUMNS), "fer_kd/table1")
    assert cost.seconds == pytest.approx(430.635 + 215.533)
    assert in_words(cost, ["FER_KD", "-1 Conv"], seeds=3) == "32.3 min on AMD EPYC (2 threads, bf16-mixed)"
    assert in_words(cost, ["FER_KD", "-1 Conv", "-2 Conv"]) == "more than 10.8 min on AMD EPYC (2 threads, bf16-mixed)"
    assert cost.problems == {"-2 Conv": "out of memory"}


def test_the_page_says_what_was_tried_otherwise(study, docs):
    page = results_page([study], docs)
    assert "Tried with other settings than the study's:\n\n- fer_kd/table1: model.width=0.5" in page


def test_a_trial_replaces_the_older_one_of_the_same_machine(docs):
    old = read_lines(trials_file(docs), COLUMNS)
    again = {**old[2].cells, "ok": "yes", "problem": "", "images": "2000", "estimated_seconds": "100"}
    trials_file(docs).write_text(merged_trials(old, [again, {**again, "hardware": "other"}]))
    found = read_lines(trials_file(docs), COLUMNS)
    assert [(line.text("row"), line.text("hardware"), line.text("ok")) for line in found[2:]] == [
        ("-2 Conv", "AMD EPYC", "yes"),
        ("-2 Conv", "other", "yes"),
    ]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (("0.62,0.64", "0.62,0.64,7"), r"fer_kd-table1.csv, line 2: 16 values, expected 15"),
        (("0.62,0.64", "high,0.64"), r"fer_kd-table1.csv, line 2: test/acc is 'high', expected a number"),
        (("FER_KD,1", "FER_KD,one"), r"fer_kd-table1.csv, line 3: seed is 'one', expected a whole number"),
        (("label,seed", "name,seed"), r"fer_kd-table1.csv, line 1: there is no column label"),
        (("0.62,0.64", '0.62,"0.64'), r"fer_kd-table1.csv, line 4: unexpected end of data"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(study, docs, damage, said):
    runs_file(docs, "fer_kd/table1").write_text(RUNS.replace(*damage))
    with pytest.raises(UserError, match=said):
        results_page([study], docs)
