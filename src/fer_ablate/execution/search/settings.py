"""Settings of the sweeper of a search, read from `hydra.sweeper` and checked, and the sampler that they describe."""

import functools
import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GridSampler, RandomSampler, TPESampler

from fer_ablate.config.binding import is_number
from fer_ablate.config.overrides import key_of
from fer_ablate.errors import Fault, FaultyConfigError, choices
from fer_ablate.execution.search.space import KEY, SearchSpace
from fer_ablate.search.optuna_internals import grid_points, keep_points
from fer_ablate.tracking.disk.scan import folder_name

SAMPLER_KEY = "hydra/sweeper/sampler"

SAMPLER_CODE = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*")
"""What `_target_` of a sampler may name; the plugin has the same list."""

IN_ORDER = ("GridSampler", "QMCSampler")
"""Samplers that go through the space in a fixed order, which depends on their seed: all trials must use the same seed."""

NAME_LENGTH, NAME_DIGITS = 40, 8


@dataclass(frozen=True)
class SweeperSettings:
    """Values of `hydra.sweeper`; see conf/hydra/sweeper/optuna.yaml for what they mean."""

    sampler: DictConfig
    n_trials: int
    n_jobs: int
    direction: str | list[str] | None
    storage: str | None
    study_name: str | None
    pruner: Mapping[str, Any]
    max_failure_rate: float
    retry_failed: bool
    custom_search_space: str | None
    params: Mapping[str, Any] | None
    when: Any = None
    exclude: Any = None

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> "SweeperSettings":
        """Check the values that Hydra gives to the sweeper.

        Raises:
            FaultyConfigError: with every value of a wrong kind or out of bounds.
        """
        values = {name: value if name == "sampler" else _plain(value) for name, value in given.items()}
        values.pop("_target_", None)  # of hydra-optuna-sweeper, which has the same keys
        faults = [*_unknown_settings(values, [one.name for one in fields(cls)])]
        if faults:
            raise FaultyConfigError(faults)
        for name in ("n_trials", "n_jobs"):
            if not isinstance(values[name], int) or isinstance(values[name], bool) or values[name] < 1:
                faults.append(Fault(f"{KEY}.{name}", f"{values[name]} is not a whole number from 1."))
        rate = values["max_failure_rate"]
        if not is_number(rate) or not 0 <= rate <= 1:
            faults.append(Fault(f"{KEY}.max_failure_rate", f"{rate} is not a fraction from 0 to 1."))
        for name in ("storage", "study_name", "custom_search_space"):
            if values[name] is not None and (isinstance(values[name], bool | Mapping | list) or not str(values[name])):
                faults.append(Fault(f"{KEY}.{name}", f"{values[name]} is no text.", "Give a text, or null."))
        if not isinstance(values["pruner"], Mapping):
            faults.append(Fault(f"{KEY}.pruner", f"{values['pruner']} is not a mapping.", f"Give {KEY}.pruner.name=..."))
        if not isinstance(values["retry_failed"], bool):
            faults.append(Fault(f"{KEY}.retry_failed", f"{values['retry_failed']} is not true or false."))
        ways = values["direction"]
        if not all(way is None or isinstance(way, str) for way in (ways if isinstance(ways, list) else [ways])):
            faults.append(
                Fault(f"{KEY}.direction", f"{ways} is no direction.", "Give minimize, maximize, a list of them or null.")
            )
        faults += _sampler_faults(values["sampler"])
        if faults:
            raise FaultyConfigError(faults)
        texts = {name: str(values[name]) for name in ("storage", "study_name") if values[name] is not None}
        return cls(**{**values, **texts})


