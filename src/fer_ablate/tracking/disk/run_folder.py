"""The folder of one run on disk, the source of truth about the run; MLflow gets copies."""

import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout

from fer_ablate.addresses import bare, hide, present_store
from fer_ablate.config.key import EPOCHS, KEY_RULES, run_key
from fer_ablate.config.study_rows import Repeat
from fer_ablate.errors import BusyError, UserError
from fer_ablate.metrics import CLASS_SCORES
from fer_ablate.tracking.disk.failure_files import RunFailure, RunPruned, read_failure, read_pruned, write_failure, write_pruned
from fer_ablate.tracking.disk.files import check_types, checked, read_json, read_text, sweep, write_error, write_json, write_text
from fer_ablate.tracking.disk.history import EpochRow, append_epoch, read_history
from fer_ablate.tracking.disk.log import LOG, attempt
from fer_ablate.tracking.disk.predictions import (
    PredictedLabels,
    StoredPredictions,
    read_predicted,
    read_predictions,
    write_predictions,
)
from fer_ablate.tracking.disk.present_key import with_present_key
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.training.result import BEST, LAST, RunResult

__all__ = ["PredictedLabels", "RunFailure", "RunFolder", "RunHeader", "RunPruned", "StoredPredictions"]

PICTURES = ("confusion.png", "curves.png", "faces.png")
NOTES = "notes.json"
LOCK, OWNER = "run.lock", "run.owner"
"""Files of the process that trains a run; whoever looks whether there is one touches the first."""

SHEETS = "contact_sheets"
"""Folder within a run for contact sheets of its images."""

_START = re.compile(r"^init_from: *(.+?) *$", re.M)
_SAVE_LAST = re.compile(r"^trainer:\n(?: .*\n)*?  save_last: true$", re.M)

LOCK_SECONDS = 1.0
"""How long to wait for the lock of a run: longer than another process holds it to see whether it is free (`in_training`)."""


@dataclass(kw_only=True)
class RunHeader:
    """What is known about a run before it starts.

    Args:
        key: see `config.key`.
        name: label in tables and in MLflow.
        experiment: MLflow experiment; the name of the study, if there is one.
        changed: dotted key -> value of what differs from the defaults.
        overrides: the command line.
        dataset: `name` and the number of images of each role (`train`, `val`, `test`); runs of earlier versions have only these.
            `preset` (the roles that `data.roles` resolved to), `classes` (name -> images of train, val and test), `size`
            ([height, width] in pixels), `channels`, `groups` (number of persons, if known), `left_out` (what was not read -> how
            many) and `notes` (sentences about all of this).
        started_at: ISO 8601 with time zone; the first start of a run that was resumed.
        mlflow_run_id: set once MLflow knows the run.
        mlflow_uri: the store that knows it.
        attempt: random; all parts of a resumed run share it, and a run trained anew gets another one.
        parent_run_id: MLflow run below which this one is shown.
        settings: dotted key -> value of every setting that can change the result (`config.key.relevant`), so that a plan can
            name what differs from another run.
        key_rules: number of the rules by which the key was made, see `config.key.KEY_RULES`.
        earlier_key: key that the run was given by earlier rules or before its code was known, and that its folder is named by.
        continued_from: key of the shorter run whose state this one began with; empty if it was trained from its first epoch.
        continued_after: epochs that it has from there.
    """

    key: str
    name: str
    seed: int
    experiment: str
    changed: dict[str, str]
    overrides: list[str]
    data_digest: str
    code_digest: str
    dataset: dict[str, Any] = field(default_factory=dict)
    started_at: str
    mlflow_run_id: str | None = None
    mlflow_uri: str | None = None
    attempt: str = ""
    parent_run_id: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    key_rules: int = 1
    earlier_key: str = ""
    continued_from: str = ""
    continued_after: int = 0

    @property
    def repeat(self) -> Repeat:
        """The seed, and the fold if there is one."""
        return Repeat(self.seed, self.settings.get("data.fold", 0) if self.folds is not None else None)

    @property
    def has_present_key(self) -> bool:
        """Whether the key is the one that these settings, images and code have by the present rules, begun from drawn weights."""
        return self.key_rules == KEY_RULES and self.key == run_key(self.settings, self.data_digest, self.code_digest)

    @property
    def folds(self) -> int | None:
        """Number of parts that the images were divided into; None without cross-validation."""
        return self.settings.get("data.folds")


