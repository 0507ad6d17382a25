"""Objectives of a search: metrics of the val role, the user's own among them, and costs, never of the test role."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fer_ablate.config.choices import MONITORS, Roles
from fer_ablate.config.schema import Config
from fer_ablate.errors import Fault, choices
from fer_ablate.metrics import PERCENT
from fer_ablate.training.checks import LOWER_IS_BETTER
from fer_ablate.training.result import RunResult

OBJECTIVE_KEY, DIRECTION_KEY = "search.objective", "hydra.sweeper.direction"

COSTS = ("parameters", "macs", "seconds", "peak_memory_mb", "seconds_per_epoch")
"""Costs of a whole run, typed as `run/parameters`; they are known only when it is finished."""

OBJECTIVES = (*(f"val/{name}" for name in (*PERCENT, "kappa", "loss")), *(f"run/{name}" for name in COSTS))

Own = Mapping[str, bool | None]
"""Metrics of the user's own that are objectives -> whether more is better, as they say; None where they say nothing."""

MINIMIZE, MAXIMIZE = "minimize", "maximize"

TEST_SPLITS = ("test", "public", "private")


def objective_names(given: str | Sequence[str] | None, direction: str | Sequence[str] | None = None) -> tuple[str, ...]:
    """`search.objective` as a tuple; a single objective may be typed without brackets.

    Args:
        given: as typed; None: validation accuracy, or validation loss where that is what the direction means.
        direction: `hydra.sweeper.direction` as typed.
    """
    if given is None:
        return ("val/loss",) if direction in (MINIMIZE, [MINIMIZE]) else ("val/acc",)
    return (given,) if isinstance(given, str) else tuple(given)


def objective_directions(
    names: Sequence[str], given: str | Sequence[str] | None = None, own: Own | None = None
) -> tuple[str, ...]:
    """`minimize` or `maximize` for each objective.

    Args:
        names: of the objectives.
        given: as typed; None follows the metric: loss, calibration error and costs are minimized, all others maximized.
        own: metrics of the user's own.
    """
    if given is not None:
        return (given,) if isinstance(given, str) else tuple(given)
    lower = (*LOWER_IS_BETTER, "ece", *COSTS, *(name for name, higher in (own or {}).items() if higher is False))
    return tuple(MINIMIZE if name.rpartition("/")[2] in lower else MAXIMIZE for name in names)


def objective_values(result: RunResult, names: Sequence[str]) -> list[float]:
    """The objectives of a finished run, in the unit of `RunResult`: fractions, nats, seconds, MiB; NaN where it has none."""
    found = []
    for name in names:
        part, _, metric = name.partition("/")
        value = result.splits["val"].value(metric) if part == "val" else float(getattr(result, metric))
        found.append(math.nan if value is None else value)
    return found


def own_objectives(config: Config) -> dict[str, Any]:
    """The metrics of the user's own among the objectives, as the config has them."""
    names = objective_names(config.search.objective)
    return {name: part for name, part in config.evaluation.metrics.items() if f"val/{name}" in names}


def check_objectives(config: Config, direction: str | Sequence[str] | None, own: Own | None = None) -> list[Fault]:
    """Faults in the objectives of a search.

    Args:
        config: of the search.
        direction: as typed; None: it follows the metric.
        own: metrics of the user's own that are objectives.
    """
    own = own or {}
    names = objective_names(config.search.objective, direction)
    faults = [fault for name in names for fault in _name_faults(name, config)]
    given = objective_directions(names, direction, own)
    for word in given:
        if word not in (MINIMIZE, MAXIMIZE):
            faults.append(Fault(DIRECTION_KEY, f"'{word}' is not a direction.", choices(word, (MINIMIZE, MAXIMIZE))))
    if len(given) != len(names):
        remedy = "Leave it out: it follows the metric."
        faults.append(Fault(DIRECTION_KEY, f"{len(given)} given for {len(names)} objectives.", remedy))
    elif not faults:
        faults += _unknown_ways(own) if direction is None else _worst_faults(names, given, own)
    return faults


def _unknown_ways(own: Own) -> list[Fault]:
    """Metrics that do not say in which direction they are better."""
    remedy = f"Give {DIRECTION_KEY}=maximize or minimize, or the class higher_is_better = True or False."
    return [
        Fault(f"evaluation.metrics.{name}", "it says neither that more nor that less is better.", remedy)
        for name, higher in own.items()
        if higher is None
    ]


def _worst_faults(names: Sequence[str], directions: Sequence[str], own: Own) -> list[Fault]:
    """Directions in which a search would look for the worst network."""
    remedy = f"Leave {DIRECTION_KEY} out: it follows the metric; or give {OBJECTIVE_KEY}=... for another metric."
    return [
        Fault(DIRECTION_KEY, f"to {way} {name} looks for the worst network.", remedy)
        for name, way, best in zip(names, directions, objective_directions(names, None, own), strict=True)
        if way != best and own.get(name.removeprefix("val/"), True) is not None
    ]


def why_not_pruned(config: Config) -> str:
    """Why no trial of this search can be pruned; empty if trials can."""
    names = objective_names(config.search.objective)
    if len(names) > 1:
        return "trials are not pruned: Optuna prunes by one objective only"
    if names[0] not in MONITORS:
        return f"trials are not pruned: {names[0]} is not measured after every epoch"
    if config.trainer.limit_val_batches == 0:
        return f"trials are not pruned: {names[0]} is not measured with trainer.limit_val_batches=0"
    return ""


def _name_faults(name: str, config: Config) -> list[Fault]:
    roles, own = config.data.roles, tuple(f"val/{metric}" for metric in config.evaluation.metrics)
    if name.startswith(tuple(f"{split}/" for split in TEST_SPLITS)):
        split, _, metric = name.partition("/")
        remedy = f"A search never looks at them; use val/{metric}."
        return [Fault(OBJECTIVE_KEY, f"'{name}' would choose by the {split} images.", remedy)]
    if name not in (*OBJECTIVES, *own):
        return [Fault(OBJECTIVE_KEY, f"'{name}' cannot be searched for.", choices(name, (*OBJECTIVES, *own)))]
    if name.startswith("val/") and roles in (Roles.combined, Roles.combined_swapped):
        problem = f"'{name}' is measured on images that data.roles={roles.name} trains on."
        return [Fault(OBJECTIVE_KEY, problem, "Use data.roles=holdout.")]
    return []
