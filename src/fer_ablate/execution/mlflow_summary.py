"""What MLflow shows of a study: scores, settings, published numbers and the judged table as a description."""

from collections.abc import Mapping, Sequence
from typing import Any

from fer_ablate.execution.differences import differing, stored_settings
from fer_ablate.execution.study_output import StudyOutput
from fer_ablate.judgement.doubtful_units import doubtful_unit
from fer_ablate.judgement.judged_table import JudgedTable, TableRow
from fer_ablate.judgement.row_runs import RowRuns, ScoredRun
from fer_ablate.report.quantities import ABSENT, metric_title, scale, shorten
from fer_ablate.report.table.formats import markdown_text
from fer_ablate.report.table.shown_table import (
    AGREES,
    COST,
    DIFFERENCE,
    GAP,
    INTERVAL,
    MEAN,
    PUBLISHED,
    SINGLE,
    VERDICT,
    ShownTable,
    shown_table,
)
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.mlflow.params import milliseconds, parameter_name, parameter_text
from fer_ablate.tracking.mlflow.study_runs import RowDetails, StudySummary

OF_A_REPEAT = ("seed", "data.fold")
"""Settings in which the runs of one row differ."""

DESCRIPTION_LENGTH = 3000
"""Characters of a table in a description; MLflow keeps 5,000 for all studies of an experiment, with the links."""

LONGEST_CELL, FIRST_LINE = 120, 150
"""Letters of a cell in a description, and of its first line."""

SPARED = (DIFFERENCE, VERDICT, GAP, AGREES)
"""Columns that a description of a long table leaves out."""


def mlflow_summary(output: StudyOutput, state: RunState) -> StudySummary:
    """What MLflow shows of a study that ended in this state."""
    runs = {row.label: row for row in output.rows}
    settings, main = _row_parameters(output.rows), _main_column(output.table)
    return StudySummary(
        rows={row.label: {**_scores(row, main), **_published(row)} for row in output.table.rows},
        runs={row.label: [run.folder for run in row.runs] for row in output.rows},
        artifacts=list(output.files),
        state=state,
        tags={"source": output.table.source} if output.table.source else {},
        failed=[row.label for row in output.rows if row.failures],
        details={row.label: _details(row, runs[row.label], settings) for row in output.table.rows if runs[row.label].runs},
        description=described(output.table),
    )


def _scores(row: TableRow, main: str) -> dict[str, float]:
    found: dict[str, float] = {}
    # The plots of MLflow 3.17 begin with the metric that was recorded first.
    for column, score in sorted(row.scores.items(), key=lambda item: item[0] != main):
        values = {"mean": score.mean, "sd": score.sd, "ci_low": score.low, "ci_high": score.high, "n": float(score.n)}
        found |= {f"{column}/{name}": value for name, value in values.items()}
    costs = {"parameters": row.parameters, "macs": row.macs, "seconds": row.seconds, "peak_memory_mb": row.peak_memory_mb}
    return found | {f"run/{name}": float(value) for name, value in costs.items() if value is not None}


def _published(row: TableRow) -> dict[str, float]:
    """Published numbers of a row that has run, in the unit of its scores: 0.65 for 65 %."""
    found: dict[str, float] = {}
    for column, score in _all_scores(row).items():
        if score.published is not None and not doubtful_unit(column.partition("/")[2], score.published.value):
            found[f"published/{column}"] = score.published.value / scale(column)
        if score.gap is not None:
            found[f"gap/{column}"] = score.gap / scale(column)
        if score.agrees is not None:
            found[f"agrees/{column}"] = float(score.agrees)
    return found


def _all_scores(row: TableRow) -> Mapping[str, Any]:
    return {**row.by_class, **row.scores}


def _details(row: TableRow, runs: RowRuns, parameters: Mapping[str, Mapping[str, str]]) -> RowDetails:
    tags = {f"verdict/{name}": score.difference.verdict for name, score in row.scores.items() if score.difference}
    tags |= {
        f"agrees/{name}": "yes" if score.agrees else "no" for name, score in _all_scores(row).items() if score.agrees is not None
    }
    return RowDetails(
        parameters=parameters[row.label],
        tags=tags,
        started=min(milliseconds(run.header.started_at) for run in runs.runs),
        ended=max(milliseconds(run.result.finished_at) for run in runs.runs),
        of_runs={run.header.key: found for run in runs.runs if (found := _published_of_run(row, run))},
    )


