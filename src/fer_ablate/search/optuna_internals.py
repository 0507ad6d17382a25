"""Everything taken from private parts of Optuna and of hydra-optuna-sweeper, tried with Optuna 5.0.0 and the plugin 1.4.0rc3.

tests/study/test_optuna_internals.py names what a later release changed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GridSampler
from optuna.trial import FrozenTrial

FIXED_PARAMS = "fixed_params"
"""System attribute in which Optuna keeps the parameters of an enqueued trial until they are suggested."""


def reopened_trial(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """A trial of the storage that values can be reported to; Optuna itself gives it only to the process that asked for it."""
    return optuna.Trial(study, trial._trial_id)


def known_params(trial: FrozenTrial) -> dict[str, Any]:
    """Parameters of a trial, those included with which it was enqueued and that were not suggested yet."""
    return {**trial.system_attrs.get(FIXED_PARAMS, {}), **trial.params}


def distributions(override: str) -> dict[str, BaseDistribution]:
    """Distributions of a sweep such as `optimizer.lr=interval(0.1,1)`, by the key of the override.

    Raises:
        ValueError, NotImplementedError, AssertionError: Optuna has none for it.
    """
    # Imported here: every run that reports to a search imports this module, and only the search itself reads sweeps.
    from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

    found: dict[str, BaseDistribution] = create_params_from_overrides([override])[0]
    return found


def grid_points(space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """The values of each key that a grid goes through.

    Raises:
        ValueError: a distribution is continuous.
    """
    from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl

    return {name: OptunaSweeperImpl._to_grid_sampler_choices(one) for name, one in space.items()}


def keep_points(sampler: GridSampler, point: Callable[[dict[str, Any]], Any]) -> None:
    """Keep the points of a grid that differ, in the order in which it goes through them.

    Args:
        sampler: new.
        point: values of all keys -> what is equal for equal points; None for one that is left out.

    Raises:
        ValueError: none is left.
    """
    kept: dict[Any, tuple[Any, ...]] = {}
    for values in sampler._all_grids:
        if (found := point(dict(zip(sampler._param_names, values, strict=True)))) is not None:
            kept.setdefault(found, values)
    if not kept:
        raise ValueError("no point of the grid is left")
    sampler._all_grids = list(kept.values())
    sampler._n_min_trials = len(kept)


def begin_suggesting(trial: optuna.Trial) -> None:
    """Let the sampler note the trial, which Optuna leaves out where all parameters are given: genetic ones count it by this."""
    trial.relative_params  # noqa: B018  # computed when it is read


def suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    """Let the sampler choose one more value of a trial; Optuna's own functions for this have one for each kind of value."""
    return trial._suggest(name, distribution)


def grid_size(sampler: BaseSampler) -> int | None:
    """Number of points of a grid; None if the sampler is not one of a grid."""
    return len(sampler._all_grids) if isinstance(sampler, GridSampler) else None
