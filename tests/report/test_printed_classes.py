"""Printed classification reports beside measured ones, for networks whose right and predicted images are known.

These are lenet5's. It prints no confusion matrix, but its accuracy, means and scores by class fix the numbers of right and of
predicted images of every class, and with them all numbers of its tables.
"""

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from fer_ablate.judgement.class_scores import judged_by_class
from fer_ablate.judgement.judge import build_table
from fer_ablate.judgement.judged_table import JudgedTable, Published
from fer_ablate.judgement.row_runs import RowRuns, ScoredRun, published_by_class, published_numbers
from fer_ablate.judgement.table_spec import TableSpec
from fer_ablate.labels import EMOTIONS
from fer_ablate.metrics import SplitResult, class_scores, counted_scores, in_percent
from fer_ablate.report.page.tables import report_grid
from fer_ablate.report.results.export import ExportedRun, StudyExport
from fer_ablate.report.results.page import _section
from fer_ablate.report.results.table import StudyResults, results_table
from fer_ablate.report.table.formats import render_table, table_frame
from fer_ablate.report.table.narrow import columns_width
from fer_ablate.report.table.printed_classes import agreement, report_tables
from fer_ablate.report.table.terminal import console_tables
from fer_ablate.study.documents import read_studies
from fer_ablate.tracking.disk.run_folder import RunFolder

from ..finished_runs import make_header, make_result

KNOWN = {
    "lenet5/original": (
        (467, 56, 496, 895, 653, 415, 607),
        (200, 22, 169, 733, 247, 293, 265),
        (449, 29, 375, 1201, 536, 405, 594),
    ),
    "lenet5/balanced": (
        (616,) * 7,
        (169, 272, 112, 233, 109, 276, 145),
        (817, 622, 625, 582, 521, 615, 530),
    ),
}
"""Study -> images, right ones and predicted ones of each class, in the order of `EMOTIONS`."""


def counts_of(study):
    """A confusion matrix with these margins and this diagonal; the other cells are free, as no score by class uses them."""
    present, right, predicted = map(np.array, KNOWN[study])
    size = len(right)
    cells = np.arange(size * size).reshape(size, size)
    sums = [np.isin(cells, line).ravel().astype(float) for line in (*cells, *cells.T)]
    bounds = [(0, 0) if row == column else (0, None) for row in range(size) for column in range(size)]
    found = linprog(np.zeros(size * size), A_eq=sums, b_eq=[*(present - right), *(predicted - right)], bounds=bounds)
    return (np.diag(right) + np.round(found.x).astype(int).reshape(size, size)).tolist()


def split_of(counts, times=1):
    """Scores of predictions with these counts, each counted some times over."""
    counts = (times * np.array(counts)).tolist()
    scores = class_scores(counts, EMOTIONS)
    return SplitResult(n=int(np.sum(counts)), metrics=counted_scores(counts), per_class=scores, confusion=counts)


@pytest.fixture(scope="module", params=sorted(KNOWN))
def study(request):
    return read_studies([request.param])[0]


def row_of(study, *splits):
    """The row of a study with a finished run for each of these results by split."""
    (row,) = study.rows
    runs = []
    for seed, found in enumerate(splits):
        header = make_header(seed=seed, name=row.label)
        result = make_result(header, splits=found, classes=list(EMOTIONS))
        runs.append(ScoredRun(RunFolder(Path()), header, result))
    seeds = tuple(range(len(splits)))
    return RowRuns(row.label, seeds, tuple(runs), published=published_numbers(row), by_class=published_by_class(row))


def as_documented(study):
    counts = counts_of(study.name)
    return {"test": split_of(counts), "test_pooled": split_of(counts, 20)}


def test_the_counts_give_every_printed_number(study):
    splits = as_documented(study)
    judged = judged_by_class(row_of(study, splits, splits))
    assert len(judged) == 38
    for column, score in judged.items():
        unit = 100 if in_percent(column.partition("/")[2]) else 1
        assert abs(unit * score.mean - score.published.value) <= (0.5 if unit == 100 else 0), column
        assert score.agrees, column
    for column, printed in published_numbers(study.rows[0]).items():
        if column.startswith("test/"):
            assert 100 * splits["test"].value(column.removeprefix("test/")) == pytest.approx(printed.value, abs=1e-9)


