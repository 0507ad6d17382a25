"""The finished networks that a verb is about, and what was typed to change how they are used."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from fer_ablate.cli.command_line import allow_plugins, parse, raise_faults, sweep_faults
from fer_ablate.cli.words import words_of
from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.config.overrides import key_of
from fer_ablate.config.schema import Config
from fer_ablate.errors import Fault, UserError, choices
from fer_ablate.paths import expanded
from fer_ablate.tracking.disk.lookup import finished_run
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.mlflow.registry import PREFIX, run_of_model

if TYPE_CHECKING:
    from fer_ablate.inference.network import TrainedNetwork

CHANGEABLE = ("data", "evaluation", "trainer", "runs_dir", "plugins")
"""Sections that do not change what was trained."""

FITTED = ("mean", "std", "prepare")
"""Keys of the data that the weights were fitted to; choosing other data does not change them."""

SETTLED = (*(f"data.{name}" for name in FITTED), "data.balance")
"""Keys of the sections above that were settled when the run was trained."""

DATA_NAMING = ("data", "data.path", "data.source", "data.columns", "data.synthetic", "data.download", "data.ferplus_path")
"""Keys that name other data when typed, with the keys below each."""

HARDWARE = ("accelerator", "devices", "strategy", "num_threads")
"""Keys of the trainer that describe the machine that trained; the machine in use has its own."""


@dataclass(frozen=True, kw_only=True)
class NetworkWords:
    """Words that name finished networks."""

    # Finished run: its key (first digits do), a row ('quickstart/-1 Conv'), MLflow id, model (models:/faces/1) or folder.
    run: tuple[str, ...] = ()
    ckpt: tuple[str, ...] = ()  # checkpoint file, instead of a run

    @property
    def named(self) -> list[tuple[str, str]]:
        """`run` or `ckpt` with its value, one pair for each network."""
        return [("run", value) for value in self.run] + [("ckpt", value) for value in self.ckpt]


@dataclass(frozen=True)
class NetworkOverrides:
    """What was typed apart from a verb's own words.

    Args:
        overrides: free of faults.
        tree: the defaults with the overrides on top.
        config: the same as plain values; its `runs_dir` and `tracking` hold for any run.
    """

    overrides: tuple[str, ...]
    tree: DictConfig
    config: Config

    @property
    def runs_dir(self) -> Path:
        """Where runs are looked for."""
        return Path(self.config.runs_dir)


@dataclass(frozen=True)
class FinishedNetwork:
    """A finished network, and the settings with which it is to be used.

    Args:
        trained: network, classes and sizes.
        config: the one that it was trained with, changed as typed.
        folder: folder of its run; None if a checkpoint was named.
        overrides: what was typed.
    """

    trained: "TrainedNetwork"
    config: Config
    folder: RunFolder | None
    overrides: NetworkOverrides

    @property
    def names_data(self) -> bool:
        """Whether what was typed names data; else the network is used on those of its training."""
        return any(self.was_typed(key) for key in DATA_NAMING)

    @property
    def changes_data(self) -> bool:
        """Whether any key of the data was typed, be it only how they are read."""
        return any(key_of(text).startswith("data") for text in self.overrides.overrides)

    @property
    def data_digest(self) -> str:
        """Digest of the images that it was trained on; empty if neither checkpoint nor run has it."""
        return self.trained.data_digest or (self.folder.header.data_digest if self.folder is not None else "")

    @property
    def file_label(self) -> str:
        """Name of a checkpoint without a run: that of the run's folder if it is still in one, else that of the file."""
        path = self.trained.path.resolve()
        # Every run calls its file the same, so the folder's name says more.
        return (path.parent.parent.name if path.parent.name == "checkpoints" else "") or path.stem

    def was_typed(self, key: str) -> bool:
        """Whether a key was typed, or one below it; `data` itself means the group alone."""
        typed = map(key_of, self.overrides.overrides)
        return any(one == key or (key != "data" and one.startswith(f"{key}.")) for one in typed)

    def with_overrides(self, overrides: NetworkOverrides) -> "FinishedNetwork":
        """The same network with other settings."""
        return replace(self, config=_changed(self.trained.config, overrides), overrides=overrides)


