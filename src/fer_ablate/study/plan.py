"""Compares the runs that a study consists of with those on disk: the state of each, the reason, and the cost of the rest."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from json import JSONDecodeError
from pathlib import Path
from statistics import fmean, median

from fer_ablate.config.choices import Only
from fer_ablate.config.schema import StudySwitches
from fer_ablate.config.study_rows import Repeat, Row
from fer_ablate.errors import UserError
from fer_ablate.study.cells import Cell
from fer_ablate.study.changes import what_changed
from fer_ablate.study.shorter import Shorter, ShorterRuns
from fer_ablate.study.spec import StudySpec
from fer_ablate.tracking.disk.files import is_cut
from fer_ablate.tracking.disk.index import RunBrief
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.disk.scan import RunFolders, RunRecord, Scan, by_key, scan

RunName = tuple[str, str, Repeat, int | None]
"""Experiment, label, seed with fold, and number of folds: a fold of five is no earlier version of a fold of ten."""

UNFINISHED = (RunState.missing, RunState.pruned)
"""States of a run without a result that nothing went wrong with; where it was interrupted or stopped, it resumes."""


@dataclass(frozen=True)
class PlannedRun:
    """A run of a study, and its state on disk.

    Args:
        cell: the run.
        state: state of the run.
        reason: explains the state to a person; may be empty.
        folder: folder of this very run; it may not exist yet.
        stale: newest finished run of this row, seed and fold that has another key.
        to_train: whether the run is trained now.
        shorter: a finished run with fewer epochs that is the same otherwise, where this one has not begun.
    """

    cell: Cell
    state: RunState
    reason: str
    folder: RunFolder
    stale: RunRecord | None
    to_train: bool
    shorter: Shorter | None = None

    @property
    def continues(self) -> Shorter | None:
        """The shorter run whose state this one begins with; None if it begins with none."""
        return self.shorter if self.shorter is not None and not self.shorter.problem else None

    @property
    def has_stale(self) -> bool:
        """Whether `study.accept_stale` would show an earlier version in place of this run."""
        return self.stale is not None and self.state is not RunState.finished


@dataclass(frozen=True)
class Plan:
    """All runs of a study, row by row, and what is wrong with runs that could not be read.

    Args:
        spec: what was typed.
        runs: of its rows.
        damaged: sentences about runs that cannot be read.
        seeds_added: where seeds are added until rows are decided, how far that is; empty elsewhere.
    """

    spec: StudySpec
    runs: tuple[PlannedRun, ...]
    damaged: tuple[str, ...] = ()
    seeds_added: str = ""

    @property
    def to_train(self) -> list[PlannedRun]:
        """The runs that are trained now, each key once: rows may share a run."""
        found: dict[str, PlannedRun] = {}
        for planned in self.runs:
            if planned.to_train:
                found.setdefault(planned.cell.key, planned)  # under the label of the first row that has it
        return list(found.values())


def make_plan(spec: StudySpec, cells: Sequence[Cell], found: Scan | None = None) -> Plan:
    """Look up every run on disk.

    Args:
        spec: spec of the study.
        cells: result of `compose_cells`; composing takes long, so a plan made again after training takes the same ones.
        found: runs on disk, if they were scanned already; None: scan now.
    """
    found = found or scan(Path(cells[0].config.runs_dir))
    known = by_key(found.records)
    earlier: dict[RunName, list[RunRecord]] = {}
    for record in found.records:
        earlier.setdefault(name_of_run(record.brief), []).append(record)
    chosen = _with_auxiliaries(set(spec.switches.select), spec.rows)
    shorter = ShorterRuns(() if spec.switches.accept_stale else found.records)
    runs = []
    for cell in cells:
        others = [record for record in earlier.get(name_of_cell(cell), []) if _is_earlier(record, cell)]
        planned = _planned(cell, known.get(cell.key), others, found.folders, spec.switches, shorter)
        if not chosen or cell.row.label in chosen:
            runs.append(planned)
    return Plan(spec, tuple(runs), tuple(found.damaged))


def _is_earlier(record: RunRecord, cell: Cell) -> bool:
    """Whether a run of this name is a finished one with another key, whose result is whole."""
    return record.finished and record.brief.key != cell.key and not is_cut(record.folder.result_file)


def name_of_cell(cell: Cell) -> RunName:
    """The name by which earlier versions of a cell's run are found."""
    return cell.config.tracking.experiment, cell.row.label, cell.repeat, cell.config.data.folds


def name_of_run(brief: RunBrief) -> RunName:
    """The name of a run on disk, as `name_of_cell`."""
    return brief.experiment, brief.name, brief.repeat, brief.folds


