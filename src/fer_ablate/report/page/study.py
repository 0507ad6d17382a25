"""The page of a study: its judged table, figures, differing settings of its rows, and how to reproduce it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from fer_ablate.data.roles import ROLES
from fer_ablate.judgement.class_scores import split_results
from fer_ablate.judgement.judged_table import JudgedTable
from fer_ablate.judgement.row_runs import RowRuns, ScoredRun
from fer_ablate.report.page.album import BRIEF, NOT_EXPLAINED, Album, explained, heat_maps, trust
from fer_ablate.report.page.effects import effects_parts
from fer_ablate.report.page.elements import (
    Code,
    Details,
    Facts,
    Grid,
    Heading,
    Notes,
    Page,
    Part,
    Section,
    Text,
    rendered,
)
from fer_ablate.report.page.path import TITLE as PATH
from fer_ablate.report.page.path import path_parts
from fer_ablate.report.page.results import legend, result_parts
from fer_ablate.report.page.shell_commands import explain_command, own_file, steps, study_command
from fer_ablate.report.page.tables import classes_grid, environments, report_grid, runs_grid, settings_grid
from fer_ablate.report.quantities import metric_name, one_line
from fer_ablate.report.table.data_sets import TITLE as DATA_SETS
from fer_ablate.report.table.data_sets import data_set_tables
from fer_ablate.report.table.effects import TITLE
from fer_ablate.report.table.outcomes import blocks, in_reading_order, summary
from fer_ablate.report.table.printed_classes import report_tables
from fer_ablate.report.table.shown_table import BEST, ShownTable, shown_table
from fer_ablate.study.spec import StudySpec

PLOTS = (
    ("differences", "Difference of each row to the baseline in {}, with its 95 % interval and verdict"),
    ("factor", "{} over the values of the swept key"),
    ("cost", "{} over what a run costs"),
)
"""Beginning of a file's name, and caption with a place for the metric."""


def study_page(spec: StudySpec, table: JudgedTable, rows: Sequence[RowRuns], folder: Path) -> Page:
    """The page of a study; the same bytes as long as nothing about the study changes.

    Args:
        spec: the study as it is described.
        table: judged.
        rows: the runs that the table was judged from.
        folder: where the figures of the table are.
    """
    album = Album()
    shown = shown_table(table)
    # Averages of other rows have scores, but neither weights, pictures nor settings.
    trained = [row for row in rows if row.average is None]
    runs = [run for row in trained for run in row.runs]
    chief = _chief(table, trained)
    sections = (
        Section("results", "Results", _results(table, shown)),
        Section("path", PATH, path_parts(album, folder, table)),
        Section("data-sets", DATA_SETS, tuple(_data_sets(table))),
        Section("effects", TITLE, effects_parts(album, folder, table)),
        Section("plots", "Plots", tuple(_plots(album, folder, table))),
        Section("classes", "Classes and confusions", tuple(_classes(album, folder, table, rows))),
        Section("faces", "Faces", tuple(_faces(album, chief))),
        Section("heat-maps", "Heat maps", tuple(_heat_maps(album, trained, chief))),
        Section("settings", "Settings that differ", tuple(_settings(table, trained))),
        Section("failures", "Failures", tuple(_failures(rows))),
        Section("environment", "Environment", tuple(environments({_name(run): run.result.environment for run in runs}))),
        Section("data", "Data and protocol", tuple(_data(table, runs))),
        Section("reproduce", "How to reproduce", tuple(_reproduce(spec, trained, runs))),
        Section("left-out", "Left out", (Notes(tuple(album.left_out)),) if album.left_out else ()),
    )
    kind = "Ablation study" if spec.from_file else "Grid"
    html = rendered(table.study, kind, summary(table), _facts(table, trained, chief), sections)
    return Page(html, len(runs), album.pictures, tuple(album.left_out))


def _results(table: JudgedTable, shown: ShownTable) -> tuple[Part, ...]:
    notes = (Notes(shown.notes),) if shown.notes else ()
    return (*result_parts(table, shown), Text(f"{shown.caption} {legend(table)}".strip(), soft=True), *notes)