@dataclass(kw_only=True)
class _Dataset:
    """The parts of `RunHeader.dataset`, each of which may be absent, for the check of a stored one."""

    name: str = ""
    train: int = 0
    val: int = 0
    test: int = 0
    preset: str = ""
    classes: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    channels: int = 0
    groups: int | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def _header(stored: dict[str, Any]) -> RunHeader:
    """A header from its JSON; `ValueError` if a field is missing, unknown or of another type."""
    header = checked(RunHeader, stored)
    datetime.fromisoformat(header.started_at)
    check_types(_Dataset, header.dataset)
    check_types(dict[str, int | None], {name: header.settings.get(name) for name in ("data.folds", "data.fold", EPOCHS)})
    return header


def _result(stored: dict[str, Any]) -> RunResult:
    """A result from its JSON; `ValueError` if a field is missing, unknown or of another type."""
    result = checked(RunResult, stored)
    datetime.fromisoformat(result.finished_at)
    sides = {len(result.classes)}
    for name, split in result.splits.items():
        if {len(split.confusion), *map(len, split.confusion)} != sides:
            raise ValueError(f"splits.{name}.confusion has other sides than there are classes")
        if any(not scores.keys() >= set(CLASS_SCORES) for scores in split.per_class.values()):
            raise ValueError(f"splits.{name}.per_class lacks some of {', '.join(CLASS_SCORES)}")
    return result


def _notes(stored: Any) -> dict[str, str]:
    return {check_types(str, name): check_types(str, text) for name, text in stored.items()}


