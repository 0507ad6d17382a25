"""Compares the runs that a study consists of with those on disk: the state of each, the reason, and the cost of the rest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from fer_ablate.config.behaviour import behaviour
from fer_ablate.config.choices import Only
from fer_ablate.config.schema import StudySwitches
from fer_ablate.config.study_rows import Repeat, Row
from fer_ablate.study.cells import Cell
from fer_ablate.study.spec import StudySpec
from fer_ablate.tracking.disk.index import RunBrief
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.disk.scan import RunFolders, RunRecord, Scan, scan

RunName = tuple[str, str, Repeat, int | None]
"""Experiment, label, seed with fold, and number of folds: a fold of five is no earlier version of a fold of ten."""

UNFINISHED = (RunState.missing, RunState.pruned)
"""States of a run without a result that nothing went wrong with; where it was interrupted or stopped, it resumes."""

SHOWN_CHANGES = 3
"""Changed keys named in a reason; the others are counted."""


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
    """

    cell: Cell
    state: RunState
    reason: str
    folder: RunFolder
    stale: RunRecord | None
    to_train: bool


@dataclass(frozen=True)
class Plan:
    """All runs of a study, row by row, and what is wrong with runs that could not be read."""

    spec: StudySpec
    runs: tuple[PlannedRun, ...]
    damaged: tuple[str, ...] = ()

    @property
    def to_train(self) -> list[PlannedRun]:
        """The runs that are trained now, each key once: rows may share a run."""
        return list({planned.cell.key: planned for planned in self.runs if planned.to_train}.values())


def make_plan(spec: StudySpec, cells: Sequence[Cell], found: Scan | None = None) -> Plan:
    """Look up every run on disk.

    Args:
        spec: spec of the study.
        cells: result of `compose_cells`; composing takes long, so a plan made again after training takes the same ones.
        found: runs on disk, if they were scanned already; None: scan now.
    """
    found = found or scan(Path(cells[0].config.runs_dir))
    by_key = {record.brief.key: record for record in found.records}
    earlier: dict[RunName, list[RunRecord]] = {}
    for record in found.records:
        earlier.setdefault(name_of_run(record.brief), []).append(record)
    chosen = _with_auxiliaries(set(spec.switches.select), spec.rows)
    runs = []
    for cell in cells:
        others = [record for record in earlier.get(name_of_cell(cell), []) if record.finished and record.brief.key != cell.key]
        planned = _planned(cell, by_key.get(cell.key), others, found.folders, spec.switches)
        if not chosen or is_chosen(cell.row.label, chosen):
            runs.append(planned)
    return Plan(spec, tuple(runs), tuple(found.damaged))


def name_of_cell(cell: Cell) -> RunName:
    """The name by which earlier versions of a cell's run are found."""
    return cell.config.tracking.experiment, cell.row.label, cell.repeat, cell.config.data.folds


def name_of_run(brief: RunBrief) -> RunName:
    """The name of a run on disk, as `name_of_cell`."""
    return brief.experiment, brief.name, brief.repeat, brief.folds


def seconds_left(plan: Plan) -> tuple[float | None, int]:
    """Estimate how long the runs to train take one after another, from finished ones.

    An epoch of a run takes as long as one of its row's other seeds, folds or earlier versions; where there are none, the
    median of the other rows.

    Returns:
        Seconds, or None if nothing is finished; and how many runs were estimated from other rows.
    """
    per_epoch: dict[str, list[float]] = {}
    for planned in plan.runs:
        record = planned.folder if planned.state is RunState.finished else planned.stale.folder if planned.stale else None
        if record is not None:
            result = record.result
            per_epoch.setdefault(planned.cell.row.label, []).append(result.seconds / max(result.epochs, 1))
    if not per_epoch:
        return None, 0
    # The median, since one row with an exceptionally large network would spoil a mean.
    rest = median(fmean(values) for values in per_epoch.values())
    total, guessed = 0.0, 0
    for planned in plan.to_train:
        label, epochs = planned.cell.row.label, planned.cell.config.trainer.max_epochs
        done = len(planned.folder.history) if planned.state in UNFINISHED else 0
        total += (epochs - done) * (fmean(per_epoch[label]) if label in per_epoch else rest)
        guessed += label not in per_epoch
    return total, guessed


