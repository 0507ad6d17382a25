"""Composes YAML files and command-line overrides into a `Config`; `diagnosis` finds the faults of overrides."""

import os
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

import yaml
from hydra import compose
from hydra.core.config_store import ConfigStore
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.addresses import PLACES, hide, remember, sqlite_address
from fer_ablate.config.conf_files import CONFIG_NAME, conf_dir
from fer_ablate.config.environment import KEPT_BY_NAME, by_name, readable, refused, register_environment, variables_read
from fer_ablate.config.hydra_internals import (
    HydraApp,
    controlling_config,
    dump_yaml,
    is_running,
    make_app,
    names_read,
    running,
    running_app,
    set_values,
    split_overrides,
)
from fer_ablate.config.overrides import parsed_overrides
from fer_ablate.config.schema import Config
from fer_ablate.config.yaml_files import parse_yaml, plain_yaml
from fer_ablate.errors import Fault, FaultyConfigError, UserError, first_line

register_environment()

OPEN = ("data.merge", "data.arguments", "loss.arguments", "evaluation.metrics", "tracking.tags")
"""Mappings whose keys the user chooses: `key={a: ...}` needs no plus."""


def register_schema() -> None:
    """Store the schema in Hydra under the name that the defaults of conf/config.yaml begin with."""
    ConfigStore.instance().store(name="schema", node=_schema(), replace=True)


@cache
def _pickled_schema() -> bytes:
    return pickle.dumps(_schema())


@cache
def _schema() -> DictConfig:
    schema: DictConfig = OmegaConf.structured(Config)
    for key in OPEN:
        OmegaConf.set_struct(OmegaConf.select(schema, key), False)
    return schema


Stamp = tuple[tuple[str, int, int], ...]
"""Path, time of the last change and size of every YAML file of some folders."""

_apps: dict[tuple[Path | None, str], tuple[Stamp, HydraApp]] = {}
"""Folder of the user's and primary config -> the app that composes it from the folder and from the program's files, as they were
at this stamp."""

_primaries: dict[Path | None, str] = {}
"""Folder of the user's -> its primary config that this command was given as `--config-name`."""

_files: WeakKeyDictionary[HydraApp, "_Files"] = WeakKeyDictionary()
"""App of `composer` -> the files that it composes from."""

_bases: dict[Any, dict[tuple[str, ...], list["_Base"]]] = {}
"""Program's files, or an app that Hydra made itself -> choices of groups -> what was composed of them."""


@dataclass(frozen=True)
class HydraSection:
    """What is read of the section `hydra` of a config, as its files and words have it.

    Args:
        mode: `RUN`, `MULTIRUN`, or None where nothing says it.
        sweeper: values of `hydra.sweeper`, with interpolations as they were written.
        choice: name of the sweeper that was chosen, such as `study`.
        chdir: whether each job is to begin in a folder of its own.
    """

    mode: str | None
    sweeper: Any
    choice: str | None
    chdir: bool


@dataclass(frozen=True)
class _Files:
    """The files of an app: those of the program, and the user's by name, such as `study/mine`, with their contents."""

    program: Stamp
    own: dict[str, bytes]
    primary: str


@dataclass(frozen=True)
class _Base:
    """A tree that Hydra composed, pickled: reading that is a copy in a twentieth of the time that `deepcopy` takes.

    It holds for every folder of the user's that has the same files of those names which were looked for.
    """

    tree: bytes
    hydra: HydraSection
    names: frozenset[str]
    own: dict[str, bytes]

    def holds_for(self, own: Mapping[str, bytes]) -> bool:
        """Whether Hydra would compose the same beside these files of the user's."""
        return {name: text for name, text in own.items() if name in self.names} == self.own


@contextmanager
def composer(config_dir: Path | None = None) -> Iterator[HydraApp]:
    """Initialise Hydra for `composed`; a Hydra app that runs already is left as it was.

    A process reads each YAML file and composes each choice of groups once, until one of the files is edited.

    Args:
        config_dir: what was given as `--config-dir`; as in Hydra, it is searched after the program's own files.
    """
    folder = config_dir.resolve() if config_dir is not None else None
    primary = _primaries.get(folder, CONFIG_NAME)
    known, app = _apps.get((folder, primary), (None, None))
    if app is not None and is_running(app):  # within the `composer` of a whole command, whose files are looked at once
        yield app
        return
    program, added = _stamp(conf_dir()), _stamp(folder) if folder is not None else ()
    if app is None or known != (*program, *added):
        register_schema()
        app = make_app(conf_dir(), folder)
        _apps[folder, primary] = (*program, *added), app
        own = {_name(Path(path), cast(Path, folder)): Path(path).read_bytes() for path, _, _ in added}
        _files[app] = _Files(program, own, primary)
    with running(app):
        yield app


