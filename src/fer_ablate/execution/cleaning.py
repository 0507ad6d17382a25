"""What `clean` may delete of the runs on disk, what it leaves and why, and the deletion itself."""

import re
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from fer_ablate.errors import UserError, first_line
from fer_ablate.study.plan import Plan, RunName, name_of_cell, name_of_run
from fer_ablate.tracking.disk.index import RunBrief
from fer_ablate.tracking.disk.row_labels import labelled_runs
from fer_ablate.tracking.disk.run_folder import LOCK, RunFolder
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.disk.scan import PATH_MARK, RunRecord, Scan, by_key, folder_name
from fer_ablate.tracking.disk.usage import bytes_of

KINDS = ("failed", "pruned", "stale", "unfinished", "leftovers", "states", "checkpoints")
"""What may go: whole runs, and of finished ones the state to resume from, left over or kept on purpose, or all weights."""

WHOLE_RUNS = KINDS[:4]

DAY = 86400.0
"""Seconds."""


@dataclass(frozen=True)
class Removal:
    """Something that could be deleted.

    Args:
        kind: one of `KINDS`.
        record: the run that it belongs to.
        path: file or folder.
        why: what it is, for people.
        size: bytes.
    """

    kind: str
    record: RunRecord
    path: Path
    why: str
    size: int


@dataclass(frozen=True)
class Cleaning:
    """What could be deleted, and what was left although it is of such a kind.

    Args:
        removals: what could be deleted.
        kept: path -> why it stays.
    """

    removals: tuple[Removal, ...]
    kept: dict[Path, str]


def find_removals(
    found: Scan, runs_dir: Path, kinds: Collection[str], plan: Plan | None, unfinished_days: float, present: Collection[str]
) -> Cleaning:
    """Look for what could be deleted.

    Args:
        found: runs on disk.
        runs_dir: their folder; nothing outside of it is ever deleted.
        kinds: among `KINDS`; `stale` needs a plan.
        plan: its study limits the search to its runs and their earlier versions; None: all runs.
        unfinished_days: days for which a run must not have changed to count as `unfinished`.
        present: keys of all runs that the study has now, whatever rows the plan is limited to.
    """
    of_study = _StudyRuns.of(plan, present) if plan is not None else None
    records = [record for record in found.records if of_study is None or of_study.has(record.brief)]
    used = _starts(found.records, plan)
    shared = _shared(runs_dir, plan)
    removals: list[Removal] = []
    kept: dict[Path, str] = {}
    for record in records:
        removal = _removal(record, kinds, of_study, unfinished_days)
        if removal is None:
            continue
        # A state that was left over is nothing that another run starts from.
        user = used.get(record.folder.path, "") if removal.kind != "leftovers" else ""
        if removal.kind == "stale":  # for this study alone
            user = user or shared.get(record.brief.key, "")
        if why := _protection(record, removal.path, runs_dir, user):
            kept[removal.path] = why
        else:
            removals.append(removal)
    return Cleaning(tuple(removals), kept)


@dataclass(frozen=True)
class _StudyRuns:
    """The runs of a study and their earlier versions.

    Args:
        keys: of the runs that the chosen rows have now.
        present: keys of the runs that all its rows have now.
        names: experiment, row, seed and fold, number of folds.
        reasons: folder of a stale run -> what has changed since, as far as the plan says.
    """

    keys: frozenset[str]
    present: Collection[str]
    names: frozenset[RunName]
    reasons: Mapping[Path, str]

    @classmethod
    def of(cls, plan: Plan, present: Collection[str]) -> "_StudyRuns":
        cells = [planned.cell for planned in plan.runs]
        stale = [planned for planned in plan.runs if planned.state is RunState.stale]
        return cls(
            frozenset(cell.key for cell in cells),
            present,
            frozenset(map(name_of_cell, cells)),
            {planned.stale.folder.path: planned.reason for planned in stale if planned.stale is not None},
        )

    def has(self, run: RunBrief) -> bool:
        # What another row has now is no earlier version, whatever label it was trained with.
        return run.key in self.keys or (run.key not in self.present and name_of_run(run) in self.names)


def _removal(record: RunRecord, kinds: Collection[str], of_study: _StudyRuns | None, unfinished_days: float) -> Removal | None:
    """What could be deleted of a run: the run itself before parts of it."""
    folder, state = record.folder, record.state
    if state is RunState.failed and "failed" in kinds:
        return _whole_run("failed", record, _failure(folder))
    if state is RunState.pruned and "pruned" in kinds:
        return _whole_run("pruned", record, "stopped by its search")
    if "stale" in kinds and of_study is not None and record.finished and record.brief.key not in of_study.keys:
        return _whole_run("stale", record, of_study.reasons.get(folder.path, "an earlier config, data or code"))
    if state is RunState.missing and "unfinished" in kinds:
        days = (time.time() - _last_change(folder.path)) / DAY
        return (
            _whole_run("unfinished", record, f"interrupted; unchanged for {days:.0f} days") if days >= unfinished_days else None
        )
    if not record.finished:
        return None
    if "checkpoints" in kinds and folder.checkpoints.is_dir():
        return Removal("checkpoints", record, folder.checkpoints, "its weights; its scores stay", bytes_of(folder.checkpoints))
    last = folder.last_checkpoint
    if not last.is_file():
        return None
    kept = folder.keeps_state
    if "states" in kinds and kept:
        return Removal("states", record, last, "state for runs with more epochs (save_last)", bytes_of(last))
    if "leftovers" in kinds and not kept:
        return Removal("leftovers", record, last, "state to resume from, which a finished run does not need", bytes_of(last))
    return None