def _with_auxiliaries(chosen: set[str], rows: Sequence[Row]) -> set[str]:
    """The chosen labels, and those of the rows that they need: averaged ones, and auxiliary ones, which nobody would think of."""
    auxiliary = {row.label: row for row in rows if row.auxiliary}
    reached = set(chosen)
    reached |= {label for row in rows if chosen and is_chosen(row.label, chosen) for label in row.average_of}
    for row in rows:
        start = row.start_from if chosen and is_chosen(row.label, reached) else None
        while start in auxiliary:
            reached.add(start)
            start = auxiliary[start].start_from
    return reached


def is_chosen(label: str, chosen: Iterable[str]) -> bool:
    """Whether a row is one of the chosen ones, or made from one of them by a grid: `less lr=0.1` from `less`."""
    return any(label == one or (label.startswith(f"{one} ") and "=" in label[len(one) :]) for one in chosen)


def _planned(
    cell: Cell, record: RunRecord | None, others: Sequence[RunRecord], folders: RunFolders, switches: StudySwitches
) -> PlannedRun:
    folder = record.folder if record is not None else folders.of(cell.config, cell.row.label, cell.key)
    # Of several earlier versions the newest is nearest to what the person has in mind.
    stale = max(others, key=lambda other: other.brief.started_at, default=None)
    state, reason = _state(cell, folder, stale)
    if state is RunState.finished and record is None:
        state = RunState.missing  # its header is damaged, so its result cannot be attributed: it is trained again
    to_train = state is not RunState.finished or cell.config.force
    # A run that another process trains is left in: by the time its turn comes, that process may have failed.
    if state is RunState.stale and switches.accept_stale:
        to_train = False
    if switches.only is Only.failed:
        to_train = state is RunState.failed
    elif switches.only is Only.missing:
        to_train = state in (*UNFINISHED, RunState.stale) and to_train
    return PlannedRun(cell, state, reason, folder, stale, to_train)


def _state(cell: Cell, folder: RunFolder, stale: RunRecord | None) -> tuple[RunState, str]:
    """The state of a cell, and an explanation for people, which may be empty."""
    state = folder.state
    if state is RunState.finished:
        return state, "force=true trains it again" if cell.config.force else ""
    if state is RunState.running:
        return state, folder.owner
    if (failure := folder.failure) is not None:
        return state, failure.problem.splitlines()[0]
    if epochs := len(folder.history):
        return state, f"resumes after epoch {epochs}"
    if stale is not None:
        return RunState.stale, _why_stale(cell, stale)
    return state, ""


def _why_stale(cell: Cell, stale: RunRecord) -> str:
    header, identity = stale.header, cell.identity
    now = identity.settings
    # Digests are not compared: two of one behaviour give the same results.
    other_code = behaviour(header.code_digest) != behaviour(identity.code_digest)
    if other_code:
        now = _known_then(now, header.settings)
    reasons = [_changed(header.settings, now)] if header.settings else []
    reasons += ["data changed"] if header.data_digest != identity.data_digest else []
    reasons += ["code changed"] if other_code else []
    return ", ".join(reason for reason in reasons if reason) or "starts from other weights"


def _known_then(now: Any, before: Any) -> Any:
    """Today's settings without the keys that the earlier code did not have, since nobody could set them then."""
    if isinstance(now, Mapping) and isinstance(before, Mapping):
        return {key: _known_then(value, before[key]) for key, value in now.items() if key in before}
    if isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        return [_known_then(one, other) for one, other in zip(now, before, strict=True)]
    return now


def _changed(before: dict[str, Any], now: dict[str, Any]) -> str:
    # The stored side was JSON, which knows neither tuples nor keys that are not text, so both sides are compared as text.
    keys = [key for key in {**before, **now} if str(before.get(key)) != str(now.get(key))]
    changes = [f"{key} {_short(before.get(key, 'absent'))} -> {_short(now.get(key, 'absent'))}" for key in sorted(keys)]
    more = f" and {len(changes) - SHOWN_CHANGES} more" if len(changes) > SHOWN_CHANGES else ""
    return ", ".join(changes[:SHOWN_CHANGES]) + more


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else "..."
