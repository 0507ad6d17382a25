"""Optuna's pruners, which decide when a trial of a search is hopeless, by short names, checked against their signatures."""

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

PRUNER_KEY = "hydra.sweeper.pruner"

NONE = "none"

PRUNERS: dict[str, type[BasePruner]] = {
    "median": MedianPruner,  # worse than the median of earlier trials at the same epoch
    "percentile": PercentilePruner,
    "asha": SuccessiveHalvingPruner,  # Li et al., 2020
    "hyperband": HyperbandPruner,  # Li et al., 2018
    "threshold": ThresholdPruner,
    NONE: NopPruner,
}
"""Values of `hydra.sweeper.pruner.name`; a step of the pruner is an epoch, from 1."""

WARMED_UP = ("median", "percentile", "threshold")
WARMUP = 0.25
"""Share of the epochs during which these prune nothing by default: early epochs say little about the last ones."""


def check_pruner(given: Mapping[str, Any], devices: int) -> list[Fault]:
    """Faults for which this pruner cannot be built.

    Args:
        given: `name`, and arguments of Optuna's class.
        devices: number that share a run.
    """
    name = str(given.get("name", NONE))
    if name not in PRUNERS:
        return [Fault(f"{PRUNER_KEY}.name", f"there is no pruner '{name}'.", choices(name, PRUNERS))]
    if faults := argument_faults(PRUNERS[name], _arguments(given), PRUNER_KEY, unless=("name",)):
        return faults
    # Optuna checks values only when it builds the pruner, so one is built and thrown away.
    try:
        build_pruner(given, 1)
    except (ValueError, TypeError) as error:
        return [Fault(PRUNER_KEY, f"{PRUNERS[name].__name__} rejects these arguments: {str(error).splitlines()[0]}")]
    if name != NONE and devices > 1:
        remedy = f"Add {PRUNER_KEY}.name={NONE}, or give each trial one device."
        return [Fault(f"{PRUNER_KEY}.name", f"'{name}' cannot end a run that {devices} processes share.", remedy)]
    return []


def build_pruner(given: Mapping[str, Any], max_epochs: int) -> BasePruner:
    """The pruner for runs of at most `max_epochs` epochs; `given` has passed `check_pruner`."""
    name, arguments = str(given.get("name", NONE)), _arguments(given)
    if name in WARMED_UP:
        arguments = {"n_warmup_steps": math.ceil(WARMUP * max_epochs), **arguments}
    if name == "hyperband":
        # By default it takes the epochs of the first finished trial, which may have stopped early.
        arguments = {"max_resource": max_epochs, **arguments}
    return PRUNERS[name](**arguments)


def _arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != "name"}
