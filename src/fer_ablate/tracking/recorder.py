"""Records a run while it trains: files at once, MLflow behind its back in a thread of its own."""

import queue
import threading
import traceback
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from fer_ablate.config.schema import TrackingConfig
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.tracking.disk.log import append_to_log, first_line
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader
from fer_ablate.tracking.mlflow.connection import open_store
from fer_ablate.tracking.mlflow.study_file import row_run
from fer_ablate.training.result import RunResult

if TYPE_CHECKING:
    from fer_ablate.tracking.mlflow.store import Store

Job = Callable[["Store"], None]

RUNNING = "RUNNING"

LOCAL_SECONDS = 60
"""How long `finish` waits for a store on the disk: longer than creating the database takes, and no server can hang."""


class Recorder:
    """Writes a run's folder and hands copies to MLflow without ever holding up training.

    The folder is marked `upload.pending` from the start until MLflow has everything, so nothing is lost when the server
    is away or the process dies: `upload_pending` brings it later.

    Args:
        folder: of the run.
        uri: MLflow tracking URI, or None to write the folder only.
        runs_dir: artifacts of a store without a server lie below it.
        timeout: seconds a request to a server may take, and `finish` may wait.

    Attributes:
        warning: why MLflow does not have everything; empty if it has, or may yet have.
    """

    def __init__(self, folder: RunFolder, uri: str | None, runs_dir: str, timeout: int) -> None:
        self.folder = folder
        self.uri = uri
        self.runs_dir = runs_dir
        self.timeout = timeout
        self.warning = ""
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None
        self._run_id = ""
        self._recorded: set[int] = set()

    def start(self, header: RunHeader) -> None:
        """Write the header, keep the MLflow run of an earlier part of this run, and start recording."""
        header = replace(header, attempt=uuid.uuid4().hex)
        if self.folder.status != "new":
            earlier = self.folder.header
            kept = ("started_at", "mlflow_run_id", "mlflow_uri", "attempt")
            header = replace(header, **{name: getattr(earlier, name) for name in kept})
        self.folder.write_header(header)
        self.folder.remove_marks()
        if self.uri is not None:
            write_text(self.folder.pending_file, RUNNING)
            self._jobs.put(lambda store: self._start(store, header))
            self._worker = threading.Thread(target=self._work, args=(header.experiment,), name="mlflow", daemon=True)
            self._worker.start()

    def epoch(self, epoch: int, metrics: Mapping[str, float], time_ms: int) -> None:
        """Record a finished epoch.

        Args:
            epoch: from 1; after a resume, later epochs of the earlier attempt are forgotten.
            metrics: `seconds`, `lr`, `train/*`, `val/*`.
            time_ms: Unix time in milliseconds.
        """
        self.folder.append_epoch(epoch, metrics, time_ms)
        if self._worker is not None:
            copy = dict(metrics)
            self._jobs.put(lambda store: self._epoch(store, epoch, copy, time_ms))

    def finish(self, result: RunResult | None, status: str) -> None:
        """Bring what the folder has by now to MLflow, and wait a bounded time for that.

        Args:
            result: which is in the folder already, for it must not wait for MLflow; None if the run failed or was stopped.
            status: FINISHED, FAILED or KILLED.
        """
        if self._worker is None:
            return
        with suppress(UserError):  # a full disk: the mark of the start is still there, and a result says more than any mark
            write_text(self.folder.pending_file, status)
        self._jobs.put(lambda store: self._finish(store, result, status))
        self._jobs.put(None)
        patience = max(self.timeout, LOCAL_SECONDS) if str(self.uri).startswith("sqlite:") else self.timeout
        self._worker.join(patience)
        if self._worker.is_alive():
            self._warn(f"did not take everything within {patience} seconds")

    def _work(self, experiment: str) -> None:
        # Whatever goes wrong here, from a broken installation to a full disk, must not reach the training.
        try:
            assert self.uri is not None
            store = open_store(self.uri, experiment, self.runs_dir, self.timeout)
            while (job := self._jobs.get()) is not None:
                job(store)
        except Exception as error:
            self._warn(f"failed ({first_line(error)})")
            with suppress(UserError):
                append_to_log(self.folder.log_file, self.warning, traceback.format_exc())

    def _start(self, store: "Store", header: RunHeader) -> None:
        self._run_id = store.start_run(header, self.folder.config_yaml)
        self.folder.write_header(replace(header, mlflow_run_id=self._run_id, mlflow_uri=store.uri))
        self._recorded = store.catch_up(self._run_id, self.folder)

    def _epoch(self, store: "Store", epoch: int, metrics: Mapping[str, float], time_ms: int) -> None:
        if epoch not in self._recorded:
            store.log_epoch(self._run_id, metrics, epoch, time_ms)
            self._recorded.add(epoch)

    def _finish(self, store: "Store", result: RunResult | None, status: str) -> None:
        store.finish(self._run_id, self.folder, result, status)
        self.folder.pending_file.unlink(missing_ok=True)

    def _warn(self, problem: str) -> None:
        if not self.warning:
            way_out = "A later run brings it, or `python -m fer_ablate sync`."
            self.warning = f"MLflow at {self.uri} {problem}. The run is complete in {self.folder.path}. {way_out}"


def build_recorder(config: TrackingConfig, runs_dir: str, folder: RunFolder) -> Recorder:
    """The recorder a config asks for."""
    return Recorder(folder, config.uri if config.enabled else None, runs_dir, config.timeout)


def pending(runs_dir: Path) -> list[RunFolder]:
    """Runs that MLflow does not fully have and nobody is training, sorted by path."""
    folders = (RunFolder(mark.parent) for mark in sorted(runs_dir.rglob("upload.pending")))
    return [folder for folder in folders if not folder.in_training]


def upload_pending(runs_dir: Path, config: TrackingConfig) -> int:
    """Bring all pending runs into MLflow; how many (0 while another process is doing it).

    Raises:
        UserError: the store is out of reach, or a folder is damaged; the others are uploaded first.
    """
    if not pending(runs_dir):
        return 0
    try:
        # Two processes that upload the same folder would make two MLflow runs of it.
        with FileLock(runs_dir / "upload.lock", timeout=0):
            return _upload_all(runs_dir, config)
    except Timeout:
        return 0  # another process is at it


def _upload_all(runs_dir: Path, config: TrackingConfig) -> int:
    stores: dict[str, Store] = {}
    uploaded = 0
    problems = []
    for folder in pending(runs_dir):
        try:
            header = folder.header
            experiment = header.experiment
            if experiment not in stores:
                stores[experiment] = open_store(config.uri, experiment, str(runs_dir), config.timeout)
            parent = row_run(runs_dir, experiment, config.uri, header.name)
            stores[experiment].upload(folder, _status(folder), parent)
            folder.pending_file.unlink(missing_ok=True)
            uploaded += 1
        except UserError as error:
            problems.append(str(error))
        except Exception as error:
            problems.append(f"MLflow at {config.uri} failed ({first_line(error)})")
            break
    if problems:
        raise UserError("\n".join(["Some runs could not be brought into MLflow; they stay marked for later:", *problems]))
    return uploaded


def _status(folder: RunFolder) -> str:
    """The status a run ended with; one whose process died without a word counts as killed."""
    if folder.status == "finished":
        return "FINISHED"
    marked = folder.pending_file.read_text()
    return "KILLED" if marked == RUNNING else marked
