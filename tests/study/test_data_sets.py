"""Studies of several data sets: which rows are compared, the table with data sets as columns, and the ranks over them."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from fer_ablate.errors import UserError
from fer_ablate.judgement.data_sets import chooses_data, layout_of
from fer_ablate.judgement.designs import ROWS, Design
from fer_ablate.judgement.judge import build_table
from fer_ablate.judgement.judged_table import Factor, JudgedTable
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.judgement.table_spec import TableSpec
from fer_ablate.labels import PRIVATE, USAGES
from fer_ablate.metrics import SplitResult
from fer_ablate.report.table.data_sets import data_set_tables
from fer_ablate.report.table.formats import render_table
from fer_ablate.report.table.outcomes import best_first, summary
from fer_ablate.report.table.shown_table import shown_table
from fer_ablate.report.table.terminal import console_tables
from fer_ablate.tracking.disk.run_folder import RunFolder, StoredPredictions

from ..finished_runs import finish_run, make_header

MODELS = {"large": 0.8, "middle": 0.65, "small": 0.5}
DATA = {"fer2013": 0.0, "raf": 0.1, "lab": -0.1, "jaffe": 0.05, "ck_plus": 0.15}
"""Data set -> how much easier it is."""

IMAGES = 400


def design(*factors):
    rows = {" ".join(levels): levels for levels in itertools.product(*(factor.levels for factor in factors))}
    return Design(factors, rows)


SPEC = TableSpec(study="networks", baseline="large fer2013", columns=["test/acc"])
CROSSED = design(Factor("model", tuple(MODELS), "large"), Factor("data", tuple(DATA), "fer2013"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Three networks on five data sets, two seeds each."""
    generator, folder, found = np.random.default_rng(0), tmp_path_factory.mktemp("runs"), []
    labels = np.arange(IMAGES) % 2
    for model, data in itertools.product(MODELS, DATA):
        runs = []
        for seed in range(2):
            right = generator.permutation(IMAGES) < round(IMAGES * (MODELS[model] + DATA[data]))
            guess = np.where(right, labels, 1 - labels)
            probabilities = np.stack([0.9 - 0.8 * guess, 0.1 + 0.8 * guess], axis=1).astype(np.float32)
            stored = StoredPredictions(np.arange(IMAGES), np.full(IMAGES, USAGES.index(PRIVATE)), labels, probabilities)
            split = SplitResult(n=IMAGES, metrics={"acc": float(right.mean())}, per_class={}, confusion=[])
            header = make_header(key=f"{model}-{data}-{seed}", seed=seed, data_digest=data)
            protocol = {"source": data, "tta": "none"}
            splits = {"test": split, "private": split}
            runs.append(finish_run(RunFolder(folder / header.key), header, stored, splits=splits, protocol=protocol))
        found.append(RowRuns(f"{model} {data}", (0, 1), tuple(runs)))
    return found


@pytest.fixture(scope="module")
def table(rows):
    return build_table(replace(SPEC, design=CROSSED), rows)


def test_rows_are_compared_within_their_data_set(table):
    differences = {row.label: row.scores["test/acc"].difference for row in table.rows}
    for data in DATA:
        assert differences[f"large {data}"] is None
        assert differences[f"middle {data}"].value == pytest.approx(-0.15)
        assert differences[f"small {data}"].value == pytest.approx(-0.30)
    assert any(note.startswith("Rows are compared within their data set") for note in table.notes)
    assert any("(Holm: on each data set by itself)" in note for note in table.notes)
    assert not any("not compared" in note for note in table.notes)


def test_corrections_count_one_data_set(table, rows):
    alone = [row for row in rows if row.label.endswith("raf")]
    expected = build_table(replace(SPEC, baseline="large raf"), alone).rows
    found = [row for row in table.rows if row.label.endswith("raf")]
    assert [row.scores for row in found] == [row.scores for row in expected]


def test_protocols_may_differ_between_data_sets_alone(rows):
    with pytest.raises(UserError, match=re.escape("data.source")):
        build_table(SPEC, rows)
    mixed = [RowRuns("small fer2013", row.seeds, row.runs) if row.label == "small raf" else row for row in rows]
    mixed = [row for row in mixed if row.label != "small fer2013" or row.runs[0].header.data_digest == "raf"]
    with pytest.raises(UserError, match="small fer2013"):
        build_table(replace(SPEC, design=CROSSED), mixed)


def test_every_format_has_data_sets_as_columns(table):
    assert JudgedTable.from_json(table.to_json()) == table
    (shown,) = data_set_tables(table)
    assert [column.name for column in shown.columns] == ["row", *DATA, "mean rank"]
    assert shown.columns[1].marks == ("best", "", "")
    assert shown.columns[-1].cells == ("1.00", "2.00", "3.00")
    assert "large before small; other pairs are not told apart (critical difference 1.48)" in shown.notes[1]
    assert r"\textbf{80.00 [" in render_table(table, "latex")
    for form in ("markdown", "latex", "html"):
        assert "large before small" in render_table(table, form)


