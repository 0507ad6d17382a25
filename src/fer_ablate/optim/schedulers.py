"""Builds torch's schedulers. `steps` turns durations in epochs into optimizer steps; only plateau is updated once an epoch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer, lr_scheduler

from fer_ablate.config.binding import build_part, is_own
from fer_ablate.errors import Fault, FaultyConfigError
from fer_ablate.optim.schedules import (
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    Plateau,
    Schedule,
    Step,
    WarmRestarts,
    own_arguments,
    schedule_of,
)


@dataclass(frozen=True)
class Length:
    """Number of optimizer steps of the run after its warm-up, and of one epoch."""

    total: int
    per_epoch: int


def steps(epochs: float, steps_per_epoch: int) -> int:
    """Return the optimizer steps of a duration; at least one unless the duration is 0."""
    return max(1, round(epochs * steps_per_epoch)) if epochs else 0


def build_schedulers(
    config: Mapping[str, Any], optimizer: Optimizer, steps_per_epoch: int, max_epochs: int, plugins: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Build the schedule of a section that passed `scheduler_faults`.

    Args:
        config: `name`, the warm-up and the keys of that schedule.
        optimizer: the optimizer; the rates of its groups are the reference.
        steps_per_epoch: optimizer steps, that is after accumulation and over all devices.
        max_epochs: length of the run.
        plugins: the user's own packages that may be imported.

    Returns:
        Lightning's `lr_scheduler_config` mappings: usually one; two for plateau with a warm-up; none for a constant rate
        without a warm-up.
    """
    warmup = steps(config.get("warmup_epochs", 0), steps_per_epoch)
    # The schedule proper covers what the warm-up leaves, so that it still ends with the run.
    length = Length(total=max(1, steps(max_epochs, steps_per_epoch) - warmup), per_epoch=steps_per_epoch)
    if is_own(config["name"]):
        own = _own(config, optimizer, length, max_epochs, plugins)
        if config.get("interval") == "epoch":
            return [{"scheduler": own, "interval": "epoch", "frequency": 1}]
        return [_each_step(_warmed(config, optimizer, warmup, own) if warmup else own)]
    schedule = schedule_of(config)
    if isinstance(schedule, Constant) and not warmup:
        return []
    if isinstance(schedule, Plateau):
        plateau = _plateau(schedule, optimizer)
        main = {"scheduler": plateau, "interval": "epoch", "frequency": 1, "monitor": schedule.monitor}
        return [_each_step(_warmup(config, optimizer, warmup)), main] if warmup else [main]
    if not warmup:
        return [_each_step(_stepped(schedule, optimizer, length))]
    # SequentialLR cannot hold plateau, which is why plateau and its warm-up are two entries above.
    return [_each_step(_warmed(config, optimizer, warmup, _stepped(schedule, optimizer, length)))]


def _own(
    config: Mapping[str, Any], optimizer: Optimizer, length: Length, max_epochs: int, plugins: Sequence[str]
) -> lr_scheduler.LRScheduler:
    name = config["name"]
    offered = {"total_steps": length.total, "steps_per_epoch": length.per_epoch, "max_epochs": max_epochs}
    built = build_part(name, own_arguments(config), plugins, "scheduler.name", optimizer, **offered)
    if not isinstance(built, lr_scheduler.LRScheduler) or isinstance(built, lr_scheduler.ReduceLROnPlateau):
        problem = f"{name} gives an object of the class {type(built).__name__}, and no scheduler of steps or epochs."
        remedy = "Derive it from torch.optim.lr_scheduler.LRScheduler; scheduler=plateau is the one that follows a metric."
        raise FaultyConfigError([Fault("scheduler.name", problem, remedy)])
    return built


def _warmed(
    config: Mapping[str, Any], optimizer: Optimizer, warmup_steps: int, main: lr_scheduler.LRScheduler
) -> lr_scheduler.LRScheduler:
    parts = [_warmup(config, optimizer, warmup_steps), main]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[warmup_steps])


def _plateau(schedule: Plateau, optimizer: Optimizer) -> lr_scheduler.ReduceLROnPlateau:
    return lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="max" if schedule.mode == "max" else "min",
        factor=schedule.factor,
        patience=schedule.patience,
        threshold=schedule.threshold,
        threshold_mode="abs" if schedule.threshold_mode == "abs" else "rel",
        min_lr=schedule.min_lr,
    )


def _stepped(schedule: Schedule, optimizer: Optimizer, length: Length) -> lr_scheduler.LRScheduler:
    """The torch scheduler of a schedule that is updated in every step, for a run of this length."""
    match schedule:
        case Cosine(period_epochs, eta_min):
            period = length.total if period_epochs is None else steps(period_epochs, length.per_epoch)
            return lr_scheduler.CosineAnnealingLR(optimizer, T_max=period, eta_min=eta_min)
        case WarmRestarts(period_epochs, multiplier, eta_min):
            period = steps(period_epochs, length.per_epoch)
            return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=period, T_mult=multiplier, eta_min=eta_min)
        case OneCycle():
            return _one_cycle(schedule, optimizer, length)
        case Step(every_epochs, gamma):
            return lr_scheduler.StepLR(optimizer, step_size=steps(every_epochs, length.per_epoch), gamma=gamma)
        case Exponential(gamma):
            return lr_scheduler.ExponentialLR(optimizer, gamma=gamma ** (1 / length.per_epoch))
        case _:
            return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)


def _one_cycle(schedule: OneCycle, optimizer: Optimizer, length: Length) -> lr_scheduler.OneCycleLR:
    # torch cannot cycle the momentum of an optimizer without one, and would turn plain SGD into SGD with momentum.
    has_momentum = bool(optimizer.defaults.get("momentum")) or "betas" in optimizer.defaults
    # Where the rise has a single step, torch divides by its zero steps after that; the next number makes it a tiny part of one.
    exact = float(schedule.pct_start * length.total) == 1
    return lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] if schedule.max_lr is None else schedule.max_lr for group in optimizer.param_groups],
        total_steps=length.total,
        pct_start=math.nextafter(schedule.pct_start, 1) if exact else schedule.pct_start,
        div_factor=schedule.div_factor,
        final_div_factor=schedule.final_div_factor,
        cycle_momentum=schedule.cycle_momentum and has_momentum,
    )


def _warmup(config: Mapping[str, Any], optimizer: Optimizer, warmup_steps: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.LinearLR(optimizer, start_factor=config.get("warmup_start", 0.01), total_iters=warmup_steps)


def _each_step(scheduler: lr_scheduler.LRScheduler) -> dict[str, Any]:
    return {"scheduler": scheduler, "interval": "step", "frequency": 1}
