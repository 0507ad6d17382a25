"""Builds the torch module of every op; only what trains, tests or draws images imports this."""

from collections.abc import Callable
from functools import partial, singledispatch

import torch
from kornia.augmentation import (
    ColorJitter,
    GeometricAugmentationBase2D,
    RandomAffine,
    RandomErasing,
    RandomHorizontalFlip,
    RandomVerticalFlip,
)
from torch import Tensor, nn

from fer_ablate.config.binding import build_part
from fer_ablate.data.ops.geometry import Affine, Flip, Geometric, Rotate, VerticalFlip
from fer_ablate.data.ops.modules.equalisation import clahe, equalized
from fer_ablate.data.ops.modules.geometry import ListedRotation
from fer_ablate.data.ops.modules.values import Changed, blurred, noisy
from fer_ablate.data.ops.modules.windows import RandomCrop, RandomShift, Resized, TenCrops
from fer_ablate.data.ops.op import Op
from fer_ablate.data.ops.own import OwnOp
from fer_ablate.data.ops.values import Blur, BrightnessContrast, Clahe, Equalize, Erasing, Gamma, Noise
from fer_ablate.data.ops.windows import Crop, Resize, Shift, TenCrop


@singledispatch
def build_op(op: Op) -> nn.Module:
    """Build the module that applies an op to batches (N, C, H, W) in [0, 1].

    Raises:
        TypeError: there is no function for this kind of op below.
    """
    raise TypeError(f"no module for {type(op).__name__}: add a function to {__name__}")


@build_op.register
def _(op: OwnOp) -> nn.Module:
    built = build_part(op.name, op.arguments, op.plugins, "op", function_of=1)
    return built if isinstance(built, nn.Module) else _Function(built)


class _Function(nn.Module):
    """A function of batches of images, as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, faces: Tensor) -> Tensor:
        return self.function(faces)


@singledispatch
def build_geometric(op: Geometric) -> GeometricAugmentationBase2D:
    """Build the kornia module that draws a matrix for every image.

    Raises:
        TypeError: there is no function for this kind of op below.
    """
    raise TypeError(f"no module for {type(op).__name__}: add a function to {__name__}")


@build_op.register
def _(op: Geometric) -> nn.Module:
    return build_geometric(op)


@build_geometric.register
def _(op: Flip) -> GeometricAugmentationBase2D:
    module: GeometricAugmentationBase2D = RandomHorizontalFlip(p=op.p)
    return module


@build_geometric.register
def _(op: VerticalFlip) -> GeometricAugmentationBase2D:
    module: GeometricAugmentationBase2D = RandomVerticalFlip(p=op.p)
    return module


@build_geometric.register
def _(op: Affine) -> GeometricAugmentationBase2D:
    module: GeometricAugmentationBase2D = RandomAffine(
        degrees=float(op.rotation),
        translate=(op.shift, op.shift),
        scale=tuple(map(float, op.scale)),
        shear=float(op.shear),
        p=op.p,
    )
    return module


@build_geometric.register
def _(op: Rotate) -> GeometricAugmentationBase2D:
    return ListedRotation(op.angles, op.p)


@build_op.register
def _(op: Crop) -> nn.Module:
    return RandomCrop(op.pixels, op.padding)


@build_op.register
def _(op: TenCrop) -> nn.Module:
    return TenCrops(op.pixels)


@build_op.register
def _(op: Shift) -> nn.Module:
    return RandomShift(op.y, op.x, op.p)


@build_op.register
def _(op: Resize) -> nn.Module:
    return Resized(op.pixels, op.method)


@build_op.register
def _(op: Erasing) -> nn.Module:
    module: nn.Module = RandomErasing(scale=tuple(op.area), ratio=tuple(op.ratio), value=float(op.value), p=op.p)
    return module


@build_op.register
def _(op: BrightnessContrast) -> nn.Module:
    module: nn.Module = ColorJitter(brightness=float(op.brightness), contrast=float(op.contrast), p=op.p, order=(0, 1))
    return module


@build_op.register
def _(op: Noise) -> nn.Module:
    return Changed(noisy, op.std, op.p)


@build_op.register
def _(op: Gamma) -> nn.Module:
    return Changed(torch.pow, op.gamma, op.p)


@build_op.register
def _(op: Blur) -> nn.Module:
    return Changed(partial(blurred, side=op.side), op.sigma, op.p)


@build_op.register
def _(op: Clahe) -> nn.Module:
    return Changed(partial(clahe, grid=op.tiles), op.clip_limit, op.p)


@build_op.register
def _(op: Equalize) -> nn.Module:
    return Changed(_equalized, 0.0, op.p)


def _equalized(faces: Tensor, _: float | Tensor) -> Tensor:
    """Equalise; the strength is ignored."""
    return equalized(faces)
