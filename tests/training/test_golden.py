"""Ten training steps give the losses they always gave.

A change that is not meant to alter results must leave the file alone; one that is replaces it and says why:
`FER_ABLATE_GOLDEN=write pytest tests/training/test_golden.py`.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback

from fer_ablate.training.run import fit

VERSION = torch.__version__.split("+")[0]
FILE = Path(__file__).with_name(f"golden-torch-{VERSION}.json")


class Losses(Callback):
    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(float(outputs["loss"]))


def test_ten_steps_give_the_stored_losses(config_of, task_of):
    losses = Losses()
    fit(
        task_of(config_of("model=pisa", "model.width=0.125", "trainer.max_epochs=2", "trainer.channels_last=false")),
        callbacks=[losses],
    )
    if os.environ.get("FER_ABLATE_GOLDEN") == "write":
        stored = {"torch": VERSION, "losses": [round(value, 6) for value in losses.values]}
        FILE.write_text(json.dumps(stored, indent=2) + "\n")
    if not FILE.is_file():
        pytest.skip(f"no losses are stored for torch {VERSION}")
    stored = json.loads(FILE.read_text())
    assert stored["torch"] == VERSION
    assert losses.values == pytest.approx(stored["losses"], abs=1e-4)
