"""Records a run in trackers beside MLflow, each in a thread of its own; `lightning_loggers` knows what each of them takes."""

import queue
import threading
import traceback
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING

from fer_ablate.addresses import hide
from fer_ablate.config.choices import Tracker
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.errors import Fault, UserError, first_line
from fer_ablate.extras import install_command
from fer_ablate.tracking.disk.log import append_to_log
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState

if TYPE_CHECKING:
    from fer_ablate.tracking.lightning_loggers import RunLogger

WAY_OUT = {Tracker.wandb: " `WANDB_MODE=offline` needs no server, and `wandb sync` sends such runs later."}

NAMES = {Tracker.tensorboard: "TensorBoard", Tracker.csv: "The CSV table", Tracker.wandb: "Weights & Biases"}

EPOCHS_SECONDS = 5.0
"""Time between two writes of epochs: those that end in between go together, and the last ones at the end of the run."""

END_SECONDS = 60
"""How long the end of a run waits for a tracker."""


class OtherTracker:
    """Copies what the folder of a run gets into one tracker, without ever holding up training.

    Args:
        folder: folder of the run; its header and config are written.
        kind: which tracker.
        timeout: seconds that a server may take to answer.

    Attributes:
        warning: why the tracker does not have everything; empty if it has, or may yet have.
    """

    def __init__(self, folder: RunFolder, kind: Tracker, timeout: int) -> None:
        self.folder = folder
        self.kind = kind
        self.warning = ""
        self._timeout = timeout
        # None after each epoch, at last the state that the run ended in.
        self._signals: queue.SimpleQueue[RunState | None] = queue.SimpleQueue()
        # A daemon, so that a server that hangs cannot keep the program from ending.
        self._worker = threading.Thread(target=self._work, name=kind.value, daemon=True)

    def start(self) -> None:
        """Start recording."""
        self._worker.start()

    def epoch(self) -> None:
        """Record the epochs that are new in the folder."""
        self._signals.put(None)

    def end(self, state: RunState) -> None:
        """Record what is left and the scores of the result, if there is one; `wait` waits for that."""
        self._signals.put(state)

    def wait(self) -> None:
        """Wait a bounded time until the tracker has everything, and note in the folder what is missing."""
        self._worker.join(END_SECONDS)
        if self._worker.is_alive():
            self._warn(f"did not take everything within {END_SECONDS} seconds")
        if self.folder.finished:
            with suppress(UserError):  # on a full disk the first error matters more
                self.folder.keep_note(NAMES[self.kind], self.warning)

    def _work(self) -> None:
        # Whatever goes wrong here, from a broken installation to a full disk, must not reach the training.
        try:
            loggers = import_module("fer_ablate.tracking.lightning_loggers")
            logger: RunLogger = loggers.KINDS[self.kind](self.folder, self._timeout)
            sent_at = -EPOCHS_SECONDS
            while (state := self._signals.get()) is None:
                if monotonic() - sent_at >= EPOCHS_SECONDS:
                    logger.log_epochs(self.folder.history)
                    sent_at = monotonic()
            logger.log_epochs(self.folder.history)
            logger.end(self.folder.result if state is RunState.finished else None, state)
        except Exception as error:
            self._warn(f"failed ({first_line(error)})")
            with suppress(UserError):
                append_to_log(self.folder.log_file, self.warning, traceback.format_exc())

    def _warn(self, problem: str) -> None:
        if not self.warning:
            offline = (
                " `WANDB_MODE=offline` needs no server; `wandb sync` sends such runs later." if self.kind is Tracker.wandb else ""
            )
            self.warning = hide(f"{NAMES[self.kind]} {problem}. The run is complete in {self.folder.path}.{offline}")


def other_trackers(config: TrackingConfig, folder: RunFolder) -> list[OtherTracker]:
    """The trackers that a config names beside MLflow, none of them twice."""
    return [OtherTracker(folder, kind, config.timeout) for kind in dict.fromkeys(config.also)]


def other_tracker_faults(config: TrackingConfig) -> list[Fault]:
    """Trackers that a config names twice, or whose package is not installed."""
    known = dict.fromkeys(config.also)
    once = f"Name each once: tracking.also=[{','.join(kind.value for kind in known)}]."
    faults = [
        Fault("tracking.also", f"{kind.value} is named {count} times.", once)
        for kind in known
        if (count := config.also.count(kind)) > 1
    ]
    missing = [kind for kind in known if kind is not Tracker.csv and find_spec(kind.value) is None]
    install = [Fault("tracking.also", f"needs {one.value}.", f"Install it: {install_command(one.value)}.") for one in missing]
    return faults + install
