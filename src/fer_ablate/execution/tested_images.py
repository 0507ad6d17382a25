"""Which images a finished network is used on: those of its training, or others that were typed."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fer_ablate.cli import console
from fer_ablate.cli.console import counted
from fer_ablate.cli.request import raise_faults
from fer_ablate.config.choices import Keep, Roles
from fer_ablate.config.schema import BalanceConfig, Config, DataConfig
from fer_ablate.data.faces import FaceSet, Progress, Rows
from fer_ablate.data.load import check as check_data
from fer_ablate.data.load import known_size, load_faces
from fer_ablate.data.prints import prints
from fer_ablate.data.roles import role_rows
from fer_ablate.errors import UserError
from fer_ablate.execution.finished_network import Subject
from fer_ablate.inference.other_data import Matched, unseen_set, with_classes
from fer_ablate.sizes import spelled
from fer_ablate.training import hardware
from fer_ablate.training.assembly import RoleSet, protocol, role_set
from fer_ablate.training.checks import check_images
from fer_ablate.training.evaluation import limited

DRAWS = ("train_fraction", "val_fraction", "test_fraction", "folds", "fold", "split_seed", "group")
"""Keys of the data that decide which images are drawn for a role."""

Load = Callable[[DataConfig, Progress | None], FaceSet]


@dataclass(frozen=True)
class Images:
    """The images that a network is used on.

    Args:
        matched: with the classes of the network.
        config: of the network with these data, as they were read.
        trained_on: whether they are the set that it was trained on.
        tested: in words, what the test role is, such as `test` or `all images`.
        reading: of other data, a sentence on the size and channels that they were brought to; else empty.
    """

    matched: Matched
    config: Config
    trained_on: bool
    tested: str
    reading: str = ""

    @property
    def data(self) -> RoleSet:
        """By role; what a person should know is in its notes."""
        return self.matched.data

    @property
    def parts(self) -> dict[str, Rows]:
        """Every part that the network is scored on."""
        trainer = self.config.trainer
        return limited(self.data.tested, trainer.limit_test_batches, trainer.evaluation_batch_size)

    @property
    def protocol(self) -> dict[str, str]:
        """How it is tested, see `assembly.protocol`; `roles` tells what of other data is tested."""
        data = self.data
        found = protocol(self.config, data.image_size, data.preset, data.faces.groups is not None)
        return found if self.trained_on else {**found, "roles": self.tested}


def images_of(about: Subject) -> RoleSet:
    """The data of `images`, with the classes of the network in the order of its outputs; prints what is to be known of others."""
    found = images(about)
    if not found.trained_on:
        tell_notes(found)
    return found.data


def tell_notes(found: Images) -> None:
    """Print what a person should know of the images."""
    for note in (found.reading, *found.data.notes):
        if note:
            console.console.print(f"  {note}", style="dim")


def images(about: Subject) -> Images:
    """The images that the network was trained and tested on, or those that were typed instead; shows a bar.

    Other data are brought to the size and channels that the network was trained on, unless those were typed; their classes are
    matched by name.

    Raises:
        FaultyConfigError: of the images or the hardware asked for.
        UserError: they cannot be read, or have too few classes that the network knows.
    """
    check_hardware(about)
    with console.bar("reading the images") as tell:
        return read_images(about, tell)


def check_hardware(about: Subject) -> None:
    """Refuse images or hardware that cannot be used, before anything is read; then use as many threads as asked for."""
    raise_faults([*check_images(about.config), *hardware.check(about.config.trainer)])
    hardware.use_threads(about.config.trainer)


def read_images(about: Subject, progress: Progress | None = None, load: Load = load_faces) -> Images:
    """As `images`, of what `check_hardware` found no fault with.

    Args:
        about: the network and its settings.
        progress: told the fraction read.
        load: reads the images of a config; `load_faces`, or one that keeps what it has read.
    """
    trained = about.trained
    if not about.names_data:
        faces = load(about.config.data, progress)
        return _as_trained(about, about.config, faces, load)
    if about.data_digest:
        # Equal images are equal when read in the form of the training, too; so foreign ones are read and cached but once.
        config = _with(about.config, {**_shape(about), **_of_training(about)})
        found = _read_or_none(config.data, progress, load)
        if found is not None and found.digest == about.data_digest:
            return _as_trained(about, config, found, load)
    changed = {"folds": None, "group": None, "balance": BalanceConfig(), **_shape(about), **_unmerged(about)}
    config = _with(about.config, changed)
    if not about.typed_below("trainer.limit_test_batches"):
        config = replace(config, trainer=replace(config.trainer, limit_test_batches=None))
    _refuse_draws(about)
    unseen = unseen_set(config, load(config.data, progress), trained.image_size)
    notes = (*unseen.data.notes, *_copies_of_training(about, unseen.data, progress, load))
    matched = with_classes(replace(unseen.data, notes=notes), trained.classes, trained.config.data.merge)
    return Images(matched, config, trained_on=False, tested=unseen.tested, reading=_reading(about, unseen.data.faces))


def _refuse_draws(about: Subject) -> None:
    """Words that would change nothing about other data."""
    typed = [f"data.{name}" for name in DRAWS if about.typed_below(f"data.{name}")]
    if about.typed_below("data.roles") and about.config.data.roles is Roles.drawn:
        typed.append("data.roles=drawn")
    if typed:
        raise UserError(
            f"{', '.join(typed)}: nothing is drawn from data that the network was not trained on; its test split is tested, or "
            "all images where there is none. Leave the word out."
        )


def _as_trained(about: Subject, config: Config, faces: FaceSet, load: Load) -> Images:
    """Images with the roles that the config gives them."""
    trained, known = about.trained, about.data_digest
    data = role_set(config, faces, trained.image_size)
    notes = list(data.notes)
    same = known == faces.digest
    if same:
        notes += _seen_before(trained.config, config, data, load)
    elif known and not any(key.startswith("data") for key in about.typed):
        notes.append(
            "The images are not the very ones that the network was trained on: the files, or how they are read, changed."
        )
    merge = {} if config.data.merge == trained.config.data.merge else trained.config.data.merge
    matched = with_classes(replace(data, notes=tuple(notes)), trained.classes, merge)
    return Images(matched, config, trained_on=same or not known, tested="test")


def _with(config: Config, data: dict[str, object]) -> Config:
    return replace(config, data=replace(config.data, **data))  # type: ignore[arg-type]  # keys are those of the schema


def _shape(about: Subject) -> dict[str, object]:
    """Size and channels of the images that the network was trained on, unless others were typed.

    Only what is needed: images read in another way are kept in the cache another time.
    """
    trained, data = about.trained, about.config.data
    usual = known_size(replace(data, size=None))  # of gray images; None where they may be of any kind
    shape: dict[str, object] = {}
    if usual != trained.image_size and data.size is None and not about.typed_below("data.size"):
        shape["size"] = list(trained.image_size)
        if not about.typed_below("data.fit"):
            shape["fit"] = trained.fit
    gray_anyway = usual is not None and trained.channels == 1
    if not gray_anyway and data.channels is None and not about.typed_below("data.channels"):
        shape["channels"] = trained.channels
    return shape


def _of_training(about: Subject) -> dict[str, object]:
    """How the images of the training were drawn and called, unless that was typed; and read, if they are still in that place."""
    then, now = about.trained.config.data, about.config.data
    names = ["merge", *DRAWS]
    if (then.source, then.path) == (now.source, now.path):
        names += ["size", "fit", "channels"]
    return {name: getattr(then, name) for name in names if not about.typed_below(f"data.{name}")}


def _unmerged(about: Subject) -> dict[str, object]:
    """Classes as the other data have them, unless typed: those that the training joined may be absent, and are matched later."""
    return {} if about.typed_below("data.merge") or about.typed_below("data") else {"merge": {}}


def _read_or_none(data: DataConfig, progress: Progress | None, load: Load) -> FaceSet | None:
    try:
        return load(data, progress)
    except UserError:
        return None  # a group or class of the training set that other data lack; what else is wrong is told when they are read so


def _reading(about: Subject, faces: FaceSet) -> str:
    """Size and channels of what the network gets."""
    colour = "gray" if faces.channels == 1 else "colour"
    as_trained = (faces.size, faces.channels) == (about.trained.image_size, about.trained.channels)
    shape = f"{spelled(faces.size)} {colour}" + (", as those were" if as_trained else "")
    return f"These are other images than the network was trained on; they are read as {shape}."


def _copies_of_training(about: Subject, data: RoleSet, progress: Progress | None, load: Load) -> list[str]:
    """A sentence about tested images that have the very pixels of one that the network was trained on, if there are any.

    Nothing is said where the images of the training are not on this machine any more, or are others now.
    """
    then = replace(about.trained.config.data, cache_dir=about.config.data.cache_dir)
    if check_data(then):
        return []
    try:
        old = load(then, progress)
        trained = role_rows(old, then).rows["train"]
    except UserError:
        return []
    if old.digest != about.data_digest:
        return []
    test = data.roles["test"]
    copies = int(np.isin(_prints_of(data.faces, test), _prints_of(old, trained)).sum())
    if not copies:
        return []
    return [f"The network was trained on the very pixels of {copies:,} of {counted(len(test), 'test image')}: they are too easy."]


def _prints_of(faces: FaceSet, rows: Rows) -> NDArray[np.uint64]:
    found = np.zeros(len(faces.labels), np.uint64)
    found[faces.rows] = prints(faces)
    return found[rows]


def _seen_before(trained: Config, config: Config, data: RoleSet, load: Load) -> list[str]:
    """Sentences about test images that the network was trained on, or that its epoch was chosen on."""
    names = ("roles", *DRAWS, "merge", "drop", "labels", "num_classes")
    if all(getattr(trained.data, name) == getattr(config.data, name) for name in names):
        return []  # roles do not overlap
    places = {name: getattr(config.data, name) for name in ("source", "path", "columns", "ferplus_path", "cache_dir", "download")}
    then = _with(trained, {**places, **{name: getattr(config.data, name) for name in ("size", "channels", "fit")}}).data
    roles, test = role_rows(load(then, None), then).rows, data.roles["test"]
    if seen := int(np.isin(test, roles["train"]).sum()):
        total = counted(len(test), "test image")
        return [f"The network was trained on {seen:,} of {total}: the scores say little about faces that it has not seen."]
    if trained.trainer.keep is Keep.best and (chosen := int(np.isin(test, roles["val"]).sum())):
        total = counted(len(test), "test image")
        return [f"{chosen:,} of {total} were val in training and chose the best epoch, which makes the scores a little too good."]
    return []
