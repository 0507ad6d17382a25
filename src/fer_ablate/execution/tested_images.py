"""The images that a finished network is used on: those of its training, or others that were typed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from fer_ablate.cli import console
from fer_ablate.cli.command_line import raise_faults
from fer_ablate.cli.console import counted
from fer_ablate.config.choices import Keep, Roles
from fer_ablate.config.schema import BalanceConfig, Config, DataConfig
from fer_ablate.data.faces import FaceSet, Progress, Rows
from fer_ablate.data.load import data_faults, known_size, load_faces
from fer_ablate.data.roles import role_rows
from fer_ablate.errors import UserError
from fer_ablate.execution.finished_network import FinishedNetwork
from fer_ablate.inference.other_data import MatchedData, match_data, other_data_roles
from fer_ablate.sizes import spelled
from fer_ablate.study.pixels import hashes_of
from fer_ablate.training import hardware
from fer_ablate.training.checks import image_faults
from fer_ablate.training.devices import hardware_faults
from fer_ablate.training.evaluation import first_images
from fer_ablate.training.protocol import protocol
from fer_ablate.training.role_set import RoleSet, role_set

DRAWS = ("train_fraction", "val_fraction", "test_fraction", "folds", "fold", "split_seed", "group")
"""Keys of the data that decide which images are drawn for a role."""

Load = Callable[..., FaceSet]


@dataclass(frozen=True)
class NetworkImages:
    """The images that a network is used on.

    Args:
        matched: the images by role, with the classes of the network.
        config: config of the network with these data, as they were read.
        trained_on: whether this is the set that the network was trained on.
        tested: what the test role consists of, in words such as `test` or `all images`.
        reading: for other data, a sentence on the size and channels that they were brought to; else empty.
    """

    matched: MatchedData
    config: Config
    trained_on: bool
    tested: str
    reading: str = ""

    @property
    def data(self) -> RoleSet:
        """Images by role; the notes hold what a person should know about them."""
        return self.matched.data

    @property
    def parts(self) -> dict[str, Rows]:
        """Rows of every role and official split that the network is scored on; and with `evaluation.train` those of train."""
        trainer, parts = self.config.trainer, self.data.tested
        if self.config.evaluation.train and self.trained_on:
            parts = {**parts, **self.data.trained}
        return first_images(parts, trainer.limit_test_batches, trainer.evaluation_batch_size)

    @property
    def protocol(self) -> dict[str, str]:
        """How the network is tested, see `assembly.protocol`; for other data, `roles` names the part that is tested."""
        data = self.data
        found = protocol(self.config, data.image_size, data.preset, data.faces.groups is not None)
        return found if self.trained_on else {**found, "roles": self.tested}

    def described(self) -> dict[str, Any]:
        """What was tested on, as plain values for a JSON file."""
        data, matched = self.data, self.matched
        height, width = data.image_size
        return {
            "source": self.config.data.source.name,
            "path": self.config.data.path,
            "digest": data.faces.digest,
            "trained_on": self.trained_on,
            "tested": self.tested,
            "size": [height, width],
            "channels": data.faces.channels,
            "classes": matched.classes,
            "left_out": matched.left_out,
            "missing": list(matched.missing),
            "not_read": dict(data.faces.left_out),
            "notes": [note for note in (self.reading, *data.notes) if note],
        }


def images_by_role(network: FinishedNetwork) -> RoleSet:
    """The data of `open_images`; prints what a person should know of data that the network was not trained on."""
    images = open_images(network)
    if not images.trained_on:
        show_notes(images)
    return images.data


def show_notes(images: NetworkImages) -> None:
    """Print what a person should know of the images."""
    for note in (images.reading, *images.data.notes):
        if note:
            console.console.print(f"  {note}", style="dim")


def open_images(network: FinishedNetwork) -> NetworkImages:
    """Read the images that the network was trained and tested on, or those that were typed instead; shows a bar.

    Other data are brought to the size and channels that the network was trained on, unless those were typed; their classes are
    matched by name.

    Raises:
        FaultyConfigError: the images or the hardware cannot be used.
        UserError: the images cannot be read, or have too few classes that the network knows.
    """
    prepare_hardware(network)
    with console.bar("reading the images") as progress:
        return read_images(network, progress)


def prepare_hardware(network: FinishedNetwork) -> None:
    """Set the number of threads; refuse images or hardware that cannot be used, before anything is read."""
    raise_faults([*image_faults(network.config), *hardware_faults(network.config.trainer)])
    hardware.use_threads(network.config.trainer)


def read_images(network: FinishedNetwork, progress: Progress | None = None, load: Load = load_faces) -> NetworkImages:
    """As `open_images`, without a bar, and after `prepare_hardware`.

    Args:
        network: the network with the settings that were typed.
        progress: called with the fraction read.
        load: reads the images of a config; `load_faces`, or a function that keeps what it has read.
    """
    trained = network.trained
    load = partial(load, plugins=trained.config.plugins)
    if not network.names_data:
        faces = load(network.config.data, progress)
        return _as_trained(network, network.config, faces, load)
    if network.data_digest:
        # Equal images are equal when read in the form of the training, too; so foreign ones are read and cached but once.
        config = _with(network.config, {**_shape(network), **_of_training(network)})
        found = _read_or_none(config.data, progress, load)
        if found is not None and found.digest == network.data_digest:
            return _as_trained(network, config, found, load)
    changed = {"folds": None, "group": None, "balance": BalanceConfig(), **_shape(network), **_unmerged(network)}
    config = _with(network.config, changed)
    # A limit of the training was meant for its own test images.
    if not network.was_typed("trainer.limit_test_batches"):
        config = replace(config, trainer=replace(config.trainer, limit_test_batches=None))
    _refuse_draws(network)
    unseen = other_data_roles(config, load(config.data, progress), trained.image_size)
    notes = (*unseen.data.notes, *_copies_of_training(network, unseen.data, progress, load))
    matched = match_data(replace(unseen.data, notes=notes), trained.classes, trained.config.data.merge)
    return NetworkImages(matched, config, trained_on=False, tested=unseen.tested, reading=_reading(network, unseen.data.faces))


def _refuse_draws(network: FinishedNetwork) -> None:
    """Refuse overrides that would change nothing about other data."""
    typed = [f"data.{name}" for name in DRAWS if network.was_typed(f"data.{name}")]
    if network.was_typed("data.roles") and network.config.data.roles is Roles.drawn:
        typed.append("data.roles=drawn")
    if typed:
        raise UserError(
            f"{', '.join(typed)}: nothing is drawn from data that the network was not trained on; its test split is tested, or "
            "all images where there is none. Leave the word out."
        )


def _as_trained(network: FinishedNetwork, config: Config, faces: FaceSet, load: Load) -> NetworkImages:
    """Images with the roles that the config gives them."""
    trained, known = network.trained, network.data_digest
    data = role_set(config, faces, trained.image_size)
    notes = list(data.notes)
    same = known == faces.digest
    if same:
        notes += _seen_before(trained.config, config, data, load)
    elif known and not network.changes_data:
        notes.append(
            "The images are not the very ones that the network was trained on: the files, or how they are read, changed."
        )
    merge = {} if config.data.merge == trained.config.data.merge else trained.config.data.merge
    matched = match_data(replace(data, notes=tuple(notes)), trained.classes, merge)
    return NetworkImages(matched, config, trained_on=same or not known, tested="test")


def _with(config: Config, data: dict[str, object]) -> Config:
    return replace(config, data=replace(config.data, **data))  # type: ignore[arg-type]  # keys are those of the schema


def _shape(network: FinishedNetwork) -> dict[str, object]:
    """Size and channels of the images that the network was trained on, unless others were typed.

    Keys that change nothing are left out, because images read in another way take up the cache a second time.
    """
    trained, data = network.trained, network.config.data
    usual = known_size(replace(data, size=None))  # of gray images; None where they may be of any kind
    shape: dict[str, object] = {}
    if usual != trained.image_size and data.size is None and not network.was_typed("data.size"):
        shape["size"] = list(trained.image_size)
        if not network.was_typed("data.fit"):
            shape["fit"] = trained.fit
    gray_anyway = usual is not None and trained.channels == 1
    if not gray_anyway and data.channels is None and not network.was_typed("data.channels"):
        shape["channels"] = trained.channels
    return shape


def _of_training(network: FinishedNetwork) -> dict[str, object]:
    """Keys that drew and named the images of the training, unless typed; from the same place, also those that read them."""
    then, now = network.trained.config.data, network.config.data
    names = ["merge", *DRAWS]
    if (then.source, then.path) == (now.source, now.path):
        names += ["size", "fit", "channels"]
    return {name: getattr(then, name) for name in names if not network.was_typed(f"data.{name}")}


def _unmerged(network: FinishedNetwork) -> dict[str, object]:
    """Leaves the classes of other data as they are, unless typed: those that the training merged may be absent there."""
    return {} if network.was_typed("data.merge") or network.was_typed("data") else {"merge": {}}


def _read_or_none(data: DataConfig, progress: Progress | None, load: Load) -> FaceSet | None:
    try:
        return load(data, progress)
    except UserError:
        # Other data may lack a group or class of the training set; any other fault shows when they are read as other data.
        return None


def _reading(network: FinishedNetwork, faces: FaceSet) -> str:
    """A sentence on the size and channels of the images that the network gets."""
    colour = "gray" if faces.channels == 1 else "colour"
    as_trained = (faces.size, faces.channels) == (network.trained.image_size, network.trained.channels)
    shape = f"{spelled(faces.size)} {colour}" + (", as those were" if as_trained else "")
    return f"These are other images than the network was trained on; they are read as {shape}."


def _copies_of_training(network: FinishedNetwork, data: RoleSet, progress: Progress | None, load: Load) -> list[str]:
    """A sentence about tested images that have the same pixels as one that the network was trained on, if there are any.

    Empty where the images of the training are no longer on this machine, or have changed.
    """
    # The stored folder of the cache may be that of another machine.
    then = replace(network.trained.config.data, cache_dir=network.config.data.cache_dir)
    if data_faults(then):
        return []
    try:
        old = load(then, progress)
        trained = role_rows(old, then).rows["train"]
    except UserError:
        return []
    if old.digest != network.data_digest:
        return []
    test = data.roles["test"]
    copies = int(np.isin(hashes_of(data.faces, test), hashes_of(old, trained)).sum())
    if not copies:
        return []
    return [f"The network was trained on the very pixels of {copies:,} of {counted(len(test), 'test image')}: they are too easy."]


def _seen_before(trained: Config, config: Config, data: RoleSet, load: Load) -> list[str]:
    """Sentences about test images that the network was trained on, or that its epoch was chosen on."""
    names = ("roles", *DRAWS, "merge", "drop", "labels", "num_classes")
    if all(getattr(trained.data, name) == getattr(config.data, name) for name in names):
        return []  # the same draw, whose roles do not overlap
    places = {name: getattr(config.data, name) for name in ("source", "path", "columns", "ferplus_path", "cache_dir", "download")}
    # The roles of the training, but read from where the images are now.
    then = _with(trained, {**places, **{name: getattr(config.data, name) for name in ("size", "channels", "fit")}}).data
    roles, test = role_rows(load(then, None), then).rows, data.roles["test"]
    if seen := int(np.isin(test, roles["train"]).sum()):
        total = counted(len(test), "test image")
        return [f"The network was trained on {seen:,} of {total}: the scores say little about faces that it has not seen."]
    if trained.trainer.keep is Keep.best and (chosen := int(np.isin(test, roles["val"]).sum())):
        total = counted(len(test), "test image")
        return [f"{chosen:,} of {total} were val in training and chose the best epoch, which makes the scores a little too good."]
    return []