def _data_sets(table: JudgedTable) -> Iterator[Part]:
    """For each metric what the ranks say, and the scores with data sets as columns."""
    for shown in data_set_tables(table):
        yield Heading(shown.groups[0])
        yield from map(Text, shown.notes)
        columns = shown.columns
        best = frozenset((row, place) for place, one in enumerate(columns) for row, mark in enumerate(one.marks) if mark == BEST)
        lines = tuple(zip(*(column.cells for column in columns), strict=True))
        yield Grid(f"{shown.groups[0]} by data set", tuple(column.name for column in columns), lines, best)
        yield Text(shown.caption, soft=True)


def _chief(table: JudgedTable, rows: Sequence[RowRuns]) -> dict[str, ScoredRun]:
    """Label -> first finished run of the rows shown in detail: the baseline, and the row that is best on val of each data set."""
    finished = {row.label: row.runs for row in rows if row.runs}
    if not finished:
        return {}
    baseline = [row.label for row in table.rows if row.baseline and row.label in finished]
    # The best row is chosen on val: the page must not pick what looks good on test.
    groups = ([row.label for row in found if row.label in finished] for found in blocks(table).values())
    best = [max(labels, key=lambda label: _on_val(finished[label])) for labels in groups if labels]
    return {label: finished[label][0] for label in dict.fromkeys((*baseline, *best))}


def _on_val(runs: Sequence[ScoredRun]) -> float:
    # Rows without val lose against all others, for they cannot be chosen in a fair way.
    return fmean(run.result.splits["val"].metrics["acc"] if "val" in run.result.splits else 0.0 for run in runs)


