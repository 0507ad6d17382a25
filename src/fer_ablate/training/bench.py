"""Measures the speed of training, and the speed that the machine could reach at best."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning import Callback
from torch import nn

from fer_ablate.config.schema import Config
from fer_ablate.data.batches import Batches
from fer_ablate.optim.optimizers import build_optimizer
from fer_ablate.training.assembly import build_batches, build_module
from fer_ablate.training.evaluation import autocast
from fer_ablate.training.hardware import Hardware, choose_hardware
from fer_ablate.training.role_set import RoleSet
from fer_ablate.training.run import PreparedRun, fit


@dataclass(frozen=True)
class Round:
    """Three speeds in images per second, measured right after each other so that a slower machine affects all of them.

    Args:
        ceiling: forward, backward and optimizer step of the same network on one batch that stays on the device, nothing else.
        pipeline: batches drawn, augmented and normalised, without network.
        training: a whole epoch through Lightning, without validation.
    """

    ceiling: float
    pipeline: float
    training: float

    @property
    def ratio(self) -> float:
        """Training as a fraction of the ceiling."""
        return self.training / self.ceiling


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
        self._bare: Callable[[int], None] | None = None
        self._began = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        _synchronise(self._task.hardware)
        seconds = time.perf_counter() - self._began
        steps, size = int(trainer.num_training_batches), self._task.config.trainer.batch_size
        if self._bare is None:
            self._bare = _bare_loop(self._task)
            self._bare(2)
        bare = self._timed(partial(self._bare, steps))
        drawn = self._timed(lambda: self._draw(pl_module, steps))
        images = steps * size
        # The last batch of an epoch may be smaller, so the images are counted, not the steps.
        trained = min(images, self._batches.sampler.num_used)
        self.rounds.append(Round(images / bare, trained / drawn, trained / seconds))
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


def _bare_loop(prepared: PreparedRun) -> Callable[[int], None]:
    """Build a function that does training steps on one random batch, which stays on the device."""
    hardware = choose_hardware(prepared.config.trainer)
    module = build_module(prepared.config, prepared.data, prepared.key)
    network = module.network.to(hardware.device).train()
    preprocess = module.preprocess.to(hardware.device).train()  # also makes the ten crops of an image that training makes
    size = prepared.config.trainer.batch_size
    shape = (size, prepared.data.faces.channels, *prepared.data.image_size)
    faces = preprocess(torch.randint(0, 256, shape, dtype=torch.uint8, device=hardware.device))
    labels = torch.randint(0, len(prepared.data.faces.classes), (len(faces),), device=hardware.device)
    optimizer = build_optimizer(prepared.config.optimizer, network.named_parameters(), prepared.config.plugins)
    loss = nn.CrossEntropyLoss()

    def steps(count: int) -> None:
        for _ in range(count):
            with autocast(hardware):
                value = loss(network(faces), labels)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()

    return steps


def _synchronise(hardware: Hardware) -> None:
    if hardware.device.type == "cuda":
        torch.cuda.synchronize(hardware.device)
