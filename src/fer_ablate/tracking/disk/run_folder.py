"""One run's folder on disk, the source of truth about it; MLflow gets copies."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from filelock import FileLock, Timeout

from fer_ablate.config.repeats import Repeat
from fer_ablate.errors import BusyError, UserError
from fer_ablate.tracking.disk.failure_files import RunFailure, RunPruned, read_failure, read_pruned, write_failure, write_pruned
from fer_ablate.tracking.disk.files import read_json, write_error, write_json, write_text
from fer_ablate.tracking.disk.history import EpochRow, append_epoch, read_history
from fer_ablate.tracking.disk.log import LOG, attempt
from fer_ablate.tracking.disk.predictions import (
    PredictedLabels,
    StoredPredictions,
    read_predicted,
    read_predictions,
    write_predictions,
)
from fer_ablate.training.result import BEST, LAST, RunResult

__all__ = ["PredictedLabels", "RunFailure", "RunFolder", "RunHeader", "RunPruned", "StoredPredictions"]

PICTURES = ("confusion.png", "curves.png", "faces.png")
NOTES = "notes.json"
SHEETS = "contact_sheets"
"""Folder within a run for pictures of its images."""

LOCK_SECONDS = 1.0
"""How long to wait for the lock of a run: longer than others need to look whether it is free."""


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
            `preset` (what `data.roles` came to), `classes` (name -> images of train, val and test), `size` ([height, width] in
            pixels), `channels`, `groups` (number of persons, if known), `left_out` (what was not read -> how many) and `notes`
            (sentences about all of this).
        started_at: ISO 8601 with time zone; the first start of a run that was resumed.
        mlflow_run_id: set once MLflow knows the run.
        mlflow_uri: the store that knows it.
        attempt: random; the same for all parts of a run that was resumed, another one when it is trained anew.
        parent_run_id: MLflow run below which this one is shown.
        settings: dotted key -> value of all of the config that can change the result (`config.key.relevant`), to tell later what
            differs from another run.
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

    @property
    def repeat(self) -> Repeat:
        """Its seed, and its fold if it has one."""
        return Repeat(self.seed, self.settings.get("data.fold", 0) if self.folds is not None else None)

    @property
    def folds(self) -> int | None:
        """Into how many parts the images were divided; None if they were not."""
        return self.settings.get("data.folds")


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
        self.notes_file = path / NOTES
        self.sheets = path / SHEETS

    @property
    def status(self) -> Literal["new", "started", "finished"]:
        """`finished` once there is a result; `started` if it ever began."""
        if self.result_file.is_file():
            return "finished"
        return "started" if self.header_file.is_file() else "new"

    @property
    def config_yaml(self) -> str:
        """The resolved config, or nothing if it was never written."""
        return self.config_file.read_text() if self.config_file.is_file() else ""

    def write_config(self, text: str) -> None:
        """Keep the resolved config."""
        write_text(self.config_file, text)

    @property
    def header(self) -> RunHeader:
        """The stored header; `UserError` if missing or damaged."""
        return cast(RunHeader, read_json(self.header_file, lambda stored: RunHeader(**stored)))

    def write_header(self, header: RunHeader) -> None:
        """Keep the header."""
        write_json(self.header_file, asdict(header))

    @property
    def result(self) -> RunResult:
        """The stored result; `UserError` if missing or damaged."""
        return cast(RunResult, read_json(self.result_file, RunResult.from_json))

    def write_result(self, result: RunResult) -> None:
        """Keep the result: the run is a finished one from here on, and what still fails is a note (`attempt`)."""
        write_json(self.result_file, result.to_json())
        self.remove_marks()

    @property
    def history(self) -> list[EpochRow]:
        """One row per finished epoch."""
        return read_history(self.metrics_file)

    def append_epoch(self, epoch: int, metrics: Mapping[str, float], time_ms: int) -> None:
        """Add an epoch (from 1) and forget this and later epochs of an earlier attempt."""
        append_epoch(self.metrics_file, epoch, metrics, time_ms)

    @property
    def failure(self) -> RunFailure | None:
        """The error that ended the last attempt, if one did."""
        return read_failure(self.failure_file)

    def write_failure(self, problem: str, traceback: str) -> None:
        """Mark the run as failed; the traceback is appended to `log_file`."""
        write_failure(self.failure_file, self.log_file, problem, traceback)

    @property
    def pruned(self) -> RunPruned | None:
        """Where this trial was given up, if it was."""
        return read_pruned(self.pruned_file)

    def write_pruned(self, epoch: int, value: float, metric: str = "") -> None:
        """Mark the run as given up after an epoch (from 1) with this value of the watched metric."""
        write_pruned(self.pruned_file, RunPruned(epoch, value, metric))

    def remove_marks(self) -> None:
        """Forget why an earlier attempt ended early."""
        self.failure_file.unlink(missing_ok=True)
        self.pruned_file.unlink(missing_ok=True)

    @property
    def notes(self) -> dict[str, str]:
        """What the finished run lacks, such as `faces.png` -> why, in a sentence."""
        away = {"MLflow": "MLflow does not have all of this run yet; `python -m fer_ablate sync` brings it."}
        return {**self._kept_notes(), **(away if self.pending_file.is_file() and self.status == "finished" else {})}

    def _kept_notes(self) -> dict[str, str]:
        try:
            return dict(read_json(self.notes_file, dict)) if self.notes_file.is_file() else {}
        except UserError:  # it must not stand in the way of the result
            return {NOTES: f"{self.notes_file} is damaged, so some of what the run lacks is not known."}

    def keep_note(self, what: str, problem: str) -> None:
        """Say what the finished run lacks and why; without a problem it lacks that no more."""
        notes = self._kept_notes()
        if notes.get(what, "") == problem:
            return
        notes = {name: text for name, text in {**notes, what: problem}.items() if text and name != NOTES}
        if notes:
            write_json(self.notes_file, notes)
        else:
            self.notes_file.unlink()

    def attempt(self, what: str, make: Callable[[], object]) -> str:
        """Make something that the finished run can do without; see `log.attempt`. A problem is a note until it is made after all.

        Returns:
            Why it could not be made; empty if it was.
        """
        problem = attempt(self.log_file, what, make)
        with suppress(UserError):  # on a full disk the first error is the one to tell
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
        """The files worth a copy in MLflow that exist by now; checkpoints stay here."""
        files = (self.config_file, self.header_file, self.metrics_file, self.result_file, self.predictions_file)
        pictures = (*(self.path / name for name in PICTURES), *sorted(self.sheets.glob("*.png")))
        return [file for file in (*files, *pictures) if file.is_file()]

    def clear(self) -> None:
        """Forget everything but the lock, to train the run anew."""
        for item in self.path.glob("*"):
            if item.is_dir():
                shutil.rmtree(item)
            elif item.name not in ("run.lock", "run.owner"):
                item.unlink()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Train this run alone.

        Raises:
            BusyError: another process trains it.
        """
        owner = self.path / "run.owner"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / "run.lock")
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            message = f"Run {self.path} is being trained by {self.owner}. Wait for it, or stop it first: its epochs are kept."
            raise BusyError(message) from None
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            write_text(owner, f"process {os.getpid()} on {socket.gethostname()}")
            yield
        finally:
            owner.unlink(missing_ok=True)
            lock.release()

    @property
    def owner(self) -> str:
        """Which process trains the run, as far as is known."""
        file = self.path / "run.owner"
        return file.read_text() if file.is_file() else "another process"

    @property
    def in_training(self) -> bool:
        """Whether some process holds the lock right now."""
        if not (self.path / "run.lock").is_file():
            return False
        try:
            with FileLock(self.path / "run.lock", timeout=0):
                return False
        except Timeout:
            return True
