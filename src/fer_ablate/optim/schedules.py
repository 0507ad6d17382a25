"""Learning-rate schedules: what each is described by, and the faults of a section that names one. torch is not needed for it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fer_ablate.config.binding import argument_faults, is_number, is_own, load_plugin, part_faults, takes
from fer_ablate.errors import Fault, choices
from fer_ablate.optim.optimizer_limits import LARGEST

OWN_KEYS = ("name", "warmup_epochs", "warmup_start")
"""Keys of the section that every schedule has."""

INTERVALS = ("step", "epoch")
"""When a scheduler of the user's own is updated (`interval`); the others know it by themselves."""

OFFERED = ("total_steps", "steps_per_epoch", "max_epochs")
"""What a scheduler of the user's own gets if it takes it: optimizer steps of the run after its warm-up, those of an epoch, and
the number of epochs."""

OF_LENGTH = ("total_steps", "max_epochs")
"""Those of them that depend on the number of epochs."""


@dataclass(frozen=True)
class Constant:
    """Keep the optimizer's rate constant."""


@dataclass(frozen=True)
class Plateau:
    """Multiply the rate by `factor` after more than `patience` epochs without a better `monitor`.

    Better is what beats the best value by more than `threshold`, which is a share of that value (`rel`, torch's default) or in
    the unit of the metric (`abs`, as `min_delta` of Keras).
    """

    monitor: str = "val/acc"
    mode: str = "max"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: str = "rel"
    min_lr: float = 0.0


@dataclass(frozen=True)
class Cosine:
    """Half a cosine down to `eta_min` in one period and up again in the next; null: one period for the whole run."""

    period_epochs: float | None = None
    eta_min: float = 0.0


@dataclass(frozen=True)
class WarmRestarts:
    """Half a cosine down to `eta_min`, then a restart (Loshchilov and Hutter 2017); each period is `multiplier` times longer."""

    period_epochs: float = 10.0
    multiplier: int = 1
    eta_min: float = 0.0


@dataclass(frozen=True)
class OneCycle:
    """Up to `max_lr` and down again over the whole run (Smith and Topin 2018); null: the maximum is the optimizer's rate."""

    max_lr: float | None = None
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    cycle_momentum: bool = True


@dataclass(frozen=True)
class Step:
    """Multiply the rate by `gamma` every `every_epochs` epochs."""

    every_epochs: float = 20.0
    gamma: float = 0.1


@dataclass(frozen=True)
class Exponential:
    """Decay the rate in every step, by a factor of `gamma` per epoch."""

    gamma: float = 0.95


Schedule = Constant | Plateau | Cosine | WarmRestarts | OneCycle | Step | Exponential

SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "plateau": Plateau,
    "cosine": Cosine,
    "warm_restarts": WarmRestarts,
    "onecycle": OneCycle,
    "step": Step,
    "exponential": Exponential,
}

THRESHOLD_MODES = ("rel", "abs")
"""Names that torch gives to a threshold that is a share of the best value, and to one in the unit of the metric."""

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
    "max_lr": (lambda value: 0 < value <= LARGEST, "a number above 0, and at most 1e30"),
    "pct_start": (lambda value: 0 < value < 1, "in (0, 1)"),
    "div_factor": (lambda value: value >= 1, "a number from 1"),
    "final_div_factor": (lambda value: value >= 1, "a number from 1"),
    "gamma": (lambda value: 0 < value <= 1, "in (0, 1]"),
}
"""Key -> test of its value, and the condition in words."""


def scheduler_faults(
    config: Mapping[str, Any], max_epochs: int, monitors: Collection[str] | None = None, plugins: Sequence[str] = ()
) -> list[Fault]:
    """List all faults of the section `scheduler`.

    Args:
        config: `name`, the warm-up and the keys of that schedule.
        max_epochs: length of the run.
        monitors: metrics that plateau can monitor; None: not checked.
        plugins: the user's own packages that may be imported.
    """
    name = str(config.get("name") or "")
    if is_own(name):
        return _own_faults(name, config, max_epochs, plugins)
    if name not in SCHEDULES:
        return [Fault("scheduler.name", f"'{name}' is unknown." if name else "is missing.", choices(name, SCHEDULES))]
    schedule, arguments = SCHEDULES[name], _arguments(config)
    faults = argument_faults(schedule, arguments, "scheduler", unless=OWN_KEYS)
    # A key that the schedule does not have is reported once, without a look at its value.
    faults += _limit_faults(config, schedule, {fault.key for fault in faults})
    faults += _warmup_faults(config, max_epochs)
    mode, monitor = arguments.get("mode", "max"), str(arguments.get("monitor", Plateau.monitor))
    if name == "plateau" and mode not in ("min", "max"):
        faults.append(Fault("scheduler.mode", f"'{mode}' is unknown.", choices(str(mode), ("min", "max"))))
    threshold_mode = arguments.get("threshold_mode", Plateau.threshold_mode)
    if name == "plateau" and threshold_mode not in THRESHOLD_MODES:
        problem = f"'{threshold_mode}' is unknown."
        faults.append(Fault("scheduler.threshold_mode", problem, choices(str(threshold_mode), THRESHOLD_MODES)))
    if name == "plateau" and monitors is not None and monitor not in monitors:
        faults.append(Fault("scheduler.monitor", f"'{monitor}' is not logged.", choices(monitor, monitors)))
    return faults