class RunFolder:
    """The files of one run.

    Args:
        path: the folder; made by the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.header_file = path / "run.json"
        self.metrics_file = path / "metrics.csv"
        self.result_file = path / "result.json"
        self.predictions_file = path / "predictions.npz"
        self.checkpoints = path / "checkpoints"
        self.best_checkpoint = self.checkpoints / BEST
        self.last_checkpoint = self.checkpoints / LAST
        self.log_file = path / LOG
        self.pending_file = path / "upload.pending"
        self.failure_file = path / "failure.json"
        self.pruned_file = path / "pruned.json"
        self.lock_file = path / LOCK
        self.owner_file = path / OWNER
        self.notes_file = path / NOTES
        self.sheets = path / SHEETS

    @property
    def state(self) -> RunState:
        """How far the run is; `stale` is left to a plan, which knows what the run should be."""
        # A result outweighs everything: a lock can outlive it for a moment, and old failure files do no harm.
        if self.finished:
            return RunState.finished
        if self.in_training:
            return RunState.running
        if self.failure_file.is_file():
            return RunState.failed
        return RunState.pruned if self.pruned_file.is_file() else RunState.missing

    @property
    def begun(self) -> bool:
        """Whether the run was ever started; a `missing` run that was started has been interrupted."""
        return self.header_file.is_file()

    @property
    def finished(self) -> bool:
        """Whether there is a result, whatever else the folder holds."""
        return self.result_file.is_file()

    @property
    def config_yaml(self) -> str:
        """The resolved config; empty if it was never written."""
        return read_text(self.config_file) if self.config_file.is_file() else ""

    @property
    def init_from(self) -> str | None:
        """What the stored config names as the weights to begin with; None if they were drawn from the seed."""
        match = _START.search(self.config_yaml)  # reading the YAML of thousands of runs would take minutes
        name = match[1].strip("'\"") if match is not None else "null"
        return name if name != "null" else None

    @property
    def keeps_state(self) -> bool:
        """Whether this finished run keeps its last.ckpt on purpose (`trainer.save_last`), as its stored config says."""
        try:
            return self.last_checkpoint.is_file() and _SAVE_LAST.search(self.config_yaml) is not None
        except UserError:  # a damaged config says nothing, and what may be wanted is not deleted
            return True

    def write_config(self, text: str) -> None:
        """Keep the resolved config."""
        write_text(self.config_file, text)

    @property
    def header(self) -> RunHeader:
        """The stored header; `UserError` if missing or damaged."""
        header = cast(RunHeader, read_json(self.header_file, _header))
        if header.mlflow_uri is not None:
            header.mlflow_uri = present_store(header.mlflow_uri, self.path.parent.parent)
        return with_present_key(self, header)

    def waits_for(self, store: str) -> bool:
        """Whether an upload to this MLflow store is due; an earlier version did not write down for which store it is."""
        try:
            awaited = read_text(self.pending_file)
        except UserError:  # there is none, or it was sent meanwhile
            return self.pending_file.is_file()
        runs_dir = self.path.parent.parent
        return ":" not in awaited or present_store(awaited, runs_dir).rstrip("/") == present_store(store, runs_dir).rstrip("/")

    def write_header(self, header: RunHeader) -> None:
        """Keep the header."""
        # Headers of earlier versions, too, are without credentials once they are written again.
        address = header.mlflow_uri
        stored = {**asdict(header), "mlflow_uri": bare(address) if address is not None else None}
        if not header.continued_from:  # as in the files of earlier versions, which can read them so
            del stored["continued_from"], stored["continued_after"]
        write_json(self.header_file, stored)

    def replace_header(self, seen: RunHeader, new: RunHeader) -> bool:
        """Keep a header unless a process trains the run or has written another since this one was seen; whether it was kept."""
        with suppress(Timeout), FileLock(self.lock_file, timeout=LOCK_SECONDS):
            if self.header == seen:
                self.write_header(new)
                return True
        return False

    @property
    def result(self) -> RunResult:
        """The stored result; `UserError` if missing or damaged."""
        return cast(RunResult, read_json(self.result_file, _result))

    def write_result(self, result: RunResult) -> None:
        """Keep the result: from here on the run is finished, and whatever still goes wrong is a note (`attempt`)."""
        write_json(self.result_file, result.to_json())
        self.remove_failure_files()

    @property
    def history(self) -> list[EpochRow]:
        """One row per finished epoch."""
        return read_history(self.metrics_file)

    def append_epoch(self, epoch: int, metrics: Mapping[str, float], time_ms: int) -> None:
        """Add an epoch (from 1) and forget this and later epochs of an earlier attempt."""
        append_epoch(self.metrics_file, epoch, metrics, time_ms)

    @property
    def failure(self) -> RunFailure | None:
        """The error that ended the last attempt; None if none did."""
        return read_failure(self.failure_file)

    def write_failure(self, problem: str, traceback: str) -> None:
        """Record why the run failed; the traceback is appended to `log_file`."""
        write_failure(self.failure_file, self.log_file, problem, traceback)

    @property
    def pruned(self) -> RunPruned | None:
        """The point at which a search stopped this run; None if none did."""
        return read_pruned(self.pruned_file)

    def write_pruned(self, epoch: int, value: float, metric: str = "") -> None:
        """Record that a search stopped the run after an epoch (from 1) with this value of the watched metric."""
        write_pruned(self.pruned_file, RunPruned(epoch, value, metric))

    def remove_failure_files(self) -> None:
        """Forget why an earlier attempt ended without a result."""
        self.failure_file.unlink(missing_ok=True)
        self.pruned_file.unlink(missing_ok=True)

    @property
    def notes(self) -> dict[str, str]:
        """What the finished run lacks, such as `faces.png` -> the reason, in a sentence."""
        not_uploaded = {"MLflow": "MLflow does not have all of this run yet; `python -m fer_ablate sync` brings it."}
        return {**self._kept_notes(), **(not_uploaded if self.pending_file.is_file() and self.finished else {})}

    def _kept_notes(self) -> dict[str, str]:
        try:
            return cast(dict[str, str], read_json(self.notes_file, _notes)) if self.notes_file.is_file() else {}
        except UserError:  # a damaged note must not hide the result
            return {NOTES: f"{self.notes_file} is damaged, so some of what the run lacks is not known."}

    def keep_note(self, what: str, problem: str) -> None:
        """Record what the finished run lacks and why; an empty problem removes the note."""
        notes, problem = self._kept_notes(), hide(problem)
        if notes.get(what, "") == problem:
            return
        notes = {name: text for name, text in {**notes, what: problem}.items() if text and name != NOTES}
        if notes:
            write_json(self.notes_file, notes)
        else:
            self.notes_file.unlink()

    def attempt(self, what: str, make: Callable[[], object]) -> str:
        """Make something that the finished run can do without, see `log.attempt`. A problem is noted until a later try works.

        Returns:
            Why it could not be made; empty if it was.
        """
        problem = attempt(self.log_file, what, make)
        with suppress(UserError):  # on a full disk the first error matters more
            self.keep_note(what, problem)
        return problem

    @property
    def predictions(self) -> StoredPredictions:
        """The stored predictions; `UserError` if missing or damaged."""
        return read_predictions(self.predictions_file)

    def read_predicted(self) -> PredictedLabels:
        """The likeliest classes only, without unpacking the probabilities; `UserError` if missing or damaged."""
        return read_predicted(self.predictions_file)

    def write_predictions(self, predictions: StoredPredictions) -> None:
        """Keep the predictions."""
        write_predictions(self.predictions_file, predictions)

    @property
    def artifacts(self) -> list[Path]:
        """The existing files that MLflow gets a copy of; checkpoints stay in the folder."""
        files = (self.config_file, self.header_file, self.metrics_file, self.result_file, self.predictions_file)
        pictures = (*(self.path / name for name in PICTURES), *sorted(self.sheets.glob("*.png")))
        return [file for file in (*files, *pictures) if file.is_file()]

    def clear(self) -> None:
        """Delete everything but the lock, to train the run anew; the log is emptied, since this process may be writing it."""
        # First of all: if this process is killed here, what is left must not pass for a finished run.
        self.result_file.unlink(missing_ok=True)
        for item in self.path.glob("*"):
            if item.is_dir():
                shutil.rmtree(item)
            elif item == self.log_file:
                os.truncate(item, 0)
            # The lock is held meanwhile: without its file another process would lock a new one.
            elif item.name not in (LOCK, OWNER):
                item.unlink()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run, so that no other process trains it.

        Raises:
            BusyError: another process holds it.
        """
        owner = self.owner_file
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.lock_file)
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            message = f"Run {self.path} is being trained by {self.owner}. Wait for it, or stop it first: its epochs are kept."
            raise BusyError(message) from None
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            # Only who holds the lock writes checkpoints, on whichever machine.
            sweep(self.checkpoints, alone=True)
            write_text(owner, f"process {os.getpid()} on {socket.gethostname()}")
            yield
        finally:
            # Before the lock is released: afterwards the file may be that of the next owner.
            owner.unlink(missing_ok=True)
            lock.release()

    @property
    def owner(self) -> str:
        """The process that trains the run, for people: `process 4711 on host`."""
        try:
            return read_text(self.owner_file) if self.owner_file.is_file() else "another process"
        except UserError:  # it ended meanwhile
            return "another process"

    @property
    def in_training(self) -> bool:
        """Whether some process, this one included, holds the lock right now."""
        if not self.lock_file.is_file():
            return False
        try:
            with FileLock(self.lock_file, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # the folder may only be read, so whether it is locked cannot be known
            return False
