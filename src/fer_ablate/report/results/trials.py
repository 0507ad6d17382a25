"""What a short training tells about the cost of the long one: lines of `trials.csv`, and their sums over a study."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fer_ablate.report.quantities import duration
from fer_ablate.report.results.files import Line, as_csv

COLUMNS = (
    "study",
    "row",
    "images",
    "seconds_per_epoch",
    "full_images",
    "epochs",
    "estimated_seconds",
    "device",
    "hardware",
    "precision",
    "threads",
    "date",
    "code_digest",
    "ok",
    "problem",
    "typed",
)
IDENTITY = ("study", "row", "device", "hardware", "precision", "threads")
"""Columns that tell one measurement from another; the newer one of the same takes the place of the older."""

MACHINE = ("device", "hardware", "precision", "threads")
YES, NO = "yes", "no"


@dataclass(frozen=True)
class Cost:
    """What one seed of a study would take on one machine.

    Args:
        machine: in words.
        seconds: of training all rows tried one after another to their last epoch; more than what early stopping leaves of it.
        rows: labels that were tried without fault.
        images: fewest and most that a trial trained on.
        dates: first and last day of the trials.
        problems: label -> what went wrong.
        changes: overrides typed for some rows, as they were typed.
    """

    machine: str
    seconds: float
    rows: tuple[str, ...]
    images: tuple[int, int]
    dates: tuple[str, str]
    problems: Mapping[str, str]
    changes: tuple[str, ...]

    def short_of(self, labels: Iterable[str]) -> list[str]:
        """Those of these rows that were not tried without fault."""
        return [label for label in labels if label not in self.rows]


def estimated_seconds(seconds: float, images: int, full_images: int, epochs: int) -> float:
    """Seconds of training to the last epoch.

    Args:
        seconds: of one epoch.
        images: trained on in it.
        full_images: of the train role.
        epochs: of the long training.
    """
    return seconds / images * full_images * epochs


def merged_trials(old: Sequence[Line], new: Sequence[Mapping[str, str]]) -> str:
    """The file with the new lines in it, study by study."""
    lines: dict[tuple[str, ...], Mapping[str, str]] = {}
    for cells in (*(line.cells for line in old), *new):
        lines[tuple(cells.get(column, "") for column in IDENTITY)] = cells
    return as_csv(COLUMNS, sorted(lines.values(), key=lambda cells: cells["study"]))


def costs(trials: Sequence[Line], study: str) -> list[Cost]:
    """What a study would take, for each machine on which any of its rows was tried; the quickest first."""
    machines: dict[tuple[str, ...], list[Line]] = {}
    for line in trials:
        if line.text("study") == study:
            machines.setdefault(tuple(line.text(column) for column in MACHINE), []).append(line)
    found = [_cost(machine, lines) for machine, lines in machines.items()]
    return sorted(found, key=lambda cost: (-len(cost.rows), cost.seconds, cost.machine))


def in_words(cost: Cost, labels: Iterable[str], seeds: int = 1) -> str:
    """Such as `2.1 h on AMD EPYC (2 threads)`, or `more than ...` where not all rows were tried.

    Args:
        cost: of one seed.
        labels: of all rows of the study, auxiliary ones too.
        seeds: how many there are to be; with folds, of all of them.
    """
    if not cost.rows:
        return f"unknown on {cost.machine}"
    return f"{'more than ' if cost.short_of(labels) else ''}{duration(cost.seconds * seeds)} on {cost.machine}"


def _cost(machine: tuple[str, ...], lines: Sequence[Line]) -> Cost:
    good = [line for line in lines if line.text("ok") == YES]
    images = [line.whole_in("images") for line in good] or [0]
    dates = sorted(line.text("date") for line in lines)
    return Cost(
        machine=_spoken(*machine),
        seconds=sum(_seconds(line) for line in good),
        rows=tuple(line.text("row") for line in good),
        images=(min(images), max(images)),
        dates=(dates[0], dates[-1]),
        problems={line.text("row"): line.text("problem") for line in lines if line not in good},
        changes=tuple(dict.fromkeys(line.text("typed") for line in good if line.text("typed"))),
    )


def _seconds(line: Line) -> float:
    found = line.number_in("estimated_seconds")
    if found is None:
        raise line.fault(f"ok is {YES}, but estimated_seconds is empty.")
    return found


def _spoken(device: str, hardware: str, precision: str, threads: str) -> str:
    """A GPU's speed does not depend on the threads of its processor."""
    told = precision if device == "cuda" else f"{threads} thread{'' if threads == '1' else 's'}, {precision}"
    return f"{hardware} ({told})"
