"""Random changes of training batches: builds the module that applies `augment.steps`."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from fer_ablate.config.schema import AugmentConfig
from fer_ablate.data.ops.build import build_geometric, build_op
from fer_ablate.data.ops.geometry import Geometric
from fer_ablate.data.ops.modules.geometry import Warp
from fer_ablate.data.ops.op import Op
from fer_ablate.data.ops.registry import read_op


class Augment(nn.Module):
    """Apply the steps of a config one after the other, in float32 also under autocast.

    Takes faces (N, C, H, W) in [0, 1] on any device and returns changed ones in the same range: N of them, or 10 N after a
    ten_crop, with those of one image next to each other.
    All random numbers come from torch's global CPU generator, so a seed gives the same changes on every device.
    """

    def __init__(self, steps: Sequence[nn.Module]) -> None:
        super().__init__()
        # A tuple, not a ModuleList: a ModuleList would move kornia's modules to the device, where they would draw other random
        # numbers than on the CPU and copy them back in every call. They have no weights that would need to move.
        self.steps = tuple(steps)

    def forward(self, faces: Tensor) -> Tensor:
        """Change every image of a batch (N, C, H, W) with random numbers of its own."""
        with torch.no_grad(), torch.autocast(faces.device.type, enabled=False):
            faces = faces.float()
            for step in self.steps:
                faces = step(faces)
        return faces


def build_augment(config: AugmentConfig, plugins: Sequence[str] = ()) -> nn.Module:
    """Build the module that changes training batches, the identity if there are no steps.

    Neighbouring flips and affine maps with the same fill are joined into one `Warp`. `plugins` may be imported for ops of the
    user's own.
    """
    if not config.steps:
        return nn.Identity()
    modules: list[nn.Module] = []
    for group in _groups(read_op(step, plugins) for step in config.steps):
        if fills := _fills(group):
            modules.append(Warp([build_geometric(op) for op in group if isinstance(op, Geometric)], fills.pop()))
        else:
            modules += [build_op(op) for op in group]
    return Augment(modules)


def _fills(group: Sequence[Op]) -> set[str]:
    return {op.fill for op in group if isinstance(op, Geometric) and op.fill is not None}


def _groups(ops: Iterable[Op]) -> list[list[Op]]:
    """Group neighbouring ops that can be done in one resampling; every other op is a group of its own."""
    groups: list[list[Op]] = []
    for op in ops:
        joined = [*groups[-1], op] if groups else [op]
        if groups and all(isinstance(each, Geometric) for each in joined) and len(_fills(joined)) <= 1:
            groups[-1].append(op)
        else:
            groups.append([op])
    return groups
