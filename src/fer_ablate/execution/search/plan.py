"""A search before its first trial: read from the command line, composed, checked and named."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import optuna
from omegaconf import OmegaConf

from fer_ablate.cli import console
from fer_ablate.cli.command_line import HydraArguments, raise_faults
from fer_ablate.config.behaviour import behaviour, code_digest
from fer_ablate.config.binding import load_plugin
from fer_ablate.config.compose import composer, to_config, to_yaml
from fer_ablate.config.diagnosis import diagnose, with_globs
from fer_ablate.config.excluded_rows import in_words
from fer_ablate.config.key import relevant
from fer_ablate.config.multirun import sweeper_values
from fer_ablate.config.overrides import key_of, value_of
from fer_ablate.config.schema import Config, ModelConfig, StudyConfig
from fer_ablate.config.study_rows import Row
from fer_ablate.data.load import load_faces
from fer_ablate.errors import Fault, FaultyConfigError, UserError
from fer_ablate.execution.planning import raise_unheeded
from fer_ablate.execution.search.settings import SweeperSettings, derived_name, sampler_note, sampler_of
from fer_ablate.execution.search.space import KEY, WHEN, SearchSpace, read_space, single_valued
from fer_ablate.execution.search.structures import decoded, impossible, is_encoding, keys_text, varies_stages
from fer_ablate.search.objectives import check_objectives, objective_directions, objective_names, own_objectives
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

    def missing(self, ended: int) -> int:
        """Number of trials still to run when this many count."""
        return max(0, self.n_trials - ended)


def read_search(parsed: HydraArguments) -> tuple[PreparedSearch, list[str]]:
    """The search that a command line and its files ask for.

    Returns:
        The search, and the words that choose how its trials are launched.

    Raises:
        FaultyConfigError: with every fault.
    """
    raise_unheeded(parsed)
    encoding = [text for text in parsed.overrides if is_encoding(key_of(text))]  # no run has these keys
    faults = diagnose([text for text in parsed.overrides if text not in encoding], parsed.config_dir).faults
    if any("." not in fault.key for fault in faults):
        raise_faults(faults)
    with composer(parsed.config_dir):
        words = with_globs(parsed.overrides)
    of_hydra = [text for text in words if is_hydra(text)]
    typed = [text for text in words if text not in of_hydra]
    # Hydra composes the fixed overrides as well, since they may choose a file of the user's that sets hydra.sweeper.
    known = [text for text in typed if text not in encoding]
    launching = [*of_hydra, *single_valued(known)]
    try:
        settings = SweeperSettings.read(sweeper_values(launching, parsed.config_dir))
    except UserError:
        raise_faults(faults)
        raise
    # A key that only some trials have is checked when such a trial is composed.
    unconditional = [fault for fault in faults if fault.key not in (settings.when or ())]
    raise_faults(_hinted(unconditional, [key_of(text) for text in known if text not in launching]))
    return prepare_search(settings, typed, parsed.config_dir), launching


def _hinted(faults: Sequence[Fault], searched: Sequence[str]) -> list[Fault]:
    """The faults; those of a searched key that not every choice of a searched group has, with a way out."""
    return [
        replace(fault, remedy=f"{fault.remedy} If only some of {group} have it: {WHEN}={{{fault.key}: {{{group}: NAME}}}}.")
        if fault.key in searched and "no such key" in fault.problem and (group := fault.key.partition(".")[0]) in searched
        else fault
        for fault in faults
    ]


def search_facts(prepared: PreparedSearch, ended: int) -> list[tuple[str, str]]:
    """What a search is about, for people.

    Args:
        prepared: the search.
        ended: number of trials that count, of all starts.
    """
    plan, space, at_once = prepared.plan, prepared.space, prepared.settings.n_jobs
    missing = prepared.missing(ended)
    objectives = ", ".join(f"{name} ({way})" for name, way in zip(plan.objectives, plan.directions, strict=True))
    at = f", {at_once} at once" if at_once > 1 else ""
    return [
        ("search", plan.name),
        ("for", objectives),
        ("over", keys_text(plan.space)),
        *(("only", f"{key} where {in_words(one)}") for key, one in space.when.items()),
        *(("without", in_words(one)) for one in space.exclude),
        ("trials", f"{ended + missing} in all, {ended} done, {missing} to run{at}"),
        ("kept in", plan.address),
        *(("note", note) for note in [sampler_note(plan.sampler(0), space)] if note),
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
    space = read_space(settings.params, typed, settings.when, settings.exclude)
    with console.bar("composing and checking the first trial"):
        compose = partial(_compose, typed=tuple(typed), config_dir=config_dir, base=_base(space, config_dir))
        try:
            config = _first_config(space, compose)
        except FaultyConfigError as error:
            raise FaultyConfigError(_hinted(error.faults, list(map(key_of, space.varied)))) from None
    own = _own_directions(config)
    raise_faults([*check_objectives(config, settings.direction, own), *check_pruner(settings.pruner, config.trainer.devices)])
    names = objective_names(config.search.objective, settings.direction)
    config = replace(config, search=replace(config.search, objective=names[0] if len(names) == 1 else list(names)))
    plan = _plan(settings, space, config, names, objective_directions(names, settings.direction, own))
    size = grid_size(plan.sampler(0))
    n_trials = settings.n_trials if size is None else min(settings.n_trials, size)
    return PreparedSearch(plan, space, config, n_trials, settings, compose, config_dir)


def _plan(
    settings: SweeperSettings, space: SearchSpace, config: Config, names: tuple[str, ...], directions: tuple[str, ...]
) -> SearchPlan:
    """The plan of a search for these objectives, whose first trial has this config."""
    extend = _extension(settings.custom_search_space, config) if settings.custom_search_space else None
    conditions = {"custom_search_space": settings.custom_search_space, "when": space.when, "exclude": space.exclude}
    plan = SearchPlan(
        name="",
        address=absolute(settings.storage) if settings.storage else default_address(Path(config.runs_dir)),
        objectives=names,
        directions=directions,
        space=space.varied,
        # Without those that are not given, so that a search begun before there were conditions goes on.
        fixed={**relevant(config, machine_settings(config)), **{name: one for name, one in conditions.items() if one}},
        sampler=sampler_of(settings.sampler, space, len(names)),
        pruner=build_pruner(settings.pruner, config.trainer.max_epochs),
        pruner_settings=dict(settings.pruner),
        code=behaviour(code_digest(config.plugins)),
        extend=extend,
        active=space.active,
    )
    return replace(plan, name=settings.study_name or derived_name(_named_by(space), plan.identity, settings.sampler))


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
    first = {key: value for key, value in space.examples()[0].items() if "." not in key}
    words = [word for word in space.words(first) if not is_encoding(key_of(word))]
    tree = diagnose(last_of_each_key(words), config_dir).tree
    return to_config(tree).model if tree is not None else None


def _first_config(space: SearchSpace, compose: Callable[[str, Sequence[str]], Cell]) -> Config:
    """Config of the first combination of values; if these make no network, of the fixed settings alone.

    Raises:
        FaultyConfigError: a combination has faults; together those that are tried have every key.
    """
    first, *others = space.examples()
    for params in others:
        try:
            compose("first", space.words(params))
        except FaultyConfigError as error:
            if not impossible(error.faults):
                raise
    try:
        return compose("first", space.words(first)).config
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


def _own_directions(config: Config) -> dict[str, bool | None]:
    """Each metric of the user's own that is an objective -> whether more is better, as its class says."""
    if not (named := own_objectives(config)):
        return {}
    from fer_ablate.training.own_metrics import build_metrics  # with torch, which other searches wait for only when they train

    classes = load_faces(config.data, plugins=config.plugins).classes
    return build_metrics(named, len(classes), config.plugins).directions


def _extension(name: str, config: Config) -> Callable[[optuna.Trial], None]:
    """A function of the user's own that suggests further parameters; it gets the config as a tree, as the plugin gives it."""
    found = load_plugin(name, config.plugins, f"{KEY}.custom_search_space")
    tree = OmegaConf.create(to_yaml(config))
    return lambda trial: found(tree, trial)
