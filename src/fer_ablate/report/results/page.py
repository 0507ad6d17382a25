"""The page of results: published numbers beside measured ones, made from the exports and the study files alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fer_ablate.config.study_rows import trained_labels
from fer_ablate.judgement.judged_table import JudgedTable, TableRow
from fer_ablate.report.quantities import ABSENT, metric_name, metric_title, number, published, scale
from fer_ablate.report.results.confusions import confusions_in_words
from fer_ablate.report.results.costs import RowTrial, cost_in_words, costs, read_trials
from fer_ablate.report.results.export import ExportedRun, export_file, read_export
from fer_ablate.report.results.measured import as_studied, counted, machine, trained
from fer_ablate.report.results.table import StudyResults, results_table
from fer_ablate.report.table.formats import markdown, markdown_lines, markdown_text
from fer_ablate.report.table.printed_classes import agreement, report_tables
from fer_ablate.report.table.shown_table import COST, ShownTable, shown_table
from fer_ablate.study.spec import StudySpec

COMMAND = "python -m fer_ablate results"

MARK = "<!-- Written by"
"""Beginning of a page that may be written anew."""

INTRODUCTION = """Every table of the five documents: what was published beside what this code measured.

- Scores in percent where they are fractions; `gap` is measured minus published, `n` the number of seeds, `runs` of seeds x folds.
- A verdict compares a row with the baseline of its table and allows for the number of rows compared (Holm).
- `agrees` says whether the published number, as exactly as it is printed, is within the range of one more run of ours; that
  takes two seeds or more.
