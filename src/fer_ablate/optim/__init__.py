"""What moves the weights: losses, optimizers and learning-rate schedules."""

from fer_ablate.optim.losses import build_loss, check_loss
from fer_ablate.optim.optimizers import build_optimizer, check_optimizer
from fer_ablate.optim.schedulers import build_schedulers, check_scheduler, steps

__all__ = ["build_loss", "build_optimizer", "build_schedulers", "check_loss", "check_optimizer", "check_scheduler", "steps"]
