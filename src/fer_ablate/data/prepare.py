"""Fixed changes of every image before any other step: `data.prepare`, in training, tests, prediction and export.

Copies for balanced classes are made earlier, from the stored images, and are then prepared like all others.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from fer_ablate.data.checks import Steps
from fer_ablate.data.ops.build import build_op
from fer_ablate.data.ops.registry import read_op


def build_prepare(steps: Steps, plugins: Sequence[str] = ()) -> nn.Module | None:
    """Build a module from steps without faults; None if there are none. `plugins` may be imported for ops of the user's own."""
    return Prepare([build_op(read_op(step, plugins)) for step in steps]) if steps else None


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
