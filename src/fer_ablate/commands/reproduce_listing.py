"""What `reproduce` lists: documents, tables and rows with how far they are, what was published and what they cost."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

from rich.cells import cell_len

from fer_ablate.cli import console
from fer_ablate.commands.reproduce_words import Wanted
from fer_ablate.config.study_rows import Row
from fer_ablate.errors import UserError
from fer_ablate.execution.standing import NEEDS_DATA, Standing, runs_of, standing
from fer_ablate.judgement.gather import published_number
from fer_ablate.report.quantities import ABSENT, spoken
from fer_ablate.report.results.files import Line, read_lines, trials_file
from fer_ablate.report.results.trials import COLUMNS, costs, in_words
from fer_ablate.study.documents import read_studies, study_names

UNKNOWN = "unknown"
HEADER = ("row", "finished", "published")
"""Of the table of rows."""

NO_BREAK = "\u00a0"
GAP = 2
"""Blanks between two columns."""

SHORTEST = 40
"""Letters that published numbers keep on any terminal."""


def show(known: Mapping[str, Sequence[str]], wanted: Wanted, rows: bool) -> None:
    """Print the tables of these documents.

    Args:
        known: document -> tables.
        wanted: what was typed.
        rows: show every row.
    """
    if not known:
        raise UserError("There is no document in conf/study. Each is a folder there, with a file for each of its tables.")
    trials = read_lines(trials_file(wanted.folder), COLUMNS)
    standings = _standings(study_names(known), wanted)
    costs_told = {found.study.name: _costs(found, trials) for found in standings}
    for found in standings if rows else ():
        _show_rows(found)
    facts = [("cost", f"{name}: {'; '.join(told) or UNKNOWN}") for name, told in costs_told.items() if rows]
    if not rows:
        _show_tables(standings, costs_told)
    facts += [("note", f"{found.study.name}: {found.problem}") for found in standings if found.problem not in ("", NEEDS_DATA)]
    if any(found.problem == NEEDS_DATA for found in standings):
        facts.append(("note", f"{NEEDS_DATA}: set FER_ABLATE_DATA for FER2013, or give data.path=..."))
    if not all(costs_told.values()):
        facts.append(("note", "an unknown cost is measured with trial=true"))
    document, table = standings[0].study.name.split("/", 1)
    facts += [] if rows else [("rows", f"python -m fer_ablate reproduce {document}")]
    facts.append(("train", f"python -m fer_ablate reproduce {document} {table} [trial=true]"))
    console.console.print()
    console.facts(facts)


def _standings(names: Sequence[str], wanted: Wanted) -> list[Standing]:
    runs, studies = runs_of(wanted.words, wanted.config_dir), read_studies(names, wanted.config_dir)
    found: list[Standing] = []
    with console.bar("looking up what is there") as tell:
        for study in studies:

            def told(part: float, before: int = len(found)) -> None:
                tell((before + part) / len(studies))

            told(0.0)
            found.append(standing(study, wanted.words, runs, wanted.config_dir, told))
    return found


def _show_tables(standings: Sequence[Standing], costs_told: Mapping[str, Sequence[str]]) -> None:
    header = ["document", "table", "rows", "finished", "published (baseline)", "cost"]
    lines = []
    for found in standings:
        cost = next(iter(costs_told[found.study.name]), UNKNOWN)
        lines.append([*found.study.name.split("/", 1), str(len(found.labels)), _finished(found), _first_published(found), cost])
    console.table("", header, lines, left=2, words=header[3:])


def _show_rows(found: Standing) -> None:
    study = found.study
    rows = [(row, found.told([row.label])) for row in study.rows if not row.auxiliary]
    taken = sum(
        max(map(cell_len, column)) + GAP for column in ([row.label for row, _ in rows], ["finished", *(t for _, t in rows)])
    )
    lines = []
    for row, told in rows:
        # A blank inside a number's name must not end a line.
        numbers = ", ".join(f"{spoken(column)} {_published(row, column)}".replace(" ", NO_BREAK) for column in row.published)
        first, *others = wrap(numbers, max(console.console.width - taken, SHORTEST)) or [ABSENT]
        lines += [[row.label, told, first.replace(NO_BREAK, " ")], *(["", "", text.replace(NO_BREAK, " ")] for text in others)]
    console.console.print()
    console.table(f"{study.name}: {study.study.source}" if study.study.source else study.name, HEADER, lines, left=len(HEADER))


def _finished(found: Standing) -> str:
    return found.problem if found.problem and not found.counts else found.told(found.labels)


def _first_published(found: Standing) -> str:
    """Of the baseline, in the first of the study's columns that the document has a number for."""
    row = next(row for row in found.study.rows if row.label == found.study.baseline)
    columns = [column for column in (*found.study.study.columns, *row.published) if column in row.published]
    return f"{spoken(columns[0])} {_published(row, columns[0])}" if columns else ABSENT


def _published(row: Row, column: str) -> str:
    return f"{published_number(row.published[column]).value:g}" if column in row.published else ABSENT


def _costs(found: Standing, trials: Sequence[Line]) -> list[str]:
    """Of all rows, auxiliary ones too, and all seeds and folds, on each machine where that was measured."""
    labels = [row.label for row in found.study.rows]
    return [in_words(cost, labels, found.repeats) for cost in costs(trials, found.study.name)]
