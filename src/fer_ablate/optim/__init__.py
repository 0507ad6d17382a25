"""Losses, optimizers and learning-rate schedules."""

from fer_ablate.optim.losses import build_loss
from fer_ablate.optim.optimizers import build_optimizer, optimizer_faults
from fer_ablate.optim.schedulers import build_schedulers, scheduler_faults, steps

__all__ = ["build_loss", "build_optimizer", "build_schedulers", "optimizer_faults", "scheduler_faults", "steps"]
