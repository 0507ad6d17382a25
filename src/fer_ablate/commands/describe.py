"""`describe`: a network layer by layer."""

from collections.abc import Sequence

from fer_ablate.commands import console
from fer_ablate.commands.request import Request, run_hydra
from fer_ablate.config.choices import Source
from fer_ablate.data.augment import input_size
from fer_ablate.data.load import load_faces
from fer_ablate.labels import EMOTIONS, SIDE
from fer_ablate.models.build import build_network
from fer_ablate.models.summary import describe


def run(arguments: Sequence[str]) -> int:
    """Print layers, output shapes, parameters and multiply-accumulates."""
    return run_hydra(arguments, _show, ignore=("data.path", "data.ferplus_path"))


def _show(request: Request) -> int:
    config = request.config
    image_size, num_classes = SIDE, config.data.num_classes or len(EMOTIONS)
    if config.data.source is Source.folder:  # only the images know
        faces = load_faces(config.data)
        image_size, num_classes = faces.size[0], len(faces.classes)
    side = input_size(config.augment, image_size)
    summary = describe(build_network(config.model, side, num_classes, config.plugins), config.model.in_channels, side)
    rows = [[row.name, row.kind, "x".join(map(str, row.shape)), f"{row.parameters:,}", f"{row.macs:,}"] for row in summary.rows]
    console.table(
        f"{config.model.in_channels}x{side}x{side} -> {num_classes} classes",
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
