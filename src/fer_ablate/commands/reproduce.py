"""`reproduce`: which tables of the documents there are, how far each is, and the one command that trains it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from fer_ablate.cli import console
from fer_ablate.cli.command_line import parse, study_arguments
from fer_ablate.cli.words import read_command
from fer_ablate.commands import train
from fer_ablate.config.by_class import report_columns
from fer_ablate.config.study_rows import Row, trained_labels
from fer_ablate.errors import UserError
from fer_ablate.execution.table_progress import NEEDS_DATA, TableProgress, runs_on_disk, table_progress
from fer_ablate.execution.table_trial import TableTrialSpec, try_table
from fer_ablate.judgement.row_runs import published_number
from fer_ablate.report.quantities import ABSENT, metric_name, published
from fer_ablate.report.results.costs import UNKNOWN, Cost, cost_in_words, costs, read_trials, time_in_words
from fer_ablate.report.results.export import export_file, page_file, read_export
from fer_ablate.report.results.measured import measured_in_words, measured_rows
from fer_ablate.report.results.table import StudyResults
from fer_ablate.report.table.narrow import (
    GAP,
    NO_BREAK,
    SHORTEST_LABEL,
    ShortLabels,
    cell_width,
    columns_width,
    distinct_labels,
    wrapped,
)
from fer_ablate.study.documents import documents, named_study, named_tables, read_studies, study_names

USAGE = """The published tables: how far each is here, and the command that trains it.

  python -m fer_ablate reproduce                                  all documents and their tables
  python -m fer_ablate reproduce fer_kd                           every row of one document
  python -m fer_ablate reproduce fer_kd table1                    print the command and run it
  python -m fer_ablate reproduce fer_kd table1 seed=0 trainer=gpu with overrides, as with -m
  python -m fer_ablate reproduce fer_kd table1 trial=true         one epoch of each row on few images; estimates the cost

{words}

