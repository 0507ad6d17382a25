"""What TensorBoard, CSV files and Weights & Biases take of a run, through Lightning's loggers and without a trainer.

Only the threads of `other_trackers` import this module, since the packages are slow to import. A resumed run repeats the epochs
after its last checkpoint, so each logger sees to it that its tracker shows every epoch once.
"""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from fer_ablate.addresses import hide
from fer_ablate.config.choices import Tracker
from fer_ablate.config.compose import flat
from fer_ablate.config.yaml_files import plain_yaml
from fer_ablate.extras import imported
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.tracking.disk.history import EpochRow
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.measured import epoch_values, final_scores
from fer_ablate.training.result import RunResult

Hyperparameters = dict[str, Any]

WANDB_SECONDS = 10
"""Least time for Weights & Biases to begin a run, which takes it several requests."""


class RunLogger(Protocol):
    """Records one run; made when the run starts or goes on."""

    def log_epochs(self, history: Sequence[EpochRow]) -> None:
        """Record the epochs that are new in the history of a run, and write them out."""
        ...

    def end(self, result: RunResult | None, state: RunState) -> None:
        """Record the scores of the result, if there is one, and close the tracker."""
        ...


def hyperparameters(folder: RunFolder) -> Hyperparameters:
    """Every leaf of the config of a run by its dotted key, without credentials."""
    config = flat(plain_yaml(folder.config_yaml, "The stored config.yaml") or {})
    return {key: hide(value) if isinstance(value, str) else value for key, value in config.items() if key}


class TensorBoardRun:
    """Events in `<run>/tensorboard`.

    A resumed run writes its earlier epochs again, with the times they had, after an event that makes TensorBoard forget those
    of the files before: one that was killed may have lost the last ones.
    """

    def __init__(self, folder: RunFolder, timeout: int) -> None:
        self._logger = TensorBoardLogger(folder.path, "tensorboard", version="", default_hp_metric=False, purge_step=1)
        self._parameters = hyperparameters(folder)
        self._recorded = 0
        self._logger.log_hyperparams(self._parameters)  # hparams.yaml; events need scores
        self._logger.save()

    def log_epochs(self, history: Sequence[EpochRow]) -> None:
        """Record the new epochs at the times at which they ended, which `TensorBoardLogger.log_metrics` cannot."""
        for row in _later(history, self._recorded):
            self._recorded = int(row["epoch"])
            for name, value in epoch_values(row).items():
                self._logger.experiment.add_scalar(name, value, self._recorded, row["time_ms"] / 1000)
        self._logger.save()

    def end(self, result: RunResult | None, state: RunState) -> None:
        """Record the config with the scores, which the page of hyperparameters compares."""
        if result is not None:
            self._logger.log_hyperparams(self._parameters, final_scores(result), result.best_epoch)
        self._logger.finalize("success" if result is not None else state.value)


class CsvRun:
    """`<run>/csv/metrics.csv` with a line per epoch, the last one for the scores, and `hparams.yaml`.

    A resumed run writes the table anew from its history.
    """

    def __init__(self, folder: RunFolder, timeout: int) -> None:
        # Lightning would remove them as well, but with a warning.
        for name in ("metrics.csv", "hparams.yaml"):
            (folder.path / "csv" / name).unlink(missing_ok=True)
        self._logger = CSVLogger(folder.path, "csv", version="")
        self._recorded = 0
        self._logger.log_hyperparams(hyperparameters(folder))

    def log_epochs(self, history: Sequence[EpochRow]) -> None:
        """Add the new epochs."""
        for row in _later(history, self._recorded):
            self._recorded = int(row["epoch"])
            self._logger.log_metrics({**epoch_values(row)}, self._recorded)
        self._logger.save()

    def end(self, result: RunResult | None, state: RunState) -> None:
        """Add the scores, at the epoch whose weights were tested."""
        if result is not None:
            self._logger.log_metrics({**final_scores(result)}, result.best_epoch)
        self._logger.finalize("success" if result is not None else state.value)


class WandbRun:
    """A run of Weights & Biases: its project is the experiment, its group the row, its local files are in `<run>/wandb`.

    A resumed run goes on in the same one. The number of the last recorded epoch is kept in the folder, because without a server
    nothing else knows it.
    """

    def __init__(self, folder: RunFolder, timeout: int) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")  # read when the package is imported
        wandb = imported("wandb")
        header, seconds = folder.header, max(timeout, WANDB_SECONDS)
        self._last = folder.path / "wandb" / "last_epoch.txt"
        self._recorded = int(self._last.read_text()) if self._last.is_file() else 0
        run = wandb.init(
            # The same for all parts of a resumed run, and another one when the run is trained anew.
            id=header.attempt,
            resume="allow",
            project=re.sub(r"[/\\#?%:]", "-", header.experiment)[:128],  # signs that it refuses
            group=header.name[:128],
            name=f"{header.name}, {header.repeat}"[:128],
            dir=folder.path,
            # A sweep may train the next run before a server has taken this one.
            reinit="create_new",
            # What it calls metadata has the command line, which may hold a password.
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, x_disable_meta=True, init_timeout=seconds, login_timeout=seconds
            ),
        )
        run.define_metric("trainer/global_step")  # as WandbLogger does with a run that it makes itself
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        self._logger = WandbLogger(experiment=run)
        self._logger.log_hyperparams(hyperparameters(folder) | {"key": header.key})

    def log_epochs(self, history: Sequence[EpochRow]) -> None:
        """Add the new epochs; one that is recorded stays as it is, since none can be taken back."""
        for row in _later(history, self._recorded):
            self._recorded = int(row["epoch"])
            self._logger.log_metrics(epoch_values(row), self._recorded)
        write_text(self._last, str(self._recorded))

    def end(self, result: RunResult | None, state: RunState) -> None:
        """Set the scores as the summary of the run, which its tables show, and end it."""
        run: Any = self._logger.experiment
        run.summary.update({**(final_scores(result) if result is not None else {}), "state": state.value})
        run.finish(exit_code=0 if state in (RunState.finished, RunState.pruned) else 1)


KINDS: dict[Tracker, Callable[[RunFolder, int], RunLogger]] = {
    Tracker.tensorboard: TensorBoardRun,
    Tracker.csv: CsvRun,
    Tracker.wandb: WandbRun,
}
"""Tracker -> what makes its logger from the folder of a run and the seconds that a server may take to answer."""


def _later(history: Sequence[EpochRow], recorded: int) -> list[EpochRow]:
    return [row for row in history if row["epoch"] > recorded]
