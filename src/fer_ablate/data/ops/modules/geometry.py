"""Modules that move whole images, several of them in one resampling."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from kornia.augmentation import GeometricAugmentationBase2D
from kornia.geometry.transform import warp_affine
from torch import Tensor, nn


class Warp(nn.Module):
    """Apply several flips and affine maps as one resampling: half the time of four single ones, and only one interpolation.

    Args:
        ops: kornia modules, each of which draws a matrix per image, or the identity with a probability of 1 - p.
        fill: pixels beyond the image, one of `op.FILLS`.
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


class ListedRotation(GeometricAugmentationBase2D):
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
