"""What is counted of every epoch and kept with its checkpoint, so that a resumed run ends with the counts of an unbroken one.

Nothing here is logged: no count can choose an epoch, stop a run or steer a schedule.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EMAWeightAveraging

from fer_ablate.metrics import SplitResult, from_confusion, mean_loss
from fer_ablate.training.callbacks import averaged
from fer_ablate.training.evaluation import Predictions
from fer_ablate.training.module import Classifier, confusion

TALLY = "fer_ablate_tally"
"""Under this name a checkpoint holds the counts of every epoch so far."""

TRAIN, TEST = "train", "test"


@dataclass(frozen=True, kw_only=True)
class Count:
    """Predictions, counted.

    Args:
        confusion: (K, K) counts; row = truth, column = prediction.
        means: what these do not tell: `top2` as a fraction, `loss` in nats.
    """

    confusion: list[list[int]]
    means: dict[str, float]

    @property
    def n(self) -> int:
        """Predictions."""
        return sum(map(sum, self.confusion))


Tally = dict[str, list[Count]]
"""`train`, `test` -> counts of every epoch; `test` is empty unless it was asked for."""


class EpochTally(Checkpoint):
    """Count the training steps of every epoch and, if asked to, the predictions of the test role behind it.

    A `Checkpoint` only by kind: Lightning runs these behind the module's own hook, which sums up the epoch.

    Args:
        predict: module -> predictions of the test role; None: not asked for.
        average: what averages the weights, if anything does; then the averaged ones are tested.
    """

    def __init__(self, predict: Callable[[Classifier], Predictions] | None, average: EMAWeightAveraging | None) -> None:
        self.predict, self.average = predict, average
        self.counts: Tally = {TRAIN: [], TEST: []}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch; testing leaves the network as it was, and the next epoch draws from a seed of its own."""
        assert isinstance(pl_module, Classifier)
        assert pl_module.train_confusion is not None
        means = {name: float(trainer.callback_metrics[f"train/{name}"]) for name in ("top2", "loss")}
        self.counts[TRAIN].append(Count(confusion=pl_module.train_confusion.tolist(), means=means))
        if self.predict is not None and trainer.is_global_zero:
            # One by one: parts that are frozen stay in evaluation mode while the rest trains.
            modes = [(part, part.training) for part in pl_module.network.modules()]
            with averaged(self.average, trainer, pl_module):
                self.counts[TEST].append(counted(self.predict(pl_module)))
            for part, training in modes:
                part.training = training

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the counts with the epochs."""
        checkpoint[TALLY] = {split: [asdict(count) for count in counts] for split, counts in self.counts.items()}

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on counting."""
        self.counts = stored_tally(checkpoint)


def stored_tally(checkpoint: dict[str, Any]) -> Tally:
    """The counts of all epochs that a `last.ckpt` knows of."""
    return {split: [Count(**count) for count in counts] for split, counts in checkpoint[TALLY].items()}


def counted(predictions: Predictions) -> Count:
    """Count predictions, of which there must be at least one."""
    probabilities, labels = torch.from_numpy(predictions.probabilities), torch.from_numpy(predictions.labels)
    likeliest = probabilities.topk(min(2, probabilities.shape[1]), dim=1).indices
    top2 = float(likeliest.eq(labels[:, None]).any(dim=1).double().mean())
    means = {"top2": top2, "loss": mean_loss(probabilities, labels)}
    return Count(confusion=confusion(probabilities, labels).tolist(), means=means)


def pooled(counts: Sequence[Count]) -> Count:
    """All predictions of several counts together, each as often as it was made."""
    n = sum(count.n for count in counts)
    means = {name: sum(count.n * count.means[name] for count in counts) / n for name in counts[0].means}
    return Count(confusion=torch.tensor([count.confusion for count in counts]).sum(dim=0).tolist(), means=means)


def tally_results(tally: Tally, epoch: int, pool: bool, classes: tuple[str, ...]) -> dict[str, SplitResult]:
    """Scores of what was counted: `train`, and `train_pooled` and `test_pooled` where all epochs are to be pooled.

    Args:
        tally: of all epochs.
        epoch: whose weights are kept, from 1; `train` is measured in its steps.
        pool: whether to sum over the epochs.
        classes: K names.
    """
    found = {"train": tally[TRAIN][epoch - 1]}
    if pool:
        found |= {f"{split}_pooled": pooled(counts) for split, counts in tally.items() if counts}
    return {name: from_confusion(count.confusion, classes, count.means) for name, count in found.items()}
