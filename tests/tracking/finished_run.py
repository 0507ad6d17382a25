"""A finished run by hand, for the tests of tracking."""

import numpy as np

from fer_ablate.metrics import SplitResult
from fer_ablate.tracking.disk.run_folder import RunHeader, StoredPredictions
from fer_ablate.training.result import RunResult

CLASSES = ["happy", "sad"]


def make_header(name="4 layers", experiment="depth"):
    return RunHeader(
        key="0123456789abcdef",
        name=name,
        seed=3,
        experiment=experiment,
        changed={"model.conv_layers": "4"},
        overrides=["model.conv_layers=4"],
        data_digest="d" * 64,
        code_digest="c0de",
        dataset={"name": "synthetic", "train": 40, "val": 10, "test": 10},
        started_at="2026-01-02T03:04:05+00:00",
    )


def make_result(acc=0.75):
    def split(n):
        return SplitResult(n=n, metrics={"acc": acc, "loss": 0.5}, per_class={"happy": {"f1": acc}}, confusion=[[3, 1], [1, 3]])

    return RunResult(
        key="0123456789abcdef",
        name="4 layers",
        seed=3,
        splits={"val": split(8), "test": split(8), "public": split(8), "private": split(8)},
        classes=CLASSES,
        protocol={"roles": "official", "tta": "none"},
        best_epoch=2,
        epochs=3,
        seconds=12.5,
        seconds_per_epoch=4.0,
        peak_memory_mb=512.0,
        parameters=1234,
        macs=5678,
        finished_at="2026-01-02T03:05:05+00:00",
        environment={"torch": "2.13.0"},
    )


def epoch_metrics(epoch):
    return {"seconds": 4.0, "lr": 0.1, "train/loss": 2.0 / epoch, "val/loss": 2.5 / epoch, "val/acc": 0.1 * epoch}


def make_predictions():
    probabilities = np.array([[0.75, 0.25], [0.5, 0.5]], np.float32)
    return StoredPredictions(np.array([5, 9]), np.array([1, 2]), np.array([0, 1]), probabilities)


def fill(folder, config_yaml="seed: 3\nmodel: {conv_layers: 4, stages: [{channels: 64}]}\n"):
    """The files of a finished run, as training leaves them."""
    folder.write_header(make_header())
    folder.write_config(config_yaml)
    for epoch in (1, 2, 3):
        folder.append_epoch(epoch, epoch_metrics(epoch), time_ms=1000 * epoch)
    folder.write_predictions(make_predictions())
    folder.write_result(make_result())
    return folder
