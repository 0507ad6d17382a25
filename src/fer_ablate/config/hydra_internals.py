"""Everything taken from private modules of Hydra and OmegaConf, tried with hydra-core 1.4.0rc3 and omegaconf 2.4.1rc1.

Hydra has no public way to compose from a folder of the user beside that of the program, to parse its command-line flags without
running, or to use a launcher without a sweeper plugin. tests/config/test_hydra_internals.py names what a later release lacks.
"""

import argparse
import copy
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override as ParsedOverride
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException, HydraException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_omega_conf_dumper
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.config.yaml_files import named_code, parse_yaml, read_text
from fer_ablate.errors import UserError, first_line


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Write plain values as `OmegaConf.to_yaml` would, without its detour through a DictConfig, which is slow."""
    text: str = yaml.dump(values, Dumper=get_omega_conf_dumper(), default_flow_style=False, allow_unicode=True, sort_keys=False)
    return text


OWN_FILES = "command-line"
"""Hydra's name for what `--config-dir` gives."""

HEADER_LETTERS = 512
"""Beginning of a file in which Hydra looks for lines such as `# @package _global_`."""

HydraApp = Hydra
"""What composes configs once it is initialised."""


def flag_parser() -> argparse.ArgumentParser:
    """Build Hydra's own parser of the command line, which separates flags such as `-m` from overrides."""
    return get_args_parser()


def make_app(folder: Path, further: Path | None = None) -> HydraApp:
    """Build a Hydra app that reads each of its files once; `running` makes it the one that composes.

    Args:
        folder: of the program's files.
        further: folder of the user's, searched after it, as Hydra does with `--config-dir`.
    """
    search_path = create_config_search_path(str(folder))
    if further is not None:
        search_path.prepend(provider=OWN_FILES, path=f"file://{further.resolve()}", anchor=SearchPathQuery(provider="schema"))
    loader = ConfigLoaderImpl(config_search_path=search_path)
    loader.repository = _ReadOnce(search_path)
    return Hydra(task_name="fer_ablate", config_loader=loader)


@contextmanager
def running(app: HydraApp) -> Iterator[None]:
    """Make an app the one of `hydra.compose`; one that runs already is left as it was."""
    singleton = GlobalHydra.instance()
    outer, singleton.hydra = singleton.hydra, app
    try:
        yield
    finally:
        singleton.hydra = outer


def running_app() -> HydraApp:
    """The Hydra app that composes at present: that of `running`, or of `hydra.main`.

    Raises:
        RuntimeError: none is initialised.
    """
    app = GlobalHydra.instance().hydra
    if app is None:
        raise RuntimeError("Hydra is not initialised.")
    return app


def is_running(app: HydraApp) -> bool:
    """Whether this is the app that composes at present."""
    return GlobalHydra.instance().hydra is app


class _ReadOnce(ConfigRepository):
    """Reads each file of the folders once, although Hydra copies its repository for every composition."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_ReadOnce":
        again = copy.copy(self)
        again.sources = copy.deepcopy(self.sources, memo)
        return again

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Search other folders from now on, in which the same name may be another file."""
        super().initialize_sources(config_search_path)
        self.sources = [
            _LimitedFiles(one.provider, one.path) if isinstance(one, FileConfigSource) else one for one in self.sources
        ]
        self._read: dict[str, bytes] = {}
        self.names: list[set[str]] = []  # one set for each `names_read` that goes on

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Read a file, or copy what was read: merging adopts the nodes that it is given, and unpickling is the fastest copy."""
        for names in self.names:
            names.add(config_path)
        if config_path not in self._read:
            self._read[config_path] = pickle.dumps(self._load(config_path))
        found: ConfigResult | None = pickle.loads(self._read[config_path])
        return found

    def _load(self, config_path: str) -> ConfigResult | None:
        try:
            return super().load_config(config_path)
        except UserError:
            raise
        except (HydraException, OmegaConfBaseException, ValueError, TypeError, AttributeError) as error:
            source = self._find_object_source(config_path, ObjectType.CONFIG)
            if not isinstance(source, _LimitedFiles):
                raise
            remedy = "Mend its defaults list or its first line."
            raise UserError(f"{source.file(config_path)}: {first_line(error)}. {remedy}") from error


class _LimitedFiles(FileConfigSource):
    """A folder whose files may be a stranger's: Hydra itself has no limits, and lets the errors of its parsers through."""

    def file(self, config_path: str) -> Path:
        """The file of a name such as `model/pisa`, which has to be in the folder."""
        folder = Path(self.path).resolve()
        file = (folder / self._normalize_file_name(config_path)).resolve()
        if not file.is_relative_to(folder):
            raise UserError(f"{config_path}: outside of {folder}, the folder of the configs. Copy the file into it.")
        return file

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a file within the limits of `yaml_files`; a file of the user's names no code."""
        file = self.file(config_path)
        text = read_text(file)
        content = parse_yaml(text, str(file))
        # A file of the user's may be a stranger's, so only the command line can name code to run.
        if self.provider == OWN_FILES and (code := named_code(OmegaConf.to_container(content))):
            raise UserError(f"{file}: {code} would run when this file is used. Remove it; only a command line can name code.")
        header = ConfigSource._get_header_dict(text[:HEADER_LETTERS])
        return ConfigResult(provider=self.provider, path=f"{self.scheme()}://{self.path}", config=content, header=header)


