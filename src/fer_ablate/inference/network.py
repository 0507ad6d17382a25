"""A finished network, from its checkpoint alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf.errors import OmegaConfBaseException
from torch import nn

from fer_ablate.config.compose import from_yaml
from fer_ablate.config.schema import Config
from fer_ablate.data.transform import Preprocess, build_preprocess
from fer_ablate.errors import UserError
from fer_ablate.training import checkpoints
from fer_ablate.training.assembly import build_formatted_network
from fer_ablate.training.checks import tested_size


@dataclass(frozen=True)
class TrainedNetwork:
    """A finished network and what has to be known to use it.

    Args:
        path: of the checkpoint.
        config: that it was trained with.
        network: normalised faces (N, C, side, side) -> logits (N, K); in evaluation mode, on the CPU.
        preprocess: of which the normalisation is what a finished network needs; in evaluation mode.
        classes: K names, in the order of the outputs.
        image_size: side in pixels of the images it was trained on.
        epoch: (from 1) that the weights are of.
    """

    path: Path
    config: Config
    network: nn.Module
    preprocess: Preprocess
    classes: tuple[str, ...]
    image_size: int
    epoch: int

    @property
    def side(self) -> int:
        """Side in pixels of what the network itself sees: the whole image, or the crop it was tested on."""
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
    classes, image_size = tuple(json.loads(description["classes"])), int(description["image_size"])
    network = build_formatted_network(config, image_size, len(classes))
    checkpoints.load_weights(network, checkpoint, path)
    preprocess = build_preprocess(config, image_size)
    return TrainedNetwork(path, config, network.eval(), preprocess.eval(), classes, image_size, int(description["epoch"]))