A trial trains seed 0 in <runs_dir>/trials and keeps what it measured in docs/results/trials.json."""

EXAMPLE = "reproduce fer_kd table1"

NOT_MEASURED = "no row yet"
HEADER = ("row", "finished", "published")
"""Header of the table of rows."""

RUNS = "runs here"
TABLES_HEADER = ("document", "table", RUNS, "measured rows", "published (baseline)", "remains")
"""Header of the list of tables."""

SPARED = ("published (baseline)", "measured rows", RUNS, "remains")
"""Columns of the list of tables that a narrow terminal leaves out, first to last."""


@dataclass(frozen=True, kw_only=True)
class ReproduceWords:
    """Words of `reproduce`."""

    trial: bool = False  # one epoch of each row on few images, which estimates the cost of the table
    images: Annotated[int, Ge(1)] = 2000  # number of images that a row of a trial trains on
    folder: Path = Path("docs")  # folder of the documentation, which keeps the measured costs


def run(arguments: Sequence[str]) -> int:
    """List tables, train one, or try one."""
    words, rest = read_command(arguments, ReproduceWords, USAGE, help_if_empty=False)
    parsed = parse(rest)
    if parsed.inspects:
        raise UserError("Hydra's flags belong to the command itself: python -m fer_ablate -m study=DOCUMENT/TABLE --cfg job")
    config_dir = parsed.config_dir
    # `fer_kd table1` and `fer_kd/table1` are the same.
    names = [part for text in parsed.overrides if "=" not in text for part in text.split("/")]
    overrides = tuple(text for text in parsed.overrides if "=" in text)
    known = documents(config_dir)
    if len(names) > 2:
        raise UserError(f"{' '.join(names)}: give a document and one of its tables, as in {EXAMPLE}.")
    if len(names) < 2:
        if words.trial:
            raise UserError(f"trial=true: of which table? Give a document and one of its tables, as in {EXAMPLE} trial=true.")
        tables = {name: named_tables(name, known) for name in names or known}
        _list(_progress_of(tables, overrides, config_dir), words.folder, with_rows=bool(names))
        return 0
    study = named_study(names[0], names[1], known)
    if words.trial:
        return try_table(TableTrialSpec(study, overrides, config_dir, words.images, words.folder), train.run)
    command = ["-m", *study_arguments(study, overrides, config_dir)]
    console.command(command)
    return train.run(command)


def _list(tables: Sequence[TableProgress], folder: Path, with_rows: bool) -> None:
    """Print the tables, or all of their rows, and the commands that go on from there.

    Args:
        tables: how far they are here.
        folder: of the documentation, which has what was measured elsewhere.
        with_rows: whether each row is printed.
    """
    trials = read_trials(folder)
    known = {found.study.name: costs(trials, found.study.name) for found in tables}
    results = [StudyResults(found.study, read_export(export_file(folder, found.study.name))) for found in tables]
    if with_rows:
        facts = []
        for found, result in zip(tables, results, strict=True):
            _show_rows(found)
            facts.append(("measured", f"{found.study.name}: {measured_in_words(result) or NOT_MEASURED}"))
            facts.append(("remains", f"{found.study.name}: {_remaining(found, known[found.study.name])}"))
    else:
        left_out = _show_tables(tables, results, known)
        machines = dict.fromkeys(cost.machine for one in known.values() for cost in one[:1])
        facts = [("measured", f"in {page_file(folder)}; reproduce DOCUMENT says on which machines and when")]
        facts += [("remains", f"to be trained here, estimated on {', '.join(machines)}")] if machines else []
        facts += left_out
    facts += [("note", f"{found.study.name}: {found.problem}") for found in tables if found.problem not in ("", NEEDS_DATA)]
    if any(found.problem == NEEDS_DATA for found in tables):
        facts.append(("note", f"{NEEDS_DATA}: set FER_ABLATE_DATA for FER2013, or give data.path=..."))
    if not all(known.values()):
        facts.append(("note", "an unknown cost is measured with trial=true"))
    document, table = tables[0].study.name.split("/", 1)
    facts += [] if with_rows else [("rows", f"python -m fer_ablate reproduce {document}")]
    facts.append(("train", f"python -m fer_ablate reproduce {document} {table} [trial=true]"))
    console.console.print()
    console.facts(facts)


def _progress_of(tables: Mapping[str, Sequence[str]], overrides: Sequence[str], config_dir: Path | None) -> list[TableProgress]:
    """How far the tables of these documents are.

    Args:
        tables: document -> names of its tables.
        overrides: of the command line.
        config_dir: what was given as `--config-dir`.
    """
    if not tables:
        raise UserError("There is no document in conf/study. Each is a folder there, with a file for each of its tables.")
    runs, studies = runs_on_disk(overrides, config_dir), read_studies(study_names(tables), config_dir)
    found: list[TableProgress] = []
    with console.bar("looking up the runs") as progress:
        for number, study in enumerate(studies):
            progress(number / len(studies))
            found.append(table_progress(study, overrides, runs, config_dir, console.part_of(progress, number, 1, len(studies))))
    return found


def _show_tables(
    tables: Sequence[TableProgress], results: Sequence[StudyResults], known: Mapping[str, Sequence[Cost]]
) -> list[tuple[str, str]]:
    """Print a line for each table; gives a note on columns for which there is no room."""
    lines = []
    for found, result in zip(tables, results, strict=True):
        remains = [time_in_words(cost, _left(found)) for cost in known[found.study.name][:1]] or [UNKNOWN]
        counts = [_finished(found), measured_rows(result)]
        lines.append([*found.study.name.split("/", 1), *counts, _first_published(found), *remains])
    columns, left_out = fitted_list(dict(zip(TABLES_HEADER, zip(*lines, strict=True), strict=True)), console.console.width)
    console.table("", [*columns], [*zip(*columns.values(), strict=True)], left=2, words=[*columns][2:-1])
    return [("left out", f"{', '.join(left_out)}, for which a terminal has to be wider")] if left_out else []


def fitted_list(columns: Mapping[str, Sequence[str]], width: int) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The list of tables so that it fits on a screen; the names of documents and tables, which are typed, stay whole.

    Titles take several lines, then columns are left out, then runs take several lines.

    Args:
        columns: title -> cells.
        width: letters of a line.

    Returns:
        The columns, and the titles of those that are left out.
    """
    kept, left_out = {title: tuple(cells) for title, cells in columns.items()}, list[str]()
    if _width(kept) > width:
        kept = {wrapped(title, max(map(cell_width, cells))): cells for title, cells in kept.items()}
    for spared in SPARED:
        if _width(kept) > width and spared == RUNS:
            kept[RUNS] = tuple(wrapped(_whole_numbers(cell), len(RUNS)) for cell in kept[RUNS])
        if _width(kept) > width:
            kept = {title: cells for title, cells in kept.items() if title.replace("\n", " ") != spared}
            left_out.append(spared)
    return kept, left_out


