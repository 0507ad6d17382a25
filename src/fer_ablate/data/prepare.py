"""Fixed changes of every image before anything else is done with it: `data.prepare`, in training, tests, prediction and export.

Balanced copies are made before, of the stored images: they are prepared like these.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fer_ablate.data.ops.registry import read_op, size_faults, step_faults
from fer_ablate.errors import Fault
from fer_ablate.sizes import Size

Steps = Sequence[Mapping[str, Any]]
"""As the config has them: each a mapping of `op` and its arguments."""

PATH = "data.prepare"


def check_prepare(steps: Steps, image_size: Size | None) -> list[Fault]:
    """List everything wrong with the steps.

    Args:
        steps: `data.prepare`.
        image_size: of the stored images, height and width in pixels; None if not known.
    """
    faults = []
    size = image_size
    for number, step in enumerate(steps):
        key = f"{PATH}[{number}]"
        if found := step_faults(key, step, fixed=True):
            faults += found
            continue
        op = read_op(step)
        faults += size_faults(key, op, size)
        size = op.after(size)
    return faults


def prepared_size(steps: Steps, image_size: Size) -> Size:
    """Height and width in pixels of the prepared images, from those of the stored ones."""
    size: Size | None = image_size
    for op in map(read_op, steps):
        size = op.after(size)
    assert size is not None
    return size


def build_prepare(steps: Steps) -> nn.Module | None:
    """Build the module that does the steps, which are without fault; None if there are none."""
    return Prepare([read_op(step).module() for step in steps]) if steps else None


class Prepare(nn.Module):
    """Fixed steps one after the other, in float32 whatever autocast says; torch.export and ONNX's exporter can follow it.

    Takes faces (N, C, H, W) in [0, 1] on any device and returns changed ones in the same range.
    """

    def __init__(self, steps: Sequence[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, faces: Tensor) -> Tensor:
        """Change every image of a batch alike."""
        kind = faces.device.type
        # Entered only where it is needed: an exported program would keep it, and ONNX has nothing like it.
        plain = torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()
        with plain:
            faces = faces.float()
            for step in self.steps:
                faces = step(faces)
        return faces
