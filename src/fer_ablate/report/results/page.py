"""The page of results: published numbers beside measured ones, made from csv files and the studies alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fer_ablate.config.repeats import repeats
from fer_ablate.judgement.records import StudyTable
from fer_ablate.report.quantities import ABSENT, number, scale, spoken, title
from fer_ablate.report.results.files import Line, read_lines, runs_file, table_file, trials_file
from fer_ablate.report.results.runs import NEEDED
from fer_ablate.report.results.table import Exported, table_of
from fer_ablate.report.results.trials import COLUMNS, YES, costs, in_words
from fer_ablate.report.table.cells import COST, ShownTable, cells
from fer_ablate.report.table.formats import markdown, markdown_text
from fer_ablate.study.spec import Asked

COMMAND = "python -m fer_ablate results"
NEEDED_OF_TABLE = ("row", "column", "seeds", "ci_low", "ci_high", "verdict", "failed", "stale")

INTRODUCTION = """Every table of the five documents: what was published beside what this code measured.

- Scores in percent where they are fractions; `gap` is measured minus published, `n` the number of seeds, `runs` of seeds x folds.
- A verdict compares a row with the baseline of its table and allows for the number of rows compared (Holm).
- `agrees` says whether the published number lies where one more run of ours would; that takes two seeds or more.
- The numbers of single runs are in the csv files under `results/`. A row that was not run says so."""

SETTING = " -> "
"""In the reasons for which a run is stale: a key whose value has changed since."""

FULL, PARTLY, TRIAL, NONE = "run in full", "partly run", "trial only", "not yet run"


def results_page(studies: Sequence[Asked], folder: Path) -> str:
    """The whole page.

    Args:
        studies: of all documents.
        folder: of the documentation; the exports are in `results` below it.

    Raises:
        UserError: one of the files is damaged; with its name and line.
    """
    trials = read_lines(trials_file(folder), COLUMNS)
    exports = [exported(study, folder) for study in studies]
    tables = [table_of(export) for export in exports]
    parts = [f"<!-- Written by `{COMMAND}`; edits are lost. -->", "# Results", INTRODUCTION, "## Overview"]
    parts.append(_overview(exports, tables, trials))
    for export, table in zip(exports, tables, strict=True):
        parts += [f"## {table.study}", _section(export, table)]
    parts += ["## Cost", _cost(studies, trials)]
    return "\n\n".join(parts) + "\n"


def exported(study: Asked, folder: Path) -> Exported:
    """What the files say of a study."""
    runs = read_lines(runs_file(folder, study.name), NEEDED)
    return Exported(study, runs, read_lines(table_file(folder, study.name), NEEDED_OF_TABLE))


def _overview(exports: Sequence[Exported], tables: Sequence[StudyTable], trials: Sequence[Line]) -> str:
    rows = []
    for export, table in zip(exports, tables, strict=True):
        done = [row for row in table.rows if row.finished]
        seeds = sorted({repeat.seed for row in done for repeat in row.finished})
        told = [
            f"[{table.study}](#{table.study.replace('/', '')})",
            f"{len(done)} of {len(table.rows)}",
            ", ".join(map(str, seeds)) or ABSENT,
            _state(export, table, trials),
            _largest_gap(table),
        ]
        rows.append(told)
    return _text_table(("table", "rows run", "seeds", "state", "largest gap"), rows)


def _state(export: Exported, table: StudyTable, trials: Sequence[Line]) -> str:
    asked = [(row.label, repeat) for row in table.rows for repeat in repeats(export.study.seeds or (), export.study.folds)]
    faithful = {(line.text("label"), line.repeat) for line in export.runs if _as_studied(line)}
    done = sum(name in faithful for name in asked)
    if done == len(asked):
        return FULL
    if any(row.finished for row in table.rows):
        return f"{PARTLY}: {done} of {len(asked)} runs"
    tried = {line.text("row") for line in trials if line.text("study") == table.study and line.text("ok") == YES}
    if all(row.label in tried for row in export.study.rows):
        return TRIAL
    return NONE if not tried else f"{TRIAL}: {len(tried)} of {len(export.study.rows)} rows"


def _as_studied(line: Line) -> bool:
    """Whether a run had the study's config; an older state of the code alone does not make it another training."""
    return not line.text("changes") and SETTING not in line.text("stale")


def _largest_gap(table: StudyTable) -> str:
    """In percentage points; other metrics are on scales of their own."""
    gaps = [
        (abs(score.gap), f"{number(score.gap, 1, signed=True)} ({row.label}, {spoken(column)})")
        for row in table.rows
        for column, score in row.scores.items()
        if score.gap is not None and scale(column) == 100
    ]
    return max(gaps)[1] if gaps else ABSENT