def _whole_run(kind: str, record: RunRecord, why: str) -> Removal:
    return Removal(kind, record, record.folder.path, why, bytes_of(record.folder.path))


def _failure(folder: RunFolder) -> str:
    try:
        failure = folder.failure
    except UserError:
        return "its failure.json is damaged"
    return first_line(UserError(failure.problem)) if failure is not None else ""


def _last_change(path: Path) -> float:
    """Time of the last change of any file of a run, in seconds; of its lock, which whoever looks at the run may touch, none."""
    times = [path.stat().st_mtime]
    for file in path.rglob("*"):
        if file.name == LOCK:
            continue
        with suppress(OSError):
            times.append(file.stat().st_mtime)
    return max(times)


def _protection(record: RunRecord, path: Path, runs_dir: Path, user: str) -> str:
    """Why something must not be deleted; empty if it may be."""
    if not path.resolve().is_relative_to(runs_dir.resolve()):
        return f"it is a link to {path.resolve()}, outside of {runs_dir}"
    if record.folder.in_training:
        return f"{record.folder.owner} is training it"
    return user


def _starts(records: Sequence[RunRecord], plan: Plan | None) -> dict[Path, str]:
    """Folder of a run -> which run starts from its weights, or will, or will continue it; in words."""
    found: dict[Path, str] = {}
    runs = by_key(records)
    for record in records:
        start = record.folder.init_from
        if start is None:
            continue
        # The rows of a study name their starts by full keys, so thousands of them are found at once.
        named = [runs[start]] if start in runs else [other for other in records if _is_named(other, start)]
        for other in named:
            if other is not record:
                found.setdefault(other.folder.path, f"{record.brief.experiment}/{record.brief.name} starts from it")
    needed = {planned.cell.start_key: planned.cell.name for planned in plan.runs if planned.to_train} if plan is not None else {}
    for key, name in needed.items():
        if key in runs:
            found.setdefault(runs[key].folder.path, f"{name}, which is not finished, starts from it")
    for planned in plan.to_train if plan is not None else ():
        if planned.continues is not None:
            found.setdefault(planned.continues.folder.path, f"{planned.cell.name}, which is not finished, continues it")
    return found


def _shared(runs_dir: Path, plan: Plan | None) -> dict[str, str]:
    """Key of a run -> which row of another study or grid has it as well, in words."""
    if plan is None:
        return {}
    own = (plan.runs[0].cell.config.tracking.experiment, plan.spec.name)
    path = f"{folder_name(plan.spec.name)}{PATH_MARK}"  # through the study, hence of it
    others = (one for one in labelled_runs(runs_dir) if (one.experiment, one.study) != own and not one.study.startswith(path))
    return {one.key: f"the row {one.label} of {one.study} has it as well" for one in others}


def _is_named(record: RunRecord, name: str) -> bool:
    """Whether `init_from` may mean this run. Several runs may be meant by one name, and then none of them is deleted."""
    run, path = record.brief, record.folder.path
    if Path(name).exists():
        return Path(name).resolve().is_relative_to(path.resolve())
    names = {path.name, f"{path.parent.name}/{path.name}", run.name, f"{run.experiment}/{run.name}"}
    ids = (run.key, run.earlier_key, run.mlflow_run_id or "")
    return re.sub(r", (seed|fold) \d+", "", name) in names or any(one.startswith(name) for one in ids)


def _is_unchanged(record: RunRecord) -> bool:
    """Whether a run, whose lock is held, is still the one that was listed, in the state that it was in."""
    folder = record.folder
    if folder.header.started_at != record.brief.started_at or folder.finished != record.finished:
        return False
    # Of a run without a result the files that say why decide, since `folder.state` would see the lock.
    without = RunState.pruned if folder.pruned_file.is_file() else RunState.missing
    return folder.finished or record.state is (RunState.failed if folder.failure_file.is_file() else without)


def delete(removal: Removal) -> str:
    """Delete something that was listed, unless a process has begun to train the run since.

    Returns:
        Why it could not be deleted, in a sentence; empty if it was.
    """
    folder, path = removal.record.folder, removal.path
    try:
        # Not `folder.lock`, which writes a file: on a full disk this is the command that makes room.
        with FileLock(folder.lock_file, timeout=0):
            if not _is_unchanged(removal.record):
                return f"{path} has changed meanwhile and stays."
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    except Timeout:
        return f"{path} stays: {folder.owner} has begun to train it."
    except (OSError, UserError) as error:
        return f"Cannot delete {path}: {error.strerror if isinstance(error, OSError) else first_line(error)}."
    if removal.kind in WHOLE_RUNS:
        with suppress(OSError):  # other runs are in it
            path.parent.rmdir()
    return ""
