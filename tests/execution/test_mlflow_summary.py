"""What MLflow shows of a study, from finished runs that are written by hand."""

from dataclasses import replace

import pytest

from fer_ablate.execution.mlflow_summary import described, mlflow_summary
from fer_ablate.execution.study_output import StudyOutput
from fer_ablate.judgement.judge import build_table
from fer_ablate.judgement.judged_table import Published
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.judgement.table_spec import TableSpec
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState

from ..finished_runs import finish_run, make_header

COLUMNS = ("val/acc", "test/acc")


@pytest.fixture
def output(tmp_path):
    """Two rows of one seed that differ in a stage; the document prints 70 % for the second one. Every run scores 75 %."""
    rows = []
    for place, (label, published) in enumerate({"wide": {}, "narrow": {"test/acc": Published(70.0)}}.items()):
        settings = {"optimizer.lr": 0.1, "model.stages": [{"channels": 64 - 32 * place}], "seed": 3}
        header = make_header(key=f"{place}" * 32, name=label, settings=settings)
        run = finish_run(RunFolder(tmp_path / label), header)
        rows.append(RowRuns(label, (3,), (run,), published=published))
    return StudyOutput(build_table(TableSpec(study="depth", baseline="wide", columns=COLUMNS), rows), tuple(rows), (), None)


def test_what_differs_is_first_among_parameters(output):
    details = mlflow_summary(output, RunState.finished).details
    assert {label: next(iter(found.parameters.items())) for label, found in details.items()} == {
        "wide": ("model.stages.0.channels", "64"),
        "narrow": ("model.stages.0.channels", "32"),
    }
    assert details["wide"].parameters["optimizer.lr"] == "0.1"
    assert "seed" not in details["wide"].parameters


def test_published_numbers_have_the_unit_of_scores(output):
    summary = mlflow_summary(output, RunState.finished)
    row = summary.rows["narrow"]
    assert (row["published/test/acc"], row["gap/test/acc"]) == (pytest.approx(0.7), pytest.approx(0.05))
    assert summary.details["narrow"].of_runs["1" * 32]["gap/test/acc"] == pytest.approx(0.05)
    assert not [name for name in summary.rows["wide"] if name.startswith(("published", "gap"))]


def test_times_are_those_of_the_runs(output):
    details = mlflow_summary(output, RunState.finished).details["wide"]
    assert (details.started, details.ended) == (1767323045000, 1767323105000)  # see `finished_runs`


def test_scores_stand_in_the_first_line(output):
    first, blank, header, *_ = described(output.table).splitlines()
    assert first == "**depth, test acc, %: wide (baseline) 75.0 (n=1), narrow 75.0 (n=1) (published 70)**"
    assert (blank, header.split(" | ")[:2]) == ("", ["| row", "n"])


@pytest.mark.parametrize("length", [3000, 1500, 700, 400])
def test_a_long_table_fits_its_description(output, length):
    rows = [replace(output.table.rows[1], label=f"narrow {number}") for number in range(40)]
    text = described(replace(output.table, rows=(output.table.rows[0], *rows)), length)
    assert len(text) <= length
    assert "| wide (baseline) |" in text
    assert ("more rows" in text) == ("narrow 39 |" not in text)
