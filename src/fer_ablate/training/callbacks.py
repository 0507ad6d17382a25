"""What happens around the epochs of a run: fresh random numbers, the report of each epoch, its checkpoints."""

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
"""Under this name a checkpoint holds the seconds of every epoch so far."""


class Observer(Protocol):
    """Somebody who wants to know about finished epochs."""

    def epoch(self, epoch: int, metrics: Mapping[str, float], time_ms: int) -> None:
        """Take note of epoch `epoch` (from 1), measured at `time_ms` (Unix time in milliseconds)."""
        ...


class EpochRandomness(Callback):
    """Draw the augmentation and dropout of an epoch from (seed, epoch, rank), so that a resumed run needs no generator state."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reseed the global generators of torch, which kornia and dropout draw from."""
        torch.manual_seed(epoch_seed(self.seed, trainer.current_epoch, AUGMENT, trainer.global_rank))


class EpochReport(Checkpoint):
    """Tell the observers about each epoch, before its checkpoint is written, and keep the time.

    A `Checkpoint` only by kind: Lightning runs these behind the module's own hook, which logs the epoch.
    """

    def __init__(self, *observers: Observer) -> None:
        self.observers = observers
        self.seconds: list[float] = []
        self._began = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Collect what was logged; Lightning runs the val role before this hook."""
        self.seconds.append(time.perf_counter() - self._began)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
        metrics["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        metrics["seconds"] = self.seconds[-1]
        epoch = trainer.current_epoch + 1
        if trainer.is_global_zero:
            for observer in self.observers:
                observer.epoch(epoch, metrics, int(time.time() * 1000))
        if not math.isfinite(metrics["train/loss"]):
            raise UserError(
                f"The training loss became {metrics['train/loss']} in epoch {epoch}. "
                "Lower optimizer.lr, or set trainer.gradient_clip=1."
            )

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the time of the epochs with them."""
        checkpoint[SECONDS] = list(self.seconds)

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on counting."""
        self.seconds = list(checkpoint[SECONDS])


class KeptWeights(Checkpoint):
    """Write the weights to test and, behind them, the whole state: a `last.ckpt` thus always knows of its `best.ckpt`.

    Lightning's own `ModelCheckpoint` would forget the best score when the folder is moved, and would keep the weights of
    the last step where a run averages them.

    Args:
        folder: of both files.
        monitor: metric that chooses the weights to test; None keeps those of every epoch, hence of the last.
        mode: whether more or less of it is better.
        average: what averages the weights, if anything does; then the averaged ones are kept.
    """

    def __init__(self, folder: Path, monitor: str | None, mode: Mode, average: EMAWeightAveraging | None = None) -> None:
        self.folder, self.monitor, self.mode, self.average = folder, monitor, mode, average
        self.best = math.nan

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what this epoch brought."""
        if self.monitor is None or self._improved(float(trainer.callback_metrics[self.monitor])):
            self._save_weights(trainer, pl_module)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)

    def state_dict(self) -> dict[str, Any]:
        """The score to beat."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from it."""
        self.best = state_dict["best"]

    def _improved(self, score: float) -> bool:
        better = score > self.best if self.mode is Mode.max else score < self.best
        if better or math.isnan(self.best):
            self.best = score
            return True
        return False

    def _save_weights(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with averaged(self.average, trainer, pl_module):
            trainer.save_checkpoint(self.folder / BEST, weights_only=True)


@contextmanager
def averaged(average: EMAWeightAveraging | None, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Iterator[None]:
    """Let the module have its averaged weights meanwhile, if a run averages them."""
    if average is None:
        yield
        return
    # Around validation the averaging swaps its weights in and out; the same is wanted here.
    average.on_validation_epoch_start(trainer, pl_module)
    try:
        yield
    finally:
        average.on_validation_epoch_end(trainer, pl_module)
