"""A study's runs as lines of text that are kept beside the code: what was measured, how, when, on what."""

import csv
import io
import math
from collections.abc import Mapping, Sequence

from fer_ablate.config.key import short
from fer_ablate.config.repeats import Repeat
from fer_ablate.judgement.records import FinishedRun, RowRuns, StudyTable
from fer_ablate.report.results.files import Line, as_csv
from fer_ablate.report.table.csv_format import csv as judged_csv

FACTS = (
    "label",
    "seed",
    "fold",
    "key",
    "changes",
    "stale",
    "protocol",
    "hardware",
    "device",
    "devices",
    "threads",
    "precision",
    "torch",
    "date",
    "seconds",
    "epochs",
    "best_epoch",
    "parameters",
    "macs",
    "peak_memory_mb",
    "code_digest",
    "data_digest",
)
"""Columns in front of the metrics."""

NEEDED = ("label", "seed", "protocol", "hardware", "date", "seconds", "code_digest")
"""Without these a file is no export."""

NOTES = "notes"
"""Column of the judged table whose first cell holds the remarks, one in each line of it."""


def run_lines(rows: Sequence[RowRuns], changes: Sequence[str], reasons: Mapping[tuple[str, Repeat], str]) -> list[dict[str, str]]:
    """One line for each finished run, row by row, seed by seed and fold by fold.

    Args:
        rows: of a study.
        changes: overrides that these runs were given beyond the study's file.
        reasons: label and seed with fold -> why a run is stale.
    """
    lines = []
    for row in rows:
        for run in sorted(row.runs, key=lambda found: found.header.repeat.place):
            stale = reasons.get((row.label, run.header.repeat), "") if run.stale else ""
            lines.append({"label": row.label, **_run_line(run), "changes": " ".join(changes), "stale": stale})
    return lines


def merged(old: Sequence[Line], new: Sequence[Mapping[str, str]], labels: Sequence[str]) -> str:
    """The file with the new lines in it.

    Lines of other labels, seeds or folds stay, those of the same are replaced.

    Args:
        old: lines of the file as it is.
        new: of `run_lines`.
        labels: of the study's rows, in order; lines of other labels go to the end.
    """
    lines = {(line.text("label"), line.repeat): line.cells for line in old}
    lines |= {(line["label"], Repeat(int(line["seed"]), int(line["fold"]) if line["fold"] else None)): line for line in new}
    place = {label: number for number, label in enumerate(labels)}
    order = sorted(lines, key=lambda name: (place.get(name[0], len(place)), name[0], name[1].place))
    columns = dict.fromkeys((*FACTS, *(column for line in lines.values() for column in line)))
    return as_csv(list(columns), [lines[name] for name in order])


def judged_lines(table: StudyTable) -> str:
    """The judged table for programs, with the remarks below it in a column of their own."""
    lines = list(csv.DictReader(io.StringIO(judged_csv(table), newline="")))
    lines[0][NOTES] = "\n".join(table.notes)
    return as_csv(list(lines[0]), lines)


def _run_line(run: FinishedRun) -> dict[str, str]:
    result, where = run.result, run.result.environment
    facts = {
        "seed": str(run.header.seed),
        "fold": "" if run.header.repeat.fold is None else str(run.header.repeat.fold),
        "key": short(run.header.key),
        "protocol": "; ".join(f"{name}={value}" for name, value in result.protocol.items()),
        **{name: where.get(name, "") for name in ("hardware", "device", "devices", "threads", "precision", "torch")},
        "date": result.finished_at[:10],
        "seconds": digits(result.seconds),
        "epochs": str(result.epochs),
        "best_epoch": str(result.best_epoch),
        "parameters": str(result.parameters),
        "macs": str(result.macs),
        "peak_memory_mb": digits(result.peak_memory_mb),
        "code_digest": run.header.code_digest,
        "data_digest": short(run.header.data_digest),
    }
    return facts | {name: digits(value) for name, value in result.flat_metrics().items()}


def digits(value: float) -> str:
    """Six significant digits; empty if it is no number."""
    return f"{value:.6g}" if math.isfinite(value) else ""
