"""How far the runs of a sweep are, read from their folders alone: whatever process trains them, and on whatever machine."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from fer_ablate.config.choices import Mode
from fer_ablate.errors import UserError
from fer_ablate.study.plan import PlannedRun
from fer_ablate.tracking.disk.files import changed_at, is_new
from fer_ablate.tracking.disk.history import EpochRow
from fer_ablate.tracking.disk.progress_file import PROGRESS, StepProgress, read_progress
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.training.result import RunResult

RECENT = 5
"""Last epochs whose duration says how long the next ones will take."""


@dataclass(frozen=True)
class WatchedRun:
    """A run that is watched.

    Args:
        title: beginning of its lines, such as `[3/12] -1 Conv, seed 0`.
        row: its row; the runs of one row take about the same time.
        folder: of the run; it may not exist yet.
        max_epochs: epochs that it trains for unless it stops early.
        monitor: metric by which its best epoch is chosen.
        higher: whether more of it is better.
        anew: whether it is trained anew although it has a result.
    """

    title: str
    row: str
    folder: RunFolder
    max_epochs: int
    monitor: str
    higher: bool
    anew: bool = False


@dataclass(frozen=True)
class JobNote:
    """What is known of the job of a run that a cluster does; what the run itself does is in its folder.

    Args:
        waiting: such as `queued (Resources), job 17_3`; empty if the job has ended.
        problem: why it ended without a result; empty otherwise.
    """

    waiting: str
    problem: str = ""


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Args:
        run: the run.
        state: `missing` while it waits for its turn, or was interrupted.
        epochs: trained so far, with the fraction of the present one; 0 before the first step of this start.
        resumed: whether all these epochs were trained by an earlier attempt.
        before: epochs that an earlier attempt had trained, of one that waits or was about to be started; 0 if not known.
        testing: whether all its epochs are trained and it is being tested.
        value: monitored metric of the last epoch; NaN if not measured yet.
        best: best one so far; NaN if not measured yet.
        seconds_per_epoch: None if not known yet.
        result: of a finished run; None if it cannot be read.
        problem: why it failed or was pruned; empty otherwise.
        queued: of a waiting run, what is known of its job, see `JobNote`; empty if it has none.
    """

    run: WatchedRun
    state: RunState
    epochs: float = 0.0
    resumed: bool = False
    before: int = 0
    testing: bool = False
    value: float = math.nan
    best: float = math.nan
    seconds_per_epoch: float | None = None
    result: RunResult | None = None
    problem: str = ""
    queued: str = ""

    @property
    def epoch(self) -> int:
        """The present epoch, from 1."""
        return min(int(self.epochs) + 1, self.run.max_epochs)

    @property
    def seconds_left(self) -> float | None:
        """Until the last epoch ends; None if not known yet. A run may stop early."""
        left = 0.0 if self.testing else max(self.run.max_epochs - self.epochs, 0.0)
        return None if self.seconds_per_epoch is None else left * self.seconds_per_epoch


def with_job(progress: RunProgress, note: JobNote | None) -> RunProgress:
    """The progress with what is known of the run's job, as far as its folder does not say more."""
    if note is None or progress.state is not RunState.missing:
        return progress
    if note.problem:
        return replace(progress, state=RunState.failed, problem=note.problem)
    return replace(progress, queued=note.waiting)


@dataclass(frozen=True)
class WholeProgress:
    """How far all watched runs together are.

    Args:
        total: number of runs.
        finished, pruned, running, failed, waiting: how many of them are.
        seconds_left: with as many runs at once as now; None if no run has shown yet how long an epoch takes.
    """

    total: int
    finished: int
    pruned: int
    running: int
    failed: int
    waiting: int
    seconds_left: float | None


def watched_runs(planned: Sequence[PlannedRun], numbered: bool = True) -> list[WatchedRun]:
    """The planned runs, each key once, as they are watched.

    Args:
        planned: in the order of the sweep.
        numbered: whether titles begin with their place, as in a sweep of these runs.
    """
    found = list({one.cell.key: one for one in planned}.values())
    return [
        WatchedRun(
            title=(f"[{number}/{len(found)}] " if numbered else "") + one.cell.name,
            row=one.cell.row.label,
            folder=one.folder,
            max_epochs=one.cell.config.trainer.max_epochs,
            monitor=one.cell.config.trainer.monitor,
            higher=one.cell.config.trainer.mode is Mode.max,
            anew=one.cell.config.force,
        )
        for number, one in enumerate(found, start=1)
    ]


