"""Observers that record or abort whole runs, for the tests of training."""

import torch

from fer_ablate.training.checkpoints import network_weights, read


class Broken(Exception):
    """Raised to abort a run that shares the process of the tests."""


class Breaker:
    """An observer that aborts the run after the report of an epoch, but before the checkpoint of that epoch."""

    def __init__(self, epoch):
        self.broken_epoch = epoch

    def epoch(self, epoch, metrics, time_ms):
        if epoch == self.broken_epoch:
            raise Broken


class Notes:
    """An observer that keeps all metrics except for the durations."""

    def __init__(self):
        self.rows = {}

    def epoch(self, epoch, metrics, time_ms):
        self.rows[epoch] = {name: value for name, value in metrics.items() if name != "seconds"}


def kept_weights(folder, name="best.ckpt"):
    return network_weights(read(folder / name))


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