def _section(export: Exported, table: StudyTable) -> str:
    """One table for each metric, between what belongs to all of them."""
    shown = cells(table)
    notes = (*shown.notes, *_facts(export), f"Command: python -m fer_ablate reproduce {table.study.replace('/', ' ')}")
    tables = _measured(shown, table) if any(row.scores for row in table.rows) else [_unmeasured(table)]
    return "\n\n".join([markdown_text(shown.caption), *tables, "\n".join(f"- {markdown_text(note)}" for note in notes)])


def _measured(shown: ShownTable, table: StudyTable) -> list[str]:
    """One table for each metric that was published or measured, and one for the costs."""
    told = {column for row in table.rows for column in (*row.published, *row.scores)}
    groups = [group for group in shown.groups if group == COST or group in map(title, told)]
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


def _unmeasured(table: StudyTable) -> str:
    """Published numbers alone."""
    columns = [column for column in table.columns if any(column in row.published for row in table.rows)]
    rows = [
        [
            row.label + (" (baseline)" if row.baseline else ""),
            *(f"{row.published[column].value:g}" if column in row.published else ABSENT for column in columns),
            NONE,
        ]
        for row in table.rows
    ]
    return _text_table(["row", *(f"published {title(column)}" for column in columns), "measured"], rows)


def _facts(export: Exported) -> list[str]:
    """How, when and on what the runs of the table were trained."""
    runs = [line for label in export.labels for line in export.of(label)]
    if not runs:
        return []
    dates = sorted(line.text("date") for line in runs)
    stale = [line for line in runs if line.text("stale")]
    facts = [
        f"Machine: {_counted(runs, _machine)}.",
        f"Trained: {dates[0]}" + (f" to {dates[-1]}." if dates[-1] != dates[0] else "."),
        f"Code: {_counted(runs, lambda line: line.text('code_digest'))}.",
        f"Data: {_counted(runs, lambda line: line.text('data_digest'))}.",
    ]
    facts += [f"Of an earlier state: {_counted(stale, lambda line: line.text('stale'))}."] if stale else []
    changes = dict.fromkeys(line.text("changes") for line in runs if line.text("changes"))
    return facts + [f"Not as the study says: {words} in {_named(runs, words)}." for words in changes]


def _machine(line: Line) -> str:
    where = [line.text("hardware")]
    if line.text("devices") not in ("", "1"):
        where.append(f"{line.text('devices')} devices")
    where += (
        [f"{line.text('threads')} thread{'' if line.text('threads') == '1' else 's'}"] if line.text("device") == "cpu" else []
    )
    return ", ".join([*where, line.text("precision"), f"torch {line.text('torch')}"])


def _counted(runs: Sequence[Line], name: Callable[[Line], str]) -> str:
    """`a` if it is the same for all runs, else `a (3 runs); b (1 run)`."""
    counts: dict[str, int] = {}
    for line in runs:
        counts[name(line)] = counts.get(name(line), 0) + 1
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{told} ({count} run{'s' if count > 1 else ''})" for told, count in counts.items())


def _named(runs: Sequence[Line], changes: str) -> str:
    return ", ".join(f"{line.text('label')} seed {line.text('seed')}" for line in runs if line.text("changes") == changes)


def _cost(studies: Sequence[Asked], trials: Sequence[Line]) -> str:
    """What each table would take, from trainings of one epoch on few images."""
    rows, changed, problems = [], [], []
    for study in studies:
        labels = [row.label for row in study.rows]
        found = costs(trials, study.name)
        for cost in found:
            low, high = cost.images
            images = f"{low:,}" if low == high else f"{low:,} to {high:,}"
            dates = " to ".join(dict.fromkeys(cost.dates))
            tried = f"{len(labels) - len(cost.short_of(labels))} of {len(labels)}"
            rows.append((study.name, tried, images, in_words(cost, labels, study.folds or 1), dates))
            changed += [f"- {markdown_text(f'{study.name}: {words}')}" for words in cost.changes]
            problems += [f"- {markdown_text(f'{study.name}, {row}: {problem}')}" for row, problem in cost.problems.items()]
        if not found:
            rows.append((study.name, f"0 of {len(labels)}", ABSENT, "unknown", ABSENT))
    told = (
        "Estimated from one epoch on so many images, scaled to all images and to the last epoch: one seed of every row and fold, "
        "one after another, with rows that others start from. Early stopping may end sooner. "
        "`python -m fer_ablate reproduce DOCUMENT TABLE trial=true` measures it."
    )
    table = _text_table(("table", "rows tried", "images", "one seed", "measured"), rows)
    others = ["Tried with other settings than the study's:", "\n".join(changed)] if changed else []
    failed = ["Trials that failed:", "\n".join(problems)] if problems else []
    return "\n\n".join([told, table, *others, *failed])


def _text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *(map(markdown_text, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
