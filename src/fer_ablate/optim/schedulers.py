"""Learning-rate schedules. `steps` turns durations in epochs into optimizer steps; only plateau is updated once an epoch."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer, lr_scheduler

from fer_ablate.config.binding import argument_faults, is_number
from fer_ablate.errors import Fault, choices

OWN_KEYS = ("name", "warmup_epochs", "warmup_start")
"""Keys of the section that every schedule has."""


@dataclass(frozen=True)
class Length:
    """Number of optimizer steps of the run after its warm-up, and of one epoch."""

    total: int
    per_epoch: int


def steps(epochs: float, steps_per_epoch: int) -> int:
    """Return the optimizer steps of a duration; at least one unless the duration is 0."""
    return max(1, round(epochs * steps_per_epoch)) if epochs else 0


@dataclass(frozen=True)
class Constant:
    """Keep the optimizer's rate constant."""

    def build(self, optimizer: Optimizer, length: Length) -> lr_scheduler.LRScheduler:
        """Build the torch scheduler for a run of this length."""
        return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)


@dataclass(frozen=True)
class Plateau:
    """Multiply the rate by `factor` after more than `patience` epochs without a better `monitor`."""

    monitor: str = "val/acc"
    mode: str = "max"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    min_lr: float = 0.0

    def build(self, optimizer: Optimizer, length: Length) -> lr_scheduler.ReduceLROnPlateau:
        """Build the torch scheduler for a run of this length."""
        return lr_scheduler.ReduceLROnPlateau(
            optimizer,
            mode="max" if self.mode == "max" else "min",
            factor=self.factor,
            patience=self.patience,
            threshold=self.threshold,
            min_lr=self.min_lr,
        )


@dataclass(frozen=True)
class Cosine:
    """Half a cosine down to `eta_min` in one period and up again in the next; null: one period for the whole run."""

    period_epochs: float | None = None
    eta_min: float = 0.0

    def build(self, optimizer: Optimizer, length: Length) -> lr_scheduler.LRScheduler:
        """Build the torch scheduler for a run of this length."""
        period = length.total if self.period_epochs is None else steps(self.period_epochs, length.per_epoch)
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=period, eta_min=self.eta_min)


@dataclass(frozen=True)
class WarmRestarts:
    """Half a cosine down to `eta_min`, then a restart (Loshchilov and Hutter 2017); each period is `multiplier` times longer."""

    period_epochs: float = 10.0
    multiplier: int = 1
    eta_min: float = 0.0

    def build(self, optimizer: Optimizer, length: Length) -> lr_scheduler.LRScheduler:
        """Build the torch scheduler for a run of this length."""
        period = steps(self.period_epochs, length.per_epoch)
        return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=period, T_mult=self.multiplier, eta_min=self.eta_min)


@dataclass(frozen=True)
class OneCycle:
    """Up to `max_lr` and down again over the whole run (Smith and Topin 2018); null: the maximum is the optimizer's rate."""

    max_lr: float | None = None
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    cycle_momentum: bool = True

    def build(self, optimizer: Optimizer, length: Length) -> lr_scheduler.LRScheduler:
        """Build the torch scheduler for a run of this length."""
        # torch cannot cycle the momentum of an optimizer without one, and would turn plain SGD into SGD with momentum.
        has_momentum = bool(optimizer.defaults.get("momentum")) or "betas" in optimizer.defaults
        return lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] if self.max_lr is None else self.max_lr for group in optimizer.param_groups],
            total_steps=length.total,
            pct_start=self.pct_start,
            div_factor=self.div_factor,
            final_div_factor=self.final_div_factor,
            cycle_momentum=self.cycle_momentum and has_momentum,
        )


@dataclass(frozen=True)
class Step:
    """Multiply the rate by `gamma` every `every_epochs` epochs."""

    every_epochs: float = 20.0
    gamma: float = 0.1

    def build(self, optimizer: Optimizer, length: Length) -> lr_scheduler.LRScheduler:
        """Build the torch scheduler for a run of this length."""
        return lr_scheduler.StepLR(optimizer, step_size=steps(self.every_epochs, length.per_epoch), gamma=self.gamma)


@dataclass(frozen=True)
class Exponential:
    """Decay the rate in every step, by a factor of `gamma` per epoch."""

    gamma: float = 0.95

    def build(self, optimizer: Optimizer, length: Length) -> lr_scheduler.LRScheduler:
        """Build the torch scheduler for a run of this length."""
        return lr_scheduler.ExponentialLR(optimizer, gamma=self.gamma ** (1 / length.per_epoch))


Schedule = Constant | Plateau | Cosine | WarmRestarts | OneCycle | Step | Exponential

SCHEDULERS: dict[str, type[Schedule]] = {
    "constant": Constant,
    "plateau": Plateau,
    "cosine": Cosine,
    "warm_restarts": WarmRestarts,
    "onecycle": OneCycle,
    "step": Step,
    "exponential": Exponential,
}

