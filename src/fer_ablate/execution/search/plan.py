"""A search before its first trial: read from the command line, composed, checked, named."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import optuna
from omegaconf import OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution

from fer_ablate.cli import console
from fer_ablate.cli.request import raise_faults
from fer_ablate.config.binding import load_plugin
from fer_ablate.config.compose import to_yaml
from fer_ablate.config.key import code_digest, relevant
from fer_ablate.config.schema import Config, StudyConfig
from fer_ablate.config.study_rows import Row
from fer_ablate.execution.search.settings import KEY, Settings, Words, derived_name, grid_size, read_words, sampler_of
from fer_ablate.search.objectives import check_objectives, directions, objectives
from fer_ablate.search.pruners import build_pruner, check_pruner
from fer_ablate.search.search import SearchPlan
from fer_ablate.search.trial_store import absolute, default_address
from fer_ablate.study.cells import Cell, compose_cells
from fer_ablate.study.spec import Asked
from fer_ablate.tracking.disk.places import folder_name


@dataclass(frozen=True)
class Prepared:
    """A checked search.

    Args:
        plan: of the search.
        words: of the command line.
        config: of the first combination of values; what all trials share is read from it.
        n_trials: in all; of a grid at most its points.
        settings: of the sweeper.
        compose: label and overrides of a trial -> its run.
    """

    plan: SearchPlan
    words: Words
    config: Config
    n_trials: int
    settings: Settings
    compose: Callable[[str, Sequence[str]], Cell]

    @property
    def folder(self) -> Path:
        """Of the search's pictures, its list of trials and its lock."""
        return Path(self.config.runs_dir) / folder_name(self.config.tracking.experiment) / folder_name(self.plan.name)


def prepared(settings: Settings, typed: Sequence[str], config_dir: Path | None) -> Prepared:
    """Check everything that can be checked before the first trial.

    Args:
        settings: of the sweeper.
        typed: overrides of the command line, without those of Hydra itself.
        config_dir: what was given as `--config-dir`.

    Raises:
        FaultyConfigError: with every fault.
        UserError: the images cannot be read, or the storage is no address.
    """
    words = read_words(settings.params, typed)
    sampler = sampler_of(settings.sampler, words.space)
    compose = partial(_composed, typed=tuple(typed), config_dir=config_dir)
    with console.bar("composing and checking the first trial"):
        config = compose("first", [*words.fixed, *(f"{key}={_first(one)}" for key, one in words.space.items())]).config
    raise_faults([*check_objectives(config, settings.direction), *check_pruner(settings.pruner, config.trainer.devices)])
    names = objectives(config.search.objective)
    extend = _extension(settings.custom_search_space, config) if settings.custom_search_space else None
    plan = SearchPlan(
        name="",
        address=absolute(settings.storage) if settings.storage else default_address(Path(config.runs_dir)),
        objectives=names,
        directions=directions(names, settings.direction),
        space=words.space,
        fixed={**relevant(config), **({"custom_search_space": settings.custom_search_space} if extend else {})},
        sampler=sampler,
        pruner=build_pruner(settings.pruner, config.trainer.max_epochs),
        pruner_settings=dict(settings.pruner),
        code=code_digest(tuple(config.plugins)),
        extend=extend,
    )
    plan = replace(plan, name=settings.study_name or derived_name(words.space, plan.identity, settings.sampler))
    size = grid_size(sampler(0))
    n_trials = settings.n_trials if size is None else min(settings.n_trials, size)
    return Prepared(plan, words, config, n_trials, settings, compose)


def _composed(label: str, overrides: Sequence[str], typed: tuple[str, ...], config_dir: Path | None) -> Cell:
    asked = Asked("search", StudyConfig(), False, (Row(label, tuple(overrides)),), None, label, typed, None)
    return compose_cells(asked, config_dir)[0]


def _extension(name: str, config: Config) -> Callable[[optuna.Trial], None]:
    """A function of the user's own that suggests further parameters; it gets the config as a tree, as the plugin gives it."""
    found = load_plugin(name, config.plugins, f"{KEY}.custom_search_space")
    tree = OmegaConf.create(to_yaml(config))
    return lambda trial: found(tree, trial)


def _first(one: BaseDistribution) -> object:
    """A value of the space, to check what does not depend on it."""
    return one.choices[0] if isinstance(one, CategoricalDistribution) else vars(one)["low"]
