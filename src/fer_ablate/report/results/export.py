"""A study's results as a JSON file that is kept beside the code: the judged table, and one entry for each run.

The runs of several machines come together in one file: each export replaces the entries of its own runs and keeps all others.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from fer_ablate.config.key import short
from fer_ablate.config.study_rows import Repeat
from fer_ablate.errors import UserError
from fer_ablate.judgement.judged_table import STRICT_JSON, JudgedTable
from fer_ablate.judgement.row_runs import RowRuns, ScoredRun
from fer_ablate.metrics import SplitResult, class_scores

T = TypeVar("T")

FOLDER = "results"
"""Folder of the exports within that of the documentation."""

TRIALS = "trials"
"""Name of the file beside the exports that keeps measured costs, see `costs`."""

ENVIRONMENT = ("hardware", "device", "devices", "threads", "precision", "torch")
"""Parts of a run's environment that can change its scores or its duration."""


@dataclass(frozen=True)
class ExportedRun:
    """A finished run, without its predictions.

    Args:
        label: name of its row.
        seed, fold: which the run was trained with and tested on; `fold` is None without folds.
        key: its first digits.
        changes: overrides beyond the study's file, as they were typed; empty if the run is the study's own.
        stale: why the run is of an earlier state; empty if it is not.
        protocol: how it was tested.
        environment: see `ENVIRONMENT`; absent parts are not known.
        date: day on which it finished, in ISO 8601.
        seconds, epochs, best_epoch, parameters, macs, peak_memory_mb: as in `RunResult`; None if they are not known.
        code_digest, data_digest: digests of the code and of the images.
        metrics: `<split>/<metric>` -> value; fractions stay fractions.
        classes: names in the order of `confusions`.
        confusions: split -> (K, K) counts; row = truth, column = prediction. Exports of early versions have none.
    """

    label: str
    seed: int
    protocol: dict[str, str]
    environment: dict[str, str]
    date: str
    code_digest: str
    metrics: dict[str, float]
    fold: int | None = None
    key: str = ""
    changes: str = ""
    stale: str = ""
    data_digest: str = ""
    seconds: float | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    parameters: int | None = None
    macs: int | None = None
    peak_memory_mb: float | None = None
    classes: tuple[str, ...] = ()
    confusions: dict[str, list[list[int]]] = field(default_factory=dict)

    @property
    def repeat(self) -> Repeat:
        """Seed and fold, which identify the run within its row."""
        return Repeat(self.seed, self.fold)

    def split(self, name: str) -> SplitResult | None:
        """Scores on a split with those of each class; None if the counts of predictions were not exported."""
        counts, start = self.confusions.get(name), f"{name}/"
        if counts is None:
            return None
        metrics = {metric.removeprefix(start): value for metric, value in self.metrics.items() if metric.startswith(start)}
        return SplitResult(
            n=sum(map(sum, counts)), metrics=metrics, per_class=class_scores(counts, self.classes), confusion=counts
        )


@dataclass(frozen=True)
class StudyExport:
    """What is kept of a study.

    Args:
        table: judged, as of the last export. It may lack runs that were exported on another machine.
        runs: those of all exports, row by row.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT_JSON

    table: JudgedTable
    runs: tuple[ExportedRun, ...]

    def to_json(self) -> str:
        """The export as JSON text, every number in full."""
        return _adapter().dump_json(self, indent=1).decode() + "\n"


@cache
def _adapter() -> TypeAdapter[StudyExport]:
    return TypeAdapter(StudyExport)


def page_file(folder: Path) -> Path:
    """The page of results, in the folder of the documentation."""
    return folder / "results.md"


def export_file(folder: Path, study: str) -> Path:
    """File of a study's export, in the folder of the documentation."""
    return folder / FOLDER / f"{study.replace('/', '-')}.json"


def trials_file(folder: Path) -> Path:
    """File of the measured costs, in the folder of the documentation."""
    return folder / FOLDER / f"{TRIALS}.json"


