"""Whole runs, what is known of their epochs, and how they break off; for the tests of training."""

import torch

from fer_ablate.training.checkpoints import network_weights, read


class Broken(Exception):
    """A kill, as far as a run inside the tests' own process can be killed."""


class Breaker:
    """An observer that breaks the run off behind the report of an epoch, hence before the checkpoint of that epoch."""

    def __init__(self, epoch):
        self.broken_epoch = epoch

    def epoch(self, epoch, metrics, time_ms):
        if epoch == self.broken_epoch:
            raise Broken


class Notes:
    """An observer that keeps what it is told, but for how long it took."""

    def __init__(self):
        self.rows = {}

    def epoch(self, epoch, metrics, time_ms):
        self.rows[epoch] = {name: value for name, value in metrics.items() if name != "seconds"}


def kept_weights(folder, name="best.ckpt"):
    return network_weights(read(folder / name))


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