def choose_primary(config_dir: Path | None, name: str | None) -> None:
    """Let `composer` of this folder begin with a config of the user's, which lists that of the program in its defaults.

    Args:
        config_dir: what was given as `--config-dir`.
        name: what was given as `--config-name`; None: the config of the program.
    """
    _primaries.clear()  # of the command before, where one process runs several
    if name is not None:
        _primaries[config_dir.resolve() if config_dir is not None else None] = name


def primary_name() -> str:
    """Name of the config that the app of `composer` begins with."""
    files = _files.get(running_app())
    return files.primary if files is not None else CONFIG_NAME


def file_flags(config_dir: Path | None) -> list[str]:
    """The flags with which another command finds the same files of the user's."""
    if config_dir is None:
        return []
    primary = _primaries.get(config_dir.resolve())
    return ["--config-dir", str(config_dir), *(["--config-name", primary] if primary is not None else [])]


def _name(file: Path, folder: Path) -> str:
    return file.relative_to(folder).with_suffix("").as_posix()


def _stamp(folder: Path) -> Stamp:
    stats = [(file, file.stat()) for file in sorted(folder.rglob("*.yaml"))]
    return tuple((str(file), stat.st_mtime_ns, stat.st_size) for file, stat in stats)


def composed(overrides: Sequence[str] = ()) -> DictConfig:
    """Compose the config tree of these overrides, such as `model.conv_layers=4` or `data=fer2013`; needs `composer`.

    What Hydra composes of the chosen groups is kept, and single keys are set on a copy of it: the same result in a twentieth
    of the time, which decides how long a study of a hundred rows is planned.
    """
    app = running_app()
    chosen, settings = split_overrides(app, parsed_overrides(overrides))
    tree = cast(DictConfig, pickle.loads(_base(app, tuple(str(one.input_line) for one in chosen)).tree))
    set_values(settings, tree)
    return tree


def hydra_section(overrides: Sequence[str]) -> HydraSection:
    """The section `hydra` with which a command begins, before a sweep gives single keys their values; needs `composer`.

    Args:
        overrides: as typed. Keys with several values are left out, as Hydra does.
    """
    app = running_app()
    single = [one for one in parsed_overrides(overrides) if not one.is_sweep_override()]
    words = tuple(str(one.input_line) for one in split_overrides(app, single)[0])
    try:
        return _base(app, words).hydra
    except HydraException as error:
        # A file whose defaults leave a group to be swept (`optimizer: ???`) composes before a sweep, and not as a run.
        try:
            return _section(controlling_config(app, primary_name(), words))
        except (HydraException, ValueError, TypeError, RecursionError):
            raise error from None


def _base(app: HydraApp, words: tuple[str, ...]) -> _Base:
    files = _files.get(app)
    own = files.own if files is not None else {}
    known = _bases.setdefault((files.program, files.primary) if files is not None else app, {}).setdefault(words, [])
    for base in known:
        if base.holds_for(own):
            return base
    try:
        with names_read(app) as names:
            tree = compose(primary_name(), overrides=list(words), return_hydra_config=True)
    except UserError:
        raise
    except (ValueError, TypeError, RecursionError) as error:  # Hydra raises these for some values where a file is to be named
        raise ConfigCompositionException(first_line(error)) from error
    if lacking := [one.name for one in fields(Config) if one.name not in tree]:
        problem = f"--config-name {primary_name()}: that config lacks {', '.join(lacking)}."
        raise UserError(f"{problem} Begin its defaults list with {CONFIG_NAME}, the config of the program.")
    section = _section(tree)
    with open_dict(tree):
        del tree["hydra"]
    known.append(_Base(pickle.dumps(tree), section, frozenset(names), {name: own[name] for name in own.keys() & names}))
    return known[-1]


def _section(tree: DictConfig) -> HydraSection:
    hydra = cast(dict[str, Any], OmegaConf.to_container(tree.hydra, resolve=False, enum_to_str=True))
    choice = hydra.get("runtime", {}).get("choices", {}).get("hydra/sweeper")
    return HydraSection(hydra.get("mode"), hydra.get("sweeper"), choice, hydra.get("job", {}).get("chdir") is True)


