"""Callbacks around the epochs of a run: seeds of the random numbers, the report of each epoch, and its checkpoints."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import Checkpoint, EMAWeightAveraging

from fer_ablate.config.choices import Mode
from fer_ablate.data.batches import AUGMENT, epoch_seed
from fer_ablate.errors import UserError
from fer_ablate.training.result import BEST, LAST

SECONDS = "fer_ablate_seconds"
"""Entry of a checkpoint with the seconds of all epochs so far."""


class Observer(Protocol):
    """Receives the metrics of every finished epoch."""

    def epoch(self, epoch: int, metrics: Mapping[str, float], time_ms: int) -> None:
        """Receive the metrics of one epoch.

        Args:
            epoch: number of the epoch, from 1.
            metrics: all metrics of the epoch, the learning rate `lr` at its end and its `seconds`.
            time_ms: Unix time of the measurement in milliseconds.
        """
        ...


class EpochRandomness(Callback):
    """Seeds augmentation and dropout of every epoch from (seed, epoch, rank), so that a resumed run needs no generator state."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reseed the global generators of torch, which kornia and dropout draw from."""
        torch.manual_seed(epoch_seed(self.seed, trainer.current_epoch, AUGMENT, trainer.global_rank))


class EpochReport(Checkpoint):
    """Passes the metrics of each epoch to the observers before its checkpoint is written, and measures the time.

    It is a `Checkpoint` only because Lightning runs checkpoint callbacks after the hook of the module, which logs the epoch.
    """

    def __init__(self, *observers: Observer) -> None:
        self.observers = observers
        self.seconds: list[float] = []
        self._began = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Pass on what was logged, also for the val role, which Lightning measures before this hook.

        Raises:
            UserError: the training loss is not finite, or the val loss is not a number.
        """
        self.seconds.append(time.perf_counter() - self._began)
        # Metrics of this package have a slash in their names; Lightning adds others.
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
        metrics["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        metrics["seconds"] = self.seconds[-1]
        epoch = trainer.current_epoch + 1
        if trainer.is_global_zero:
            for observer in self.observers:
                observer.epoch(epoch, metrics, int(time.time() * 1000))
        # After the observers, so that the epoch that diverged is on record.
        remedy = "Lower optimizer.lr, or set trainer.gradient_clip=1."
        if not math.isfinite(loss := metrics["train/loss"]):
            raise UserError(f"The training loss became {loss} in epoch {epoch}. {remedy}")
        # A network with infinite outputs for a few val images may recover, one with weights that are no numbers never does.
        if math.isnan(loss := metrics.get("val/loss", 0.0)):
            raise UserError(f"The val loss became {loss} in epoch {epoch}. {remedy}")

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the seconds of all epochs so far."""
        checkpoint[SECONDS] = list(self.seconds)

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore the seconds of the epochs before."""
        self.seconds = list(checkpoint[SECONDS])


class KeptWeights(Checkpoint):
    """Writes `best.ckpt` with the weights to test, then `last.ckpt` with the whole state, which therefore always fits it.

    Lightning's own `ModelCheckpoint` forgets the best score when the folder is moved, and keeps the weights of the last step
    if a run averages them.

    Args:
        folder: folder of both files.
        monitor: metric that chooses the weights to test; None: those of the last epoch.
        mode: whether a higher or a lower value is better.
        min_delta: smallest change of the metric that counts as better, in its unit.
        average: averages the weights, which are then kept instead of those of the last step; None: they are not averaged.
    """

    def __init__(
        self,
        folder: Path,
        monitor: str | None,
        mode: Mode,
        min_delta: float = 0.0,
        average: EMAWeightAveraging | None = None,
    ) -> None:
        self.folder, self.monitor, self.mode, self.min_delta, self.average = folder, monitor, mode, min_delta, average
        self.best = math.nan

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the checkpoints of this epoch."""
        if self.monitor is None or self._improved(float(trainer.callback_metrics[self.monitor])):
            self._save_weights(trainer, pl_module)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far, for the checkpoint."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score so far."""
        self.best = state_dict["best"]

    def _improved(self, score: float) -> bool:
        gain = score - self.best if self.mode is Mode.max else self.best - score
        better = gain > self.min_delta
        # The first epoch always counts; equal scores keep the earlier epoch.
        if better or math.isnan(self.best):
            self.best = score
            return True
        return False

    def _save_weights(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with averaged(self.average, trainer, pl_module):
            trainer.save_checkpoint(self.folder / BEST, weights_only=True)


@contextmanager
def averaged(average: EMAWeightAveraging | None, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Iterator[None]:
    """Give the module its averaged weights within this context, if the run averages them."""
    if average is None:
        yield
        return
    # These hooks swap the averaged weights in and out around validation.
    average.on_validation_epoch_start(trainer, pl_module)
    try:
        yield
    finally:
        average.on_validation_epoch_end(trainer, pl_module)