@pytest.mark.parametrize(
    ("width", "titles", "cell"), [(200, [6], "80.00 ["), (90, [3, 3], "80.00 ["), (60, [6], "80.00"), (40, [3, 3], "80.00")]
)
def test_a_narrow_screen_stacks_data_sets(table, width, titles, cell):
    parts = [one for one in console_tables(table, width) if "by data set" in one.title]
    assert [len(part.header) - 1 for part in parts] == titles
    assert parts[0].rows[0][1].startswith(cell)
    assert ("[" in parts[0].rows[0][1]) == ("[" in cell)
    assert all(sum(max(map(len, column)) + 2 for column in zip(part.header, *part.rows, strict=True)) <= width for part in parts)


def test_each_data_set_has_its_best_row(table):
    (means,) = (column for column in shown_table(table).columns if column.name == "mean ± sd")
    best = [row.label for row, mark in zip(table.rows, means.marks, strict=True) if mark == "best"]
    assert best == [f"large {title}" for title in DATA]
    assert "Bold: the best mean of its data set." in render_table(table, "latex")
    assert "Best mean on fer2013: large (80.00 %), raf: large (90.00 %), lab: large (70.00 %) and 2 more." in summary(table)
    assert [row.label for row in best_first(table, "test/acc")][:4] == [
        "large fer2013",
        "middle fer2013",
        "small fer2013",
        "large raf",
    ]


def test_data_sets_with_same_images_count_once(rows):
    tested = {row.label: {"test": "one" if "raf" in row.label or "lab" in row.label else row.label.split()[1]} for row in rows}
    ranks = build_table(replace(SPEC, design=CROSSED, tested=tested), rows).data_sets.ranks["test/acc"]
    assert ranks.data == ("fer2013", "raf + lab", "jaffe", "ck_plus")
    assert ranks.p is None
    assert ranks.sentences[-1].startswith("raf and lab have the same test images")


@pytest.mark.parametrize(("chosen", "left"), [(("raf",), None), (("raf", "lab"), ("raf", "lab"))])
def test_chosen_rows_leave_no_empty_data_set(rows, chosen, left):
    some = [row for row in rows if row.label.endswith(chosen)]
    found = build_table(replace(SPEC, design=CROSSED, baseline="large raf"), some)
    assert (found.data_sets and found.data_sets.data) == left
    assert len(data_set_tables(found)) == (left is not None)


def test_unfinished_data_sets_are_named(rows):
    waiting = [RowRuns(row.label, row.seeds, ()) if row.label == "middle lab" else row for row in rows]
    found = build_table(replace(SPEC, design=CROSSED), waiting).data_sets
    assert found.ranks["test/acc"].sentences[1:] == (
        "Ranks over 4 data sets are not tested: five or more are needed for 3 rows.",
        "Ranks leave out lab (no score of middle).",
    )


def test_rows_and_data_have_short_names():
    crossed = design(
        Factor("model", ("a", "b"), "a"),
        Factor("optimizer.lr", ("0.1", "0.2"), "0.1"),
        Factor("data.path", ("/x/raf", "/x/lab"), "/x/raf"),
        Factor("data.synthetic.pixel_noise", ("1", "2"), "1"),
    )
    found = layout_of(crossed, "a 0.1 /x/raf 1")
    assert found.rows[:2] == ("model=a lr=0.1", "model=a lr=0.2")
    assert found.data[:2] == ("raf pixel_noise=1", "raf pixel_noise=2")
    assert found.twins["b 0.2 /x/lab 2"] == "a 0.1 /x/lab 2"
    assert layout_of(crossed, "another row").twins == {}
    same = design(Factor(ROWS, ("one", "two"), "one"), Factor("data.path", ("/x/faces", "/y/faces"), "/x/faces"))
    assert layout_of(same, "one /x/faces").data == ("/x/faces", "/y/faces")


def test_quoted_paths_give_plain_titles():
    paths = ("'/x/josé'", "'/x/our lab'")
    found = layout_of(design(Factor(ROWS, ("one", "two"), "one"), Factor("data.path", paths, paths[0])), "one '/x/josé'")
    assert found.data == ("josé", "our lab")


def test_only_keys_that_choose_images_make_data_sets():
    assert chooses_data("data")
    assert chooses_data("data.synthetic.pixel_noise")
    assert not chooses_data("data.train_fraction")
    assert not chooses_data("data.balance.steps")
    assert layout_of(design(Factor("model", ("a", "b"), "a"), Factor("data.labels", ("hard", "soft"), "hard")), "a hard") is None