def _facts(table: JudgedTable, rows: Sequence[RowRuns], chief: Mapping[str, ScoredRun]) -> Facts:
    runs = [run for row in rows for run in row.runs]
    failed, stale = sum(len(row.failures) for row in rows), sum(run.stale for run in runs)
    counts = [f"{len(runs)} of {sum(row.expected for row in rows)} finished"]
    counts += [f"{failed} failed"] * bool(failed) + [f"{stale} of an earlier config, data or code"] * bool(stale)
    pairs = [("source", one_line(table.source))] * bool(table.source)
    pairs += [("runs", ", ".join(counts)), ("rows", str(len(table.rows)))]
    baselines = {row.label for row in table.rows if row.baseline}
    best = [one_line(label) for label in chief if label not in baselines]
    pairs += [("baseline", one_line(label)) for label in chief if label in baselines]
    pairs += [(f"best row{'s' * (len(best) > 1)} on val", ", ".join(best))] * bool(best)
    if runs:
        dates = sorted(_day(run.result.finished_at) for run in runs)
        pairs.append(("finished", dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"))
    return Facts(tuple(pairs))


def _day(written: str) -> str:
    # In one time zone, since the runs of a study may be from machines in several.
    return f"{datetime.fromisoformat(written).astimezone(UTC):%Y-%m-%d}"


def _plots(album: Album, folder: Path, table: JudgedTable) -> list[Part]:
    figures: list[Part] = []
    compared = sum(bool(row.finished) for row in table.rows) > 1  # a single row would be a single point on any axis
    for start, template in PLOTS if compared else ():
        for column in in_reading_order(table.columns):
            caption = template.format(metric_name(column))
            caption = f"{caption[:1].upper()}{caption[1:]}."
            file = folder / f"{start}-{column.replace('/', '-')}.png"
            figures += album.read(file, f"Plot. {caption} The table above has the numbers.", caption)
    caption = "Training and validation over the epochs, row by row."
    return [*figures, *album.read(folder / "curves.png", f"Line plots. {caption}", caption)]


def _classes(album: Album, folder: Path, table: JudgedTable, rows: Sequence[RowRuns]) -> list[Part]:
    parts: list[Part] = []
    for split in dict.fromkeys(column.partition("/")[0] for column in in_reading_order(table.columns)):
        results = split_results(rows, split)
        if results:
            caption = f"Confusion matrices on {metric_name(split)}: rows are the truth, columns the predictions; summed over "
            caption += "seeds." if table.folds is None else "seeds and folds."
            parts.append(Heading(metric_name(split).capitalize()))
            parts += album.read(folder / f"confusion-{split}.png", caption, caption)
            parts += classes_grid(results, split)
    return [*parts, *map(report_grid, report_tables(table))]


def _faces(album: Album, chief: Mapping[str, ScoredRun]) -> list[Part]:
    parts: list[Part] = []
    for run in chief.values():
        caption = f"{_name(run)}: the test faces with the most confident predictions, right ones above, wrong ones below."
        parts += album.read(run.folder.path / "faces.png", f"Grids of faces with predictions. {caption}", caption)
    return parts or ([Text("These runs have no figure of faces.", soft=True)] if chief else [])


def _heat_maps(album: Album, rows: Sequence[RowRuns], chief: Mapping[str, ScoredRun]) -> list[Part]:
    """All heat maps of the baseline and the best row, and the most informative ones of the other rows."""
    parts: list[Part] = []
    having = {row.label: next((run for run in row.runs if heat_maps(run.folder)), None) for row in rows}
    for label in dict.fromkeys((*chief, *having)):
        run = having.get(label)
        if run is not None:
            files = [file for file in heat_maps(run.folder) if label in chief or file.stem.startswith(BRIEF)]
            parts += [Heading(_name(run)), *explained(album, files, _name(run)), *trust(album, run.folder)]
    missing = [explain_command(run.header.key) for label, run in chief.items() if having.get(label) is None]
    if missing:
        parts += [Text(NOT_EXPLAINED, soft=True), Code("\n".join(missing))]
    return parts


def _settings(table: JudgedTable, rows: Sequence[RowRuns]) -> list[Part]:
    known = {row.label: row.runs[0].header.settings for row in rows if row.runs and row.runs[0].header.settings}
    if table.folds is not None:  # one run stands for all folds of its row
        known = {label: {key: value for key, value in found.items() if key != "data.fold"} for label, found in known.items()}
    first = [row.label for row in table.rows if row.baseline and row.label in known]
    grid, same = settings_grid({label: known[label] for label in (*first, *(label for label in known if label not in first))})
    if not known:
        return []
    if grid is None:
        return [Text(f"All {same} settings that can change a result are the same in all rows.")]
    return [grid, Text(f"The other {same} settings that can change a result are the same in all rows.", soft=True)]


def _failures(rows: Sequence[RowRuns]) -> list[Part]:
    sentences = [
        f"{one_line(row.label)}, {failure.repeat}: {one_line(failure.problem)} (log: {failure.log})"
        for row in rows
        for failure in row.failures
    ]
    return [Notes(tuple(sentences))] if sentences else []


def _data(table: JudgedTable, runs: Sequence[ScoredRun]) -> list[Part]:
    stored = [run.header.dataset for run in runs]
    pairs = [("images", described) for described in ([_folded(stored)] if table.folds and stored else _alone(stored))]
    pairs += [("classes", ", ".join(names)) for names in dict.fromkeys(tuple(run.result.classes) for run in runs)]
    return [Facts((*pairs, *table.protocol.items()))]


def _alone(stored: Sequence[Mapping[str, Any]]) -> list[str]:
    """Number of images in each role, once for all runs with the same numbers."""
    counts = (", ".join(f"{one[role]:,} {role}" for role in ROLES if role in one) for one in stored)
    return list(dict.fromkeys(f"{one.get('name', 'unknown')}: {count}" for one, count in zip(stored, counts, strict=True)))


def _folded(stored: Sequence[Mapping[str, Any]]) -> str:
    """Number of images of each role in a fold, fewest to most."""
    counts = {role: [one[role] for one in stored if role in one] for role in ROLES}
    ranges = [
        f"{min(found):,} {role}" if min(found) == max(found) else f"{min(found):,} to {max(found):,} {role}"
        for role, found in counts.items()
        if found
    ]
    return f"{stored[0].get('name', 'unknown')}: in each fold {', '.join(ranges)}"


def _reproduce(spec: StudySpec, rows: Sequence[RowRuns], runs: Sequence[ScoredRun]) -> list[Part]:
    if not runs:
        return [Code(study_command(spec))]
    first = runs[0]
    parts: list[Part] = []
    if own_file(spec):
        place = f"study/{spec.name}.yaml"
        parts.append(Text(f"The study is a file of its own: keep it as conf/{place}, or in DIR/{place} with --config-dir DIR."))
    commands = [study_command(spec), study_command(spec, "report")]
    parts.append(Code(steps(commands, first.result.environment, str(first.header.dataset.get("name", "")))))
    data = [("data digest", run.header.data_digest) for run in runs]
    code = [("code digest", run.header.code_digest) for run in runs]
    parts.append(Facts(tuple(dict.fromkeys((*data, *code)))))
    return [*parts, Details("The finished runs with their keys", (runs_grid(rows),))]


def _name(run: ScoredRun) -> str:
    return f"{one_line(run.header.name)}, {run.header.repeat}"
