"""What one epoch on few images says about the cost of a whole training: trials, kept in a file, and their sums over a study."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from fer_ablate.report.quantities import duration
from fer_ablate.report.results.export import read_kept, trials_file
from fer_ablate.tracking.disk.files import write_text

NOTHING, UNKNOWN = "nothing", "unknown"


@dataclass(frozen=True)
class RowTrial:
    """A row of a study, trained for one epoch on few images.

    Args:
        study, row: name and label.
        full_images: number of images that the whole training uses.
        epochs: number of epochs that the whole training takes.
        device, hardware, precision, threads: what the trial was computed with.
        date: day of the trial, in ISO 8601.
        code_digest: digest of the code that trained.
        images: trained on in the trial; None if it failed, as of `seconds_per_epoch`.
        seconds_per_epoch: duration of the trial's epoch.
        problem: why it failed; empty if it did not.
        typed: overrides beyond the study's file, as they were typed.
    """

    study: str
    row: str
    full_images: int
    epochs: int
    device: str
    hardware: str
    precision: str
    threads: str
    date: str
    code_digest: str
    images: int | None = None
    seconds_per_epoch: float | None = None
    problem: str = ""
    typed: str = ""

    @property
    def machine(self) -> tuple[str, str, str, str]:
        """What decides how long a training takes, beside the config."""
        return self.device, self.hardware, self.precision, self.threads

    @property
    def estimated_seconds(self) -> float | None:
        """Seconds of the whole training up to its last epoch; None if the trial failed."""
        if self.images is None or self.seconds_per_epoch is None:
            return None
        return self.seconds_per_epoch / self.images * self.full_images * self.epochs


@dataclass(frozen=True)
class Cost:
    """What one seed of a study would take on one machine.

    Args:
        machine: in words.
        rows: label -> seconds to train it to its last epoch, of those tried without an error; early stopping may end sooner.
        images: fewest and most that a trial trained on.
        dates: first and last day of the trials.
        problems: label -> why its trial failed.
        changes: overrides typed for some rows, as they were typed.
    """

    machine: str
    rows: Mapping[str, float]
    images: tuple[int, int]
    dates: tuple[str, str]
    problems: Mapping[str, str]
    changes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Of all rows tried, one after another."""
        return sum(self.rows.values())

    def missing(self, labels: Iterable[str]) -> list[str]:
        """Those of these rows that were not tried without an error."""
        return [label for label in labels if label not in self.rows]


def read_trials(folder: Path) -> list[RowTrial]:
    """The trials kept in the folder of the documentation; `UserError` if their file is damaged."""
    return read_kept(trials_file(folder), _adapter()) or []


def write_trials(folder: Path, trials: Sequence[RowTrial]) -> None:
    """Keep these trials."""
    write_text(trials_file(folder), _adapter().dump_json(list(trials), indent=1).decode() + "\n")


@cache
def _adapter() -> TypeAdapter[list[RowTrial]]:
    return TypeAdapter(list[RowTrial])


def merged_trials(old: Sequence[RowTrial], new: Sequence[RowTrial]) -> list[RowTrial]:
    """All trials, study by study; a newer one replaces that of the same row on the same machine."""
    found = {(trial.study, trial.row, trial.machine): trial for trial in (*old, *new)}
    # Sorting is stable, so the rows of a study stay in their order.
    return sorted(found.values(), key=lambda trial: trial.study)


def costs(trials: Sequence[RowTrial], study: str) -> list[Cost]:
    """What a study would take on each machine on which any of its rows was tried; the most complete and quickest first."""
    machines: dict[tuple[str, ...], list[RowTrial]] = {}
    for trial in trials:
        if trial.study == study:
            machines.setdefault(trial.machine, []).append(trial)
    found = [_cost(trials) for trials in machines.values()]
    return sorted(found, key=lambda cost: (-len(cost.rows), cost.seconds, cost.machine))


def cost_in_words(cost: Cost, runs: Mapping[str, int]) -> str:
    """Such as `2.1 h on AMD EPYC (2 threads)`; see `time_in_words`."""
    time = time_in_words(cost, runs)
    return time if time == NOTHING else f"{time} on {cost.machine}"


def time_in_words(cost: Cost, runs: Mapping[str, int]) -> str:
    """Such as `2.1 h`, or `more than ...` where not all rows were tried.

    Args:
        cost: what one run of each row takes.
        runs: label -> number of runs to be trained, of all rows of the study, auxiliary ones too.
    """
    due = {label: count for label, count in runs.items() if count}
    if not due:
        return NOTHING
    if not any(label in cost.rows for label in due):
        return UNKNOWN
    seconds = sum(count * cost.rows.get(label, 0) for label, count in due.items())
    return f"{'more than ' if cost.missing(due) else ''}{duration(seconds)}"


def _cost(trials: Sequence[RowTrial]) -> Cost:
    """The cost on one machine."""
    done = [(trial, seconds) for trial in trials if (seconds := trial.estimated_seconds) is not None]
    # Where every trial failed there is no number of images.
    images = [trial.images or 0 for trial, _ in done] or [0]
    dates = sorted(trial.date for trial in trials)
    return Cost(
        machine=_machine_name(trials[0]),
        rows={trial.row: seconds for trial, seconds in done},
        images=(min(images), max(images)),
        dates=(dates[0], dates[-1]),
        problems={trial.row: trial.problem for trial in trials if trial.estimated_seconds is None},
        changes=tuple(dict.fromkeys(trial.typed for trial, _ in done if trial.typed)),
    )


def _machine_name(trial: RowTrial) -> str:
    # The speed of a GPU does not depend on the threads of its processor.
    threads = "" if trial.device == "cuda" else f"{trial.threads} thread{'' if trial.threads == '1' else 's'}, "
    return f"{trial.hardware} ({threads}{trial.precision})"
