"""Random changes of training batches: checking the list of steps, and building the module that does them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

import torch
from kornia.augmentation import GeometricAugmentationBase2D
from kornia.geometry.transform import warp_affine
from torch import Tensor, nn

from fer_ablate.config.schema import AugmentConfig
from fer_ablate.data.augment_ops import OPS, Affine, Crop, Flip, Op, TenCrop, read_op
from fer_ablate.errors import Fault, choices


def check(config: AugmentConfig, image_size: int | None, path: str = "augment.steps") -> list[Fault]:
    """List everything wrong with the steps.

    Args:
        config: the group `augment`.
        image_size: side of the stored images in pixels; None if not known, then crops are not compared with it.
        path: full key of the steps, for the messages.
    """
    faults = []
    side, tenfold = image_size, False
    for number, step in enumerate(config.steps):
        key = f"{path}[{number}]"
        found = list(_step_faults(key, step))
        faults += found
        if found or step["op"] not in ("crop", "ten_crop"):
            continue
        ten = step["op"] == "ten_crop"
        if ten and tenfold:
            faults.append(Fault(f"{key}.op", "a second ten_crop, which makes a hundred of every image", "Keep one of the two."))
        faults += _size_faults(key, step["size"], side, ten)
        side, tenfold = step["size"], tenfold or ten
    return faults


def _size_faults(key: str, size: int, side: int | None, ten: bool) -> list[Fault]:
    if side is None or size < side:
        return []
    if size > side:
        return [Fault(f"{key}.size", f"{size}: crop is larger than the {side}x{side} images", f"Choose a size up to {side}.")]
    if not ten:
        return []
    problem = f"{size}: all ten crops are the whole {side}x{side} image"
    return [Fault(f"{key}.size", problem, f"Choose a size below {side}, or leave ten_crop out.")]


def _step_faults(key: str, step: Any) -> Iterator[Fault]:
    if not isinstance(step, Mapping) or "op" not in step:
        yield Fault(key, f"{step} does not name its op", "Write {op: flip, p: 0.5}. " + choices("", OPS))
        return
    op = str(step["op"])
    if op not in OPS:
        yield Fault(f"{key}.op", f"unknown op '{op}'", choices(op, OPS))
        return
    arguments = {argument.name: argument for argument in fields(OPS[op])}
    for name, value in step.items():
        if name == "op":
            continue
        if name not in arguments:
            yield Fault(f"{key}.{name}", f"{op} has no such argument", choices(str(name), arguments))
        elif problem := arguments[name].metadata["rule"](value):
            yield Fault(f"{key}.{name}", f"{value!r}: {problem}")
    for name, argument in arguments.items():
        if argument.default is MISSING and name not in step:
            yield Fault(f"{key}.{name}", f"{op} needs it and it is missing")


def input_size(config: AugmentConfig, image_size: int) -> int:
    """Side of the images a network is trained on, in pixels: that of the last crop, or `image_size`."""
    crops = [op.size for op in map(read_op, config.steps) if isinstance(op, Crop | TenCrop)]
    return crops[-1] if crops else image_size


class Warp(nn.Module):
    """Several flips and affines in a row as one resampling: half the time of four in a row, and blurred only once.

    Args:
        ops: kornia modules, each of which draws a matrix per image, or the identity where its probability says so.
        fill: what lies beyond the image.
    """

    def __init__(self, ops: Sequence[GeometricAugmentationBase2D], fill: str) -> None:
        super().__init__()
        self.ops = tuple(ops)
        self.fill = fill

    def forward(self, faces: Tensor) -> Tensor:
        """Warp (N, C, H, W) by the product of the matrices drawn."""
        total = torch.eye(3, device=faces.device)
        for op in self.ops:
            drawn: Tensor = op.generate_transformation_matrix(faces, op.forward_parameters(faces.shape), op.flags)
            total = drawn @ total
        height, width = faces.shape[-2:]
        return warp_affine(faces, total[:, :2], (height, width), padding_mode=self.fill, align_corners=False)


class Augment(nn.Module):
    """The steps of a config, one after the other, in float32 whatever autocast says.

    Takes faces (N, C, H, W) in [0, 1] on any device and returns changed ones in the same range: N of them, or 10 N behind a
    ten_crop, those of one image side by side.
    The draws depend on torch's global CPU seed alone, so a seed gives the same changes on every device.
    """

    def __init__(self, steps: Sequence[nn.Module]) -> None:
        super().__init__()
        # A tuple, not a ModuleList: kornia's modules have no weights, and moving them to a device moves their random
        # numbers there too, which then differ from the CPU's and are copied back in every call.
        self.steps = tuple(steps)

    def forward(self, faces: Tensor) -> Tensor:
        """Change every image of a batch in its own way."""
        with torch.no_grad(), torch.autocast(faces.device.type, enabled=False):
            faces = faces.float()
            for step in self.steps:
                faces = step(faces)
        return faces


def build_augment(config: AugmentConfig) -> nn.Module:
    """Build the module that changes training batches; without steps it returns them as they are.

    Neighbouring flips and affines with the same fill become one `Warp`.
    """
    if not config.steps:
        return nn.Identity()
    modules: list[nn.Module] = []
    for group in _groups(map(read_op, config.steps)):
        if fills := _fills(group):
            modules.append(Warp([op.module() for op in group if isinstance(op, Flip | Affine)], fills.pop()))
        else:
            modules += [op.module() for op in group]
    return Augment(modules)


def _fills(group: Sequence[Op]) -> set[str]:
    return {op.fill for op in group if isinstance(op, Affine)}


def _groups(ops: Iterable[Op]) -> list[list[Op]]:
    groups: list[list[Op]] = []
    for op in ops:
        joined = [*groups[-1], op] if groups else [op]
        if groups and all(isinstance(each, Flip | Affine) for each in joined) and len(_fills(joined)) <= 1:
            groups[-1].append(op)
        else:
            groups.append([op])
    return groups