class RunReader:
    """Reads the progress of one run again and again; files that have not changed are not read twice.

    Args:
        run: the run.
        fresh: whether files that an earlier attempt left are to be ignored, since the run is about to be started.
    """

    def __init__(self, run: WatchedRun, fresh: bool) -> None:
        self.run = run
        folder = run.folder
        left = ([folder.result_file] if run.anew else []) + [folder.failure_file, folder.pruned_file]
        self._left = {file: changed_at(file) for file in left} if fresh else {}
        self._history: list[EpochRow] = []
        self._history_at: int | None = None
        self._was_training = False
        self._ended: RunProgress | None = None
        on_disk = 0 if run.anew else len(self._rows())
        self._waiting = RunProgress(run, RunState.missing, before=on_disk)
        self._before = on_disk if fresh else 0

    def read(self) -> RunProgress:
        """The present progress."""
        folder = self.run.folder
        if is_new(folder.result_file, self._left):
            if self._ended is None:
                self._ended = self._finished()
            return self._ended
        self._ended = None
        # Most runs of a large study have no folder yet, and are looked at again and again.
        if not os.path.isdir(folder.path):
            return self._waiting
        if folder.in_training:
            return self._running()
        self._was_training = False
        if is_new(folder.failure_file, self._left):
            return RunProgress(self.run, RunState.failed, problem=_problem(folder))
        if is_new(folder.pruned_file, self._left):
            return RunProgress(self.run, RunState.pruned, problem=_pruned(folder))
        return self._waiting

    def _finished(self) -> RunProgress:
        try:
            result = self.run.folder.result
        except UserError:  # the command that shows the table says what is wrong with it
            return RunProgress(self.run, RunState.finished, epochs=self.run.max_epochs)
        seconds = result.seconds / max(result.epochs, 1)
        return RunProgress(self.run, RunState.finished, epochs=result.epochs, seconds_per_epoch=seconds, result=result)

    def _running(self) -> RunProgress:
        folder = self.run.folder
        # Written when a process takes the run, so that older files are of an earlier attempt. Times of files are compared with
        # each other only: the clocks of the machines of a cluster differ.
        began = changed_at(folder.owner_file) or math.inf
        rows = self._rows()
        values = [row[self.run.monitor] for row in rows if self.run.monitor in row]
        step = self._step(began)
        epochs = max(step.epochs if step else 0.0, float(len(rows)))
        seconds = step.seconds_per_epoch if step else None
        if seconds is None and rows:
            seconds = fmean(row.get("seconds", 0.0) for row in rows[-RECENT:])
        resumed = bool(rows) and (self._history_at or 0) <= began
        # The file is there while epochs are trained; runs of earlier versions never had one.
        self._was_training |= step is not None
        testing = step is None and bool(rows) and not resumed and (self._was_training or len(rows) >= self.run.max_epochs)
        return RunProgress(
            self.run,
            RunState.running,
            epochs=epochs,
            resumed=resumed and step is None,
            before=self._before,
            testing=testing,
            value=values[-1] if values else math.nan,
            best=(max if self.run.higher else min)(values, default=math.nan),
            seconds_per_epoch=seconds,
        )

    def _step(self, began: float) -> StepProgress | None:
        file = self.run.folder.path / PROGRESS
        return read_progress(file) if (changed_at(file) or 0) > began else None

    def _rows(self) -> list[EpochRow]:
        at = changed_at(self.run.folder.metrics_file)
        if at != self._history_at:
            try:
                self._history, self._history_at = self.run.folder.history, at
            except (UserError, OSError):  # the run itself says what is wrong when it appends to the file
                self._history, self._history_at = [], at
        return self._history


def whole(runs: Sequence[RunProgress], to_come: int = 0) -> WholeProgress:
    """Count the runs, and estimate how long the rest will take.

    Args:
        runs: those that are known so far.
        to_come: number of further runs, such as the trials that a search has not chosen yet.
    """
    counts = {state: sum(run.state is state for run in runs) for state in RunState}
    return WholeProgress(
        total=len(runs) + to_come,
        finished=counts[RunState.finished],
        pruned=counts[RunState.pruned],
        running=counts[RunState.running],
        failed=counts[RunState.failed],
        waiting=counts[RunState.missing] + to_come,
        seconds_left=_seconds_left(runs, to_come),
    )


def _seconds_left(runs: Sequence[RunProgress], to_come: int) -> float | None:
    """Running runs to their ends, and those that wait after them on as many places as are taken now."""
    per_epoch: dict[str, list[float]] = {}
    for run in runs:
        if run.seconds_per_epoch is not None:
            per_epoch.setdefault(run.run.row, []).append(run.seconds_per_epoch)
    if not per_epoch:
        return None
    # The median, since one row with an exceptionally large network would spoil a mean.
    usual = median(fmean(values) for values in per_epoch.values())

    def left(run: RunProgress) -> float:
        own = run.seconds_left
        epochs = max(run.run.max_epochs - max(run.before, int(run.epochs)), 0)
        return own if own is not None else epochs * fmean(per_epoch.get(run.run.row, [usual]))

    running = [left(run) for run in runs if run.state is RunState.running]
    waiting = [left(run) for run in runs if run.state is RunState.missing]
    waiting += [usual * median(run.run.max_epochs for run in runs)] * to_come
    return max([(sum(running) + sum(waiting)) / max(len(running), 1), *running])


def _problem(folder: RunFolder) -> str:
    try:
        failure = folder.failure
    except UserError as error:
        return str(error)
    return failure.problem if failure is not None else ""


def _pruned(folder: RunFolder) -> str:
    try:
        pruned = folder.pruned
    except UserError as error:
        return str(error)
    return f"pruned after epoch {pruned.epoch} with {pruned.metric} {pruned.value:.4f}" if pruned is not None else ""
