"""metrics.csv: one line per finished epoch, appended as the epoch ends."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import read_text, write_error, write_text

EpochRow: TypeAlias = dict[str, float]
"""`epoch` (from 1), `time_ms` (Unix time), `seconds`, `lr`, `train/*`, `val/*`; metrics not measured in an epoch are absent."""

LEADING = ("epoch", "time_ms", "seconds", "lr")


def read_history(path: Path) -> list[EpochRow]:
    """Rows of finished epochs in order; an unfinished last line, left by a killed process, is ignored."""
    if not path.is_file():
        return []
    text = read_text(path)
    reader = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    rows: list[EpochRow] = []
    try:
        for cells in reader:
            row = {name: float(cell) for name, cell in cells.items() if cell != ""}
            rows.append({**row, "epoch": int(row["epoch"]), "time_ms": int(row["time_ms"])})
    # A cell too many is in a list, the number of a line may be infinite, and csv itself refuses fields without end.
    except (TypeError, ValueError, KeyError, OverflowError, csv.Error) as error:
        number = reader.line_num
        raise UserError(f"{path}, line {number} is damaged ({error}). Delete this line, then start again.") from error
    return rows


def append_epoch(path: Path, epoch: int, metrics: Mapping[str, float], time_ms: int) -> None:
    """Add an epoch; lines of this and later epochs, left by a part of the run that was resumed before them, are removed.

    Args:
        path: the metrics.csv.
        epoch: from 1.
        metrics: `seconds`, `lr`, `train/*` and `val/*`.
        time_ms: end of the epoch, Unix time in milliseconds.

    Raises:
        UserError: the disk is full, read-only or forbidden.
    """
    rows = read_history(path)
    kept = [row for row in rows if row["epoch"] < epoch]
    row: EpochRow = {"epoch": epoch, "time_ms": time_ms, **metrics}
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    header = old.partition("\n")[0].split(",")
    # Appending is the rule, since rewriting a long file each epoch is slow; anything unusual is written anew as a whole.
    if len(kept) == len(rows) and rows and old.endswith("\n") and set(row) <= set(header):
        try:
            with path.open("a", encoding="utf-8", newline="") as stream:
                csv.DictWriter(stream, header, lineterminator="\n").writerow(row)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise write_error(path, error) from error
    else:
        write_text(path, _table([*kept, row]))


def _table(rows: Sequence[EpochRow]) -> str:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [*(name for name in LEADING if name in names), *sorted(set(names) - set(LEADING))]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
