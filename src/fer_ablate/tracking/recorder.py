"""Records a run while it trains: its folder at once, MLflow and other trackers in threads of their own."""

import queue
import threading
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from fer_ablate.addresses import bare, sqlite_file
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import changed_at, write_error, write_text
from fer_ablate.tracking.disk.log import append_to_log
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.mlflow.connection import open_store, reason, refused
from fer_ablate.tracking.mlflow.study_ids import row_run
from fer_ablate.tracking.other_trackers import EPOCHS_SECONDS, OtherTracker, other_trackers
from fer_ablate.training.result import RunResult

if TYPE_CHECKING:
    from fer_ablate.tracking.mlflow.store import Store
    from fer_ablate.tracking.mlflow.system_metrics import Monitor

StoreCall = Callable[["Store"], None]
"""One thing to be sent to MLflow."""

LOCAL_SECONDS = 60
"""How long `finish` waits for a store on the disk: longer than creating the database takes, and no server can hang."""


class Recorder:
    """Writes the folder of a run and sends copies to MLflow without ever holding up training.

    From the start until MLflow has everything the folder holds `upload.pending`. So nothing is lost when the server is
    away or the process dies: `upload_pending` sends it later.

    Args:
        folder: folder of the run.
        uri: MLflow tracking URI, or None to write the folder only.
        runs_dir: a store without a server keeps its artifacts below it.
        timeout: seconds that a request to a server may take, and that `finish` may wait.
        system_metrics: whether the load of the machine is recorded; it goes to MLflow alone, so a server that is away misses it.
        others: trackers beside MLflow.

    Attributes:
        warning: why MLflow does not have everything; empty if it has, or may yet have.
    """

    def __init__(
        self,
        folder: RunFolder,
        uri: str | None,
        runs_dir: str,
        timeout: int,
        system_metrics: bool = False,
        others: Sequence[OtherTracker] = (),
    ) -> None:
        self.folder = folder
        self.uri = uri
        self.runs_dir = runs_dir
        self.timeout = timeout
        self.warning = ""
        self._others = others
        self._system_metrics = system_metrics
        self._monitor: Monitor | None = None
        self._calls: queue.SimpleQueue[StoreCall | None] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None
        # Held while the MLflow run of this run is made and written down.
        self._making = threading.Lock()
        self._given_up = False
        self._run_id = ""
        self._recorded: set[int] = set()
        # The epochs of a run that is over within seconds are sent with its scores.
        self._sent_at = monotonic()

    def start(self, header: RunHeader) -> None:
        """Write the header, keep the MLflow run of an earlier part of this run, and start recording."""
        header = replace(header, attempt=uuid.uuid4().hex)
        new = not self.folder.begun
        if not new:
            earlier = self.folder.header
            kept = ("started_at", "mlflow_run_id", "mlflow_uri", "attempt")
            header = replace(header, **{name: getattr(earlier, name) for name in kept})
        self.folder.write_header(header)
        self.folder.remove_failure_files()
        for other in self._others:
            other.start()
        if self.uri is not None:
            write_text(self.folder.pending_file, bare(self.uri))
            self._calls.put(lambda store: self._start(store, header, new))
            # A daemon, so that a server that hangs cannot keep the program from ending.
            self._worker = threading.Thread(target=self._work, args=(header.experiment,), name="mlflow", daemon=True)
            self._worker.start()

    def epoch(self, epoch: int, metrics: Mapping[str, float], time_ms: int) -> None:
        """Record a finished epoch.

        Args:
            epoch: from 1; later epochs, left by a part of the run that was resumed before them, are removed.
            metrics: `seconds`, `lr`, `train/*`, `val/*`.
            time_ms: Unix time in milliseconds.
        """
        self.folder.append_epoch(epoch, metrics, time_ms)
        for other in self._others:
            other.epoch()
        if self._worker is not None:
            self._calls.put(self._send_epochs)

    def finish(self, result: RunResult | None, state: RunState) -> None:
        """Send the folder as it is now to MLflow and the other trackers, and wait a bounded time for that.

        Args:
            result: in the folder already, since it must not wait for MLflow; None if there is none.
            state: state that the run ended in.
        """
        for other in self._others:
            other.end(state)
        self._finish_mlflow(result, state)
        for other in self._others:
            other.wait()

    @property
    def warnings(self) -> list[str]:
        """Why MLflow and the other trackers do not have everything, as far as they do not."""
        return [text for text in (self.warning, *(other.warning for other in self._others)) if text]

    def _finish_mlflow(self, result: RunResult | None, state: RunState) -> None:
        if self._worker is None:
            return
        self._calls.put(lambda store: self._finish(store, result, state))
        # Ends the thread once everything before it is sent.
        self._calls.put(None)
        patience = max(self.timeout, LOCAL_SECONDS) if sqlite_file(self.uri or "") is not None else self.timeout
        self._worker.join(patience)
        if self._worker.is_alive():
            self._warn(f"did not take everything within {patience} seconds")
            self._given_up = True
            # Whoever uploads this run now has to see whether it has an MLflow run, or would make a second one. What is under way
            # ends, since each request is given up after a while, and nothing begins any more.
            with self._making:
                pass

    def _work(self, experiment: str) -> None:
        # Whatever goes wrong here, from a broken installation to a full disk, must not reach the training.
        try:
            assert self.uri is not None
            store = open_store(self.uri, experiment, self.runs_dir, self.timeout)
            while (call := self._calls.get()) is not None and not self._given_up:
                call(store)
        except Exception as error:
            self._warn(f"failed ({reason(error)})")
            with suppress(UserError):
                append_to_log(self.folder.log_file, self.warning, traceback.format_exc())

    def _start(self, store: "Store", header: RunHeader, new: bool) -> None:
        with self._making:
            if self._given_up:
                return
            self._run_id = store.start_run(header, self.folder.config_yaml, new=new)
            self.folder.write_header(replace(header, mlflow_run_id=self._run_id, mlflow_uri=store.uri))
        self._recorded = set() if new else store.catch_up(self._run_id, self.folder)
        if self._system_metrics:
            self._monitor = import_module("fer_ablate.tracking.mlflow.system_metrics").monitor_system(self.uri, self._run_id)

    def _send_epochs(self, store: "Store") -> None:
        """Send the epochs that are in the folder and not yet in the store, unless some were sent just now."""
        if monotonic() - self._sent_at < EPOCHS_SECONDS:
            return
        self._recorded = store.catch_up(self._run_id, self.folder, self._recorded)
        self._sent_at = monotonic()

    def _finish(self, store: "Store", result: RunResult | None, state: RunState) -> None:
        if self._monitor is not None:
            self._monitor.finish()
        # In this order: until MLflow has everything, the run waits for an upload.
        store.finish(self._run_id, self.folder, result, state, recorded=self._recorded)
        self.folder.pending_file.unlink(missing_ok=True)

    def _warn(self, problem: str) -> None:
        if not self.warning:
            way_out = "A later run brings it, or `python -m fer_ablate sync`."
            self.warning = f"MLflow at {bare(self.uri or '')} {problem}. The run is complete in {self.folder.path}. {way_out}"


