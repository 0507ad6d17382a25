"""Which finished network a verb is about, and with which settings it is to be used."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from fer_ablate.cli.request import allow_plugins, parse, raise_faults, sweep_faults
from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.config.schema import Config
from fer_ablate.errors import Fault, UserError, choices
from fer_ablate.inference.network import TrainedNetwork, load_network
from fer_ablate.tracking.disk.lookup import finished_run
from fer_ablate.tracking.disk.run_folder import RunFolder

CHANGEABLE = ("data", "evaluation", "trainer", "runs_dir", "plugins")
"""Sections that do not change what was trained."""

FITTED = ("mean", "std", "prepare")
"""Keys of the data that the weights were fitted to; other data change nothing about them."""

SETTLED = (*(f"data.{name}" for name in FITTED), "data.balance")
"""Of the sections above, what was settled when the run was trained."""

PLACES = ("data", "data.path", "data.source", "data.columns", "data.synthetic", "data.download", "data.ferplus_path")
"""What names other data when typed; with the keys below each."""

HARDWARE = ("accelerator", "devices", "strategy", "num_threads")
"""Keys of the trainer that tell of the machine that trained, and nothing about the one that is used now."""

NAMING = ("run", "ckpt")
"""Words that name a finished network."""


@dataclass(frozen=True)
class Settings:
    """What was typed beside a verb's own words.

    Args:
        overrides: free of faults.
        tree: the defaults with the overrides on top.
        config: the same as plain values; `runs_dir` and `tracking` of it hold for any run.
    """

    overrides: list[str]
    tree: DictConfig
    config: Config

    @property
    def runs_dir(self) -> Path:
        """Where runs are looked for."""
        return Path(self.config.runs_dir)


@dataclass(frozen=True)
class Subject:
    """A finished network.

    Args:
        trained: network, classes and sizes.
        config: that it was trained with, changed as typed.
        folder: of its run; None if a checkpoint was named.
        typed: keys and groups that were typed.
    """

    trained: TrainedNetwork
    config: Config
    folder: RunFolder | None
    typed: frozenset[str] = frozenset()

    @property
    def names_data(self) -> bool:
        """Whether data were named by what was typed; else they are those of the training."""
        return any(self.typed_below(place) for place in PLACES)

    @property
    def data_digest(self) -> str:
        """Of the images it was trained on; empty where nobody knows."""
        return self.trained.data_digest or (self.folder.header.data_digest if self.folder is not None else "")

    def typed_below(self, key: str) -> bool:
        """Whether a key was typed, or one below it; `data` itself means the group alone."""
        return any(one == key or (key != "data" and one.startswith(f"{key}.")) for one in self.typed)

    def under(self, typed: "Settings") -> "Subject":
        """The same network with other settings."""
        return replace(self, config=_changed(self.trained.config, typed), typed=frozenset(map(_key, typed.overrides)))


def own_words(arguments: Sequence[str], names: Collection[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Tell a verb's own `name=value` words, which may be repeated, from the rest.

    Returns:
        name -> values in their order; and all other arguments.
    """
    words: dict[str, list[str]] = {}
    rest = []
    for text in arguments:
        name, equals, value = text.partition("=")
        if equals and name in names:
            words.setdefault(name, []).append(value)
        else:
            rest.append(text)
    return words, rest


def single(words: dict[str, list[str]], name: str, default: str = "") -> str:
    """The value of a word that may be given once.

    Raises:
        UserError: it was given several times.
    """
    values = words.get(name, [default])
    if len(values) > 1:
        raise UserError(f"{name}= was given {len(values)} times: {', '.join(values)}. Give one.")
    return values[0]


def settings(rest: Sequence[str], names: Collection[str], changeable: Sequence[str] = CHANGEABLE) -> Settings:
    """Read what is left when the verb's own words are taken away.

    Args:
        rest: of `own_words`.
        names: the verb's own words, offered for a typo.
        changeable: sections that may be given.

    Raises:
        FaultyConfigError: with every fault.
        UserError: an unknown flag or a missing folder.
    """
    parsed = parse(rest)
    overrides, config_dir = list(parsed.overrides), Path(parsed.config_dir) if parsed.config_dir else None
    allow_plugins(overrides)
    raise_faults(_unchangeable(overrides, names, changeable))
    raise_faults(diagnose(overrides, config_dir).faults)
    raise_faults(sweep_faults(overrides))
    with composer(config_dir):
        tree = composed(overrides)
        return Settings(overrides, tree, to_config(tree))


def subject(words: dict[str, list[str]], typed: Settings) -> Subject:
    """The network that `run=` or `ckpt=` names.

    Args:
        words: of `own_words`.
        typed: of `settings`.

    Raises:
        UserError: none or several were named, or the named one is missing, unfinished, damaged or of another version.
    """
    if len(_named(words)) != 1:
        raise UserError("Give either run=<id> or ckpt=<file>; --help shows how.")
    return subjects(words, typed)[0]


def subjects(words: dict[str, list[str]], typed: Settings) -> list[Subject]:
    """The networks that `run=` and `ckpt=` name, one or more.

    Raises:
        UserError: as `subject`.
    """
    found = []
    for name, value in _named(words):
        folder = finished_run(typed.runs_dir, value) if name == "run" else None
        path = folder.best_checkpoint if folder is not None else Path(value).expanduser()
        trained = load_network(path, typed.config.plugins)
        found.append(Subject(trained, trained.config, folder).under(typed))
    if not found:
        raise UserError("Give run=<id> or ckpt=<file>; --help shows how.")
    return found


def _named(words: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, value) for name in NAMING for value in words.get(name, [])]


def _unchangeable(overrides: Sequence[str], names: Collection[str], changeable: Sequence[str]) -> list[Fault]:
    keys = [_key(text) for text in overrides]
    sections = {one.name for one in fields(Config)}
    remedy = f"What can change here: {', '.join(changeable)}. Train another run for the rest."
    faults = []
    for key in keys:
        section = key.split(".", 1)[0].split("/", 1)[0]
        if (section in sections and section not in changeable) or key.startswith(SETTLED):
            faults.append(Fault(key, "was settled when the run was trained.", remedy))
        elif section not in sections:
            faults.append(Fault(key, "there is no such word.", choices(key, [*names, *changeable])))
    return faults


def _key(override: str) -> str:
    return override.lstrip("+~").split("=", 1)[0]


def _changed(stored: Config, typed: Settings) -> Config:
    """The stored config with the overrides on top, on this machine.

    A chosen data group replaces the stored section, but for what the weights were fitted to.
    """
    here = {name: getattr(typed.config.trainer, name) for name in HARDWARE}
    stored = replace(stored, trainer=replace(stored.trainer, **here))
    groups = [text for text in typed.overrides if text.startswith(("data=", "trainer="))]
    tree = OmegaConf.structured(stored)
    for group in groups:
        section = group.split("=", 1)[0]
        tree[section] = typed.tree[section]
        if section == "data":
            tree.data.update({name: getattr(stored.data, name) for name in FITTED})
    for text in typed.overrides:
        if text not in groups:
            OmegaConf.update(tree, _key(text), OmegaConf.select(typed.tree, _key(text)), merge=False)
    return to_config(tree)
