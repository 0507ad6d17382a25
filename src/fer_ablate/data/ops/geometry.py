"""Ops that move whole images: flips and affine maps, which `augment.Warp` joins into one resampling where they stand in a row."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from kornia.augmentation import GeometricAugmentationBase2D, RandomAffine, RandomHorizontalFlip, RandomVerticalFlip
from torch import Tensor

from fer_ablate.data.ops.op import Op
from fer_ablate.data.ops.rules import FILLS, interval, number, numbers, one_of, probability


class Geometric(Op):
    """An op that draws a matrix for every image."""

    fill: str | None = None
    """What lies beyond the image; None for a flip, which shows nothing of it."""

    @abstractmethod
    def module(self) -> GeometricAugmentationBase2D:
        """Build what draws the matrices."""


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
        scale: interval of the magnification (above 1: the face grows), one draw for both axes; with four numbers one
            draw per axis, as Keras' zoom has it.
        shear: largest horizontal shear angle in degrees, either way.
        fill: what lies beyond the image: its nearest pixel, black, or its mirror.
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
    """Rotate by one of several angles; an angle of any size in between is `affine` with a `rotation`.

    Args:
        p: probability per image.
        angles: in degrees, counter-clockwise; each as likely as the others. List 0 to leave some images upright.
        fill: what lies beyond the image, which keeps its height and width: its nearest pixel, black, or its mirror.
    """

    p: float = probability(1.0)
    angles: Sequence[float] = field(metadata=numbers(-360, 360))
    fill: str = field(default="border", metadata=one_of(FILLS))

    def module(self) -> GeometricAugmentationBase2D:
        """Build the op."""
        return _ListedRotation(self.angles, self.p)


class _ListedRotation(GeometricAugmentationBase2D):
    """Draws the matrices of `Rotate`, which kornia has for intervals only."""

    def __init__(self, angles: Sequence[float], p: float) -> None:
        super().__init__(p=p)
        self.angles = torch.tensor([float(angle) for angle in angles])

    def generate_parameters(self, batch_shape: Sequence[int]) -> dict[str, Tensor]:
        """Draw an angle in degrees for every image."""
        return {"angle": self.angles[torch.randint(len(self.angles), (batch_shape[0],))]}

    def compute_transformation(self, input: Tensor, params: Mapping[str, Tensor], flags: Mapping[str, Any]) -> Tensor:
        """Matrices (N, 3, 3) from pixels of the image to pixels of the rotated one, about its centre."""
        height, width = input.shape[-2:]
        across, down = (width - 1) / 2, (height - 1) / 2
        angle = params["angle"].deg2rad()
        cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
        # Rows count downwards, so that this sign of the sine turns counter-clockwise as it is seen.
        rows = [
            torch.stack([cos, sin, across - cos * across - sin * down], dim=1),
            torch.stack([-sin, cos, down + sin * across - cos * down], dim=1),
            torch.stack([zero, zero, one], dim=1),
        ]
        return torch.stack(rows, dim=1).to(input.device, non_blocking=True)
