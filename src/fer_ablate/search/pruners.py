"""Which trials of a search are hopeless: Optuna's pruners by short names, bound against their real signatures."""

import math
from collections.abc import Mapping
from typing import Any

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)

from fer_ablate.config.binding import argument_faults
from fer_ablate.errors import Fault, choices

KEY = "hydra.sweeper.pruner"

NONE = "none"

PRUNERS: dict[str, type[BasePruner]] = {
    "median": MedianPruner,  # worse than the median of earlier trials at the same epoch
    "percentile": PercentilePruner,
    "asha": SuccessiveHalvingPruner,  # Li et al., 2020
    "hyperband": HyperbandPruner,  # Li et al., 2018
    "threshold": ThresholdPruner,
    NONE: NopPruner,
}
"""What `hydra.sweeper.pruner.name` may be; an epoch, from 1, is a step."""

WARMED_UP = ("median", "percentile", "threshold")
WARMUP = 0.25
"""Share of the epochs before which these judge nobody, unless told otherwise: first epochs say little about last ones."""


def check_pruner(given: Mapping[str, Any], devices: int) -> list[Fault]:
    """What keeps this pruner from being built.

    Args:
        given: `name` and arguments of Optuna's class.
        devices: that share a run.
    """
    name = str(given.get("name", NONE))
    if name not in PRUNERS:
        return [Fault(f"{KEY}.name", f"'{name}' is not known.", choices(name, PRUNERS))]
    if faults := argument_faults(PRUNERS[name], _arguments(given), KEY, unless=("name",)):
        return faults
    try:
        build_pruner(given, 1)
    except (ValueError, TypeError) as error:
        return [Fault(KEY, f"{PRUNERS[name].__name__} refuses this: {str(error).splitlines()[0]}")]
    if name != NONE and devices > 1:
        remedy = f"Add {KEY}.name={NONE}, or give each trial one device."
        return [Fault(f"{KEY}.name", f"'{name}' cannot end a run that {devices} processes share.", remedy)]
    return []


def build_pruner(given: Mapping[str, Any], max_epochs: int) -> BasePruner:
    """The pruner for runs of at most so many epochs; `given` is free of faults."""
    name, arguments = str(given.get("name", NONE)), _arguments(given)
    if name in WARMED_UP:
        arguments = {"n_warmup_steps": math.ceil(WARMUP * max_epochs), **arguments}
    if name == "hyperband":
        # Left to itself, it takes the epochs of the first finished trial, which may have stopped early.
        arguments = {"max_resource": max_epochs, **arguments}
    return PRUNERS[name](**arguments)


def _arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != "name"}
