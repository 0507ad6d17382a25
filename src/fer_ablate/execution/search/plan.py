"""A search before its first trial: read from the command line, composed, checked and named."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import optuna
from omegaconf import OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution

from fer_ablate.cli import console
from fer_ablate.cli.command_line import HydraArguments, raise_faults
from fer_ablate.config.behaviour import behaviour, code_digest
from fer_ablate.config.binding import load_plugin
from fer_ablate.config.compose import composer, to_config, to_yaml
from fer_ablate.config.diagnosis import diagnose, with_globs
from fer_ablate.config.key import relevant
from fer_ablate.config.multirun import sweeper_values
from fer_ablate.config.overrides import key_of, value_of
from fer_ablate.config.schema import Config, ModelConfig, StudyConfig
from fer_ablate.config.study_rows import Row
from fer_ablate.errors import FaultyConfigError
from fer_ablate.execution.planning import raise_unheeded
from fer_ablate.execution.search.settings import (
    KEY,
    SearchSpace,
    SweeperSettings,
    derived_name,
    read_space,
    sampler_of,
    single_valued,
)
from fer_ablate.execution.search.structures import decoded, impossible, is_encoding, keys_text, varies_stages
from fer_ablate.search.objectives import check_objectives, objective_directions, objective_names
from fer_ablate.search.optuna_internals import grid_size
from fer_ablate.search.pruners import build_pruner, check_pruner
from fer_ablate.search.search import SearchPlan
from fer_ablate.search.trial_store import absolute, default_address
from fer_ablate.study.cells import Cell, compose_cells
from fer_ablate.study.spec import StudySpec, is_hydra, last_of_each_key
from fer_ablate.tracking.disk.scan import folder_name
from fer_ablate.training.identity import machine_settings


@dataclass(frozen=True)
class PreparedSearch:
    """A checked search.

    Args:
        plan: what the search optimises, and how.
        space: what it varies, and what all trials share.
        config: config of the first combination of values; settings that all trials share are read from it.
        n_trials: number of trials; a grid has at most as many as it has points.
        settings: of the sweeper.
        compose: label and overrides of a trial -> its run.
        config_dir: what was given as `--config-dir`.
    """

    plan: SearchPlan
    space: SearchSpace
    config: Config
    n_trials: int
    settings: SweeperSettings
    compose: Callable[[str, Sequence[str]], Cell]
    config_dir: Path | None = None

    @property
    def folder(self) -> Path:
        """Folder of the search's pictures, its list of trials and its lock."""
        return Path(self.config.runs_dir) / folder_name(self.config.tracking.experiment) / folder_name(self.plan.name)


def read_search(parsed: HydraArguments) -> tuple[PreparedSearch, list[str]]:
    """The search that a command line and its files ask for.

    Returns:
        The search, and the words that choose how its trials are launched.

    Raises:
        FaultyConfigError: with every fault.
    """
    raise_unheeded(parsed)
    encoding = [text for text in parsed.overrides if is_encoding(key_of(text))]  # no run has these keys
    raise_faults(diagnose([text for text in parsed.overrides if text not in encoding], parsed.config_dir).faults)
    with composer(parsed.config_dir):
        words = with_globs(parsed.overrides)
    of_hydra = [text for text in words if is_hydra(text)]
    typed = [text for text in words if text not in of_hydra]
    # Hydra composes the fixed overrides as well, since they may choose a file of the user's that sets hydra.sweeper.
    known = [text for text in typed if text not in encoding]
    launching = [*of_hydra, *single_valued(known)]
    settings = SweeperSettings.read(sweeper_values(launching, parsed.config_dir))
    return prepare_search(settings, typed, parsed.config_dir), launching


def search_facts(plan: SearchPlan, n_trials: int, missing: int, at_once: int) -> list[tuple[str, str]]:
    """What a search is about, for people.

    Args:
        plan: of the search.
        n_trials: number of trials in all.
        missing: number of trials still to run.
        at_once: number of trials in a batch.
    """
    objectives = ", ".join(f"{name} ({way})" for name, way in zip(plan.objectives, plan.directions, strict=True))
    at = f", {at_once} at once" if at_once > 1 else ""
    return [
        ("search", plan.name),
        ("for", objectives),
        ("over", keys_text(plan.space)),
        ("trials", f"{n_trials} in all, {n_trials - missing} done, {missing} to run{at}"),
        ("kept in", plan.address),
    ]


