"""From YAML and command-line overrides to a `Config`. What is wrong with the overrides is found in `diagnosis`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, cast

from hydra import compose
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from fer_ablate.config.schema import Config
from fer_ablate.errors import UserError

CONFIG_NAME = "config"

OPEN = ("data.merge",)
"""Mappings whose keys a person chooses, so that `key={a: ...}` may be typed without a plus."""


def conf_dir() -> Path:
    """Folder of the YAML files: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / f"{CONFIG_NAME}.yaml").is_file():
            return folder
    raise UserError(f"No conf/ folder beside {package}. Reinstall fer-ablate, or run it from a complete checkout.")


def register_schema() -> None:
    """Make the schema known to Hydra, under the name that conf/config.yaml starts its defaults with."""
    ConfigStore.instance().store(name="schema", node=_schema(), replace=True)


@cache
def _schema() -> DictConfig:
    schema: DictConfig = OmegaConf.structured(Config)
    for key in OPEN:
        OmegaConf.select(schema, key)._set_flag("struct", False)
    return schema


@contextmanager
def composer(config_dir: Path | None = None) -> Iterator[None]:
    """Allow `composed` inside; a running Hydra app is left as it was.

    Args:
        config_dir: what was given as `--config-dir`, searched first.
    """
    register_schema()
    singleton = GlobalHydra.instance()
    outer, singleton.hydra = singleton.hydra, None
    search_path = create_config_search_path(str(conf_dir()))
    if config_dir is not None:
        search_path.prepend(
            provider="command-line", path=f"file://{config_dir.resolve()}", anchor=SearchPathQuery(provider="schema")
        )
    try:
        Hydra.create_main_hydra2(task_name="fer_ablate", config_search_path=search_path)
        yield
    finally:
        singleton.hydra = outer


def composed(overrides: Sequence[str] = ()) -> DictConfig:
    """The config tree for these overrides, such as `model.conv_layers=4` or `data=fer2013`. Only inside `composer`."""
    return compose(CONFIG_NAME, overrides=list(overrides))


def to_config(tree: DictConfig) -> Config:
    """Plain dataclasses with every interpolation resolved.

    Raises:
        omegaconf.errors.OmegaConfBaseException: a value is missing or an interpolation leads nowhere.
    """
    tree = tree.copy()
    OmegaConf.set_struct(tree, False)
    tree.pop("hydra", None)
    return cast(Config, OmegaConf.to_object(tree))


def to_yaml(config: Config) -> str:
    """The resolved config as YAML; `from_yaml` reads it back."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def from_yaml(text: str) -> Config:
    """Inverse of `to_yaml`; checks every key and type against the schema."""
    return to_config(cast(DictConfig, OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.create(text))))


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
    # OmegaConf can do this as well, but a hundred times slower: too long for the thousand runs of a large study.
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
