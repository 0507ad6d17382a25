"""A study's table from its csv files: means of the exported runs, intervals and verdicts of the table judged beside them."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from fer_ablate.config.repeats import Repeat
from fer_ablate.judgement.gather import published_number
from fer_ablate.judgement.records import Difference, Failure, Published, Score, StudyTable, TableRow
from fer_ablate.report.quantities import scale
from fer_ablate.report.results.files import Line
from fer_ablate.report.results.runs import NOTES
from fer_ablate.study.spec import Asked

FAILED = re.compile(r"(?:^|; )seed (?P<seed>-?\d+)(?:, fold (?P<fold>\d+))?: (?P<problem>.*?) \((?P<log>[^()]*)\)(?=; seed |$)")
"""How `study_csv` writes down failures."""

TRUE = "True"


@dataclass(frozen=True)
class Exported:
    """What there is of a study.

    Args:
        study: rows, seeds, columns and published numbers.
        runs: one line for each run; may be empty.
        judged: lines of the judged table as of the last export; may be empty.
    """

    study: Asked
    runs: Sequence[Line]
    judged: Sequence[Line]

    def of(self, label: str) -> list[Line]:
        """The runs of a row, by seed and fold."""
        return sorted((line for line in self.runs if line.text("label") == label), key=lambda line: line.repeat.place)

    @property
    def labels(self) -> list[str]:
        """Of the rows that stand in the table."""
        return [row.label for row in self.study.rows if not row.auxiliary]


def table_of(exported: Exported) -> StudyTable:
    """The table as it is known.

    A row whose runs are not the ones that the judged table had, since they come from another machine, keeps its mean and
    spread; interval, difference and verdict, which need every single prediction, are then absent, and a note says so.

    Raises:
        UserError: a cell is not what it should be.
    """
    study = exported.study
    rows = [row for row in study.rows if not row.auxiliary]
    published = {row.label: {column: published_number(given) for column, given in row.published.items()} for row in rows}
    columns = tuple(dict.fromkeys([*study.study.columns, *(column for found in published.values() for column in found)]))
    judged = {(line.text("row"), line.text("column")): line for line in exported.judged}
    apart = [row.label for row in rows if exported.of(row.label) and not _same_runs(exported, row.label)]
    table_rows = tuple(_row(exported, row.label, published[row.label], columns, judged, row.label in apart) for row in rows)
    notes = [note for line in exported.judged[:1] for note in line.text(NOTES).splitlines()]
    if apart:
        notes.append(f"Exported apart from the other rows, hence without interval and verdict: {', '.join(apart)}.")
    return StudyTable(
        study=study.name,
        source=study.study.source,
        columns=columns,
        rows=table_rows,
        protocol=_protocol(exported),
        notes=tuple(notes),
        folds=study.folds,
    )


def _same_runs(exported: Exported, label: str) -> bool:
    """Whether the judged table had just the runs of a row that are exported."""
    judged = next((line.text("seeds") for line in exported.judged if line.text("row") == label), "")
    return judged.split() == [line.repeat.short for line in exported.of(label)]


def _row(
    exported: Exported,
    label: str,
    published: dict[str, Published],
    columns: Sequence[str],
    judged: Mapping[tuple[str, str], Line],
    apart: bool,
) -> TableRow:
    runs, baseline = exported.of(label), exported.study.baseline
    finished = tuple(line.repeat for line in runs)
    compared = not apart and _same_runs(exported, baseline)
    lines = {column: line for column in columns if not apart and (line := judged.get((label, column))) is not None}
    scores = {
        column: score
        for column in columns
        if (score := _score(column, runs, lines.get(column), published.get(column), compared)) is not None
    }
    about = next(iter(lines.values()), None)
    parameters, macs = _mean(runs, "parameters"), _mean(runs, "macs")
    return TableRow(
        label=label,
        baseline=label == baseline,
        seeds=tuple(sorted({*(exported.study.seeds or ()), *(repeat.seed for repeat in finished)})),
        finished=finished,
        stale=int(about.number_in("stale") or 0) if about is not None else 0,
        failures=_failures(about.text("failed")) if about is not None else (),
        scores=scores,
        published=published,
        factor=None,
        parameters=None if parameters is None else round(parameters),
        macs=None if macs is None else round(macs),
        seconds=_mean(runs, "seconds"),
        peak_memory_mb=_mean(runs, "peak_memory_mb"),
        folds=exported.study.folds,
    )


def _score(column: str, runs: Sequence[Line], judged: Line | None, published: Published | None, compared: bool) -> Score | None:
    values = _repetitions(column, runs)
    if not values:
        return None
    mean = fmean(values)
    agrees = judged.text("agrees") if judged is not None else ""
    return Score(
        n=len(values),
        images=int(_value(judged, "images", 0)),
        mean=mean,
        sd=stdev(values) if len(values) > 1 else math.nan,
        low=_value(judged, "ci_low"),
        high=_value(judged, "ci_high"),
        over_images=judged is not None and judged.text("over_images") == TRUE,
        difference=_difference(judged) if judged is not None and compared else None,
        published=published,
        gap=scale(column) * mean - published.value if published is not None else None,
        agrees=agrees == TRUE if agrees else None,
    )


def _repetitions(column: str, runs: Sequence[Line]) -> list[float]:
    """What mean and spread are taken over: single runs, or with folds the mean over the seeds of each."""
    found: dict[Repeat, list[float]] = {}
    for line in runs:
        value, repeat = line.number_in(column), line.repeat
        if value is not None:
            found.setdefault(repeat if repeat.fold is None else Repeat(0, repeat.fold), []).append(value)
    return [fmean(values) for values in found.values()]


def _difference(judged: Line) -> Difference | None:
    if not judged.text("verdict"):
        return None
    value, low, high, p, p_holm = (_value(judged, name) for name in ("difference", "diff_low", "diff_high", "p", "p_holm"))
    return Difference(value, low, high, p, p_holm, judged.text("verdict"))


def _value(line: Line | None, column: str, absent: float = math.nan) -> float:
    found = line.number_in(column) if line is not None else None
    return absent if found is None else found


def _mean(runs: Sequence[Line], column: str) -> float | None:
    values = [value for line in runs if (value := line.number_in(column)) is not None]
    return fmean(values) if values else None


def _failures(text: str) -> tuple[Failure, ...]:
    return tuple(
        Failure(int(found["seed"]), found["problem"], Path(found["log"]), int(found["fold"]) if found["fold"] else None)
        for found in FAILED.finditer(text)
    )


def _protocol(exported: Exported) -> dict[str, str]:
    """How all exported runs were tested; unlike values joined by ` / `."""
    found: dict[str, dict[str, None]] = {}
    for label in exported.labels:
        for line in exported.of(label):
            for part in filter(None, line.text("protocol").split("; ")):
                name, _, value = part.partition("=")
                found.setdefault(name, {})[value] = None
    return {name: " / ".join(values) for name, values in found.items()}