def prepare_search(settings: SweeperSettings, typed: Sequence[str], config_dir: Path | None) -> PreparedSearch:
    """Check everything that can be checked before the first trial.

    Args:
        settings: of the sweeper.
        typed: overrides of the command line, without those of Hydra itself.
        config_dir: what was given as `--config-dir`.

    Raises:
        FaultyConfigError: with every fault.
        UserError: the images cannot be read, or the storage is no address.
    """
    space = read_space(settings.params, typed)
    sampler = sampler_of(settings.sampler, space.varied)
    with console.bar("composing and checking the first trial"):
        compose = partial(_compose, typed=tuple(typed), config_dir=config_dir, base=_base(space, config_dir))
        config = _first_config(space, compose)
    raise_faults([*check_objectives(config, settings.direction), *check_pruner(settings.pruner, config.trainer.devices)])
    names = objective_names(config.search.objective, settings.direction)
    config = replace(config, search=replace(config.search, objective=names[0] if len(names) == 1 else list(names)))
    extend = _extension(settings.custom_search_space, config) if settings.custom_search_space else None
    own_space = {"custom_search_space": settings.custom_search_space} if extend else {}
    plan = SearchPlan(
        name="",
        address=absolute(settings.storage) if settings.storage else default_address(Path(config.runs_dir)),
        objectives=names,
        directions=objective_directions(names, settings.direction),
        space=space.varied,
        fixed={**relevant(config, machine_settings(config)), **own_space},
        sampler=sampler,
        pruner=build_pruner(settings.pruner, config.trainer.max_epochs),
        pruner_settings=dict(settings.pruner),
        code=behaviour(code_digest(config.plugins)),
        extend=extend,
    )
    plan = replace(plan, name=settings.study_name or derived_name(_named_by(space), plan.identity, settings.sampler))
    size = grid_size(sampler(0))
    n_trials = settings.n_trials if size is None else min(settings.n_trials, size)
    return PreparedSearch(plan, space, config, n_trials, settings, compose, config_dir)


def _compose(
    label: str, overrides: Sequence[str], typed: tuple[str, ...], config_dir: Path | None, base: ModelConfig | None
) -> Cell:
    words = tuple(decoded(overrides, base) if base is not None else overrides)
    # A trial is composed as the only row of a study, so that it is checked and keyed like any other run.
    spec = StudySpec("search", StudyConfig(), False, (Row(label, words),), None, label, typed, None)
    return compose_cells(spec, config_dir)[0]


def _base(space: SearchSpace, config_dir: Path | None) -> ModelConfig | None:
    """The network whose stages the search varies; None if it varies no stages, or if the fixed overrides have faults."""
    if not varies_stages(space.varied):
        return None
    # The choices of groups may be searched for as well: then the stages are those of the first one.
    first = [f"{key}={_first(one)}" for key, one in space.varied.items() if "." not in key]
    fixed = [word for word in space.fixed if not is_encoding(key_of(word))]
    tree = diagnose(last_of_each_key([*fixed, *first]), config_dir).tree
    return to_config(tree).model if tree is not None else None


def _first_config(space: SearchSpace, compose: Callable[[str, Sequence[str]], Cell]) -> Config:
    """Config of the first combination of values; if these make no network, of the fixed settings alone."""
    try:
        return compose("first", [*space.fixed, *(f"{key}={_first(one)}" for key, one in space.varied.items())]).config
    except FaultyConfigError as error:
        if not impossible(error.faults):
            raise
        try:
            return compose("first", space.fixed).config
        except FaultyConfigError:
            raise error from None  # the first combination's faults name the searched keys


def _named_by(space: SearchSpace) -> Sequence[str]:
    """What a search is named by: its keys; one over encoded structures, which has dozens, by its experiment."""
    if not any(is_encoding(key) for key in space.varied):
        return list(space.varied)
    experiment = [value_of(word) for word in space.fixed if key_of(word) == "experiment"]
    return experiment or ["structure"]


def _extension(name: str, config: Config) -> Callable[[optuna.Trial], None]:
    """A function of the user's own that suggests further parameters; it gets the config as a tree, as the plugin gives it."""
    found = load_plugin(name, config.plugins, f"{KEY}.custom_search_space")
    tree = OmegaConf.create(to_yaml(config))
    return lambda trial: found(tree, trial)


def _first(one: BaseDistribution) -> object:
    """Some value of a searched key, to check what does not depend on the value."""
    return one.choices[0] if isinstance(one, CategoricalDistribution) else vars(one)["low"]
