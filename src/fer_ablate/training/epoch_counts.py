"""Counts predictions in every epoch and stores them in its checkpoint, so that a resumed run ends with the counts of all epochs.

The counts are never logged, so they cannot choose an epoch, stop a run or change a schedule.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EMAWeightAveraging

from fer_ablate.metrics import SplitResult
from fer_ablate.metrics.scores import from_confusion, mean_loss
from fer_ablate.training.callbacks import averaged
from fer_ablate.training.evaluation import Predictions
from fer_ablate.training.module import Classifier, confusion

COUNTS = "fer_ablate_tally"
"""Entry of a checkpoint with the counts of all epochs so far; the name must not change, or old checkpoints cannot be resumed."""

TRAIN, TEST = "train", "test"


@dataclass(frozen=True, kw_only=True)
class PredictionCounts:
    """Counts of the predictions of one split in one epoch.

    Args:
        confusion: (K, K) counts; row = truth, column = prediction.
        means: metrics that cannot be computed from `confusion`: `top2` as a fraction, `loss` in nats.
    """

    confusion: list[list[int]]
    means: dict[str, float]

    @property
    def n(self) -> int:
        """Number of predictions."""
        return sum(map(sum, self.confusion))


CountsBySplit = dict[str, list[PredictionCounts]]
"""`train`, `test` -> counts of every epoch; `test` is empty if the test role is not predicted in every epoch."""


class EpochCounts(Checkpoint):
    """Count the predictions of the training steps of every epoch and, optionally, those of the test role after it.

    It is a `Checkpoint` only because Lightning runs checkpoint callbacks after the hook of the module, which sums up the epoch.

    Args:
        predict: module -> predictions of the test role; None: the test role is not predicted.
        average: averages the weights, which are then used for the predictions of the test role; None: they are not averaged.
    """

    def __init__(self, predict: Callable[[Classifier], Predictions] | None, average: EMAWeightAveraging | None) -> None:
        self.predict, self.average = predict, average
        self.counts: CountsBySplit = {TRAIN: [], TEST: []}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the counts of the epoch; this changes neither the network nor the random numbers of the next epoch."""
        assert isinstance(pl_module, Classifier)
        assert pl_module.train_confusion is not None
        means = {name: float(trainer.callback_metrics[f"train/{name}"]) for name in ("top2", "loss")}
        self.counts[TRAIN].append(PredictionCounts(confusion=pl_module.train_confusion.tolist(), means=means))
        # One process predicts every image of the test role once; the others need no counts of it.
        if self.predict is not None and trainer.is_global_zero:
            # Saved for each module: frozen ones are in evaluation mode while the others are in training mode.
            modes = [(part, part.training) for part in pl_module.network.modules()]
            with averaged(self.average, trainer, pl_module):
                self.counts[TEST].append(count_predictions(self.predict(pl_module)))
            for part, training in modes:
                part.training = training

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the counts of all epochs so far."""
        checkpoint[COUNTS] = {split: [asdict(count) for count in counts] for split, counts in self.counts.items()}

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore the counts of the epochs before."""
        self.counts = stored_counts(checkpoint)


def stored_counts(checkpoint: dict[str, Any]) -> CountsBySplit:
    """Read the counts of all epochs from the content of a `last.ckpt`."""
    return {split: [PredictionCounts(**count) for count in counts] for split, counts in checkpoint[COUNTS].items()}


def count_predictions(predictions: Predictions) -> PredictionCounts:
    """Count predictions, of which there must be at least one."""
    probabilities, labels = torch.from_numpy(predictions.probabilities), torch.from_numpy(predictions.labels)
    # `min`, because a merged set may have two classes only.
    likeliest = probabilities.topk(min(2, probabilities.shape[1]), dim=1).indices
    top2 = float(likeliest.eq(labels[:, None]).any(dim=1).double().mean())
    means = {"top2": top2, "loss": mean_loss(probabilities, labels)}
    return PredictionCounts(confusion=confusion(probabilities, labels).tolist(), means=means)


def pooled(counts: Sequence[PredictionCounts]) -> PredictionCounts:
    """Add up the counts of several epochs."""
    n = sum(count.n for count in counts)
    means = {name: sum(count.n * count.means[name] for count in counts) / n for name in counts[0].means}
    return PredictionCounts(confusion=torch.tensor([count.confusion for count in counts]).sum(dim=0).tolist(), means=means)


def counted_results(counts_by_split: CountsBySplit, epoch: int, pool: bool, classes: tuple[str, ...]) -> dict[str, SplitResult]:
    """Compute the scores of the counted predictions: `train`, and with `pool` also `train_pooled` and `test_pooled`.

    Args:
        counts_by_split: counts of all epochs.
        epoch: epoch (from 1) whose weights are kept; `train` is the score of its training steps.
        pool: also compute scores over all epochs together.
        classes: K names.
    """
    found = {"train": counts_by_split[TRAIN][epoch - 1]}
    if pool:
        found |= {f"{split}_pooled": pooled(counts) for split, counts in counts_by_split.items() if counts}
    return {name: from_confusion(count.confusion, classes, count.means) for name, count in found.items()}