def _own_faults(name: str, config: Mapping[str, Any], max_epochs: int, plugins: Sequence[str]) -> list[Fault]:
    """Faults of a scheduler of the user's own: its arguments, when it is updated, and the warm-up before it."""
    interval, own = config.get("interval", "step"), own_arguments(config)
    faults = part_faults(name, own, plugins, "scheduler.name", place="scheduler", offered=OFFERED, first=1)
    if interval not in INTERVALS:
        faults.append(Fault("scheduler.interval", f"'{interval}' is unknown.", choices(str(interval), INTERVALS)))
    warmup = config.get("warmup_epochs", 0)
    if interval == "epoch" and is_number(warmup) and warmup > 0:
        remedy = "Set it to 0, or let the scheduler count steps (interval: step)."
        faults.append(Fault("scheduler.warmup_epochs", "a warm-up counts steps, and this scheduler epochs.", remedy))
    return [*faults, *_limit_faults(config, object, set(own)), *_warmup_faults(config, max_epochs)]


def _limit_faults(config: Mapping[str, Any], schedule: type, already: Collection[str]) -> list[Fault]:
    """Values beyond their limits, but for keys that have a fault already, or whose limits only a plugin knows."""
    faults = []
    for key, value in config.items():
        may_be_null = key not in OWN_KEYS and getattr(schedule, key, 0) is None
        if key not in LIMITS or key in already or f"scheduler.{key}" in already or (value is None and may_be_null):
            continue
        holds, words = LIMITS[key]
        if not (is_number(value) and holds(value)):
            faults.append(Fault(f"scheduler.{key}", f"{value!r} is not {words}."))
    return faults


def _warmup_faults(config: Mapping[str, Any], max_epochs: int) -> list[Fault]:
    warmup = config.get("warmup_epochs", 0)
    if not (is_number(warmup) and warmup > 0):
        return []
    if config.get("name") == "onecycle":
        return [Fault("scheduler.warmup_epochs", "onecycle warms up by itself.", "Set it to 0 and use scheduler.pct_start.")]
    if warmup >= max_epochs:
        return [Fault("scheduler.warmup_epochs", f"{warmup} leaves nothing of {max_epochs} epochs.", "Raise trainer.max_epochs.")]
    return []


def own_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a section that are arguments of a scheduler of the user's own."""
    return {key: value for key, value in config.items() if key not in (*OWN_KEYS, "interval")}


def length_dependence(config: Mapping[str, Any], plugins: Sequence[str] = ()) -> str:
    """Why the rate of an epoch depends on the number of epochs of the run; empty if it does not.

    Args:
        config: a section without faults.
        plugins: the user's own packages that may be imported.
    """
    name = str(config["name"])
    if is_own(name):
        target = load_plugin(name, plugins, "scheduler.name")
        taken = [one for one in OFFERED if one in OF_LENGTH and one not in config and takes(target, one)]
        return f"scheduler={name} takes {', '.join(taken)}" if taken else ""
    schedule = schedule_of(config)
    if isinstance(schedule, OneCycle):
        return "scheduler=onecycle is stretched over all epochs"
    if isinstance(schedule, Cosine) and schedule.period_epochs is None:
        return "scheduler=cosine is stretched over all epochs, unless scheduler.period_epochs is given"
    return ""


def schedule_of(config: Mapping[str, Any]) -> Schedule:
    """The schedule that a section without faults describes, apart from its warm-up."""
    return SCHEDULES[config["name"]](**_arguments(config))


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in OWN_KEYS}