def read_overrides(
    rest: Sequence[str], words: type, changeable: Sequence[str] = CHANGEABLE, further: Sequence[str] = ()
) -> NetworkOverrides:
    """Check and compose what is left when the verb's own words are taken away.

    Args:
        rest: second result of `read_words`.
        words: dataclass of the verb's own words, whose names are offered for a misspelt one.
        changeable: sections that may be given.
        further: names to offer as well.

    Raises:
        FaultyConfigError: with every fault.
        UserError: an unknown flag or a missing folder.
    """
    parsed = parse(rest)
    overrides, config_dir = tuple(parsed.overrides), parsed.config_dir
    allow_plugins(overrides)
    # Before `diagnose`, which knows neither the words of the verb nor what was settled in training.
    raise_faults(_unchangeable(overrides, [*words_of(words), *further, *changeable], changeable))
    raise_faults(diagnose(overrides, config_dir).faults)
    raise_faults(sweep_faults(overrides, "Give one value: a finished network is used with one setting at a time."))
    with composer(config_dir):
        tree = composed(overrides)
        return NetworkOverrides(overrides, tree, to_config(tree))


def find_network(words: NetworkWords, overrides: NetworkOverrides) -> FinishedNetwork:
    """Load the one network that `run=` or `ckpt=` names.

    Raises:
        UserError: none or several were named, or the named one is missing, unfinished, damaged or of another version.
    """
    if len(words.named) != 1:
        raise UserError("Give either run=<id> or ckpt=<file>; --help shows how.")
    return find_networks(words, overrides)[0]


def find_networks(words: NetworkWords, overrides: NetworkOverrides) -> list[FinishedNetwork]:
    """Load the networks that `run=` and `ckpt=` name, one or more.

    Raises:
        UserError: as `find_network`.
    """
    # Imported only now: whoever reads nothing but the overrides of a command does not wait for torch.
    from fer_ablate.inference.network import load_network
    from fer_ablate.inference.scorer import is_onnx

    found = []
    for name, value in words.named:
        folder = _named_run(value, overrides) if name == "run" else None
        path = folder.best_checkpoint if folder is not None else expanded(value)
        if is_onnx(path):
            raise UserError(f"{path} is an ONNX file, which `predict` alone can use. Name the run, or its .ckpt file.")
        trained = load_network(path, overrides.config.plugins)
        found.append(FinishedNetwork(trained, _changed(trained.config, overrides), folder, overrides))
    if not found:
        raise UserError("Give run=<id> or ckpt=<file>; --help shows how.")
    return found


def _named_run(name: str, overrides: NetworkOverrides) -> RunFolder:
    if not name.startswith(PREFIX):
        return finished_run(overrides.runs_dir, name)
    run_id = run_of_model(name, overrides.config.tracking, overrides.config.runs_dir)
    try:
        return finished_run(overrides.runs_dir, run_id)
    except UserError as error:
        raise UserError(f"{name} is of MLflow's run {run_id}, which is not here. {error}") from error


def _unchangeable(overrides: Sequence[str], known: Sequence[str], changeable: Sequence[str]) -> list[Fault]:
    """Overrides of what was settled by the training, and of what is no key at all."""
    sections = {one.name for one in fields(Config)}
    remedy = f"What can change here: {', '.join(changeable)}. Train another run for the rest."
    faults = []
    for key in map(key_of, overrides):
        section = key.split(".", 1)[0].split("/", 1)[0]
        if (section in sections and section not in changeable) or key.startswith(SETTLED):
            faults.append(Fault(key, "was settled when the run was trained.", remedy))
        elif section not in sections:
            faults.append(Fault(key, "there is no such word.", choices(key, known)))
    return faults


def _changed(stored: Config, typed: NetworkOverrides) -> Config:
    """The stored config with the overrides on top, on this machine.

    A chosen data group replaces the stored section, but for what the weights were fitted to.
    """
    here = {name: getattr(typed.config.trainer, name) for name in HARDWARE}
    stored = replace(stored, trainer=replace(stored.trainer, **here))
    # A group comes before the keys that were typed beside it, whatever their order: it would undo them.
    groups = [text for text in typed.overrides if text.startswith(("data=", "trainer="))]
    tree = OmegaConf.structured(stored)
    for group in groups:
        section = key_of(group)
        tree[section] = typed.tree[section]
        if section == "data":
            tree.data.update({name: getattr(stored.data, name) for name in FITTED})
    for text in typed.overrides:
        if text not in groups:
            # Replaced, not merged: a mapping that was typed would otherwise keep entries of the stored one.
            OmegaConf.update(tree, key_of(text), OmegaConf.select(typed.tree, key_of(text)), merge=False)
    return to_config(tree)
