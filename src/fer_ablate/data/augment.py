"""Random changes of training batches: checks `augment.steps` and builds the module that applies them."""

from collections.abc import Iterable, Sequence

import torch
from kornia.augmentation import GeometricAugmentationBase2D
from kornia.geometry.transform import warp_affine
from torch import Tensor, nn

from fer_ablate.config.schema import AugmentConfig
from fer_ablate.data.ops.geometry import Geometric
from fer_ablate.data.ops.op import Op
from fer_ablate.data.ops.registry import draws, op_size_faults, read_op, step_faults
from fer_ablate.data.ops.windows import Resize, Sized, TenCrop
from fer_ablate.errors import Fault
from fer_ablate.sizes import Size, spelled

PATH = "augment.steps"


def augment_faults(config: AugmentConfig, image_size: Size | None) -> list[Fault]:
    """List everything wrong with `augment.steps`.

    Args:
        config: the group `augment`.
        image_size: height and width in pixels of the prepared images (`prepare.prepared_size`), to which the steps are applied;
            None if not known, so that crops are not compared with it.
    """
    faults = []
    size, tenfold, sized = image_size, False, None
    for number, step in enumerate(config.steps):
        key = f"{PATH}[{number}]"
        if found := step_faults(key, step):
            faults += found
            continue
        op = read_op(step)
        # A change of all training images would make them differ from the tested ones, which is never meant.
        if op.fixed and not isinstance(op, Resize) and not draws(op):
            problem = f"{step['op']} changes all training images in the same way, but not the images that are tested"
            faults.append(Fault(f"{key}.op", problem, "Put it into data.prepare, or give a p below 1."))
        ten = isinstance(op, TenCrop)
        if ten and tenfold:
            faults.append(Fault(f"{key}.op", "a second ten_crop, which makes a hundred of every image", "Keep one of the two."))
        faults += op_size_faults(key, op, size)
        size, tenfold = op.after(size), tenfold or ten
        if isinstance(op, Sized):
            sized = key, op
    if image_size and sized and not faults:
        faults += _untested_faults(*sized, image_size)
    return faults


def _untested_faults(key: str, last: Sized, image_size: Size) -> list[Fault]:
    """Fault if a network is trained on a size that tests cannot show: they cut views out of images that were not resized."""
    fits = last.pixels[0] <= image_size[0] and last.pixels[1] <= image_size[1]
    if fits and (last.pixels == image_size or not isinstance(last, Resize)):
        return []
    problem = f"trains on {spelled(last.pixels)} images that were resized; tests see the {spelled(image_size)} ones as they are"
    remedy = f"Resize in data.prepare, which changes every image, or go back to {spelled(image_size)} in a last step."
    return [Fault(f"{key}.size", problem, remedy)]


def input_size(config: AugmentConfig, image_size: Size) -> Size:
    """Return height and width in pixels of a network's input: those of the last crop or resize, or else `image_size`."""
    size: Size | None = image_size
    for op in map(read_op, config.steps):
        size = op.after(size)
    assert size is not None
    return size


class Warp(nn.Module):
    """Apply several flips and affine maps as one resampling: half the time of four single ones, and only one interpolation.

    Args:
        ops: kornia modules, each of which draws a matrix per image, or the identity with a probability of 1 - p.
        fill: pixels beyond the image, one of `rules.FILLS`.
    """

    def __init__(self, ops: Sequence[GeometricAugmentationBase2D], fill: str) -> None:
        super().__init__()
        self.ops = tuple(ops)
        self.fill = fill

    def forward(self, faces: Tensor) -> Tensor:
        """Warp (N, C, H, W) by the product of the drawn matrices."""
        # Matrices map pixels of the old image to the new one, so a later op is multiplied from the left.
        total = torch.eye(3, device=faces.device)
        for op in self.ops:
            drawn: Tensor = op.generate_transformation_matrix(faces, op.forward_parameters(faces.shape), op.flags)
            total = drawn @ total
        height, width = faces.shape[-2:]
        return warp_affine(faces, total[:, :2], (height, width), padding_mode=self.fill, align_corners=False)


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


def build_augment(config: AugmentConfig) -> nn.Module:
    """Build the module that changes training batches, the identity if there are no steps.

    Neighbouring flips and affine maps with the same fill are joined into one `Warp`.
    """
    if not config.steps:
        return nn.Identity()
    modules: list[nn.Module] = []
    for group in _groups(map(read_op, config.steps)):
        if fills := _fills(group):
            modules.append(Warp([op.module() for op in group if isinstance(op, Geometric)], fills.pop()))
        else:
            modules += [op.module() for op in group]
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