def _width(columns: Mapping[str, Sequence[str]]) -> int:
    """Letters of a line, which has no gap after the last column."""
    return columns_width([title, *cells] for title, cells in columns.items()) - GAP


def _whole_numbers(text: str) -> str:
    """Text whose lines end between words or after a comma, never beside a number."""
    return re.sub(r"(?<=\d) |(?<!,) (?=\d)", NO_BREAK, text)


def _show_rows(found: TableProgress) -> None:
    """Print the rows of a table, with published numbers in several lines."""
    study = found.study
    rows = [(row, found.in_words([row.label])) for row in study.rows if not row.auxiliary]
    # A line may end between two numbers, not between a metric and its value.
    texts = [", ".join(text.replace(" ", NO_BREAK) for text in _all_published(row)) for row, _ in rows]
    labels, *columns = fitted_rows([row.label for row, _ in rows], [words for _, words in rows], texts, console.console.width)
    title = f"{study.name}: {study.study.source}" if study.study.source else study.name
    console.console.print()
    console.table(title, HEADER, [*zip(labels.cells, *columns, strict=True)], left=len(HEADER))
    console.facts(labels.below)


def fitted_rows(
    labels: Sequence[str], finished: Sequence[str], published: Sequence[str], width: int
) -> tuple[ShortLabels, list[str], list[str]]:
    """The columns of the rows of a table so that they fit on a screen; no number is cut.

    Args:
        labels: of the rows.
        finished: how many runs are.
        published: numbers, parted by blanks at which a line may end.
        width: letters of a line.
    """
    least = columns_width([[HEADER[2], *(wrapped(text, 0) for text in published)]])
    if columns_width([[HEADER[0], *labels], [HEADER[1], *finished]]) + least - GAP > width:
        finished = [wrapped(_whole_numbers(text), 0) for text in finished]
    taken = columns_width([[HEADER[1], *finished]]) + GAP
    short = distinct_labels(labels, max(SHORTEST_LABEL, width - taken - least + GAP))
    room = width - taken - columns_width([[HEADER[0], *short.cells]]) + GAP
    return short, list(finished), [wrapped(text, room) for text in published]


def _all_published(row: Row) -> list[str]:
    """Every published number of a row with its metric, and how many there are by class."""
    published = [f"{metric_name(column)} {_published(row, column)}" for column in row.published]
    reports = report_columns(row.by_class)
    return [*published, *([f"{len(reports)} by class"] if reports else [])] or [ABSENT]


def _finished(found: TableProgress) -> str:
    return found.problem if found.problem and not found.counts else found.in_words(found.labels)


def _first_published(found: TableProgress) -> str:
    """The baseline's number in the first of the study's columns that the document prints one for."""
    row = next(row for row in found.study.rows if row.label == found.study.baseline)
    columns = [column for column in (*found.study.study.columns, *row.published) if column in row.published]
    return f"{metric_name(columns[0])} {_published(row, columns[0])}" if columns else ABSENT


def _published(row: Row, column: str) -> str:
    return published(column, [published_number(row.published[column]).value])[0] if column in row.published else ABSENT


def _left(found: TableProgress) -> dict[str, int]:
    """Label -> number of runs that are not finished here, of auxiliary rows too, with all seeds and folds."""
    return found.left(trained_labels(found.study.rows))


def _remaining(found: TableProgress, known: Sequence[Cost]) -> str:
    """What remains to be trained here, on each machine that measured it."""
    return "; ".join(dict.fromkeys(cost_in_words(cost, _left(found)) for cost in known)) or UNKNOWN