def _published_of_run(row: TableRow, run: ScoredRun) -> dict[str, float]:
    """Published numbers and the gaps of one run; whether they agree is known of the row alone."""
    found: dict[str, float] = {}
    for column, printed in {**row.published_by_class, **row.published}.items():
        split, _, metric = column.partition("/")
        result = run.result.splits.get(split)
        measured = result.value(metric) if result is not None else None
        if measured is not None and not doubtful_unit(metric, printed.value):
            published = printed.value / scale(column)
            found |= {f"published/{column}": published, f"gap/{column}": measured - published}
    return found


def _row_parameters(rows: Sequence[RowRuns]) -> dict[str, dict[str, str]]:
    """Settings of the rows that have run: first those in which they differ, then all others."""
    settings = {row.label: _settings(row) for row in rows if row.runs and row.average is None}
    different = differing(list(settings.values()))
    found = {
        label: _as_parameters({**{name: values[place] for name, values in different.items()}, **every})
        for place, (label, every) in enumerate(settings.items())
    }
    # Averages have no settings: the rows that they are made of are their parameters.
    return found | {row.label: _as_parameters(row.runs[0].header.changed) for row in rows if row.runs and row.average}


def _settings(row: RowRuns) -> dict[str, Any]:
    # A run of today's config rather than a stale one that only counts until the row is trained anew.
    run = min(row.runs, key=lambda run: run.stale)
    return {name: value for name, value in stored_settings(run.folder, run.header).items() if name not in OF_A_REPEAT}


def _as_parameters(settings: Mapping[str, Any]) -> dict[str, str]:
    return {parameter_name(name): parameter_text(value) for name, value in settings.items()}


def described(table: JudgedTable, length: int = DESCRIPTION_LENGTH) -> str:
    """The judged table in Markdown: a line with the main scores, which is all that MLflow shows at first, and a table a metric.

    What does not fit is left out: first the other metrics, then words and gaps, then rows.

    Args:
        table: judged.
        length: characters.
    """
    shown = shown_table(table)
    main = metric_title(_main_column(table))
    others = [group for group in shown.groups if group not in (main, COST)]
    first, every = f"**{markdown_text(_first_line(shown, main))}**", len(table.rows)
    for groups, spared in (([main, *others], ()), ([main], ()), ([main], SPARED)):
        tables = [_metric_lines(shown, group, spared, every, titled=group != main) for group in groups]
        if len(text := "\n\n".join([first, *tables])) <= length:
            return text
    for kept in range(every, -1, -1):
        rest = f"{every - kept} more rows: study/table.md among the artifacts."
        if len(text := "\n\n".join([first, _metric_lines(shown, main, SPARED, kept), rest])) <= length:
            break
    return text


def _main_column(table: JudgedTable) -> str:
    """The column that is shown first: the first one of the test with published numbers, or else of the test, or else any."""
    printed = [column for column in table.columns if any(column in row.published for row in table.rows)]
    candidates = (column for columns in (printed, table.columns) for column in columns if column.startswith("test/"))
    return next(iter([*candidates, *printed, *table.columns]))


def _first_line(shown: ShownTable, main: str) -> str:
    """`quickstart, test acc, %: small 91.8 ± 0.4, -4 Conv 67.1 ± 2.2`, with published numbers if there are any."""
    named = {column.name: column.cells for column in shown.group(main)}
    labels = next(column.cells for column in shown.group("") if column.words)
    scores = named.get(MEAN) or named.get(SINGLE) or ("",) * len(labels)
    printed = named.get(PUBLISHED, (ABSENT,) * len(labels))
    parts = [
        f"{label} {score}" + (f" (published {number})" if number != ABSENT else "")
        for label, score, number in zip(labels, scores, printed, strict=True)
    ]
    text = f"{shown.study}, {main}: {', '.join(parts)}"
    return text if len(text) <= FIRST_LINE else f"{text[: FIRST_LINE - 1]}…"


def _metric_lines(shown: ShownTable, group: str, spared: Sequence[str], kept: int, titled: bool = False) -> str:
    """The rows of one metric as a table in Markdown."""
    columns = [*shown.group(""), *(column for column in shown.group(group) if column.name not in (*spared, INTERVAL))]
    lines = [[column.name for column in columns], ["---" if column.words else "---:" for column in columns]]
    lines += [[markdown_text(shorten(column.cells[place], LONGEST_CELL)) for column in columns] for place in range(kept)]
    drawn = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"**{markdown_text(group)}**\n\n{drawn}" if titled else drawn
