"""The config edge of a run: from a config and its images to plain objects that train and test."""

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
from fer_ablate.training.checks import check_sizes, tested_size
from fer_ablate.training.evaluation import Examiner
from fer_ablate.training.hardware import Hardware
from fer_ablate.training.module import Classifier


@dataclass(frozen=True)
class RoleSet:
    """The images of a run by role.

    Args:
        faces: the whole set.
        roles: `train`, `val`, `test` -> rows.
        official: `public`, `private` -> rows, as far as the set has them.
        preset: what `data.roles` came to; never `auto`.
        notes: what a person should know about the images and their roles, a sentence each.
    """

    faces: FaceSet
    roles: dict[str, Rows]
    official: dict[str, Rows]
    preset: Roles
    notes: tuple[str, ...] = ()

    @property
    def tested(self) -> dict[str, Rows]:
        """Every part that a finished run is scored on."""
        return {"val": self.roles["val"], "test": self.roles["test"], **self.official}

    @property
    def image_size(self) -> Size:
        """Of the stored images."""
        return self.faces.size


def role_set(config: Config, faces: FaceSet, trained_size: Size | None = None) -> RoleSet:
    """Give each image its role, and make its classes equal where `data.balance` says so.

    Args:
        config: the run.
        faces: the images.
        trained_size: of those the network was trained on, if these are others.

    Raises:
        FaultyConfigError: the network or a crop does not fit images of this size.
        UserError: a role gets no images, or none to learn from; see `roles.role_rows`.
    """
    if faults := check_sizes(config, faces.size, trained_size):
        raise FaultyConfigError(faults)
    try:
        given = role_rows(faces, config.data)
    except UserError as error:  # how the images were read often says why
        raise UserError("\n".join([str(error), *(f"  {note}" for note in faces.notes)])) from error
    notes = (*faces.notes, *given.notes, *copies_across(faces, given.rows, config.data.drop))
    made, roles = balanced(faces, given.rows, config.data.balance)
    # Folds unite the official splits, so that each of them is trained on in part.
    official = official_rows(made) if config.data.folds is None else {}
    return RoleSet(made, roles, official, given.preset, notes)


def build_module(config: Config, data: RoleSet, key: str) -> Classifier:
    """Network, loss and optimizer of a run; initial weights are drawn from its seed."""
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
    """The network of a run, in the memory format it runs in; `image_size` is that of the stored images it is trained on."""
    network = build_network(config.model, network_size(config, image_size), num_classes, config.plugins)
    if config.trainer.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    return network


def build_batches(config: Config, data: RoleSet, role: str, rank: int = 0, world_size: int = 1) -> Batches:
    """Batches of the `train` or `val` role for one of the processes that share a run."""
    training, faces, rows = role == "train", data.faces, data.roles[role]
    size = config.trainer.batch_size if training else config.trainer.evaluation_batch_size
    same = config.trainer.overfit_batches > 0  # the same few batches in every epoch
    sampler = EpochSampler(len(rows), size, config.seed, shuffle=training, reshuffle=not same, rank=rank, world_size=world_size)
    soft = training and faces.targets is not None
    targets = torch.from_numpy(faces.targets if soft and faces.targets is not None else faces.labels)
    draw = soft and config.data.labels is Labels.probability
    return Batches(as_tensor(faces.faces), torch.from_numpy(rows), targets, sampler, draw_labels=draw)


def build_examiner(config: Config, image_size: Size, hardware: Hardware) -> Examiner:
    """How this run's weights are tested."""
    size = tested_size(config, image_size)
    return Examiner(config.evaluation.tta, size, config.trainer.evaluation_batch_size, hardware)


def protocol(config: Config, image_size: Size, preset: Roles | None = None, by_group: bool | None = None) -> dict[str, str]:
    """What must agree before two results may stand in one column of a table.

    Args:
        config: of the run.
        image_size: of the stored images.
        preset: what `data.roles` came to, see `RoleSet`; None: as written.
        by_group: whether the images have groups, which folds keep together; None: as far as the config says so.
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
    if data.merge:  # two runs may call different groups of classes by the same names
        found["merged"] = ", ".join(f"{name}: {'+'.join(sorted(old))}" for name, old in data.merge.items())
    if data.folds is not None:
        grouped = data.group is not None if by_group is None else by_group
        found["folds"] = f"{data.folds} by {'group' if grouped else 'class'}"
        found["folds"] += f", split_seed {data.split_seed}" if data.split_seed else ""
    balance, limit = config.data.balance, config.trainer.limit_test_batches
    if balance.kind is Balance.copies:  # the other kind leaves the test role alone
        found["balance"] = f"copies {balance.copies}"
        found["copies"] = hashlib.sha256(json.dumps([balance.seed, balance.steps], sort_keys=True).encode()).hexdigest()[:8]
    if limit is not None and limit != 1:
        found["images"] = f"first {int(limit)} batches" if limit > 1 else f"the first {limit:.6g} of each part"
    return found


def _crop(size: Size) -> str:
    """A lone number for a square, as results of earlier versions have it."""
    return str(size[0]) if size[0] == size[1] else spelled(size)
