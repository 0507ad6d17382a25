"""Early stopping and the weights it leaves, in trainings of no images whose losses are given."""

import pytest
import pytorch_lightning as pl
import torch

from fer_ablate.config.choices import Mode
from fer_ablate.config.schema import EarlyStoppingConfig
from fer_ablate.training.assembly import build_early_stopping
from fer_ablate.training.callbacks import KeptWeights
from fer_ablate.training.result import BEST

PISA_BALANCED = [0.9527, 1.0012, 0.9988, 0.9811, 0.9803, 0.9660, 0.9739, 0.9904, 0.9815, 0.9707, 1.0166]
"""Val losses of epochs 46 to 56 as printed; the run ends there, with a patience of 10."""


class Given(pl.LightningModule):
    """Logs one of the given values in every epoch."""

    def __init__(self, values):
        super().__init__()
        self.values, self.weight = values, torch.nn.Parameter(torch.zeros(1))

    def train_dataloader(self):
        return [torch.zeros(1)]

    def training_step(self, batch, batch_idx):
        self.log("val/loss", torch.tensor(self.values[self.current_epoch], dtype=torch.float64), on_step=False, on_epoch=True)
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trained(values, patience, min_delta, folder):
    """Number of epochs that were trained, and the epoch whose weights are kept, both from 1."""
    stopping = build_early_stopping(EarlyStoppingConfig(patience=patience, min_delta=min_delta))
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=len(values),
        callbacks=[stopping, KeptWeights(folder, "val/loss", Mode.min, min_delta)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Given(values))
    return trainer.current_epoch, torch.load(folder / BEST, weights_only=True)["epoch"] + 1


def keras_early_stopping(values, patience, min_delta):
    """The same by Keras' EarlyStopping with restore_best_weights, written after its documentation."""
    best, kept, wait = float("inf"), 0, 0
    for epoch, value in enumerate(values, start=1):
        wait += 1
        if value + min_delta < best:
            best, kept, wait = value, epoch, 0
        elif wait >= patience:
            return epoch, kept
    return len(values), kept


def test_pisas_log_stops_where_it_stopped(tmp_path):
    assert trained([*PISA_BALANCED, 0.1], 10, 0.0, tmp_path) == (11, 1)


@pytest.mark.parametrize("min_delta", [0.0, 0.003])
def test_min_delta_is_absolute_as_in_keras(tmp_path, min_delta):
    values = [1.5, 1.498, 1.496, 1.4959, 1.49, 1.489, 1.488, 1.4875, 1.4872, 1.48, 1.47]
    expected = keras_early_stopping(values, 3, min_delta)
    assert trained(values, 3, min_delta, tmp_path) == expected
    assert expected == ((11, 11) if min_delta == 0 else (8, 5))


def test_without_patience_nothing_stops():
    assert build_early_stopping(EarlyStoppingConfig()) is None