def build_recorder(config: TrackingConfig, runs_dir: str, folder: RunFolder) -> Recorder:
    """The recorder that a config describes."""
    uri = config.uri if config.enabled else None
    return Recorder(folder, uri, runs_dir, config.timeout, config.system_metrics, other_trackers(config, folder))


def pending(runs_dir: Path) -> list[RunFolder]:
    """Runs that MLflow does not fully have and nobody is training, sorted by path."""
    # By depth: below the runs lie their pictures and MLflow's artifacts, many more files than there are runs.
    files = [file for pattern in ("*/*/upload.pending", "*/upload.pending") for file in runs_dir.glob(pattern)]
    folders = (RunFolder(file.parent) for file in sorted(files))
    return [folder for folder in folders if not folder.in_training]


def upload_pending(runs_dir: Path, config: TrackingConfig, elsewhere: bool = True) -> int:
    """Send pending runs to MLflow; returns how many, 0 while another process is doing it.

    Args:
        runs_dir: folder of all runs.
        config: with the address of the store.
        elsewhere: whether runs that wait for another store are sent as well, since a person asks for it.

    Raises:
        UserError: the store is out of reach, or a folder is damaged or cannot be written; the other runs are uploaded first.
    """

    def due() -> list[RunFolder]:
        return [folder for folder in pending(runs_dir) if elsewhere or folder.waits_for(config.uri)]

    if not due():
        return 0
    try:
        # Two processes that upload the same folder would make two MLflow runs of it, so what is due is asked again.
        with FileLock(runs_dir / "upload.lock", timeout=0):
            return _upload_all(due(), runs_dir, config)
    except Timeout:
        return 0  # another process is at it
    except OSError as error:
        raise write_error(runs_dir / "upload.lock", error) from error


def _upload_all(folders: Sequence[RunFolder], runs_dir: Path, config: TrackingConfig) -> int:
    stores: dict[str, Store] = {}
    uploaded = 0
    problems = []
    closed: set[str] = set()
    for folder in folders:
        try:
            header = folder.header
            experiment = header.experiment
            if experiment in closed:
                continue
            if experiment not in stores:
                stores[experiment] = open_store(config.uri, experiment, str(runs_dir), config.timeout)
            seen = changed_at(folder.pending_file)
            stores[experiment].upload(folder, row_run(runs_dir, experiment, config.uri, header.name))
            _remove_pending(folder, seen)
            uploaded += 1
        except UserError as error:
            problems.append(str(error))
        except Exception as error:
            problems.append(f"MLflow at {bare(config.uri)} failed ({reason(error)}): experiment {experiment!r}")
            if not refused(error):
                break  # the store does not answer: nor would it for the next run
            closed.add(experiment)  # this user may be allowed other experiments
    if problems:
        raise UserError("\n".join(["Some runs could not be brought into MLflow and wait for the next upload:", *problems]))
    return uploaded


def _remove_pending(folder: RunFolder, seen: int | None) -> None:
    """Note that MLflow has a run, unless it was started again meanwhile: then its later epochs need the file.

    Args:
        folder: of the run.
        seen: time of the last change of the file when the upload began; a start of the run writes it anew.
    """
    # The lock only now: an upload may take long, and whoever finds the run locked believes that it is being trained.
    with suppress(Timeout), FileLock(folder.lock_file, timeout=0):
        if changed_at(folder.pending_file) == seen:
            folder.pending_file.unlink(missing_ok=True)
