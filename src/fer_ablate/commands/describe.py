"""`describe`: a network layer by layer."""

from collections.abc import Sequence

import torch

from fer_ablate.cli import console
from fer_ablate.cli.run_spec import RunSpec, run_hydra
from fer_ablate.config.binding import is_own
from fer_ablate.config.choices import Source
from fer_ablate.config.schema import Config, DataConfig
from fer_ablate.data.checks import network_size
from fer_ablate.data.load import known_size, load_faces
from fer_ablate.errors import FaultyConfigError
from fer_ablate.labels import EMOTIONS
from fer_ablate.models.build import build_network
from fer_ablate.models.summary import describe
from fer_ablate.sizes import Size, spelled
from fer_ablate.training.checks import image_faults, size_faults


def run(arguments: Sequence[str]) -> int:
    """Print layers, output shapes, parameters and multiply-accumulates."""
    # The images of a known data set are not needed, so a path that does not exist is no fault.
    return run_hydra(arguments, _show, ignore=("data.path", "data.ferplus_path"))


def _show(spec: RunSpec) -> int:
    config = spec.config
    image_size, num_classes = _inputs(config)
    size = network_size(config, image_size)
    network = build_network(config.model, size, num_classes, config.plugins)
    if is_own(config.model.name):
        from fer_ablate.training.dry_batch import checked_scores  # loads Lightning, which takes seconds

        images = torch.rand(2, config.model.in_channels, *size)
        checked_scores(network, config.model.name, images, num_classes, config.plugins)
    summary = describe(network, config.model.in_channels, size)
    rows = [[row.name, row.kind, "x".join(map(str, row.shape)), f"{row.parameters:,}", f"{row.macs:,}"] for row in summary.rows]
    console.table(
        f"{config.model.in_channels}x{spelled(size)} -> {num_classes} classes",
        ["layer", "kind", "output", "parameters", "MACs"],
        rows,
        left=2,
    )
    console.console.print()
    console.facts(
        [
            ("trainable parameters", f"{summary.parameters:,}"),
            ("other numbers", f"{summary.non_trainable:,} (frozen weights, statistics of the normalisation layers)"),
            ("all", f"{summary.total:,}"),
            ("MACs", f"{summary.macs:,} per image"),
        ]
    )
    return 0


def _inputs(config: Config) -> tuple[Size, int]:
    """Size of the stored images and number of classes; the images are read only where the config does not give both.

    Raises:
        FaultyConfigError: they have to be read and cannot be, or the network does not fit them.
    """
    size, num_classes = known_size(config.data), _known_classes(config.data)
    if size is not None and num_classes is not None:
        return size, num_classes
    if faults := image_faults(config):
        raise FaultyConfigError(faults)
    with console.bar("reading the images") as progress:
        faces = load_faces(config.data, progress, config.plugins)
    if faults := size_faults(config, faces.size):
        raise FaultyConfigError(faults)
    return faces.size, len(faces.classes)


def _known_classes(data: DataConfig) -> int | None:
    if data.merge:
        return len(data.merge)
    return data.num_classes or len(EMOTIONS) if data.source in (Source.synthetic, Source.fer2013) else None
