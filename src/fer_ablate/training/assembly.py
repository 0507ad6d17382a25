"""Builds the objects of torch and Lightning that train and test a run, from its config and its images."""

import json
from functools import partial

import numpy as np
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping
from torch import nn

from fer_ablate.config.binding import build_part, read_part
from fer_ablate.config.choices import Labels
from fer_ablate.config.compose import to_yaml
from fer_ablate.config.schema import Config, EarlyStoppingConfig
from fer_ablate.data.batches import Batches, EpochSampler, as_tensor
from fer_ablate.data.checks import network_size
from fer_ablate.data.transform import build_preprocess
from fer_ablate.errors import Fault, FaultyConfigError
from fer_ablate.metrics.scores import epoch_metrics
from fer_ablate.models.build import build_network
from fer_ablate.optim.losses import build_loss
from fer_ablate.optim.optimizers import build_optimizer
from fer_ablate.optim.schedulers import build_schedulers
from fer_ablate.sizes import Size, spelled
from fer_ablate.training.checkpoints import FORMAT
from fer_ablate.training.checks import tested_size
from fer_ablate.training.evaluation import Evaluator
from fer_ablate.training.hardware import Hardware
from fer_ablate.training.module import Classifier
from fer_ablate.training.role_set import RoleSet


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
        loss=build_loss(config.loss, counts, len(classes), config.plugins),
        metrics=epoch_metrics(len(classes)),
        make_optimizer=partial(build_optimizer, config.optimizer, plugins=config.plugins),
        make_schedules=lambda optimizer, steps: build_schedulers(
            config.scheduler, optimizer, steps, config.trainer.max_epochs, config.plugins
        ),
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


def build_callbacks(config: Config) -> list[Callback]:
    """Build the callbacks of the user's own.

    Raises:
        FaultyConfigError: a plugin raises an error, or gives no callback.
    """
    built = []
    for number, given in enumerate(config.trainer.callbacks):
        (name, arguments), key = read_part(given), f"trainer.callbacks[{number}].name"
        callback = build_part(name, arguments, config.plugins, key)
        if not isinstance(callback, Callback):
            problem = f"{name} gives an object of the class {type(callback).__name__}, and no callback."
            remedy = "Derive it from pytorch_lightning.Callback; those of the package `lightning` are other classes."
            raise FaultyConfigError([Fault(key, problem, remedy)])
        built.append(callback)
    return built


def build_early_stopping(config: EarlyStoppingConfig) -> EarlyStopping | None:
    """Build the callback that stops a run; None if the run never stops early.

    It counts as Keras does: an epoch is better if it beats the best one by more than `min_delta`, in the unit of the metric, and
    the run ends with the `patience`-th epoch in a row that is not.
    """
    if config.patience is None:
        return None
    return EarlyStopping(
        config.monitor,
        mode=config.mode.name,
        patience=config.patience,
        min_delta=config.min_delta,
        check_on_train_epoch_end=True,  # before the checkpoint of the epoch, which stores the stop
        check_finite=False,  # `EpochReport` ends a run whose loss is no number, with an error
    )
