"""An ablation path: changes between rows, steps that val chooses, gains with intervals, and what is taken back."""

import itertools
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fer_ablate.config.schema import StudyConfig
from fer_ablate.config.study_rows import Row
from fer_ablate.errors import Fault, UserError
from fer_ablate.execution.ablation_path import Ends, ForwardPath, reverse_rows
from fer_ablate.judgement.evidence import SeedEvidence
from fer_ablate.judgement.judge import build_table
from fer_ablate.judgement.judged_table import Verdict
from fer_ablate.judgement.path import FILE, AblationPath, Candidate, Decided, best_change, judged_path, most_rows, wider_interval
from fer_ablate.judgement.planned_rows import rows_with_runs
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.judgement.table_spec import TableSpec
from fer_ablate.judgement.verdicts import compared, judged_differences
from fer_ablate.judgement.wording import Judging
from fer_ablate.labels import PRIVATE, USAGES
from fer_ablate.metrics import SplitResult
from fer_ablate.report.page.album import Album
from fer_ablate.report.page.path import path_parts
from fer_ablate.report.plots.waterfall import waterfall_figure
from fer_ablate.report.table.path import candidates_table, console_tables, path_csv, path_table, verdicts_of, without_verdicts
from fer_ablate.study.path_changes import Change, changes_between, joined, told_apart, with_values, words_between
from fer_ablate.tracking.disk.run_folder import RunFolder, StoredPredictions
from fer_ablate.tracking.disk.scan import folder_name

from ..finished_runs import finish_run, make_header
from .conftest import folder_of, header_of

START = ("model=small", "optimizer=adam", "optimizer.betas=[0.9,0.9]", "model.width=1")
END = ("model=small", "optimizer=sgd", "optimizer.momentum=0.5", "model.dropout=0.2")


def only_beside(words):
    """Faults of keys that only one optimizer has."""
    needed = {"optimizer.betas": "optimizer=adam", "optimizer.momentum": "optimizer=sgd"}
    keys = {word.partition("=")[0] for word in words}
    return [Fault(key, "there is no such key.") for key, choice in needed.items() if key in keys and choice not in words]


def test_a_group_changes_with_the_keys_of_it():
    optimizer, dropout, width = changes_between(START, END, only_beside)
    assert optimizer.label == "optimizer=sgd momentum=0.5 optimizer.betas by default"
    assert (width.label, dropout.label) == ("model.width by default", "dropout=0.2")
    assert words_between(START, END, [optimizer]) == ("model=small", "optimizer=sgd", "model.width=1", "optimizer.momentum=0.5")
    assert set(words_between(START, END, [optimizer, width, dropout])) == set(END)
    assert words_between(START, END, []) == START


def test_changes_say_their_values_before_and_after():
    before = {"optimizer": "adam", "optimizer.betas": "[0.9,0.9]", "model.width": "1", "model.dropout": "null"}
    after = {"optimizer": "sgd", "optimizer.momentum": "0.5", "model.width": "0.5", "model.dropout": "0.2"}
    optimizer, dropout, width = with_values(changes_between(START, END, only_beside), before, after)
    assert optimizer.label == "optimizer=sgd momentum=0.5"
    assert optimizer.described == "optimizer adam -> sgd, optimizer.momentum absent -> 0.5, optimizer.betas [0.9,0.9] -> absent"
    assert (dropout.described, width.described) == ("model.dropout null -> 0.2", "model.width 1 -> 0.5")
    assert width.label == "width=0.5 (default)"
    assert joined([optimizer, width]).described == f"{optimizer.described}, {width.described}"


def test_conditions_of_a_search_join_keys():
    needs = {"model.dropout": "optimizer"}
    found = changes_between(START, END, lambda words: (), needs)
    assert ("optimizer", "model.dropout") in [change.keys for change in found]
    assert joined(found[:2]).keys == (*found[0].keys, *found[1].keys)


def test_the_best_change_may_be_the_lowest():
    assert best_change({"a": 0.4, "b": 0.3, "c": 0.3}, higher_is_better=False) == "b"
    assert most_rows(4) == 11


# Judged on drawn scores

SHARES = {"start": (0.60, 0.61), "+ a": (0.74, 0.72), "+ a + b": (0.745, 0.735), "+ a + b + c": (0.66, 0.65)}
"""Row -> share of the images that are right, of val and test."""

IMAGES = 500