def test_another_network_disagrees_where_it_differs(study):
    counts = np.array(counts_of(study.name))
    counts[2] = [0, 0, counts[2].sum(), 0, 0, 0, 0]  # every face of fear is found
    splits = {"test": split_of(counts), "test_pooled": split_of(counts, 20)}
    judged = judged_by_class(row_of(study, splits, splits))
    assert not judged["test/recall/fear"].agrees
    assert judged["test/recall/fear"].gap == pytest.approx(100 - judged["test/recall/fear"].published.value)
    assert judged["test_pooled/support/fear"].agrees


def test_a_single_run_has_a_gap_alone(study):
    judged = judged_by_class(row_of(study, as_documented(study)))
    assert {score.agrees for score in judged.values()} == {None}
    assert all(np.isfinite(score.gap) for score in judged.values())


def judged_table(study, *splits, columns=("test/macro_f1",)):
    row = row_of(study, *splits)
    return build_table(TableSpec(study=study.name, source=study.study.source, baseline=row.label, columns=columns), [row])


def test_every_format_has_both_reports(study):
    splits = as_documented(study)
    table = judged_table(study, splits, splits)
    assert JudgedTable.from_json(table.to_json()).rows[0].published_by_class == table.rows[0].published_by_class
    by_split = report_tables(table)
    assert [report.caption.split(" on ")[1] for report in by_split] == [
        f"{split}: mean ± standard deviation over 2 seeds" for split in ("test", "test pooled")
    ]
    assert by_split[0].columns[0].cells == (*EMOTIONS, "accuracy", "macro avg", "weighted avg")
    assert agreement(table.rows[0]) == "38 of 38"
    for form in ("markdown", "latex", "html"):
        text = render_table(table, form)
        assert text.count("weighted avg") == 2, form
    frame = table_frame(table).set_index("column")
    assert frame.loc["test/f1/happy", "published"] == table.rows[0].published_by_class["test/f1/happy"].value
    assert frame.loc["test/f1/happy", "agrees"]
    assert frame.loc["test_pooled/support/happy", "published_unit"] == "as measured"
    grid = report_grid(by_split[0])
    assert {len(line) for line in grid.rows} == {len(grid.header)} == {8}
    parts = [part for part in console_tables(table, 80) if part.title == by_split[0].caption]
    assert parts[0].header[:3] == ("class", "precision, %", "published")
    assert sum(len(part.header) - 1 for part in parts) == 6
    assert all(columns_width(zip(part.header, *part.rows, strict=True)) <= 80 for part in parts)


def test_a_missing_class_is_named_below_the_table(study):
    row = row_of(study, as_documented(study))
    row.by_class["test/recall/anger"] = Published(42.0)
    table = build_table(TableSpec(study=study.name, baseline=row.label, columns=["test/macro_f1"]), [row])
    assert any("no such class or split was measured: test/recall/anger" in note for note in table.notes)


def test_scores_of_a_class_may_be_columns(study):
    table = judged_table(study, as_documented(study), columns=("test/recall/happy", "test_pooled/support/happy"))
    scores = table.rows[0].scores
    present, right, _ = KNOWN[study.name]
    assert scores["test/recall/happy"].mean == pytest.approx(right[3] / present[3])
    assert scores["test_pooled/support/happy"].mean == 20 * present[3]


def test_the_results_page_shows_the_reports(study):
    empty = _section(StudyResults(study, None), results_table(StudyResults(study, None)))
    assert "weighted avg" in empty
    assert "F1: published" in empty
    splits = as_documented(study)
    confusions = {name: split.confusion for name, split in splits.items()}
    label = study.rows[0].label
    runs = tuple(
        ExportedRun(label, seed, {}, {}, "2026-01-02", "c0de", {}, classes=EMOTIONS, confusions=confusions) for seed in (0, 1)
    )
    results = StudyResults(study, StudyExport(judged_table(study, splits, splits), runs))
    table = results_table(results)
    assert agreement(table.rows[0]) == "38 of 38"
    assert f"{label}: 38 of 38 printed numbers by class agree." in _section(results, table)
