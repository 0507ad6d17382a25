"""The loop over the steps of an epoch: the results and progress counts of Lightning's own, with less work between two steps.

Lightning calls some thirty hooks around each step, every one within a context of the profiler and between two changes of
`_current_fx_name`, whether or not anything is to be done. For a network whose step takes 15 ms that is a tenth of the training.
This is the only module that uses the inside of Lightning's loops; it was tried with 2.6.6, and releases of another minor version
keep their own loop.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.loops.fetchers import _DataFetcher, _PrefetchDataFetcher
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import Tensor

from fer_ablate.training.module import has_own_step

TRIED = "2.6."
"""Beginning of the versions of Lightning whose loops are known to do the same."""
OWN_PACKAGE = __name__.partition(".")[0]
HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
"""Hooks of a step, which callbacks and modules may have."""
MODULE_HOOKS = (
    *HOOKS,
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
    "optimizer_zero_grad",
    "optimizer_step",
    "backward",
    "configure_gradient_clipping",
    "lr_scheduler_step",
)
"""Further methods with which a module would change a step; `Classifier` leaves them as they are."""


class LeanEpochLoop(_TrainingEpochLoop):
    """Does plain steps itself and leaves all others to Lightning; see `_is_plain`. Within a plain step nothing can be logged."""

    _plain = False
    _hooked: Mapping[str, Sequence[pl.Callback]] = MappingProxyType({})

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        """Find out once an epoch whether its steps are plain, and which hooks the callbacks have."""
        super().on_run_start(data_fetcher)
        self._hooked = {
            name: [callback for callback in self.trainer.callbacks if _overrides(callback, name, pl.Callback)] for name in HOOKS
        }
        known = all(_is_known(callback) for callbacks in self._hooked.values() for callback in callbacks)
        self._plain = known and _is_plain(self.trainer, data_fetcher)

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Do one step, in the order of Lightning's own `advance`.

        Raises:
            StopIteration: there are no more batches.
        """
        if not self._plain or self.restarting:
            super().advance(data_fetcher)
            return
        self.val_loop.restarting = False
        trainer = self.trainer
        given, _, _ = next(data_fetcher)
        index = self.batch_idx + 1
        self.batch_progress.is_last_batch = data_fetcher.done
        # Usually a no-op: `Batches.to` has moved all images, unless the device has no room for them.
        batch = tuple(part.to(trainer.strategy.root_device, non_blocking=True) for part in given)
        self.batch_progress.increment_ready()
        self._call("on_train_batch_start", batch, index)
        self.batch_progress.increment_started()
        loss = self._step(batch, index)
        self.batch_progress.increment_processed()
        self._update_rates()
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        self._call("on_train_batch_end", {"loss": loss}, batch, index)
        self.batch_progress.increment_completed()

    def _step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        """Do the training step, the backward pass and the optimizer step of a batch; returns its loss."""
        trainer, optimizer = self.trainer, self.trainer.optimizers[0]
        module, precision = trainer.lightning_module, trainer.precision_plugin
        progress = self.automatic_optimization.optim_progress.optimizer
        losses: list[Tensor] = []

        # A closure, because an optimizer of the user's own may call it more than once a step.
        @torch.enable_grad()
        def closure() -> Tensor:
            with precision.train_step_context():
                loss: Tensor = module.training_step(batch, index)
            progress.zero_grad.increment_ready()
            self._call("on_before_zero_grad", optimizer)
            progress.zero_grad.increment_started()
            optimizer.zero_grad()
            progress.zero_grad.increment_completed()
            self._call("on_before_backward", loss)
            loss.backward()  # type: ignore[no-untyped-call]
            self._call("on_after_backward")
            self._call("on_before_optimizer_step", optimizer)
            if trainer.gradient_clip_val is not None:
                module.clip_gradients(optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
            losses[:] = [loss.detach()]
            return losses[0]

        progress.step.increment_ready()
        optimizer.step(closure=closure)
        progress.step.increment_completed()
        return losses[0]

    def _update_rates(self) -> None:
        for entry in self.trainer.lr_scheduler_configs:
            if entry.interval == "step" and not entry.reduce_on_plateau:
                self.scheduler_progress.increment_ready()
                entry.scheduler.step()
                self.scheduler_progress.increment_completed()

    def _call(self, hook: str, *arguments: Any) -> None:
        for callback in self._hooked[hook]:
            getattr(callback, hook)(self.trainer, self.trainer.lightning_module, *arguments)


def use_lean_steps(trainer: pl.Trainer) -> None:
    """Put a `LeanEpochLoop` into a trainer that has not begun, where Lightning is of a version that was tried."""
    if not version("pytorch-lightning").startswith(TRIED):
        return
    given = trainer.fit_loop.epoch_loop
    trainer.fit_loop.epoch_loop = LeanEpochLoop(trainer, given.min_steps, given.max_steps)


def _is_plain(trainer: pl.Trainer, data_fetcher: _DataFetcher) -> bool:
    """Whether a step is a forward pass, a backward pass and an optimizer step of one process, and nothing else."""
    precision, module = trainer.precision_plugin, trainer.lightning_module
    return (
        type(trainer.strategy) is SingleDeviceStrategy
        and type(precision) in (Precision, MixedPrecision)
        and getattr(precision, "scaler", None) is None  # fp16, whose steps may be skipped
        and trainer.accumulate_grad_batches == 1
        and isinstance(trainer.profiler, PassThroughProfiler)  # type: ignore[attr-defined]
        and isinstance(data_fetcher, _PrefetchDataFetcher)
        and module.automatic_optimization
        and not has_own_step(module.network)  # which may log
        and all(entry.frequency == 1 for entry in trainer.lr_scheduler_configs)
        and not any(_overrides(module, name, pl.LightningModule) for name in MODULE_HOOKS)
    )


def _is_known(callback: pl.Callback) -> bool:
    """Whether the hooks of a callback need no more than to be called. Those of others may log, which needs Lightning's loop."""
    return type(callback) is EMAWeightAveraging or type(callback).__module__.partition(".")[0] == OWN_PACKAGE


def _overrides(instance: object, name: str, base: type) -> bool:
    # Looked up on the instance, where Lightning's `LambdaCallback` keeps its functions.
    return getattr(getattr(instance, name), "__func__", None) is not getattr(base, name)
