"""The csv files that the page of results is made from: where they lie, and how they are read so that nothing is guessed."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.config.repeats import Repeat
from fer_ablate.errors import UserError

PAGE = "results.md"
"""Within the folder of the documentation."""

TRIALS = "trials.csv"
"""Beside the exports of the studies."""


@dataclass(frozen=True)
class Line:
    """A line of a file.

    Args:
        file: it stands in.
        number: of the line, from 1.
        cells: column -> text; empty where there is no value.
    """

    file: Path
    number: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """The cell as written; empty if the file has no such column."""
        return self.cells.get(column, "")

    def number_in(self, column: str) -> float | None:
        """The cell as a number; None if it is empty."""
        text = self.text(column)
        try:
            return float(text) if text else None
        except ValueError:
            raise self.fault(f"{column} is '{text}', expected a number.") from None

    def whole_in(self, column: str) -> int:
        """The cell as a whole number, which must be there."""
        try:
            return int(self.text(column))
        except ValueError:
            raise self.fault(f"{column} is '{self.text(column)}', expected a whole number.") from None

    @property
    def repeat(self) -> Repeat:
        """Which run of its row the line is about, where it is about one."""
        return Repeat(self.whole_in("seed"), self.whole_in("fold") if self.text("fold") else None)

    def fault(self, problem: str) -> UserError:
        """What to raise if this line is wrong."""
        return UserError(f"{self.file}, line {self.number}: {problem} Mend the line, or remove it and export again.")


def page_file(folder: Path) -> Path:
    """The page, in the folder of the documentation."""
    return folder / PAGE


def runs_file(folder: Path, study: str) -> Path:
    """One line for each run of a study."""
    return folder / "results" / f"{_stem(study)}.csv"


def table_file(folder: Path, study: str) -> Path:
    """The judged table of a study as of its last export."""
    return folder / "results" / f"{_stem(study)}.table.csv"


def trials_file(folder: Path) -> Path:
    """What short trainings told about the cost of long ones."""
    return folder / "results" / TRIALS


def foreign_files(folder: Path, studies: Iterable[str]) -> list[Path]:
    """Files beside the exports that belong to none of these studies."""
    own = {trials_file(folder)}
    for study in studies:
        own |= {runs_file(folder, study), table_file(folder, study)}
    return sorted(set((folder / "results").glob("*.csv")) - own)


def read_lines(file: Path, needed: Sequence[str]) -> list[Line]:
    """All lines of a file; none if it is not there.

    Args:
        file: with a header line.
        needed: columns without which the file cannot be used.

    Raises:
        UserError: it cannot be read, lacks a column, or has a line of another length than its header.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read {file}: {error}.") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if missing := [column for column in needed if column not in header]:
            raise UserError(f"{file}, line 1: there is no column {', '.join(missing)}. Export the study again.")
        lines = []
        for cells in reader:
            line = Line(file, reader.line_num, dict(zip(header, cells, strict=False)))
            if len(cells) != len(header):
                raise line.fault(f"{len(cells)} values, expected {len(header)} as in the header.")
            lines.append(line)
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}. Mend the line, or export the study again.") from error
    return lines


def as_csv(columns: Sequence[str], lines: Iterable[Mapping[str, str]]) -> str:
    """Inverse of `read_lines`; cells without a value are empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def _stem(study: str) -> str:
    return study.replace("/", "-")
