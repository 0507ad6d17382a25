"""Ops that move whole images: flips and affine maps. `augment.Warp` joins neighbouring ones into one resampling."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from kornia.augmentation import GeometricAugmentationBase2D, RandomAffine, RandomHorizontalFlip, RandomVerticalFlip
from torch import Tensor

from fer_ablate.data.ops.op import FILLS, Op, interval, number, numbers, one_of, probability


class Geometric(Op):
    """An op that draws a matrix for every image."""

    fill: str | None = None
    """Pixels beyond the image, one of `rules.FILLS`; None for a flip, which shows none of them."""

    @abstractmethod
    def module(self) -> GeometricAugmentationBase2D:
        """Build the kornia module that draws the matrices."""


@dataclass(frozen=True, kw_only=True)
class Flip(Geometric):
    """Mirror left and right."""

    p: float = probability(0.5)

    def module(self) -> GeometricAugmentationBase2D:
        """Build the op."""
        op: GeometricAugmentationBase2D = RandomHorizontalFlip(p=self.p)
        return op


@dataclass(frozen=True, kw_only=True)
class VerticalFlip(Geometric):
    """Mirror top and bottom."""

    p: float = probability(0.5)

    def module(self) -> GeometricAugmentationBase2D:
        """Build the op."""
        op: GeometricAugmentationBase2D = RandomVerticalFlip(p=self.p)
        return op


@dataclass(frozen=True, kw_only=True)
class Affine(Geometric):
    """Rotate, shift, scale and shear about the centre; `augment.Warp` does the bilinear resampling.

    Args:
        p: probability per image.
        rotation: largest angle in degrees, either way.
        shift: largest shift as a fraction of the side, either way, per axis.
        scale: interval of the magnification (above 1 the face grows), drawn once for both axes; four numbers are drawn
            separately for each axis, like the zoom of Keras.
        shear: largest horizontal shear angle in degrees, either way.
        fill: pixels beyond the image: `border` repeats the nearest one, `zeros` is black, `reflection` mirrors the image.
    """

    p: float = probability(1.0)
    rotation: float = field(default=0.0, metadata=number(0, 180))
    shift: float = field(default=0.0, metadata=number(0, 1))
    scale: Sequence[float] = field(default=(1.0, 1.0), metadata=interval(0.1, 10, lengths=(2, 4)))
    shear: float = field(default=0.0, metadata=number(0, 89))
    fill: str = field(default="border", metadata=one_of(FILLS))

    def module(self) -> GeometricAugmentationBase2D:
        """Build the op."""
        op: GeometricAugmentationBase2D = RandomAffine(
            degrees=float(self.rotation),
            translate=(self.shift, self.shift),
            scale=tuple(map(float, self.scale)),
            shear=float(self.shear),
            p=self.p,
        )
        return op


@dataclass(frozen=True, kw_only=True)
class Rotate(Geometric):
    """Rotate by one of several angles; for any angle within an interval use `affine` with `rotation`.

    Args:
        p: probability per image.
        angles: angles in degrees, counter-clockwise, all equally likely. List 0 to leave some images upright.
        fill: pixels beyond the image, whose height and width stay the same; as in `Affine`.
    """

    p: float = probability(1.0)
    angles: Sequence[float] = field(metadata=numbers(-360, 360))
    fill: str = field(default="border", metadata=one_of(FILLS))

    def module(self) -> GeometricAugmentationBase2D:
        """Build the op."""
        return _ListedRotation(self.angles, self.p)


class _ListedRotation(GeometricAugmentationBase2D):
    """Draws the matrices of `Rotate`; kornia only draws angles from intervals."""

    def __init__(self, angles: Sequence[float], p: float) -> None:
        super().__init__(p=p)
        self.angles = torch.tensor([float(angle) for angle in angles])

    def generate_parameters(self, batch_shape: Sequence[int]) -> dict[str, Tensor]:
        """Draw an angle in degrees for every image: (N,)."""
        # Drawn on the CPU like kornia's own parameters, so that a seed gives the same angles on every device.
        return {"angle": self.angles[torch.randint(len(self.angles), (batch_shape[0],))]}

    def compute_transformation(self, input: Tensor, params: Mapping[str, Tensor], flags: Mapping[str, Any]) -> Tensor:
        """Return matrices (N, 3, 3) that map pixels of an image to those of the image rotated about its centre."""
        height, width = input.shape[-2:]
        across, down = (width - 1) / 2, (height - 1) / 2
        angle = params["angle"].deg2rad()
        cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
        # Rows are numbered downwards, so that this sign of the sine turns counter-clockwise on the screen.
        rows = [
            torch.stack([cos, sin, across - cos * across - sin * down], dim=1),
            torch.stack([-sin, cos, down + sin * across - cos * down], dim=1),
            torch.stack([zero, zero, one], dim=1),
        ]
        return torch.stack(rows, dim=1).to(input.device, non_blocking=True)
