"""Fixed changes of every image before any other step: `data.prepare`, in training, tests, prediction and export.

Copies for balanced classes are made earlier, from the stored images, and are then prepared like all others.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fer_ablate.data.ops.registry import op_size_faults, read_op, step_faults
from fer_ablate.errors import Fault
from fer_ablate.sizes import Size

Steps = Sequence[Mapping[str, Any]]
"""Steps as in the config, each a mapping with `op` and its arguments."""

PATH = "data.prepare"


def prepare_faults(steps: Steps, image_size: Size | None) -> list[Fault]:
    """List everything wrong with `data.prepare`.

    Args:
        steps: the steps.
        image_size: height and width of the stored images in pixels; None if not known.
    """
    faults = []
    size = image_size
    # The size is followed from step to step: a later step is applied to images that earlier ones may have resized.
    for number, step in enumerate(steps):
        key = f"{PATH}[{number}]"
        if found := step_faults(key, step, fixed=True):
            faults += found
            continue
        op = read_op(step)
        faults += op_size_faults(key, op, size)
        size = op.after(size)
    return faults


def prepared_size(steps: Steps, image_size: Size) -> Size:
    """Return the height and width of the prepared images in pixels, from those of the stored ones."""
    size: Size | None = image_size
    for op in map(read_op, steps):
        size = op.after(size)
    assert size is not None
    return size


def build_prepare(steps: Steps) -> nn.Module | None:
    """Build a module from steps without faults; None if there are none."""
    return Prepare([read_op(step).module() for step in steps]) if steps else None


class Prepare(nn.Module):
    """Apply fixed steps one after the other, in float32 also under autocast; can be exported by torch.export and to ONNX.

    Takes faces (N, C, H, W) in [0, 1] on any device and returns changed ones in the same range.
    """

    def __init__(self, steps: Sequence[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, faces: Tensor) -> Tensor:
        """Apply the steps to (N, C, H, W), which is changed to the prepared size."""
        kind = faces.device.type
        # Entered only if needed: an exported program would record the context, and ONNX has no operator for it.
        plain = torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()
        with plain:
            faces = faces.float()
            for step in self.steps:
                faces = step(faces)
        return faces