- Numbers by class are those of a document's classification report, beside ours from the stored counts of predictions.
- The numbers of single runs are in the JSON files under `results/`. A row that was not run says so."""

FULL, PARTLY, TRIAL, NONE = "run in full", "partly run", "trial only", "not yet run"


def results_page(studies: Sequence[StudySpec], folder: Path) -> str:
    """The whole page.

    Args:
        studies: the tables of all documents.
        folder: where the documentation is; the exports are in `results` below it.

    Raises:
        UserError: one of the files is damaged; it names the file and the field.
    """
    trials = read_trials(folder)
    found = [StudyResults(study, read_export(export_file(folder, study.name))) for study in studies]
    tables = [results_table(results) for results in found]
    parts = [f"{MARK} `{COMMAND}`; edits are lost. -->", "# Results", INTRODUCTION, "## Overview"]
    parts.append(_overview(found, tables, trials))
    for results, table in zip(found, tables, strict=True):
        parts += [f"## {table.study}", _section(results, table)]
    parts += ["## Cost", _cost(studies, trials)]
    return "\n\n".join(parts) + "\n"


def _overview(found: Sequence[StudyResults], tables: Sequence[JudgedTable], trials: Sequence[RowTrial]) -> str:
    rows = []
    for results, table in zip(found, tables, strict=True):
        done = [row for row in table.rows if row.finished]
        seeds = sorted({repeat.seed for row in done for repeat in row.finished})
        line = [
            # GitHub leaves out slashes when it makes the anchor of a heading.
            f"[{table.study}](#{table.study.replace('/', '')})",
            f"{len(done)} of {len(table.rows)}",
            ", ".join(map(str, seeds)) or ABSENT,
            _state(results, table, trials),
            _largest_gap(table),
        ]
        rows.append(line)
    return _text_table(("table", "rows run", "seeds", "state", "largest gap"), rows)


def _state(results: StudyResults, table: JudgedTable, trials: Sequence[RowTrial]) -> str:
    study = results.study
    shown = [row for row in study.rows if not row.auxiliary]
    expected = [(row.label, repeat) for row in shown for repeat in row.repeats(study.seeds or (), study.folds)]
    faithful = {(run.label, run.repeat) for run in results.runs if as_studied(run)}
    done = sum(name in faithful for name in expected)
    if done == len(expected):
        return FULL
    if any(row.finished for row in table.rows):
        return f"{PARTLY}: {done} of {len(expected)} runs"
    tried = {trial.row for trial in trials if trial.study == table.study and trial.estimated_seconds is not None}
    trained = trained_labels(study.rows)
    if tried.issuperset(trained):
        return TRIAL
    return NONE if not tried else f"{TRIAL}: {len(tried)} of {len(trained)} rows"


def _largest_gap(table: JudgedTable) -> str:
    """In percentage points; other metrics are on scales of their own."""
    gaps = [
        # Stored metrics are 32-bit floats: further digits must not decide between equal gaps.
        (round(abs(score.gap), 6), f"{number(score.gap, 1, signed=True)} ({row.label}, {metric_name(column)})")
        for row in table.rows
        for column, score in row.scores.items()
        if score.gap is not None and scale(column) == 100
    ]
    return max(gaps)[1] if gaps else ABSENT


def _section(results: StudyResults, table: JudgedTable) -> str:
    """One table for each metric, between what belongs to all of them."""
    shown = shown_table(table)
    notes = (*shown.notes, *_facts(results), f"Command: python -m fer_ablate reproduce {table.study.replace('/', ' ')}")
    tables = _measured(shown, table) if any(row.scores for row in table.rows) else [_unmeasured(table)]
    tables += [f"**{markdown_text(report.caption)}**\n\n{markdown_lines(report)}" for report in report_tables(table)]
    notes = (*notes, *_notes_by_class(table), *confusions_in_words(results))
    return "\n\n".join([markdown_text(shown.caption), *tables, "\n".join(f"- {markdown_text(note)}" for note in notes)])


def _notes_by_class(table: JudgedTable) -> list[str]:
    """How many of the numbers that are printed by class agree, or why none is measured."""
    notes = [f"{row.label}: {agreed} printed numbers by class agree." for row in table.rows if (agreed := agreement(row))]
    lacking = [row.label for row in table.rows if row.finished and row.published_by_class and not row.by_class]
    if lacking:
        notes.append(f"{', '.join(lacking)}: exported by an earlier version, without scores by class. Export the study again.")
    return notes


def _measured(shown: ShownTable, table: JudgedTable) -> list[str]:
    """One table for each metric that was published or measured, and one for the costs."""
    known = {column for row in table.rows for column in (*row.published, *row.scores)}
    groups = [group for group in shown.groups if group == COST or group in map(metric_title, known)]
    if len(table.rows) == 1:
        return _by_metric(shown, groups)
    parts = [replace(shown, columns=(*shown.group(""), *shown.group(group)), caption="", notes=()) for group in groups]
    return [f"**{group}**\n\n{markdown(part).strip()}" for group, part in zip(groups, parts, strict=True)]


def _by_metric(shown: ShownTable, groups: Sequence[str]) -> list[str]:
    """The one row of a table, metric below metric."""
    scored = [group for group in groups if group != COST]
    names = tuple(dict.fromkeys(column.name for group in scored for column in shown.group(group)))
    found = {(column.group, column.name): column.cells[0] for column in shown.columns}
    rows = [(group, *(found.get((group, name), ABSENT) for name in names)) for group in scored]
    label, *others = (column.cells[0] for column in shown.group(""))
    spent = ", ".join(f"{column.name} {column.cells[0]}" for column in shown.group(COST))
    return [f"**{markdown_text(label)}**, n {' '.join(others)}", _text_table(("metric", *names), rows), f"Cost: {spent}."]


def _unmeasured(table: JudgedTable) -> str:
    """Published numbers alone."""
    columns = [column for column in table.columns if any(column in row.published for row in table.rows)]
    rows = [
        [
            row.label + (" (baseline)" if row.baseline else ""),
            *(_published(row, column) for column in columns),
            NONE,
        ]
        for row in table.rows
    ]
    return _text_table(["row", *(f"published {metric_title(column)}" for column in columns), "measured"], rows)


def _published(row: TableRow, column: str) -> str:
    return published(column, [row.published[column].value])[0] if column in row.published else ABSENT


def _facts(results: StudyResults) -> list[str]:
    """How, when and on what the runs of the table were trained."""
    # Averages would count the machines and dates of their members a second time.
    runs = results.trained
    if not runs:
        return []
    stale = [run for run in runs if run.stale]
    facts = [
        f"Machine: {counted(runs, machine)}.",
        f"Trained: {trained(runs)}.",
        f"Code: {counted(runs, lambda run: run.code_digest)}.",
        f"Data: {counted(runs, lambda run: run.data_digest)}.",
    ]
    facts += [f"Of an earlier state: {counted(stale, lambda run: run.stale)}."] if stale else []
    changes = dict.fromkeys(run.changes for run in runs if run.changes)
    return facts + [f"Not as the study says: {words} in {_changed_runs(runs, words)}." for words in changes]


def _changed_runs(runs: Sequence[ExportedRun], changes: str) -> str:
    return ", ".join(f"{run.label} seed {run.seed}" for run in runs if run.changes == changes)


def _cost(studies: Sequence[StudySpec], trials: Sequence[RowTrial]) -> str:
    """What each table would take, from trainings of one epoch on few images."""
    rows, changed, problems = [], [], []
    for study in studies:
        labels = trained_labels(study.rows)
        found = costs(trials, study.name)
        for cost in found:
            low, high = cost.images
            images = f"{low:,}" if low == high else f"{low:,} to {high:,}"
            dates = " to ".join(dict.fromkeys(cost.dates))
            tried = f"{len(labels) - len(cost.missing(labels))} of {len(labels)}"
            rows.append((study.name, tried, images, cost_in_words(cost, dict.fromkeys(labels, study.folds or 1)), dates))
            changed += [f"- {markdown_text(f'{study.name}: {words}')}" for words in cost.changes]
            problems += [f"- {markdown_text(f'{study.name}, {row}: {problem}')}" for row, problem in cost.problems.items()]
        if not found:
            rows.append((study.name, f"0 of {len(labels)}", ABSENT, "unknown", ABSENT))
    introduction = (
        "Estimated from one epoch on so many images, scaled to all images and to the last epoch: one seed of every row and fold, "
        "one after another, with rows that others start from. Early stopping may end sooner. "
        "`python -m fer_ablate reproduce DOCUMENT TABLE trial=true` measures it."
    )
    table = _text_table(("table", "rows tried", "images", "one seed", "measured"), rows)
    others = ["Tried with other settings than the study's:", "\n".join(changed)] if changed else []
    failed = ["Trials that failed:", "\n".join(problems)] if problems else []
    return "\n\n".join([introduction, table, *others, *failed])


def _text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *(map(markdown_text, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
