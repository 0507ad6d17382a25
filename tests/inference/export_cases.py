"""Networks as they would come from a checkpoint, with weights and statistics drawn from a seed."""

from pathlib import Path

import numpy as np
import torch

from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.data.transform import build_preprocess
from fer_ablate.inference.export.metadata import metadata_of
from fer_ablate.inference.network import TrainedNetwork
from fer_ablate.labels import EMOTIONS
from fer_ablate.training.assembly import build_formatted_network

NARROW = ("model=pisa", "model.width=0.125")


def trained(*overrides, size=(48, 48), channels=1):
    with composer():
        config = to_config(composed(list(overrides)))
    torch.manual_seed(0)
    network = build_formatted_network(config, size, len(EMOTIONS)).eval()
    for name, values in network.named_buffers():
        if values.is_floating_point():
            values.copy_(torch.rand_like(values) + (0.5 if name.endswith("var") else -0.5))
    return TrainedNetwork(
        path=Path("best.ckpt"),
        config=config,
        network=network,
        preprocess=build_preprocess(config, size).eval(),
        classes=tuple(EMOTIONS),
        image_size=size,
        channels=channels,
        fit=config.data.fit,
        epoch=1,
    )


def metadata(network):
    return metadata_of(network, "0123abcd")


def faces(number, channels=1, size=(48, 48)):
    return np.random.default_rng(number).integers(0, 256, (number, channels, *size), dtype=np.uint8)
