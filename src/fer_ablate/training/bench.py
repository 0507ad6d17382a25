"""Measures the speed of training, the speed of a bare loop, and that of a matrix product, which no network can exceed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning import Callback
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fer_ablate.config.schema import Config
from fer_ablate.data.batches import Batches
from fer_ablate.optim.optimizers import build_optimizer
from fer_ablate.training.assembly import build_batches, build_module
from fer_ablate.training.evaluation import autocast
from fer_ablate.training.hardware import Hardware, choose_hardware
from fer_ablate.training.role_set import RoleSet
from fer_ablate.training.run import PreparedRun, fit

SIDE, MULTIPLICATIONS = 1536, 6
"""Rows of the matrices whose product shows the speed of the arithmetic, and how often it is computed: half a second on a core."""


@dataclass(frozen=True)
class Round:
    """Speeds in images per second, measured right after each other so that a slower machine affects all of them.

    Args:
        ceiling: forward, backward and optimizer step of the same network on one batch that stays on the device, nothing else.
        pipeline: batches drawn, augmented and normalised, without network.
        training: the steps of an epoch as a run does them, without what follows them: validation, metrics, checkpoint.
        limit: training steps that consist of nothing but matrix products at the speed of a large one.
    """

    ceiling: float
    pipeline: float
    training: float
    limit: float

    @property
    def ratio(self) -> float:
        """Training as a fraction of the ceiling."""
        return self.training / self.ceiling

    @property
    def ratio_with_batches(self) -> float:
        """Training as a fraction of a bare loop that also draws, augments and normalises its batches."""
        return self.training * (1 / self.ceiling + 1 / self.pipeline)

    @property
    def used(self) -> float:
        """Fraction of the arithmetic limit that the bare loop reaches."""
        return self.ceiling / self.limit


def bench(config: Config, data: RoleSet, folder: Path, progress: Callable[[float], None] | None = None) -> list[Round]:
    """Train for `trainer.max_epochs` epochs and measure after each; the first epoch warms up and is not counted.

    Args:
        config: config of a run.
        data: its images by role.
        folder: folder for checkpoints.
        progress: called after each epoch with the finished fraction, from 0 to 1.
    """
    never = replace(config.trainer.early_stopping, patience=None)
    trainer = replace(config.trainer, limit_val_batches=0.0, early_stopping=never, monitor="train/acc")
    prepared = PreparedRun(replace(config, trainer=trainer), "bench", "bench", data, folder)
    meter = _Meter(prepared, build_batches(prepared.config, data, "train").to(prepared.hardware.device), progress)
    fit(prepared, callbacks=[meter])
    return meter.rounds[1:]


class _Meter(Callback):
    """Times every epoch, and after it the bare loop and the pipeline for the same number of steps."""

    def __init__(self, prepared: PreparedRun, batches: Batches, progress: Callable[[float], None] | None) -> None:
        self.rounds: list[Round] = []
        self._task, self._batches, self._progress = prepared, batches, progress
        self._bare: BareLoop | None = None
        self._began = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        _synchronise(self._task.hardware)
        seconds = time.perf_counter() - self._began
        steps, size = int(trainer.num_training_batches), self._task.config.trainer.batch_size
        if self._bare is None:
            self._bare = BareLoop(self._task)
            self._bare.train(2)
        bare = self._timed(partial(self._bare.train, steps))
        product = self._timed(self._bare.multiply)
        drawn = self._timed(lambda: self._draw(pl_module, steps))
        images = steps * size
        # The last batch of an epoch may be smaller, so the images are counted, not the steps.
        trained = min(images, self._batches.sampler.num_used)
        limit = MULTIPLICATIONS * 2 * SIDE**3 / product / self._bare.operations
        self.rounds.append(Round(images / bare, trained / drawn, trained / seconds, limit))
        if self._progress is not None:
            self._progress((trainer.current_epoch + 1) / (trainer.max_epochs or 1))

    def _timed(self, work: Callable[[], None]) -> float:
        _synchronise(self._task.hardware)
        began = time.perf_counter()
        work()
        _synchronise(self._task.hardware)
        return time.perf_counter() - began

    def _draw(self, module: pl.LightningModule, steps: int) -> None:
        preprocess = module.get_submodule("preprocess").train()
        with torch.no_grad():
            for _, (faces, _targets) in zip(range(steps), self._batches, strict=False):
                preprocess(faces)


class BareLoop:
    """Training steps on one random batch that stays on the device, with the settings that torch gives an optimizer by default.

    Attributes:
        operations: multiplications and additions of the forward and the backward pass of an image, as torch counts them.
    """

    def __init__(self, prepared: PreparedRun) -> None:
        config, hardware = prepared.config, choose_hardware(prepared.config.trainer)
        module = build_module(config, prepared.data, prepared.key)
        self._hardware = hardware
        self._network = module.network.to(hardware.device).train()
        preprocess = module.preprocess.to(hardware.device).train()  # also makes the ten crops of an image that training makes
        shape = (config.trainer.batch_size, prepared.data.faces.channels, *prepared.data.image_size)
        self._faces = preprocess(torch.randint(0, 256, shape, dtype=torch.uint8, device=hardware.device))
        classes = len(prepared.data.faces.classes)
        self._labels = torch.randint(0, classes, (len(self._faces),), device=hardware.device)
        self._optimizer = build_optimizer(config.optimizer, self._network.named_parameters(), config.plugins, joint=False)
        self._loss = nn.CrossEntropyLoss()
        self._factors = [torch.randn(SIDE, SIDE, device=hardware.device, dtype=hardware.autocast_dtype) for _ in range(2)]
        with FlopCounterMode(display=False) as counter:
            self.train(1)
        self.operations = counter.get_total_flops() / config.trainer.batch_size

    def train(self, count: int) -> None:
        """Do some training steps."""
        for _ in range(count):
            with autocast(self._hardware):
                value = self._loss(self._network(self._faces), self._labels)
            self._optimizer.zero_grad(set_to_none=True)
            value.backward()
            self._optimizer.step()

    def multiply(self) -> None:
        """Multiply two large matrices some times, in the number format of the training."""
        for _ in range(MULTIPLICATIONS):
            torch.mm(*self._factors)


def _synchronise(hardware: Hardware) -> None:
    if hardware.device.type == "cuda":
        torch.cuda.synchronize(hardware.device)
