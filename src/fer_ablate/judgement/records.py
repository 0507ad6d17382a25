"""What a study's table is made from and what it says, as plain values.

Metrics are fractions where they are fractions (`acc` = 0.65); published numbers are as printed, hence in percent for those.
"""

from dataclasses import dataclass, field
from pathlib import Path

from fer_ablate.config.repeats import Repeat
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader
from fer_ablate.training.result import RunResult

LEVEL = 0.95
"""Of every interval."""

PERCENT = (
    "acc",
    "top2",
    "ece",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "weighted_precision",
    "weighted_recall",
    "weighted_f1",
)
"""Metrics that are fractions of one and shown in percent; differences of them are percentage points."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that may enter a table; `stale` if its config, data or code is not today's."""

    folder: RunFolder
    header: RunHeader
    result: RunResult
    stale: bool = False


@dataclass(frozen=True)
class Published:
    """A printed number, in the unit of the table (percent for fractions)."""

    value: float
    note: str = ""


@dataclass(frozen=True)
class Failure:
    """A run that ended with an error: its seed, the first line of the error, the file with the whole of it, and its fold."""

    seed: int
    problem: str
    log: Path
    fold: int | None = None

    @property
    def repeat(self) -> Repeat:
        """Which run of its row."""
        return Repeat(self.seed, self.fold)


@dataclass(frozen=True)
class RowRuns:
    """What is there of a row.

    Args:
        label: of the row.
        seeds: that the study asks for.
        runs: finished ones, at most one per seed and fold.
        failures: of the runs that failed.
        published: column (`test/acc`) -> printed number.
        factor: value of the study's swept key in this row, if there is one.
        folds: of the cross-validation; None if the row is none.
    """

    label: str
    seeds: tuple[int, ...]
    runs: tuple[FinishedRun, ...]
    failures: tuple[Failure, ...] = ()
    published: dict[str, Published] = field(default_factory=dict)
    factor: float | str | None = None
    folds: int | None = None

    @property
    def asked(self) -> int:
        """Runs that the study asks for."""
        return len(self.seeds) * (self.folds or 1)


@dataclass(frozen=True)
class Difference:
    """A row against the baseline in one column.

    Args:
        value: row minus baseline, as a fraction where the metric is one.
        low, high: 95 % interval; not numbers where there is one seed, which tells of two networks only.
        p: two-sided, before correction: of the Welch test, or of McNemar's for one seed.
        p_holm: corrected by Holm over the rows of the column.
        verdict: in words, such as `better by 0.4 to 1.9 points`.
    """

    value: float
    low: float
    high: float
    p: float
    p_holm: float
    verdict: str


@dataclass(frozen=True)
class Score:
    """A row in one column.

    Args:
        n: seeds, or folds of a cross-validated row.
        images: tested, in each run, or in all folds together.
        mean: over seeds, or over folds.
        sd: between seeds, or between folds, ddof 1; not a number for n=1.
        low, high: 95 % interval of the mean over test images and seeds, or over folds, see `statistics`.
        over_images: whether the interval covers the draw of the images as well; else it covers the seeds alone.
        difference: to the baseline; None for the baseline itself, or where either is not there.
        published: printed number, if there is one.
        gap: mean minus published, in the unit of `published`.
        agrees: whether the printed number lies where one more run of ours would; None where that is not known.
    """

    n: int
    images: int
    mean: float
    sd: float
    low: float
    high: float
    over_images: bool
    difference: Difference | None = None
    published: Published | None = None
    gap: float | None = None
    agrees: bool | None = None


@dataclass(frozen=True)
class TableRow:
    """A row of the table.

    Args:
        label: of the row.
        baseline: whether the others are compared with it.
        seeds: that the study asks for.
        finished: runs that are there.
        stale: how many of these are of an earlier config, data or code.
        failures: of the runs that failed.
        scores: column -> score; columns without a finished run are absent.
        published: column -> printed number; also of rows not yet run.
        factor: value of the swept key.
        parameters, macs: of the network; None while no run is finished.
        seconds, peak_memory_mb: mean over the runs; MiB.
        folds: of the cross-validation; None if the row is none.
    """

    label: str
    baseline: bool
    seeds: tuple[int, ...]
    finished: tuple[Repeat, ...]
    stale: int
    failures: tuple[Failure, ...]
    scores: dict[str, Score]
    published: dict[str, Published]
    factor: float | str | None
    parameters: int | None
    macs: int | None
    seconds: float | None
    peak_memory_mb: float | None
    folds: int | None = None

    @property
    def asked(self) -> int:
        """Runs that the study asks for."""
        return len(self.seeds) * (self.folds or 1)


@dataclass(frozen=True)
class StudyTable:
    """A judged table.

    Args:
        study: name.
        source: document and table it reproduces; may be empty.
        columns: such as `test/acc`, in order.
        rows: in the order of the study.
        protocol: how all runs were tested; where rows differ, the values joined by ` / `.
        notes: remarks that belong below it, such as `n=1: ...`.
        factor: the swept key; None if there is none.
        folds: of the cross-validation; None if the study is none.
    """

    study: str
    source: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    protocol: dict[str, str]
    notes: tuple[str, ...]
    factor: str | None = None
    folds: int | None = None