def split_of(right):
    wrong = int((~right).sum())
    return SplitResult(
        n=len(right), metrics={"acc": float(right.mean())}, per_class={}, confusion=[[int(right.sum()), wrong], [0, 0]]
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """The table of a path of three steps, judged on three seeds, and the path."""
    generator, folder = np.random.default_rng(0), tmp_path_factory.mktemp("runs")
    labels, hard, rows = np.zeros(IMAGES, int), generator.random(IMAGES), []
    for label, shares in SHARES.items():
        runs = []
        for seed in range(3):
            val, test = (0.7 * hard + 0.3 * generator.random(IMAGES) < share for share in shares)
            wrong = np.where(test, 0.1, 0.9).astype(np.float32)
            stored = StoredPredictions(
                np.arange(IMAGES), np.full(IMAGES, USAGES.index(PRIVATE)), labels, np.stack([1 - wrong, wrong], axis=1)
            )
            header = make_header(key=f"{label}-{seed}", seed=seed)
            splits = {"val": split_of(val), "test": split_of(test), "private": split_of(test)}
            runs.append(finish_run(RunFolder(folder / folder_name(header.key)), header, stored, splits=splits))
        rows.append(RowRuns(label, (0, 1, 2), tuple(runs)))
    table = build_table(TableSpec(study="way", baseline="start", columns=["val/acc", "test/acc"]), rows)
    tried = (Candidate("a", table.rows[1].scores["val/acc"].mean), Candidate("b", 0.6), Candidate("c", None, "it cannot be."))
    steps = [Decided("+ a", "a", tried), Decided("+ a + b", "b"), Decided("+ a + b + c", "c")]
    return table, judged_path(table, rows, steps, "end", "val/acc", ["A note."])


@pytest.fixture(scope="module")
def path(judged):
    return judged[1]


def test_gains_are_differences_to_the_step_before(path):
    first, second, third = (step.gains["test/acc"] for step in path.steps)
    means = [path.start["test/acc"].mean, *(step.scores["test/acc"].mean for step in path.steps)]
    assert [first.value, second.value, third.value] == pytest.approx(np.diff(means))
    assert (first.kind, second.kind, third.kind) == (Verdict.better, Verdict.noise, Verdict.worse)
    assert all(one.low < one.value < one.high and one.p <= one.p_holm for one in (first, second, third))
    assert path.steps[-1].scores["test/acc"].difference.value == pytest.approx(means[-1] - means[0])


def test_a_gain_has_the_interval_of_its_verdict(path):
    generator, judging = np.random.default_rng(5), Judging("acc")
    rows = [generator.random((3, IMAGES)) < share for share in (0.6, 0.665, 0.6)]
    start, *others = (SeedEvidence((0, 1, 2), one.mean(axis=1), IMAGES, np.arange(IMAGES), one, "") for one in rows)
    comparisons = [compared(one, start, None) for one in others]
    first, second = judged_differences(judging, comparisons)
    assert first.p < 0.05 < first.p_holm
    assert first.low > 0
    low, high = wider_interval(judging, comparisons[0], first)
    assert low < 0 < first.high < high
    assert f"could be {100 * low:+.1f} to {100 * high:+.1f}" in first.verdict
    assert wider_interval(judging, comparisons[1], second) is None
    step = replace(path.steps[1], wider={"test/acc": (low, high)})
    shown = path_table(replace(path, steps=(path.steps[0], step)), "test/acc").rows[2][4]
    assert f"[{100 * low:+.1f}, {100 * high:+.1f}]" in shown


def test_a_page_shows_the_path_of_its_rows(judged, tmp_path):
    table, path = judged
    own, here = tmp_path / "way" / "way-table", tmp_path / "fresh" / "table"
    own.mkdir(parents=True)
    assert path_parts(Album(), here, table) == ()
    (own / FILE).write_text(path.to_json())
    Image.new("RGB", (4, 3)).save(own / "waterfall-test-acc.png")
    picture, steps, verdicts, tried, notes = path_parts(Album(), here, table)
    assert picture.caption == "From start to end: test acc after each step."
    assert (len(steps.rows), len(verdicts.rows), tried.kind, notes.items[-1]) == (4, 3, "details", "A note.")
    fresh = replace(table, rows=(*table.rows[:-1], replace(table.rows[-1], scores={})))
    assert path_parts(Album(), here, fresh) == ()


def test_tables_show_steps_and_what_was_tried(path):
    steps = path_table(path, "test/acc")
    assert [row[:2] for row in steps.rows] == [("0", "start (baseline)"), ("1", "+ a"), ("2", "+ b"), ("3", "+ c")]
    assert [row[1:] for row in verdicts_of(steps).rows] == [(row[1], row[-1]) for row in steps.rows[1:]]
    assert without_verdicts(steps).header == steps.header[:-1]
    assert steps.rows[2][-1].startswith("within noise")
    assert steps.rows[3][-1].startswith("worse by")
    assert steps.notes[1].startswith("The order was chosen by val acc")
    assert steps.notes[-1] == "A note."
    assert [row[2] for row in candidates_table(path).rows] == ["taken", "not taken", "it cannot be."]
    assert AblationPath.from_json(path.to_json()) == path
    lines = path_csv(path).splitlines()
    assert len(lines) == 1 + 2 * len(SHARES)
    assert lines[1].startswith("way,val/acc,0,start,3,")


@pytest.mark.parametrize(("width", "columns", "intervals"), [(140, 8, True), (95, 8, False), (80, 7, False), (60, 5, False)])
def test_a_narrow_screen_has_fewer_columns(path, width, columns, intervals):
    numbers, verdicts = console_tables(path, "test/acc", width)
    assert len(numbers.header) == columns
    assert ("[" in numbers.rows[1][numbers.header.index("gain")]) == intervals
    for part in (numbers, verdicts):
        assert sum(max(map(len, one)) + 2 for one in zip(part.header, *part.rows, strict=True)) - 2 <= width
    assert ("seeds would show" in verdicts.rows[1][-1]) == (width > 100)


def test_the_waterfall_begins_where_the_last_bar_ended(path):
    axes = waterfall_figure(path, "test/acc").axes[0]
    means = [100 * one.mean for one in (path.start["test/acc"], *(step.scores["test/acc"] for step in path.steps))]
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
    assert np.sort(bars) == pytest.approx(np.sort(list(itertools.pairwise(means))))
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["start (baseline)", "+ a", "+ b", "+ c", "end"]


# Which rows are due, from finished runs


@pytest.fixture
def ends(tmp_path, cache_dir):
    """From four layers of a small network to a recipe of three other settings."""
    sizes = ("data.synthetic.train=70", "data.synthetic.val=35", "data.synthetic.test=35")
    base = ("model=pisa", *sizes, "trainer.max_epochs=2")
    changed = ("model.conv_layers=4", "model.dropout=0.1", "trainer.batch_size=32")
    typed = (f"runs_dir={tmp_path}", f"data.cache_dir={cache_dir}", "tracking=none")
    return Ends(
        name="depth",
        study=StudyConfig(columns=["val/acc", "test/acc"]),
        seeds=(0, 1),
        typed=typed,
        start=Row("plain", (*base, *typed)),
        end=Row("recipe", (*base, *changed, *typed)),
        decides="val/acc",
        higher_is_better=True,
        experiment="depth",
    )


def score(plan, shares):
    """Finish the runs of a plan: its rows by label -> accuracy on val, the same for both seeds; test is the opposite."""
    for planned in plan.to_train:
        share = shares[planned.cell.row.label]
        split, other = (split_of(np.arange(100) < 100 * one) for one in (share, 1 - share))
        splits = {"val": split, "test": other}
        finish_run(folder_of(planned.cell), header_of(planned.cell), splits=splits)


def due(plan):
    return [label for label in dict.fromkeys(planned.cell.row.label for planned in plan.to_train)]


def test_val_alone_chooses_and_finished_runs_remember(ends):
    way = ForwardPath(ends)
    first = way.plan()
    assert due(first) == ["plain", "+ conv_layers=4", "+ dropout=0.1", "+ batch_size=32"]
    # One row is not finished: the step is not decided, and the same rows stay due.
    score(first, {"plain": 0.5, "+ conv_layers=4": 0.6, "+ dropout=0.1": 0.7, "+ batch_size=32": 0.4})
    shutil.rmtree(folder_of(first.to_train[-1].cell).path)
    assert due(way.plan()) == ["+ batch_size=32"]
    score(way.plan(), {"+ batch_size=32": 0.4})

    second = way.plan()
    assert due(second) == ["+ dropout=0.1 + conv_layers=4", "+ dropout=0.1 + batch_size=32"]
    score(second, {"+ dropout=0.1 + conv_layers=4": 0.6, "+ dropout=0.1 + batch_size=32": 0.65})
    # The last row has the settings of the recipe: its runs under another name are the same ones.
    recipe = [cell for cell in ends.compose([ends.row("recipe", ends.end.overrides)])]
    for cell in recipe:
        finish_run(
            folder_of(cell), header_of(cell), splits={"val": split_of(np.arange(10) < 9), "test": split_of(np.arange(10) < 9)}
        )
    way = ForwardPath(ends)
    last = way.plan()
    assert not last.to_train
    assert not way.left
    assert [step.change for step in way.decided] == ["dropout=0.1", "batch_size=32", "conv_layers=4"]
    assert [one.value for one in way.decided[0].candidates] == pytest.approx([0.6, 0.7, 0.4])
    assert {run.cell.key for run in last.runs if run.cell.row.label == last.spec.rows[-1].label} == {cell.key for cell in recipe}
    # Rows that were not chosen are in no table.
    assert [row.label for row in rows_with_runs(last)] == ["plain", *(step.label for step in way.decided)]


def test_steps_that_cannot_be_are_said(ends):
    sgd = ("optimizer=sgd_momentum", "optimizer.momentum=0.5", "model.conv_layers=40")
    start = Row("plain", (*ends.start.overrides, "model.dropout=0"))
    way = ForwardPath(replace(ends, start=start, end=Row("sgd", (*ends.start.overrides, *sgd, "model.dropout=0.0"))))
    assert [change.label for change in way.changes] == ["optimizer=sgd_momentum momentum=0.5", "conv_layers=40", "dropout=0.0"]
    assert due(way.plan()) == ["plain", "+ optimizer=sgd_momentum momentum=0.5"]
    assert "dropout=0.0 was not tried after 'plain': it changes nothing there." in way.notes
    assert any(note.startswith("conv_layers=40 was not tried after 'plain': model.conv_layers") for note in way.notes)


def test_the_reverse_takes_back_one_change_each(ends):
    spec, cells, notes = reverse_rows(ends)
    assert [row.label for row in spec.rows] == ["recipe", "without conv_layers=4", "without dropout=0.1", "without batch_size=32"]
    assert spec.baseline == "recipe"
    assert not notes
    assert len(cells) == 8
    changed = {cell.row.label: cell.config for cell in cells}
    assert changed["without dropout=0.1"].model.conv_layers == 4
    assert changed["without dropout=0.1"].trainer.batch_size == 32
    assert changed["without dropout=0.1"].model.dropout != changed["recipe"].model.dropout == 0.1


def kernels(ends):
    """The path to a recipe that changes the kernels of two stages to the same size."""
    changed = ("model.stages.0.kernel=7", "model.stages.1.kernel=7")
    start, base = replace(ends.start, overrides=("model=small", *ends.start.overrides[1:])), ends.end.overrides
    end = Row("recipe", ("model=small", *(word for word in base[1:] if word in ends.start.overrides), *changed))
    return replace(ends, start=start, end=end)


def test_changes_with_one_short_label_are_told_apart(ends):
    rows = [row for row in ForwardPath(kernels(ends)).plan().runs if row.cell.row.label != "plain"]
    found = {row.cell.row.label: [stage.kernel for stage in row.cell.config.model.stages[:2]] for row in rows}
    assert found == {"+ model.stages.0.kernel=7": [7, 3], "+ model.stages.1.kernel=7": [5, 7]}


def test_each_of_two_twins_is_taken_back(ends):
    spec, cells, _ = reverse_rows(kernels(ends))
    labels = [f"without model.stages.{number}.kernel=7" for number in (0, 1)]
    assert [row.label for row in spec.rows] == ["recipe", *labels]
    assert [cell.row.label for cell in cells] == [label for label in ("recipe", *labels) for _ in range(2)]


def test_twins_made_in_one_step_keep_whole_keys():
    changes = [Change((key,), (f"{key}=5",)) for key in ("scheduler.patience", "trainer.early_stopping.patience")]
    assert joined(told_apart(changes)).label == "scheduler.patience=5 trainer.early_stopping.patience=5"
    assert joined(changes).label == "patience=5 patience=5"


def test_equal_rows_have_no_path(ends):
    with pytest.raises(UserError, match="no path"):
        replace(ends, end=ends.start).changes()