def ignored_files(folder: Path, studies: Iterable[str]) -> list[str]:
    """A sentence about each file beside the exports that is not read."""
    own = {trials_file(folder), *(export_file(folder, study) for study in studies)}
    unknown = sorted(set((folder / FOLDER).glob("*.json")) - own)
    # Reading csv again would bring back the guesses that JSON ended; the runs on disk can be exported anew.
    earlier = sorted((folder / FOLDER).glob("*.csv"))
    return [
        *(f"{file} belongs to no study known here and is left out." for file in unknown),
        *(f"{file} is of an earlier version, which exported csv, and is left out. Export its study again." for file in earlier),
    ]


def read_export(file: Path) -> StudyExport | None:
    """The export in a file; None if there is no such file.

    Raises:
        UserError: the file cannot be read, or a field is missing or of another type.
    """
    return read_kept(file, _adapter())


def read_kept(file: Path, adapter: TypeAdapter[T]) -> T | None:
    """What a file of JSON holds, checked field by field; None if there is no such file. Raises as `read_export`."""
    try:
        return adapter.validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = f"{'.'.join(map(str, first['loc']))}: " if first["loc"] else ""
        raise UserError(f"{file}: {place}{first['msg']}. Mend the file, or remove it and export again.") from error


def exported_runs(rows: Sequence[RowRuns], changes: str, reasons: Mapping[tuple[str, Repeat], str]) -> list[ExportedRun]:
    """One entry for each finished run, row by row, seed by seed and fold by fold.

    Args:
        rows: those that a study has.
        changes: overrides that these runs were given beyond the study's file.
        reasons: label and repeat -> why a run is stale.
    """
    return [
        _exported_run(row.label, run, changes, reasons.get((row.label, run.header.repeat), "") if run.stale else "")
        for row in rows
        for run in sorted(row.runs, key=lambda run: run.header.repeat.place)
    ]


def merged_export(old: StudyExport | None, table: JudgedTable, runs: Sequence[ExportedRun], labels: Sequence[str]) -> StudyExport:
    """The export with new runs in it.

    Runs of other labels, seeds or folds stay; those of the same are replaced.

    Args:
        old: what the file holds so far.
        table: judged from the new runs.
        runs: the new ones.
        labels: of the study's rows, in order; runs of other labels go to the end.
    """
    # Later entries of the dict win, so the new runs replace the old ones.
    found = {(run.label, run.repeat): run for run in (*(old.runs if old is not None else ()), *runs)}
    place = {label: number for number, label in enumerate(labels)}
    order = sorted(found, key=lambda name: (place.get(name[0], len(place)), name[0], name[1].place))
    return StudyExport(table, tuple(found[name] for name in order))


def replaced_runs(old: StudyExport | None, runs: Sequence[ExportedRun]) -> list[ExportedRun]:
    """The runs of a study as it is, which an export has, and whose places other runs would take that are not."""
    known = {(run.label, run.repeat): run for run in (old.runs if old is not None else ()) if not (run.changes or run.stale)}
    found = [(known.get((run.label, run.repeat)), run) for run in runs if run.changes or run.stale]
    return [before for before, run in found if before is not None and before.key != run.key]


def _exported_run(label: str, run: ScoredRun, changes: str, stale: str) -> ExportedRun:
    result, header = run.result, run.header
    return ExportedRun(
        label=label,
        seed=header.seed,
        fold=header.repeat.fold,
        key=short(header.key),
        changes=changes,
        stale=stale,
        protocol=result.protocol,
        environment={name: result.environment[name] for name in ENVIRONMENT if name in result.environment},
        date=result.finished_at[:10],
        seconds=result.seconds,
        epochs=result.epochs,
        best_epoch=result.best_epoch,
        parameters=result.parameters,
        macs=result.macs,
        peak_memory_mb=result.peak_memory_mb,
        code_digest=header.code_digest,
        data_digest=short(header.data_digest),
        metrics=result.flat_metrics(),
        classes=tuple(result.classes),
        confusions={name: split.confusion for name, split in result.splits.items()},
    )
