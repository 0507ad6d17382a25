"""A study's table for the page of results: the judged table of its export, brought up to date with all exported runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from fer_ablate.config.study_rows import Repeat, Row
from fer_ablate.judgement.class_scores import class_score, counted_together, splits_of
from fer_ablate.judgement.doubtful_units import doubtful_unit
from fer_ablate.judgement.judged_table import JudgedTable, Published, Score, TableRow
from fer_ablate.judgement.row_runs import published_by_class, published_numbers
from fer_ablate.metrics import SplitResult
from fer_ablate.report.quantities import scale
from fer_ablate.report.results.export import ExportedRun, StudyExport
from fer_ablate.study.spec import StudySpec


@dataclass(frozen=True)
class StudyResults:
    """A study with what was exported of it.

    Args:
        study: rows, seeds, columns and published numbers, as its file states them today.
        export: None if nothing was exported.
    """

    study: StudySpec
    export: StudyExport | None

    @property
    def labels(self) -> list[str]:
        """Labels of the rows that appear in the table."""
        return [row.label for row in self.study.rows if not row.auxiliary]

    @property
    def runs(self) -> list[ExportedRun]:
        """Runs of the rows that appear in the table, row by row, by seed and fold."""
        return [run for label in self.labels for run in self.runs_of(label)]

    @property
    def trained(self) -> list[ExportedRun]:
        """Those of these runs that were trained, rather than averaged from others."""
        averages = {row.label for row in self.study.rows if row.average_of}
        return [run for run in self.runs if run.label not in averages]

    def runs_of(self, label: str) -> list[ExportedRun]:
        """Runs of one row, by seed and fold."""
        found = [run for run in (self.export.runs if self.export is not None else ()) if run.label == label]
        return sorted(found, key=lambda run: run.repeat.place)

    def judged_row(self, label: str) -> TableRow | None:
        """The row as it was judged; None if it was not, or was judged from other runs than those exported by now."""
        for row in self.export.table.rows if self.export is not None else ():
            if row.label == label and row.finished == tuple(run.repeat for run in self.runs_of(label)):
                return row
        return None


def results_table(results: StudyResults) -> JudgedTable:
    """The table as it is known.

    Rows whose exported runs are not the judged ones, since some come from another machine, keep mean and spread only: interval,
    difference and verdict need the predictions of every run. A note names these rows.
    """
    study = results.study
    rows = [row for row in study.rows if not row.auxiliary]
    published = {row.label: published_numbers(row) for row in rows}
    columns = tuple(dict.fromkeys([*study.study.columns, *(column for found in published.values() for column in found)]))
    apart = [row.label for row in rows if results.runs_of(row.label) and results.judged_row(row.label) is None]
    notes = list(results.export.table.notes) if results.export is not None else []
    if apart:
        notes.append(f"Exported apart from the other rows, hence without interval and verdict: {', '.join(apart)}.")
    return JudgedTable(
        study=study.name,
        source=study.study.source,
        columns=columns,
        rows=tuple(_row(results, row, published[row.label], columns) for row in rows),
        protocol=_protocol(results),
        notes=tuple(notes),
        folds=study.folds,
    )


def _row(results: StudyResults, row: Row, published: dict[str, Published], columns: Sequence[str]) -> TableRow:
    label, by_class = row.label, published_by_class(row)
    runs, judged, baseline = results.runs_of(label), results.judged_row(label), results.study.baseline
    finished = tuple(run.repeat for run in runs)
    # A difference to another baseline than the one shown would mislead.
    compared = results.judged_row(baseline) is not None
    scores = {
        column: score
        for column in columns
        if (score := _score(column, runs, judged, published.get(column), compared)) is not None
    }
    parameters, macs = _mean([run.parameters for run in runs]), _mean([run.macs for run in runs])
    return TableRow(
        label=label,
        baseline=label == baseline,
        # Another machine may have run seeds that the study does not name.
        seeds=tuple(sorted({repeat.seed for repeat in (*row.repeats(results.study.seeds or (), None), *finished)})),
        finished=finished,
        stale=judged.stale if judged is not None else 0,
        failures=judged.failures if judged is not None else (),
        scores=scores,
        published=published,
        factor=None,
        parameters=None if parameters is None else round(parameters),
        macs=None if macs is None else round(macs),
        seconds=_mean([run.seconds for run in runs]),
        peak_memory_mb=_mean([run.peak_memory_mb for run in runs]),
        folds=results.study.folds,
        by_class=_by_class(runs, by_class),
        published_by_class=by_class,
    )


def _by_class(runs: Sequence[ExportedRun], printed: dict[str, Published]) -> dict[str, Score]:
    """Scores beside the numbers that a document prints by class, from the exported counts of predictions."""
    results = {split: _by_seed(runs, split) for split in splits_of(printed)}
    repeated = all(run.fold is None for run in runs)
    found = {column: class_score(column, results, number, repeated) for column, number in printed.items()}
    return {column: score for column, score in found.items() if score is not None}


def _by_seed(runs: Sequence[ExportedRun], split: str) -> list[SplitResult]:
    """One result for each seed, whose folds are counted together."""
    seeds: dict[int, list[SplitResult]] = {}
    for run in runs:
        if (result := run.split(split)) is not None:
            seeds.setdefault(run.seed, []).append(result)
    return [counted_together(results) for results in seeds.values()]


def _score(
    column: str, runs: Sequence[ExportedRun], judged: TableRow | None, published: Published | None, compared: bool
) -> Score | None:
    """The judged score with the number that is published today; without a judged one, mean and spread of the runs."""
    score = judged.scores.get(column) if judged is not None else None
    if score is None:
        values = _repetitions(column, runs)
        if not values:
            return None
        spread = stdev(values) if len(values) > 1 else math.nan
        score = Score(len(values), 0, fmean(values), spread, math.nan, math.nan, over_images=False)
    # The study file may have another published number by now, which was not judged.
    same = published is not None and score.published is not None and published.value == score.published.value
    sure = published is not None and not doubtful_unit(column.partition("/")[2], published.value)
    return replace(
        score,
        difference=score.difference if compared else None,
        published=published,
        gap=scale(column) * score.mean - published.value if published is not None and sure else None,
        agrees=score.agrees if same and sure else None,
    )


def _repetitions(column: str, runs: Sequence[ExportedRun]) -> list[float]:
    """What mean and spread are taken over: single runs, or with folds the mean over the seeds of each fold."""
    found: dict[Repeat, list[float]] = {}
    for run in runs:
        if column in run.metrics:
            repeat = run.repeat if run.fold is None else Repeat(0, run.fold)
            found.setdefault(repeat, []).append(run.metrics[column])
    return [fmean(values) for values in found.values()]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _protocol(results: StudyResults) -> dict[str, str]:
    """How all exported runs were tested; values that differ are joined by ` / `."""
    found: dict[str, dict[str, None]] = {}
    for run in results.runs:
        for name, value in run.protocol.items():
            found.setdefault(name, {})[value] = None
    return {name: " / ".join(values) for name, values in found.items()}
