"""Builds a finished network from its checkpoint alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from fer_ablate.config.choices import Fit
from fer_ablate.config.compose import from_yaml
from fer_ablate.config.schema import Config
from fer_ablate.data.checks import prepared_size
from fer_ablate.data.transform import Preprocess, build_preprocess
from fer_ablate.errors import UserError
from fer_ablate.sizes import Size, read_spelled
from fer_ablate.training import checkpoints
from fer_ablate.training.assembly import build_formatted_network
from fer_ablate.training.checks import tested_size


@dataclass(frozen=True)
class TrainedNetwork:
    """A finished network and what a program needs to know to use it.

    Args:
        path: the checkpoint.
        config: the config that it was trained with.
        network: normalised faces (N, C, *seen_size) -> logits (N, K); in evaluation mode, on the CPU.
        preprocess: in evaluation mode; a finished network needs its preparation and its normalisation.
        classes: K names, in the order of the outputs.
        image_size: height and width of the stored images that it was trained on.
        channels: channels of these images, 1 for gray levels, 3 for red, green, blue.
        fit: how pictures of another shape were brought to `image_size`.
        epoch: epoch of the weights, from 1.
        data_digest: digest of the images that it was trained on; empty in checkpoints of earlier versions.
    """

    path: Path
    config: Config
    network: nn.Module
    preprocess: Preprocess
    classes: tuple[str, ...]
    image_size: Size
    channels: int
    fit: Fit
    epoch: int
    data_digest: str = ""

    @property
    def prepared_size(self) -> Size:
        """Size of a stored image after `data.prepare`; views are cut from it."""
        return prepared_size(self.config.data.prepare, self.image_size)

    @property
    def seen_size(self) -> Size:
        """Size of what the network itself sees: the whole prepared image, or the crop that it was tested on."""
        return tested_size(self.config, self.image_size)


def load_network(path: Path, plugins: Sequence[str] = ()) -> TrainedNetwork:
    """Build the network of a checkpoint and load its weights. Nothing in the file is run as code.

    Args:
        path: `.ckpt` file of fer_ablate.
        plugins: packages of the user's own whose code may run.

    Raises:
        UserError: the file is missing, damaged, of another program or version, or needs a package that is not in `plugins`.
    """
    checkpoint = checkpoints.read(path)
    description = checkpoint["fer_ablate"]
    try:
        config = from_yaml(description["config"])
    except UserError as error:
        problem = str(error).splitlines()[-1].strip()
        raise UserError(
            f"{path}: its config does not fit this version ({problem}). Use the fer_ablate version that wrote it."
        ) from error
    # Whose code may run is decided by the person who loads the checkpoint, never by the file.
    config.plugins = list(plugins)
    try:
        classes, image_size = tuple(map(str, json.loads(description["classes"]))), read_spelled(description["image_size"])
        # Checkpoints of earlier versions do not hold the channels.
        channels, epoch = int(description.get("channels", config.data.channels or 1)), int(description["epoch"])
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"{path}: its description is damaged ({type(error).__name__}: {error}). Use another file.") from error
    network = build_formatted_network(config, image_size, len(classes))
    checkpoints.load_weights(network, checkpoint, path)
    return TrainedNetwork(
        path=path,
        config=config,
        network=network.eval(),
        preprocess=build_preprocess(config, image_size).eval(),
        classes=classes,
        image_size=image_size,
        channels=channels,
        # The same versions stretched every picture.
        fit=config.data.fit if "channels" in description else Fit.stretch,
        epoch=epoch,
        data_digest=description.get("data_digest", ""),
    )
