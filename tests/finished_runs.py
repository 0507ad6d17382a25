"""Finished runs written by hand: the files that training leaves, for tests in which nothing is trained."""

import numpy as np

from fer_ablate.judgement.row_runs import ScoredRun
from fer_ablate.metrics import SplitResult
from fer_ablate.tracking.disk.run_folder import RunHeader, StoredPredictions
from fer_ablate.training.result import RunResult

CLASSES = ["happy", "sad"]


def make_header(**changes):
    """A header in which a test names only the fields that it is about."""
    fields = {
        "key": "0123456789abcdef",
        "name": "4 layers",
        "seed": 3,
        "experiment": "depth",
        "changed": {"model.conv_layers": "4"},
        "overrides": ["model.conv_layers=4"],
        "data_digest": "d" * 64,
        "code_digest": "c0de",
        "dataset": {"name": "synthetic", "train": 40, "val": 10, "test": 10},
        "started_at": "2026-01-02T03:04:05+00:00",
    }
    return RunHeader(**{**fields, **changes})


def make_result(header=None, **changes):
    """The result of a run with this header; every split is right about three of four images."""
    header = header or make_header()
    scores = {"precision": 0.75, "recall": 0.75, "f1": 0.75, "support": 4.0}
    metrics, per_class = {"acc": 0.75, "loss": 0.5}, {name: scores for name in CLASSES}
    split = SplitResult(n=8, metrics=metrics, per_class=per_class, confusion=[[3, 1], [1, 3]])
    fields = {
        "key": header.key,
        "name": header.name,
        "seed": header.seed,
        "splits": dict.fromkeys(("val", "test", "public", "private"), split),
        "classes": CLASSES,
        "protocol": {"roles": "official", "tta": "none"},
        "best_epoch": 2,
        "epochs": 3,
        "seconds": 12.5,
        "seconds_per_epoch": 4.0,
        "peak_memory_mb": 512.0,
        "parameters": 1234,
        "macs": 5678,
        "finished_at": "2026-01-02T03:05:05+00:00",
        "environment": {"torch": "2.13.0"},
    }
    return RunResult(**{**fields, **changes})


def make_predictions():
    """The scores of two images, one of either test split."""
    probabilities = np.array([[0.75, 0.25], [0.5, 0.5]], np.float32)
    return StoredPredictions(np.array([5, 9]), np.array([1, 2]), np.array([0, 1]), probabilities)


def epoch_metrics(epoch):
    return {"seconds": 4.0, "lr": 0.1, "train/loss": 2.0 / epoch, "val/loss": 2.5 / epoch, "val/acc": 0.1 * epoch}


def finish_run(folder, header=None, predictions=None, **result):
    """Write header, predictions and result into a run folder; `result` names the fields that differ from `make_result`."""
    run = ScoredRun(folder, header or make_header(), make_result(header, **result))
    folder.write_header(run.header)
    folder.write_predictions(predictions or make_predictions())
    folder.write_result(run.result)
    return run


def fill(folder, config="seed: 3\nmodel: {conv_layers: 4, stages: [{channels: 64}]}\n"):
    """Write all files of a finished run, its config and the history of its three epochs too."""
    finish_run(folder).folder.write_config(config)
    for epoch in (1, 2, 3):
        folder.append_epoch(epoch, epoch_metrics(epoch), time_ms=1000 * epoch)
    return folder
