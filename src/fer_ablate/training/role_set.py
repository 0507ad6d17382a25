"""The images of a run by role."""

from dataclasses import dataclass

from fer_ablate.config.choices import Roles
from fer_ablate.config.schema import Config
from fer_ablate.data.audit import copies_across
from fer_ablate.data.balance import balanced
from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.data.roles import RoleRows, official_rows, role_rows
from fer_ablate.errors import FaultyConfigError, UserError
from fer_ablate.sizes import Size
from fer_ablate.training.checks import size_faults

TRAIN_EVAL = "train_eval"
"""Split of a result: the images of the train role, predicted by the finished weights."""


@dataclass(frozen=True)
class RoleSet:
    """The images of a run by role.

    Args:
        faces: the whole set.
        roles: `train`, `val`, `test` -> rows.
        official: `public`, `private` -> rows; only splits that the set has.
        preset: the preset of roles that was applied; never `auto`.
        notes: sentences for the user about the images and their roles.
    """

    faces: FaceSet
    roles: dict[str, Rows]
    official: dict[str, Rows]
    preset: Roles
    notes: tuple[str, ...] = ()

    @property
    def tested(self) -> dict[str, Rows]:
        """Part -> rows, of all parts that a finished run is scored on."""
        return {"val": self.roles["val"], "test": self.roles["test"], **self.official}

    @property
    def trained(self) -> dict[str, Rows]:
        """Part -> rows of the images that were trained on, as a finished run is scored on them if it is."""
        return {TRAIN_EVAL: self.roles["train"]}

    @property
    def image_size(self) -> Size:
        """Height and width of the stored images in pixels."""
        return self.faces.size


def role_set(config: Config, faces: FaceSet, trained_size: Size | None = None) -> RoleSet:
    """Assign each image to a role, and balance the classes if `data.balance` says so.

    Args:
        config: config of the run.
        faces: the images.
        trained_size: size of the images that the network was trained on; None: that of `faces`.

    Raises:
        FaultyConfigError: the network or a crop does not fit images of this size.
        UserError: a role gets no images, or they cannot be trained on; see `roles.role_rows`.
    """
    given, notes = assigned_rows(config, faces, trained_size)
    made, roles = balanced(faces, given.rows, config.data.balance)
    # With folds the official splits are mixed: a part of each one is trained on, so they are not scored.
    official = official_rows(made) if config.data.folds is None else {}
    return RoleSet(made, roles, official, given.preset, notes)


def assigned_rows(config: Config, faces: FaceSet, trained_size: Size | None = None) -> tuple[RoleRows, tuple[str, ...]]:
    """Assign each image to a role as `role_set` does, before classes are balanced; also returns notes for the user.

    Raises:
        FaultyConfigError, UserError: as `role_set`.
    """
    if faults := size_faults(config, faces.size, trained_size):
        raise FaultyConfigError(faults)
    try:
        given = role_rows(faces, config.data)
    except UserError as error:  # how the images were read often explains it
        raise UserError("\n".join([str(error), *(f"  {note}" for note in faces.notes)])) from error
    return given, (*faces.notes, *given.notes, *copies_across(faces, given.rows, config.data.drop))