def sampler_of(given: DictConfig, space: SearchSpace, objectives: int = 1) -> Callable[[int], BaseSampler]:
    """A function that builds the sampler of a suggestion from its number; without a seed, the seed is 0.

    Args:
        given: `hydra.sweeper.sampler`.
        space: of the search.
        objectives: number of them.

    Raises:
        FaultyConfigError: the sampler refuses its arguments or this space.
    """
    target = str(given.get("_target_", ""))
    if space.when and _is_joint_tpe(given, objectives):
        # Otherwise TPE models together only the keys that all trials have, and every other key by itself.
        given = OmegaConf.create({**cast("dict[str, Any]", OmegaConf.to_container(given)), "group": True})
    seed = int(given.get("seed") or 0)

    def make(number: int) -> BaseSampler:
        # Every suggestion builds a sampler anew: with one seed for all, each would draw the same first values.
        own = seed if target.endswith(IN_ORDER) else int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        seeded = OmegaConf.merge(given, {"seed": own}) if "seed" in given else given
        with warnings.catch_warnings():
            # Every suggestion would repeat that an argument is experimental, or will be gone in Optuna's next release.
            warnings.simplefilter("ignore", ExperimentalWarning)
            warnings.simplefilter("ignore", FutureWarning)
            made = instantiate(seeded, _execution_whitelist_=SAMPLER_CODE)
        if isinstance(made, functools.partial):  # the grid's, whose points are known only here
            made = made(grid_points(space.varied))
            keep_points(made, space.point)
        if not isinstance(made, BaseSampler):
            raise ValueError(f"{target} makes no sampler")
        return made

    # Built once before the first trial, so that wrong arguments show at once.
    try:
        made = make(0)
    except (HydraException, ValueError, TypeError, ImportError) as error:
        # Hydra wraps the error of the sampler, and only the cause says what is wrong.
        cause = error.__cause__ or error
        raise FaultyConfigError([Fault(SAMPLER_KEY, str(cause).splitlines()[0], _sampler_remedy(target))]) from error
    if isinstance(made, CmaEsSampler) and (fault := _too_few_numbers(space)):
        raise FaultyConfigError([fault])
    return make


def _sampler_faults(given: Any) -> list[Fault]:
    """List what is wrong with the sampler before it is built."""
    if not isinstance(given, DictConfig):
        return [Fault(f"{KEY}.sampler", f"{given} is not a mapping.", f"Choose a sampler by {SAMPLER_KEY}=tpe, with a slash.")]
    seed = given.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or seed < 0):
        return [Fault(f"{KEY}.sampler.seed", f"{seed} is not a whole number from 0, or null.")]
    return []


def sampler_note(sampler: BaseSampler, space: SearchSpace) -> str:
    """What a sampler cannot do with keys that only some trials have; empty if it can."""
    if not space.when or isinstance(sampler, RandomSampler | TPESampler | GridSampler):
        return ""
    name = type(sampler).__name__
    return (
        f"{name} draws {', '.join(space.when)} at random, since not all trials have them; hydra/sweeper/sampler=tpe learns them"
    )


def _is_joint_tpe(given: DictConfig, objectives: int) -> bool:
    """Whether this is a TPE that models several keys together, which Optuna's does for one objective unless told otherwise."""
    joint = given.get("multivariate")
    return str(given.get("_target_", "")).endswith("TPESampler") and (objectives == 1 if joint is None else bool(joint))


def _too_few_numbers(space: SearchSpace) -> Fault | None:
    """Why CMA-ES has nothing to do in a space; it draws choices at random, and keys that not all trials have."""
    moving = [
        key for key, one in space.varied.items() if not isinstance(one, CategoricalDistribution) and key_of(key) not in space.when
    ]
    if len(moving) >= 2:
        return None
    remedy = "Give range(2,6) or interval(0.1,1) for two keys or more; choice(...) it draws at random."
    also = ", without those of hydra.sweeper.when" if space.when else ""
    return Fault(SAMPLER_KEY, f"CMA-ES moves numbers, and here are {len(moving)} of them{also}.", remedy)


def derived_name(space: Iterable[str], identity: Mapping[str, Any], sampler: DictConfig) -> str:
    """The searched keys and a digest of everything that identifies the search: `conv_layers+lr-1a2b3c4d`."""
    content = json.dumps([identity, OmegaConf.to_container(sampler)], sort_keys=True, default=str)
    keys = "+".join(key_of(name).replace("/", ".").rsplit(".", 1)[-1] for name in space)
    return f"{folder_name(keys)[:NAME_LENGTH].strip('_.+')}-{hashlib.sha256(content.encode()).hexdigest()[:NAME_DIGITS]}"


def _unknown_settings(values: Mapping[str, Any], known: Sequence[str]) -> Iterator[Fault]:
    for name in values:
        if name == "search_space":  # of hydra-optuna-sweeper before 1.2
            yield Fault(f"{KEY}.{name}", "was replaced by params.", f"Write {KEY}.params: {{KEY: 'interval(0.1, 1)'}}.")
        elif name not in known:
            yield Fault(f"{KEY}.{name}", "there is no such key.", choices(name, known))
    for name in known:
        if name not in values:
            yield Fault(f"{KEY}.{name}", "is missing.", "Choose hydra/sweeper=optuna, which has it.")


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _sampler_remedy(target: str) -> str:
    if target.endswith("GridSampler"):
        return "Give choice(a,b) or range(1,5), which are lists; an interval has no end of values."
    return "See the arguments in conf/hydra/sweeper/sampler, or --cfg hydra."
