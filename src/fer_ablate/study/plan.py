"""What is there of a study, what is missing, why, and what that will cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from statistics import fmean, median
from typing import Any

from fer_ablate.config.choices import Only
from fer_ablate.config.key import relevant
from fer_ablate.config.repeats import Repeat
from fer_ablate.config.study_rows import Row
from fer_ablate.study.cells import Cell
from fer_ablate.study.spec import Asked
from fer_ablate.tracking.disk.places import run_path
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader
from fer_ablate.tracking.disk.scan import RunRecord, Scan, scan

Name = tuple[str, str, Repeat, int | None]
"""Experiment, label, seed with fold, and number of folds: a fold of five is no earlier version of a fold of ten."""

TOLD_KEYS = 3
"""Changed keys named in a reason; more are counted."""


class State(Enum):
    """What is there of a run; `stale`: finished, but of an earlier config, data or code."""

    cached = "cached"
    to_run = "to run"
    running = "running elsewhere"
    failed = "failed"
    stale = "stale"


@dataclass(frozen=True)
class Planned:
    """A run of a study and what is there of it.

    Args:
        cell: the run.
        state: see `State`.
        reason: what a person wants to know about the state; may be empty.
        folder: of this very run, whether or not it exists yet.
        stale: newest finished run of this row, seed and fold whose key is another one.
        wanted: whether it is to be trained now.
    """

    cell: Cell
    state: State
    reason: str
    folder: RunFolder
    stale: RunRecord | None
    wanted: bool


@dataclass(frozen=True)
class Plan:
    """All runs of a study, row by row, and the remarks of the scan."""

    asked: Asked
    runs: tuple[Planned, ...]
    damaged: tuple[str, ...] = ()

    @property
    def wanted(self) -> list[Planned]:
        """What is to be trained, each key once: rows may share a run."""
        return list({planned.cell.key: planned for planned in self.runs if planned.wanted}.values())


def make_plan(asked: Asked, cells: Sequence[Cell]) -> Plan:
    """Look up every run.

    Args:
        asked: rows, seeds and folds.
        cells: of `compose_cells`.
    """
    found = scan(Path(cells[0].config.runs_dir)) if cells else Scan([], [])
    by_key = {record.header.key: record for record in found.records}
    earlier: dict[Name, list[RunRecord]] = {}
    for record in found.records:
        earlier.setdefault(_name_of(record.header), []).append(record)
    chosen = _with_auxiliaries(set(asked.study.select), asked.rows)
    runs = []
    for cell in cells:
        name = (cell.config.tracking.experiment, cell.row.label, cell.repeat, cell.config.data.folds)
        others = [record for record in earlier.get(name, []) if record.finished and record.header.key != cell.key]
        planned = _planned(cell, by_key.get(cell.key), others, asked)
        if not chosen or _file_label(cell.row.label, chosen):
            runs.append(planned)
    return Plan(asked, tuple(runs), tuple(found.damaged))


def _name_of(header: RunHeader) -> Name:
    return header.experiment, header.name, header.repeat, header.folds


def seconds_left(plan: Plan) -> tuple[float | None, int]:
    """What the wanted runs will take one after another, judged by finished ones.

    A run costs what its row's other seeds, folds or earlier versions cost per epoch; one whose row has none costs the median of
    the rest.

    Returns:
        Seconds, or None if nothing is finished; and how many runs were judged by other rows.
    """
    per_epoch: dict[str, list[float]] = {}
    for planned in plan.runs:
        record = planned.folder if planned.state is State.cached else planned.stale.folder if planned.stale else None
        if record is not None:
            result = record.result
            per_epoch.setdefault(planned.cell.row.label, []).append(result.seconds / max(result.epochs, 1))
    if not per_epoch:
        return None, 0
    rest = median(fmean(values) for values in per_epoch.values())
    total, guessed = 0.0, 0
    for planned in plan.wanted:
        label, epochs = planned.cell.row.label, planned.cell.config.trainer.max_epochs
        done = len(planned.folder.history) if planned.state is State.to_run else 0
        total += (epochs - done) * (fmean(per_epoch[label]) if label in per_epoch else rest)
        guessed += label not in per_epoch
    return total, guessed


def _with_auxiliaries(chosen: set[str], rows: Sequence[Row]) -> set[str]:
    """Chosen labels, and those of the auxiliary rows that they start from, which nobody would think of naming."""
    auxiliary = {row.label: row for row in rows if row.auxiliary}
    reached = set(chosen)
    for row in rows:
        start = row.start_from if chosen and _file_label(row.label, chosen) else None
        while start in auxiliary:
            reached.add(start)
            start = auxiliary[start].start_from
    return reached


def _file_label(label: str, chosen: Iterable[str]) -> bool:
    """Whether a row, which a grid may have multiplied, is one of the chosen."""
    return any(label == one or (label.startswith(f"{one} ") and "=" in label[len(one) :]) for one in chosen)


def _planned(cell: Cell, record: RunRecord | None, others: Sequence[RunRecord], asked: Asked) -> Planned:
    config, study = cell.config, asked.study
    folder = record.folder if record is not None else _own_folder(cell)
    stale = max(others, key=lambda other: other.header.started_at, default=None)
    state, reason = _state(cell, folder, record, stale)
    wanted = state is not State.cached or config.force
    if state is State.stale and study.accept_stale:
        wanted = False
    if study.only is Only.failed:
        wanted = state is State.failed
    elif study.only is Only.missing:
        wanted = state in (State.to_run, State.stale) and wanted
    return Planned(cell, state, reason, folder, stale, wanted)


def _own_folder(cell: Cell) -> RunFolder:
    config = cell.config
    return RunFolder(run_path(Path(config.runs_dir), config.tracking.experiment, cell.row.label, config.seed, cell.key))


def _state(cell: Cell, folder: RunFolder, record: RunRecord | None, stale: RunRecord | None) -> tuple[State, str]:
    if record is not None and record.finished:
        return State.cached, "force=true trains it again" if cell.config.force else ""
    if folder.in_training:
        return State.running, folder.owner
    if (failure := folder.failure) is not None:
        return State.failed, failure.problem.splitlines()[0]
    if record is not None and (epochs := len(folder.history)):
        return State.to_run, f"resumes behind epoch {epochs}"
    if stale is not None:
        return State.stale, _why_stale(cell, stale)
    return State.to_run, ""


def _why_stale(cell: Cell, stale: RunRecord) -> str:
    header, now = stale.header, relevant(cell.config)
    other_code = header.code_digest != cell.code_digest
    if other_code:
        now = _known_then(now, header.settings)
    reasons = [_changed(header.settings, now)] if header.settings else []
    reasons += ["data changed"] if header.data_digest != cell.data_digest else []
    reasons += ["code changed"] if other_code else []
    told = ", ".join(reason for reason in reasons if reason)
    return told or "starts from other weights"


def _known_then(now: Any, before: Any) -> Any:
    """Settings of today without the keys that later code has brought, which nobody could set then."""
    if isinstance(now, Mapping) and isinstance(before, Mapping):
        return {key: _known_then(value, before[key]) for key, value in now.items() if key in before}
    if isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        return [_known_then(one, other) for one, other in zip(now, before, strict=True)]
    return now


def _changed(before: dict[str, Any], now: dict[str, Any]) -> str:
    # JSON knows no tuples and no keys but strings, so both sides are compared as text.
    keys = [key for key in {**before, **now} if str(before.get(key)) != str(now.get(key))]
    told = [f"{key} {_short(before.get(key, 'absent'))} -> {_short(now.get(key, 'absent'))}" for key in sorted(keys)]
    more = f" and {len(told) - TOLD_KEYS} more" if len(told) > TOLD_KEYS else ""
    return ", ".join(told[:TOLD_KEYS]) + more


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else "..."