def seconds_left(plan: Plan) -> tuple[float | None, int]:
    """Estimate how long the runs to train take one after another, from finished ones.

    An epoch of a run takes as long as one of its row's other seeds, folds or earlier versions; where there are none, the
    median of the other rows. Epochs that an interrupted run has, or one that continues a shorter run, are not counted.

    Returns:
        Seconds, or None if nothing is finished; and how many runs were estimated from other rows.
    """
    per_epoch: dict[str, list[float]] = {}
    for planned in plan.runs:
        folder = _measured(planned)
        if folder is not None:
            with suppress(UserError):  # of a damaged result nothing is known
                result = folder.result
                per_epoch.setdefault(planned.cell.row.label, []).append(result.seconds / max(result.epochs, 1))
    if not per_epoch:
        return None, 0
    # The median, since one row with an exceptionally large network would spoil a mean.
    rest = median(fmean(values) for values in per_epoch.values())
    total, guessed = 0.0, 0
    for planned in plan.to_train:
        label, epochs = planned.cell.row.label, planned.cell.config.trainer.max_epochs
        total += _epochs_left(planned, epochs) * (fmean(per_epoch[label]) if label in per_epoch else rest)
        guessed += label not in per_epoch
    return total, guessed


def _measured(planned: PlannedRun) -> RunFolder | None:
    """The finished run that says how long an epoch of this one takes; None if there is none."""
    if planned.state is RunState.finished:
        return planned.folder
    if planned.continues is not None:
        return planned.continues.folder
    return planned.stale.folder if planned.stale is not None else None


def _epochs_left(planned: PlannedRun, epochs: int) -> int:
    if planned.continues is not None:
        return 0 if planned.continues.stopped else epochs - planned.continues.epochs
    resumed = planned.state in UNFINISHED and not planned.cell.config.force
    return epochs - (len(planned.folder.history) if resumed else 0)


def _with_auxiliaries(chosen: set[str], rows: Sequence[Row]) -> set[str]:
    """The chosen labels, and those of the rows that they need: averaged ones, and auxiliary ones, which nobody would think of."""
    auxiliary = {row.label: row for row in rows if row.auxiliary}
    reached = set(chosen)
    reached |= {label for row in rows if row.label in chosen for label in row.average_of}
    for row in rows:
        start = row.start_from if row.label in reached else None
        while start in auxiliary:
            reached.add(start)
            start = auxiliary[start].start_from
    return reached


def _planned(
    cell: Cell,
    record: RunRecord | None,
    others: Sequence[RunRecord],
    folders: RunFolders,
    switches: StudySwitches,
    shorter_runs: ShorterRuns,
) -> PlannedRun:
    folder = record.folder if record is not None else folders.of(cell.config, cell.row.label, cell.key)
    lost = _lost_file(folder, record)
    if lost is not None:
        # Its result cannot be attributed, so it is trained again; without `force` its training would find it finished.
        cell = replace(cell, config=replace(cell.config, force=True))
    # Of several earlier versions the newest is nearest to what the person has in mind.
    stale = max(others, key=lambda other: other.brief.started_at, default=None)
    shorter = shorter_runs.of(cell.config, cell.identity, folder)
    state, reason = _state(cell, folder, stale, shorter)
    if lost is not None:
        reason = f"its {lost.name} is missing or damaged; it is trained anew"
    if state is RunState.finished and (record is None or lost is not None):
        state = RunState.missing
    to_train = state is not RunState.finished or cell.config.force
    # A run that another process trains is left in: by the time its turn comes, that process may have failed.
    if state is RunState.stale and switches.accept_stale:
        to_train = False
    if switches.only is Only.failed:
        to_train = state is RunState.failed
    elif switches.only is Only.missing:
        to_train = state in (*UNFINISHED, RunState.stale) and to_train
    return PlannedRun(cell, state, reason, folder, stale, to_train, shorter)


def _lost_file(folder: RunFolder, record: RunRecord | None) -> Path | None:
    """The header or result of a finished run, if it is gone or cut off, so that its result is of no use any more.

    A file that cannot be read at the moment, or is of another version of this program, may be whole: its result stays.
    """
    if not folder.finished:
        return None
    if record is None:
        try:
            _ = folder.header
        except UserError as error:
            return folder.header_file if isinstance(error.__cause__, FileNotFoundError | JSONDecodeError) else None
    return folder.result_file if is_cut(folder.result_file) else None


def _state(cell: Cell, folder: RunFolder, stale: RunRecord | None, shorter: Shorter | None) -> tuple[RunState, str]:
    """The state of a cell, and an explanation for people, which may be empty."""
    state = folder.state
    if state is RunState.finished:
        return state, "force=true trains it again" if cell.config.force else ""
    if state is RunState.running:
        return state, folder.owner
    with suppress(UserError):  # it is damaged, and the next attempt writes it anew
        if (failure := folder.failure) is not None:
            return state, failure.in_short
    if shorter is not None and not shorter.problem:
        return state, shorter.described
    if epochs := len(folder.history):
        return state, f"resumes after epoch {epochs}"
    if stale is not None:
        reason = what_changed(cell.identity, stale.header)
        same = shorter is not None and shorter.folder.path == stale.folder.path
        return RunState.stale, f"{reason}; {shorter.problem}" if shorter is not None and same else reason
    return state, shorter.described if shorter is not None else ""
