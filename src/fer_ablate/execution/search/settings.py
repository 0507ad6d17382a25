"""Settings of the sweeper and search space of a search, read from `hydra.sweeper` and the command line and checked together."""

import functools
import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler

from fer_ablate.config.key import IRRELEVANT
from fer_ablate.config.overrides import ParsedOverride, key_of, parsed_overrides, value_of
from fer_ablate.errors import Fault, FaultyConfigError, choices
from fer_ablate.search.optuna_internals import distributions, grid_points
from fer_ablate.tracking.disk.scan import folder_name

KEY, SAMPLER_KEY = "hydra.sweeper", "hydra/sweeper/sampler"

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
        if not isinstance(rate, int | float) or not 0 <= rate <= 1:
            faults.append(Fault(f"{KEY}.max_failure_rate", f"{rate} is not a fraction from 0 to 1."))
        for name in ("storage", "study_name", "custom_search_space"):
            if values[name] is not None and (isinstance(values[name], bool | Mapping | list) or not str(values[name])):
                faults.append(Fault(f"{KEY}.{name}", f"{values[name]} is no text.", "Give a text, or null."))
        if not isinstance(values["pruner"], Mapping):
            faults.append(Fault(f"{KEY}.pruner", f"{values['pruner']} is not a mapping.", f"Give {KEY}.pruner.name=..."))
        if faults:
            raise FaultyConfigError(faults)
        texts = {name: str(values[name]) for name in ("storage", "study_name") if values[name] is not None}
        return cls(**{**values, **texts})


@dataclass(frozen=True)
class SearchSpace:
    """What a search varies, and what is the same for all of its trials.

    Args:
        varied: key -> values that the sampler may suggest.
        fixed: overrides with one value.
    """

    varied: dict[str, BaseDistribution]
    fixed: tuple[str, ...]


def read_space(params: Mapping[str, Any] | None, typed: Sequence[str]) -> SearchSpace:
    """Separate searched keys from fixed ones; of several overrides of one key the last counts.

    Args:
        params: `hydra.sweeper.params`.
        typed: overrides of the command line, without those of Hydra itself.

    Raises:
        FaultyConfigError: with every key that cannot be searched, or if there is none to search.
    """
    texts = [*(f"{key}={value}" for key, value in (params or {}).items()), *typed]
    parsed = {one.key_or_group: one for one in parsed_overrides(texts)}
    varied: dict[str, BaseDistribution] = {}
    faults = []
    if "study" in parsed:
        faults.append(Fault("study", "a search has no rows.", "Leave study= out, or hydra/sweeper=optuna."))
    for one in parsed.values():
        if not one.is_sweep_override():
            continue
        try:
            varied |= distributions(str(one.input_line))
            faults += _useless(one)
        except (ValueError, NotImplementedError, AssertionError) as error:
            remedy = "Give choice(a,b), range(1,5), interval(0.1,1), or tag(log, interval(1e-4,1e-1)) with positive ends."
            faults.append(Fault(one.key_or_group, f"{value_of(str(one.input_line))} cannot be searched: {error}", remedy))
    if not varied and not faults:
        remedy = "Give key=choice(a,b) or key=interval(0.1,1)."
        faults.append(Fault("", "no key has several values, so there is nothing to search.", remedy))
    if faults:
        raise FaultyConfigError(faults)
    fixed = tuple(str(one.input_line) for one in parsed.values() if not one.is_sweep_override())
    # Sorted, since the same keys in another order are the same search.
    return SearchSpace(dict(sorted(varied.items())), fixed)


def single_valued(typed: Sequence[str]) -> list[str]:
    """The overrides with one value."""
    return [text for text in typed if not parsed_overrides([text])[0].is_sweep_override()]


def sampler_of(given: DictConfig, space: Mapping[str, BaseDistribution]) -> Callable[[int], BaseSampler]:
    """A function that builds the sampler of a suggestion from its number; without a seed, the seed is 0.

    Raises:
        FaultyConfigError: the sampler refuses its arguments or this space.
    """
    target = str(given.get("_target_", ""))
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
            made = made(grid_points(space))
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
    moving = [name for name, one in space.items() if not isinstance(one, CategoricalDistribution)]
    if isinstance(made, CmaEsSampler) and len(moving) < 2:
        remedy = "Give range(2,6) or interval(0.1,1) for two keys or more; choice(...) it draws at random."
        raise FaultyConfigError([Fault(SAMPLER_KEY, f"CMA-ES moves numbers, and here are {len(moving)} of them.", remedy)])
    return make


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


def _useless(one: ParsedOverride) -> list[Fault]:
    """Faults of a key that can be searched but should not be."""
    key = one.key_or_group
    if key == "seed":
        remedy = "Search with one seed, then train the best with several: -m seed=1,2,3 and its parameters."
        return [Fault(key, "a search over seeds finds the luckiest.", remedy)]
    if key != "init_from" and any(key == name or key.startswith(f"{name}.") for name in IRRELEVANT):
        return [Fault(key, "does not change what a run gives, so all its trials would be one.", "Give it one value.")]
    return []


def _sampler_remedy(target: str) -> str:
    if target.endswith("GridSampler"):
        return "Give choice(a,b) or range(1,5), which are lists; an interval has no end of values."
    return "See the arguments in conf/hydra/sweeper/sampler, or --cfg hydra."
