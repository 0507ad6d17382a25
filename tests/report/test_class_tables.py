"""Confusion matrices and scores per class of the rows of a study."""

import io
from pathlib import Path

import pandas as pd
import pytest
import torch

from fer_ablate.judgement.class_scores import split_results
from fer_ablate.judgement.row_runs import RowRuns, ScoredRun
from fer_ablate.metrics.scores import score
from fer_ablate.report.plots.canvas import save_figure
from fer_ablate.report.plots.classes import study_confusion_figure
from fer_ablate.report.table.classes import per_class_csv, per_class_markdown
from fer_ablate.tracking.disk.run_folder import RunFolder

from ..finished_runs import make_header, make_result

CLASSES = ("angry", "happy", "sad")


def result(seed):
    draw = torch.Generator().manual_seed(seed)
    return score(torch.rand(60, 3, generator=draw).softmax(1), torch.arange(60) % 3, CLASSES)


RESULTS = {"base": [result(0), result(1)], "a | b $x$": [result(2)]}


def test_the_csv_has_class_means_over_seeds():
    read = pd.read_csv(io.StringIO(per_class_csv(RESULTS)))
    assert list(read["class"]) == [*CLASSES, *CLASSES]
    expected = [
        (RESULTS["base"][0].per_class[name]["recall"] + RESULTS["base"][1].per_class[name]["recall"]) / 2 for name in CLASSES
    ]
    assert list(read["recall"][:3]) == pytest.approx(expected, abs=1e-6)
    assert list(read["n"]) == [2, 2, 2, 1, 1, 1]
    assert read["recall_sd"].isna().tolist() == [False] * 3 + [True] * 3
    assert set(read["support"]) == {20}


def run_of(seed, fold, split):
    header = make_header(seed=seed, settings={"data.folds": 2, "data.fold": fold})
    return ScoredRun(RunFolder(Path()), header, make_result(header, splits={"test": split}, classes=list(CLASSES)))


def test_the_folds_of_a_seed_are_counted_together(tmp_path):
    """A class that is absent from one fold is not read with a recall of 0 there."""
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 2, 0])
    probabilities = torch.rand(8, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    parts = [slice(0, 4), slice(4, 8)]  # class 2 is in the second alone
    folds = [score(probabilities[part], labels[part], CLASSES) for part in parts]
    runs = [run_of(seed, fold, split) for seed in (0, 1) for fold, split in enumerate(folds)]
    found = split_results([RowRuns("base", (0, 1), tuple(runs), folds=2)], "test")["base"]
    whole = score(probabilities, labels, CLASSES)
    assert [one.per_class for one in found] == [whole.per_class] * 2
    assert found[0].confusion == whole.confusion


def test_markdown_keeps_columns_for_any_row_label():
    lines = per_class_markdown(RESULTS).splitlines()
    assert len(lines) == 2 + 6
    assert {line.replace("\\|", "").count("|") for line in lines} == {7}


def test_markdown_signs_are_shown_as_they_are():
    draw = torch.rand(60, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    scores = score(draw, torch.arange(60) % 3, ("happy|joy", "<b>x", "sad"))
    first, second, _ = per_class_markdown({"<i>`row`": [scores]}).splitlines()[2:]
    assert first.startswith(r"| \<i>\`row\` | happy\|joy |")
    assert second.startswith(r"| \<i>\`row\` | \<b>x |")


def test_every_row_has_a_matrix_in_percent(tmp_path):
    picture = study_confusion_figure(RESULTS)
    first, second = picture.axes
    counts = torch.tensor(RESULTS["base"][0].confusion) + torch.tensor(RESULTS["base"][1].confusion)
    assert [text.get_text() for text in first.texts] == [f"{100 * count / 40:.0f}" for count in counts.flatten().tolist()]
    assert first.get_title() == f"base\n{100 * counts.trace() / 120:.1f} % right, 2 seeds"
    save_figure(picture, tmp_path / "grid.png")
    assert second.get_title().endswith("% right")
