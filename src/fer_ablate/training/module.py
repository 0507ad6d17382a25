"""The only LightningModule: trains a network and measures its scores in every epoch. It does not see the config."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MetricCollection

from fer_ablate.data.transform import Preprocess
from fer_ablate.errors import UserError
from fer_ablate.models.transfer import after_parts

Named = Iterable[tuple[str, nn.Parameter]]
Schedules = list[dict[str, Any]]


MEASURED_TOGETHER = 4096
"""Images whose scores are collected before metrics are updated; in each step that takes 4 % of the time of a small network."""


class Classifier(pl.LightningModule):
    """Train a network on batches of raw faces.

    Args:
        network: normalised faces (N, C, H, W) -> logits (N, K).
        preprocess: raw faces (N, C, H, W) uint8 -> normalised ones; augments in training mode.
        loss: training loss, (logits, targets) -> scalar; targets are class indices (N,) or distributions (N, K). The loss on
            val is always the plain cross entropy.
        metrics: collection that is updated with (logits, class indices); cloned for each split.
        make_optimizer: named parameters -> optimizer.
        make_schedules: (optimizer, optimizer steps per epoch) -> Lightning's scheduler entries.
        description: facts that are stored in every checkpoint, so that it can be used without its run folder.

    Attributes:
        computed: split -> number of leading parts of the network (see `models.transfer.network_parts`) that its batches have
            passed already, after the preprocessing; splits that are not listed have batches of raw faces.
        train_confusion: (K, K) counts of the training steps of the last finished epoch, over all ranks; row = truth,
            column = prediction. None before the first.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocess: Preprocess,
        loss: nn.Module,
        metrics: MetricCollection,
        make_optimizer: Callable[[Named], torch.optim.Optimizer],
        make_schedules: Callable[[torch.optim.Optimizer, int], Schedules],
        description: Mapping[str, str],
    ) -> None:
        super().__init__()
        self.network, self.preprocess, self.loss = network, preprocess, loss
        self.train_metrics, self.val_metrics = metrics.clone(prefix="train/"), metrics.clone(prefix="val/")
        self._make_optimizer, self._make_schedules = make_optimizer, make_schedules
        self._description = dict(description)
        # Plateau is stepped here and not by Lightning, see `configure_optimizers`.
        self._plateau: tuple[ReduceLROnPlateau, str] | None = None
        self._plateau_state: dict[str, Any] | None = None
        self._losses: dict[str, list[tuple[Tensor, int]]] = {}
        self._unmeasured: dict[str, list[tuple[Tensor, Tensor]]] = {}
        self._confusion: Tensor | None = None
        self.computed: dict[str, int] = {}
        self.train_confusion: Tensor | None = None

    def forward(self, faces: Tensor) -> Tensor:
        """Turn raw faces (N, C, H, W) uint8 into logits (N, K)."""
        return self.network(self.preprocess(faces))  # type: ignore[no-any-return]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        return self._shared_step(batch, "train", batch_idx)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Measure one batch of the val role."""
        self._shared_step(batch, "val", batch_idx)

    def _shared_step(self, batch: tuple[Tensor, Tensor], split: str, batch_idx: int) -> Tensor:
        faces, targets = batch
        done = self.computed.get(split)
        if split == "train" and has_own_step(self.network):
            return self._own_step(self.network, self.preprocess(faces) if done is None else faces, targets, batch_idx)
        scores = self(faces) if done is None else after_parts(self.network, faces, done)
        targets = _for_each_crop(targets, len(scores))
        labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
        # Class weights, smoothing and focal terms are for training only: the val loss must be comparable between runs.
        loss: Tensor = self.loss(scores, targets) if split == "train" else cross_entropy(scores.float(), labels)
        self._remember(split, loss.detach(), scores.detach().float(), labels)
        return loss

    def _own_step(self, network: pl.LightningModule, faces: Tensor, targets: Tensor, batch_idx: int) -> Tensor:
        """Return the loss that the network's own `training_step` computes of normalised faces."""
        targets = _for_each_crop(targets, len(faces))
        # `log` of the network's needs to know the hook that it is called from, as Lightning tells this module.
        network._current_fx_name = self._current_fx_name
        loss, scores = read_step(network.training_step((faces, targets), batch_idx))
        if scores is None:
            scores = unseen_scores(network, faces)
        labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
        self._remember("train", loss.detach(), scores.detach().float(), labels)
        return loss

    def _remember(self, split: str, loss: Tensor, scores: Tensor, labels: Tensor) -> None:
        """Keep what a step is measured by; a small network notices every further operation of a step."""
        images = len(labels)
        waiting = self._unmeasured.setdefault(split, [])
        waiting.append((scores, labels))
        self._losses.setdefault(split, []).append((loss, images))
        # Steps have equally many images, save the last one of an epoch, after which everything is measured.
        if len(waiting) * images >= MEASURED_TOGETHER:
            self._measure(split)

    def _measure(self, split: str) -> None:
        """Count the predictions of the latest steps, which are whole numbers and so do not depend on how many come together."""
        steps = self._unmeasured.pop(split, [])
        if not steps:
            return
        scores, labels = (torch.cat(parts) for parts in zip(*steps, strict=True))
        self._metrics(split).update(scores, labels)
        if split == "train":
            pairs = confusion(scores, labels)
            self._confusion = pairs if self._confusion is None else self._confusion + pairs

    def on_train_epoch_end(self) -> None:
        """Log the epoch, then update plateau: its state must be part of the checkpoint of this epoch."""
        self._log_epoch("train")
        self._count_epoch()
        if self._plateau is not None:
            scheduler, monitor = self._plateau
            measured = self.trainer.callback_metrics.get(monitor)
            if measured is not None:
                scheduler.step(float(measured))

    def on_validation_epoch_end(self) -> None:
        """Log the val role."""
        self._log_epoch("val")

    def _count_epoch(self) -> None:
        self.train_confusion, self._confusion = self._confusion, None
        if self.train_confusion is not None and self.trainer.world_size > 1:
            self.train_confusion = self.trainer.strategy.reduce(self.train_confusion, reduce_op="sum")

    def _metrics(self, split: str) -> MetricCollection:
        return self.train_metrics if split == "train" else self.val_metrics

    def _log_epoch(self, split: str) -> None:
        self._measure(split)
        if split not in self._losses:
            return
        sums = _loss_sums(self._losses.pop(split))
        if self.trainer.world_size > 1:
            sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        collection = self._metrics(split)
        values = collection.compute()
        collection.reset()
        self.log_dict({f"{split}/loss": sums[0] / sums[1], **values})

    def configure_optimizers(self) -> Any:
        """Return optimizer and schedules to Lightning, except for plateau, which this module updates itself.

        Lightning would update it after the checkpoint is saved, and a resumed run would miss one update.

        Raises:
            UserError: every weight is frozen.
        """
        trained = [(name, parameter) for name, parameter in self.network.named_parameters() if parameter.requires_grad]
        if not trained:
            raise UserError(
                "Every weight of the network is frozen, so there is nothing to train. "
                "Raise model.trainable_convs, or leave parameters of your own network their requires_grad."
            )
        optimizer = self._make_optimizer(trained)
        epochs_total = max(1, self.trainer.max_epochs or 1)
        steps = max(1, int(self.trainer.estimated_stepping_batches) // epochs_total)
        entries = self._make_schedules(optimizer, steps)
        for entry in entries:
            if isinstance(entry["scheduler"], ReduceLROnPlateau):
                self._plateau = (entry["scheduler"], str(entry["monitor"]))
                if self._plateau_state is not None:
                    entry["scheduler"].load_state_dict(self._plateau_state)
        others = [entry for entry in entries if not isinstance(entry["scheduler"], ReduceLROnPlateau)]
        return [optimizer], others

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the entry that `training.checkpoints` reads."""
        checkpoint["fer_ablate"] = {
            **self._description,
            "epoch": self.current_epoch + 1,
            "stopped": bool(self.trainer.should_stop),
        }
        if self._plateau is not None:
            checkpoint["fer_ablate_plateau"] = self._plateau[0].state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of plateau for `configure_optimizers`, which Lightning calls later."""
        self._plateau_state = checkpoint.get("fer_ablate_plateau")


def has_own_step(network: object) -> TypeGuard[pl.LightningModule]:
    """Whether a network is a LightningModule with a `training_step` of its own, which replaces the built-in one."""
    return isinstance(network, pl.LightningModule) and type(network).training_step is not pl.LightningModule.training_step


def read_step(given: Any) -> tuple[Tensor, Tensor | None]:
    """The loss that a `training_step` returned, and the scores (N, K) if it returned them as well.

    Raises:
        UserError: it returned something else than a loss, or a mapping with `loss` and perhaps `scores`.
    """
    loss, scores = (given.get("loss"), given.get("scores")) if isinstance(given, Mapping) else (given, None)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        shape = f"a tensor of {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"{type(loss).__name__}"
        raise UserError(f"training_step returned {shape}. Return the loss, a tensor with one number, or {{'loss': loss}}.")
    return loss.squeeze(), scores


def unseen_scores(network: nn.Module, faces: Tensor) -> Tensor:
    """Scores (N, K) of a batch, measured without any effect on the network, such as on its statistics of batches."""
    modes = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad():
            return network.eval()(faces)  # type: ignore[no-any-return]
    finally:
        for module, mode in modes.items():
            module.training = mode


def _for_each_crop(targets: Tensor, images: int) -> Tensor:
    """The targets (N, ...) of N images or of several crops of every image; those of one image are next to each other."""
    return targets if images == len(targets) else targets.repeat_interleave(images // len(targets), dim=0)


def _loss_sums(steps: list[tuple[Tensor, int]]) -> Tensor:
    """Return the sum of the losses of all images, and their number: (2,) float32.

    Args:
        steps: mean loss and number of images of every step.
    """
    losses = torch.stack([loss for loss, _ in steps]).float()
    # Read here and not in every step, which would make a GPU wait. Added one after the other: torch's sum rounds otherwise.
    weighted = (losses * torch.tensor([float(images) for _, images in steps], device=losses.device)).cpu().numpy()
    images = sum(images for _, images in steps)
    return torch.tensor([float(np.add.accumulate(weighted)[-1]), float(images)], device=losses.device)


def confusion(scores: Tensor, labels: Tensor) -> Tensor:
    """Count how often each class was predicted for each true class.

    Args:
        scores: (N, K) logits or probabilities; only their order within a row matters.
        labels: (N,) class indices.

    Returns:
        (K, K) int64 counts; row = truth, column = prediction.
    """
    classes = scores.shape[1]
    # By comparison rather than `bincount`, which makes a GPU wait for each batch.
    pairs = torch.arange(classes * classes, device=scores.device)
    return (labels * classes + scores.argmax(dim=1))[:, None].eq(pairs).sum(dim=0).view(classes, classes)
