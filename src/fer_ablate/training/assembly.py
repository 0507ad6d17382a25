"""Builds the objects that train and test a run, from its config and its images."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from fer_ablate.config.choices import Balance, Labels, Roles
from fer_ablate.config.compose import to_yaml
from fer_ablate.config.schema import Config
from fer_ablate.data.audit import copies_across
from fer_ablate.data.balance import balanced
from fer_ablate.data.batches import Batches, EpochSampler, as_tensor
from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.data.roles import official_rows, role_rows
from fer_ablate.data.transform import build_preprocess, network_size
from fer_ablate.errors import FaultyConfigError, UserError
from fer_ablate.metrics import epoch_metrics
from fer_ablate.models.build import build_network
from fer_ablate.optim.losses import build_loss
from fer_ablate.optim.optimizers import build_optimizer
from fer_ablate.optim.schedulers import build_schedulers
from fer_ablate.sizes import Size, spelled
from fer_ablate.training.checkpoints import FORMAT
from fer_ablate.training.checks import size_faults, tested_size
from fer_ablate.training.evaluation import Evaluator
from fer_ablate.training.hardware import Hardware
from fer_ablate.training.module import Classifier


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
    if faults := size_faults(config, faces.size, trained_size):
        raise FaultyConfigError(faults)
    try:
        given = role_rows(faces, config.data)
    except UserError as error:  # how the images were read often explains it
        raise UserError("\n".join([str(error), *(f"  {note}" for note in faces.notes)])) from error
    notes = (*faces.notes, *given.notes, *copies_across(faces, given.rows, config.data.drop))
    made, roles = balanced(faces, given.rows, config.data.balance)
    # With folds the official splits are mixed: a part of each one is trained on, so they are not scored.
    official = official_rows(made) if config.data.folds is None else {}
    return RoleSet(made, roles, official, given.preset, notes)


def build_module(config: Config, data: RoleSet, key: str) -> Classifier:
    """Build the Lightning module of a run with network, loss, metrics and optimizer; initial weights depend on its seed.

    Args:
        config: config of the run.
        data: its images by role.
        key: key of the run, stored in its checkpoints.
    """
    # Seeded right before the network is built, so that its weights do not depend on earlier random numbers.
    torch.manual_seed(config.seed)
    classes = data.faces.classes
    train_labels = data.faces.labels[data.roles["train"]]
    counts = np.bincount(train_labels, minlength=len(classes))
    return Classifier(
        network=build_formatted_network(config, data.image_size, len(classes)),
        preprocess=build_preprocess(config, data.image_size),
        loss=build_loss(config.loss, counts, len(classes)),
        metrics=epoch_metrics(len(classes)),
        make_optimizer=partial(build_optimizer, config.optimizer, plugins=config.plugins),
        make_schedules=lambda optimizer, steps: build_schedulers(config.scheduler, optimizer, steps, config.trainer.max_epochs),
        description={
            "format": FORMAT,
            "key": key,
            "config": to_yaml(config),
            "classes": json.dumps(classes),
            "image_size": spelled(data.image_size),
            "channels": str(data.faces.channels),
            "data_digest": data.faces.digest,
        },
    )


def build_formatted_network(config: Config, image_size: Size, num_classes: int) -> nn.Module:
    """Build the network of a run in its memory format.

    Args:
        config: config of the run.
        image_size: height and width in pixels of the stored images that it is trained on.
        num_classes: number of logits per face.
    """
    network = build_network(config.model, network_size(config, image_size), num_classes, config.plugins)
    if config.trainer.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    return network


def build_batches(config: Config, data: RoleSet, role: str, rank: int = 0, world_size: int = 1) -> Batches:
    """Build the batches of the `train` or `val` role for one of the processes that share a run.

    Args:
        config: config of the run.
        data: its images by role.
        role: `train` or `val`.
        rank: number of this process.
        world_size: number of processes.
    """
    training, faces, rows = role == "train", data.faces, data.roles[role]
    size = config.trainer.batch_size if training else config.trainer.evaluation_batch_size
    same = config.trainer.overfit_batches > 0  # the same few batches in every epoch
    sampler = EpochSampler(len(rows), size, config.seed, shuffle=training, reshuffle=not same, rank=rank, world_size=world_size)
    # Val is measured with hard labels, so that its metrics are comparable between kinds of labels.
    soft = training and faces.targets is not None
    targets = torch.from_numpy(faces.targets if soft and faces.targets is not None else faces.labels)
    draw = soft and config.data.labels is Labels.probability
    return Batches(as_tensor(faces.faces), torch.from_numpy(rows), targets, sampler, draw_labels=draw)


def build_evaluator(config: Config, image_size: Size, hardware: Hardware) -> Evaluator:
    """Build what tests the weights of a run, for stored images of this size."""
    size = tested_size(config, image_size)
    return Evaluator(config.evaluation.tta, size, config.trainer.evaluation_batch_size, hardware)


def protocol(config: Config, image_size: Size, preset: Roles | None = None, by_group: bool | None = None) -> dict[str, str]:
    """Return the evaluation protocol: properties that must be equal for two results to share a column of a table.

    The texts are stored with every run and compared with those of old runs, so they must not be reworded.

    Args:
        config: config of the run.
        image_size: height and width of the stored images in pixels.
        preset: preset that was applied, see `RoleSet`; None: `data.roles`.
        by_group: whether the images have groups, which folds keep together; None: whether `data.group` is given.
    """
    data = config.data
    found = {
        "source": data.source.name,
        "roles": (preset or data.roles).name,
        "labels": data.labels.name,
        "classes": "+".join(data.merge) or str(data.num_classes or "all"),
        "drop": "+".join(sorted(kind.name for kind in data.drop)) or "none",
        "crop": _crop(tested_size(config, image_size)),
        "tta": config.evaluation.tta.name,
        "balance": "none",
    }
    if data.merge:  # two runs may use one name for different merged classes
        found["merged"] = ", ".join(f"{name}: {'+'.join(sorted(old))}" for name, old in data.merge.items())
    if data.folds is not None:
        grouped = data.group is not None if by_group is None else by_group
        found["folds"] = f"{data.folds} by {'group' if grouped else 'class'}"
        found["folds"] += f", split_seed {data.split_seed}" if data.split_seed else ""
    balance, limit = config.data.balance, config.trainer.limit_test_batches
    if balance.kind is Balance.copies:  # the other kind does not change the test role
        found["balance"] = f"copies {balance.copies}"
        found["copies"] = hashlib.sha256(json.dumps([balance.seed, balance.steps], sort_keys=True).encode()).hexdigest()[:8]
    if limit is not None and limit != 1:
        found["images"] = f"first {int(limit)} batches" if limit > 1 else f"the first {limit:.6g} of each part"
    return found


def _crop(size: Size) -> str:
    """One number for a square, as in the results of earlier versions, else `56x40`."""
    return str(size[0]) if size[0] == size[1] else spelled(size)