LIMITS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "warmup_epochs": (lambda value: value >= 0, "a number of epochs from 0"),
    "warmup_start": (lambda value: 0 < value <= 1, "in (0, 1], a fraction of optimizer.lr"),
    "factor": (lambda value: 0 < value < 1, "in (0, 1)"),
    "patience": (lambda value: isinstance(value, int) and value >= 0, "a whole number of epochs from 0"),
    "threshold": (lambda value: value >= 0, "a number from 0"),
    "min_lr": (lambda value: value >= 0, "a number from 0"),
    "eta_min": (lambda value: value >= 0, "a number from 0"),
    "period_epochs": (lambda value: value > 0, "a number of epochs above 0"),
    "every_epochs": (lambda value: value > 0, "a number of epochs above 0"),
    "multiplier": (lambda value: isinstance(value, int) and value >= 1, "a whole number from 1"),
    "max_lr": (lambda value: value > 0, "a number above 0"),
    "pct_start": (lambda value: 0 < value < 1, "in (0, 1)"),
    "div_factor": (lambda value: value >= 1, "a number from 1"),
    "final_div_factor": (lambda value: value >= 1, "a number from 1"),
    "gamma": (lambda value: 0 < value <= 1, "in (0, 1]"),
}
"""Key -> test of its value, and the condition in words."""


def scheduler_faults(config: Mapping[str, Any], max_epochs: int, monitors: Collection[str] | None = None) -> list[Fault]:
    """List all faults of the section `scheduler`.

    Args:
        config: `name`, the warm-up and the keys of that schedule.
        max_epochs: length of the run.
        monitors: metrics that plateau can monitor; None: not checked.
    """
    name = str(config.get("name") or "")
    if name not in SCHEDULERS:
        return [Fault("scheduler.name", f"'{name}' is unknown." if name else "is missing.", choices(name, SCHEDULERS))]
    schedule, arguments = SCHEDULERS[name], _arguments(config)
    faults = argument_faults(schedule, arguments, "scheduler", unless=OWN_KEYS)
    # A key that the schedule does not have is reported once, without a look at its value.
    already = {fault.key for fault in faults}
    for key, value in config.items():
        may_be_null = key not in OWN_KEYS and getattr(schedule, key, 0) is None
        if key not in LIMITS or f"scheduler.{key}" in already or (value is None and may_be_null):
            continue
        holds, words = LIMITS[key]
        if not (is_number(value) and holds(value)):
            faults.append(Fault(f"scheduler.{key}", f"{value!r} is not {words}."))
    warmup = config.get("warmup_epochs", 0)
    if is_number(warmup) and warmup > 0:
        if name == "onecycle":
            faults.append(
                Fault("scheduler.warmup_epochs", "onecycle warms up by itself.", "Set it to 0 and use scheduler.pct_start.")
            )
        elif warmup >= max_epochs:
            faults.append(
                Fault("scheduler.warmup_epochs", f"{warmup} leaves nothing of {max_epochs} epochs.", "Raise trainer.max_epochs.")
            )
    mode, monitor = arguments.get("mode", "max"), str(arguments.get("monitor", Plateau.monitor))
    if name == "plateau" and mode not in ("min", "max"):
        faults.append(Fault("scheduler.mode", f"'{mode}' is unknown.", choices(str(mode), ("min", "max"))))
    if name == "plateau" and monitors is not None and monitor not in monitors:
        faults.append(Fault("scheduler.monitor", f"'{monitor}' is not logged.", choices(monitor, monitors)))
    return faults


def build_schedulers(
    config: Mapping[str, Any], optimizer: Optimizer, steps_per_epoch: int, max_epochs: int
) -> list[dict[str, Any]]:
    """Build the schedule of a section that passed `scheduler_faults`.

    Args:
        config: `name`, the warm-up and the keys of that schedule.
        optimizer: the optimizer; the rates of its groups are the reference.
        steps_per_epoch: optimizer steps, that is after accumulation and over all devices.
        max_epochs: length of the run.

    Returns:
        Lightning's `lr_scheduler_config` mappings: usually one; two for plateau with a warm-up; none for a constant rate
        without a warm-up.
    """
    warmup = steps(config.get("warmup_epochs", 0), steps_per_epoch)
    # The schedule proper covers what the warm-up leaves, so that it still ends with the run.
    length = Length(total=max(1, steps(max_epochs, steps_per_epoch) - warmup), per_epoch=steps_per_epoch)
    schedule = SCHEDULERS[config["name"]](**_arguments(config))
    if isinstance(schedule, Constant) and not warmup:
        return []
    if isinstance(schedule, Plateau):
        main = {"scheduler": schedule.build(optimizer, length), "interval": "epoch", "frequency": 1, "monitor": schedule.monitor}
        return [_each_step(_warmup(config, optimizer, warmup)), main] if warmup else [main]
    if not warmup:
        return [_each_step(schedule.build(optimizer, length))]
    # SequentialLR cannot hold plateau, which is why plateau and its warm-up are two entries above.
    parts = [_warmup(config, optimizer, warmup), schedule.build(optimizer, length)]
    return [_each_step(lr_scheduler.SequentialLR(optimizer, parts, milestones=[warmup]))]


def _warmup(config: Mapping[str, Any], optimizer: Optimizer, warmup_steps: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.LinearLR(optimizer, start_factor=config.get("warmup_start", 0.01), total_iters=warmup_steps)


def _each_step(scheduler: lr_scheduler.LRScheduler) -> dict[str, Any]:
    return {"scheduler": scheduler, "interval": "step", "frequency": 1}


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in OWN_KEYS}