def _limited(source: ConfigSource) -> ConfigSource:
    return _LimitedFiles(source.provider, source.path) if isinstance(source, FileConfigSource) else source


@contextmanager
def names_read(app: HydraApp) -> Iterator[set[str]]:
    """Collect the names of the configs, such as `model/pisa`, that an app of `make_app` reads or looks for meanwhile."""
    repository = app.config_loader.repository  # type: ignore[attr-defined]  # of the loader that Hydra builds
    names: set[str] = set()
    if isinstance(repository, _ReadOnce):
        repository.names.append(names)
    try:
        yield names
    finally:
        if isinstance(repository, _ReadOnce):
            repository.names.pop()


def split_overrides(app: HydraApp, overrides: Sequence[ParsedOverride]) -> tuple[list[ParsedOverride], list[ParsedOverride]]:
    """Separate the overrides that decide which files are composed from those that set single values afterwards.

    Args:
        app: of `make_app` or `hydra.main`.
        overrides: as parsed.

    Returns:
        Choices of groups, and whatever else is left to Hydra, such as its own section; and the settings of single keys.
    """
    repository = app.config_loader.repository  # type: ignore[attr-defined]  # of the loader that Hydra builds
    chosen: list[ParsedOverride] = []
    set_later: list[ParsedOverride] = []
    for override in overrides:
        key = override.key_or_group
        files = not override.is_value_path and (
            override.package is not None
            or override.is_sweep_override()
            or override.is_hydra_override()
            or (override.is_delete() and repository.config_exists(key))
            or key == "hydra"
            or (repository.group_exists(key) and not isinstance(override.value(), dict))
        )
        (chosen if files else set_later).append(override)
    return chosen, set_later


def set_values(overrides: Sequence[ParsedOverride], tree: DictConfig) -> None:
    """Set single keys of a composed tree as Hydra does after it has merged the files.

    Raises:
        hydra.errors.ConfigCompositionException: a key does not exist, or does not take the value.
    """
    try:
        ConfigLoaderImpl._apply_overrides_to_config(list(overrides), tree)
    except OmegaConfBaseException as error:
        raise ConfigCompositionException() from error
    except UserError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        # OmegaConf lets these through, such as for a name where a list has numbers.
        raise ConfigCompositionException(f"It cannot be set: {error}") from error


def controlling_config(app: HydraApp, config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose what `--multirun` composes before it makes jobs: groups may be missing, and sweeps change nothing."""
    return app.compose_config(config_name, list(overrides), RunMode.MULTIRUN, from_shell=False, with_log_configuration=False)


@contextmanager
def launcher(
    hydra: HydraApp, config_name: str, overrides: Sequence[str], task: Callable[[DictConfig], Any]
) -> Iterator[tuple[Launcher | None, DictConfig]]:
    """Build the launcher that `hydra/launcher` names, as `--multirun` does before it turns to the sweeper.

    Args:
        hydra: of `make_app`.
        config_name: of the primary config.
        overrides: without sweeps.
        task: called by the launcher for each job; has to be picklable.

    Yields:
        The launcher, None if the one that is named is none of Hydra's; and the composed tree with its section `hydra`.
    """
    words = [*overrides, "hydra.mode=MULTIRUN"]
    tree = hydra.compose_config(
        config_name, words, run_mode=RunMode.MULTIRUN, with_log_configuration=True, activate_config_repository=True
    )
    known = HydraConfig.instance()
    outer, known.cfg = known.cfg, None
    known.set_config(tree)  # a launcher's settings may refer to ${hydra:runtime.cwd} and the like
    callbacks = Callbacks(tree)
    context = HydraContext(config_loader=hydra.config_loader, callbacks=callbacks)
    try:
        callbacks.on_multirun_start(config=tree, config_name=config_name)
        build = Plugins.instance().instantiate_launcher
        of_hydra = "_target_" in tree.hydra.launcher
        yield build(hydra_context=context, task_function=task, config=tree) if of_hydra else None, tree
    finally:
        callbacks.on_multirun_end(config=tree, config_name=config_name)
        known.cfg = outer