def to_config(tree: DictConfig) -> Config:
    """Plain dataclasses with every interpolation resolved, `~` written out, and no credentials in the store's address.

    Raises:
        FaultyConfigError: a value is missing, an interpolation refers to a key that does not exist, or a file asks for a variable
            of the environment that it may not have, see `config.environment`.
    """
    if "hydra" in tree:
        tree = tree.copy()
        OmegaConf.set_struct(tree, False)
        tree.pop("hydra")
    try:
        with variables_read() as variables:
            config = cast(Config, OmegaConf.to_object(tree))
    except OmegaConfBaseException as error:
        if refusal := refused(error):
            raise FaultyConfigError([Fault(str(error.full_key or ""), str(refusal))]) from None
        raise FaultyConfigError([resolution_fault(error)]) from error
    # Resolvers read text of the user's with parsers of their own.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise FaultyConfigError([resolution_fault(error)]) from error
    if variables:
        _refuse_names(tree, config)
    _settle_places(config)
    return config


def resolution_fault(error: Exception) -> Fault:
    """The fault of a config with a missing value, or an interpolation that leads nowhere."""
    return Fault("", first_line(error), "Give it on the command line, or see --cfg job.")


def _refuse_names(tree: DictConfig, config: Config) -> None:
    """Refuse variables of the environment in keys that name or decide a result, since their values would be recorded.

    Raises:
        FaultyConfigError: with every such key.
    """
    faults = []
    for key in flat(plain(config)):
        with variables_read() as variables:
            value = OmegaConf.select(tree, key)
            if OmegaConf.is_config(value):
                OmegaConf.to_container(value, resolve=True)
        if variables and key not in PLACES:
            problem = f"takes the variable {', '.join(sorted(variables))} of the environment, whose value would be recorded."
            faults.append(Fault(key, problem, f"Write the value itself. Variables may stand in {', '.join(PLACES)}."))
    if faults:
        raise FaultyConfigError(faults)


def _settle_places(config: Config) -> None:
    """Write out the home folder in places, and name the store by an address without credentials."""
    tracking, usual = config.tracking, f"sqlite:///{config.runs_dir}/mlflow.db"
    config.runs_dir = os.path.expanduser(config.runs_dir)
    config.data.cache_dir = os.path.expanduser(config.data.cache_dir)
    # In this path the name of the folder is a part of an address, in which a question mark begins something else.
    own = sqlite_address(f"{config.runs_dir}/mlflow.db")
    tracking.uri = own if tracking.uri == usual else remember(tracking.uri)
    tracking.tags = {name: hide(value) for name, value in tracking.tags.items()}


def to_yaml(config: Config) -> str:
    """The resolved config as YAML, with variables of the environment by their names; `from_yaml` reads it back."""
    return dump_yaml(_with_places(plain(config), by_name))


def _with_places(values: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Nested plain values with the places changed that are kept by the names of variables."""
    for key in KEPT_BY_NAME:
        *sections, last = key.split(".")
        section: Any = values
        for name in sections:
            section = section.get(name) if isinstance(section, dict) else None
        if isinstance(section, dict) and last in section:
            section[last] = change(section[last])
    return values


def _literal(value: Any, key: str = "") -> Any:
    """Nested plain values in which OmegaConf resolves nothing outside of the places that are kept by the names of variables."""
    if isinstance(value, Mapping):
        return {name: _literal(part, f"{key}.{name}" if key else str(name)) for name, part in value.items()}
    if isinstance(value, list):
        return [_literal(part, key) for part in value]
    if not isinstance(value, str) or key in KEPT_BY_NAME:
        return value
    # OmegaConf takes a backslash before these signs for its own.
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", value)


def from_yaml(text: str) -> Config:
    """Inverse of `to_yaml`; checks every key and type against the schema. A place that is not known here keeps its name.

    Raises:
        UserError: the text is no YAML, or exceeds the limits of `yaml_files`.
        FaultyConfigError: a key or a type is not that of the schema.
    """
    if "${" not in text:
        stored = parse_yaml(text, "The stored config")
    else:
        # All is resolved but the places: elsewhere, as in the label of a row, these signs are text.
        stored = OmegaConf.create(_with_places(_literal(plain_yaml(text, "The stored config")), readable))
    try:
        tree = cast(DictConfig, OmegaConf.merge(pickle.loads(_pickled_schema()), stored))
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        raise FaultyConfigError([Fault("", first_line(error))]) from error
    return to_config(tree)


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of nested mappings under dotted keys. Lists stay whole: they are one value of an ablation.

    >>> flat({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    if not isinstance(tree, Mapping) or not tree:
        return {prefix: tree}
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def plain(config: Config) -> dict[str, Any]:
    """Nested plain mapping of a config, enums by name."""
    return cast(dict[str, Any], _plain(config))


def _plain(value: Any) -> Any:
    # OmegaConf.to_container is a hundred times slower, which adds up over the thousand runs of a large study.
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
