"""A finished network, from its checkpoint alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf.errors import OmegaConfBaseException
from torch import nn

from fer_ablate.config.choices import Fit
from fer_ablate.config.compose import from_yaml
from fer_ablate.config.schema import Config
from fer_ablate.data.prepare import prepared_size
from fer_ablate.data.transform import Preprocess, build_preprocess
from fer_ablate.errors import UserError
from fer_ablate.sizes import Size, read_spelled
from fer_ablate.training import checkpoints
from fer_ablate.training.assembly import build_formatted_network
from fer_ablate.training.checks import tested_size


@dataclass(frozen=True)
class TrainedNetwork:
    """A finished network and what has to be known to use it.

    Args:
        path: of the checkpoint.
        config: that it was trained with.
        network: normalised faces (N, C, *seen_size) -> logits (N, K); in evaluation mode, on the CPU.
        preprocess: of which a finished network needs the preparation and the normalisation; in evaluation mode.
        classes: K names, in the order of the outputs.
        image_size: of the stored images it was trained on.
        channels: of these, 1 for gray levels, 3 for red, green, blue.
        fit: how pictures of another shape were brought to that size.
        epoch: (from 1) that the weights are of.
        data_digest: of the images it was trained on; empty in checkpoints of earlier versions.
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
        """Of a stored image after `data.prepare`; views are cut from it."""
        return prepared_size(self.config.data.prepare, self.image_size)

    @property
    def seen_size(self) -> Size:
        """Of what the network itself sees: the whole prepared image, or the crop it was tested on."""
        return tested_size(self.config, self.image_size)


def load_network(path: Path, plugins: Sequence[str] = ()) -> TrainedNetwork:
    """Build the network of a checkpoint and give it its weights. No code in the file is run.

    Args:
        path: `.ckpt` file of fer_ablate.
        plugins: packages whose code may run, should the network be one of the user's own.

    Raises:
        UserError: the file is missing, damaged, of another program or version, or needs a package that is not allowed.
    """
    checkpoint = checkpoints.read(path)
    description = checkpoint["fer_ablate"]
    try:
        config = from_yaml(description["config"])
    except OmegaConfBaseException as error:
        problem = str(error).splitlines()[0]
        raise UserError(f"{path}: its config is not one of this version ({problem}). Use the version of then.") from error
    config.plugins = list(plugins)
    classes, image_size = tuple(json.loads(description["classes"])), read_spelled(description["image_size"])
    # Checkpoints of earlier versions do not tell the channels.
    channels = int(description.get("channels", config.data.channels or 1))
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
        # Those versions stretched every picture.
        fit=config.data.fit if "channels" in description else Fit.stretch,
        epoch=int(description["epoch"]),
        data_digest=description.get("data_digest", ""),
    )
