"""Ops that change the values of pixels where they stand: light, contrast, noise, blur, and erased rectangles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from kornia.augmentation import ColorJitter, RandomErasing
from kornia.filters import gaussian_blur2d
from torch import Tensor, nn

from fer_ablate.data.ops.equalisation import clahe, equalized
from fer_ablate.data.ops.op import Misfit, Op
from fer_ablate.data.ops.rules import interval, number, number_or_interval, odd_or_none, probability, sides
from fer_ablate.sizes import Size, as_size, in_key, spelled

Strength = float | Sequence[float]
"""A number, or the ends of an interval from which one is drawn for every image."""


@dataclass(frozen=True, kw_only=True)
class Erasing(Op):
    """Paint a random rectangle in one gray (Zhong et al. 2020, arXiv:1708.04896).

    Args:
        p: probability per image.
        area: interval of the rectangle's share of the image.
        ratio: interval of its height over its width.
        value: its gray, 0 black to 1 white.
    """

    p: float = probability(0.5)
    area: Sequence[float] = field(default=(0.02, 0.33), metadata=interval(0, 1))
    ratio: Sequence[float] = field(default=(0.3, 3.3), metadata=interval(0.05, 20))
    value: float = field(default=0.0, metadata=number(0, 1))

    def module(self) -> nn.Module:
        """Build the op."""
        op: nn.Module = RandomErasing(scale=tuple(self.area), ratio=tuple(self.ratio), value=float(self.value), p=self.p)
        return op


@dataclass(frozen=True, kw_only=True)
class BrightnessContrast(Op):
    """Multiply the brightness, then the distance of every pixel from the image's mean gray; clipped to [0, 1].

    Args:
        p: probability per image.
        brightness: the factor is drawn from [1 - brightness, 1 + brightness].
        contrast: likewise.
    """

    p: float = probability(1.0)
    brightness: float = field(default=0.2, metadata=number(0, 1))
    contrast: float = field(default=0.2, metadata=number(0, 1))

    def module(self) -> nn.Module:
        """Build the op."""
        op: nn.Module = ColorJitter(brightness=float(self.brightness), contrast=float(self.contrast), p=self.p, order=(0, 1))
        return op


@dataclass(frozen=True, kw_only=True)
class Noise(Op):
    """Add Gaussian noise to every pixel and channel; clipped to [0, 1].

    Args:
        p: probability per image.
        std: its standard deviation as a fraction of the range from black to white, before clipping.
    """

    p: float = probability(1.0)
    std: Strength = field(default=0.05, metadata=number_or_interval(0, 1))

    def module(self) -> nn.Module:
        """Build the op."""
        return Changed(_noisy, self.std, self.p)


@dataclass(frozen=True, kw_only=True)
class Gamma(Op):
    """Raise every pixel in [0, 1] to a power.

    Args:
        p: probability per image.
        gamma: the power: above 1 darkens the middle grays, below 1 brightens them, 1 changes nothing.
    """

    fixed = True

    p: float = probability(1.0)
    gamma: Strength = field(metadata=number_or_interval(0.05, 20))

    def module(self) -> nn.Module:
        """Build the op."""
        return Changed(torch.pow, self.gamma, self.p)


@dataclass(frozen=True, kw_only=True)
class Blur(Op):
    """Blur with a Gaussian kernel, as OpenCV's `GaussianBlur` does; beyond the image lies its mirror.

    Args:
        p: probability per image.
        sigma: standard deviation of the kernel in pixels.
        kernel: its side in pixels; null: three of the largest sigma to either side.
    """

    fixed = True

    p: float = probability(1.0)
    sigma: Strength = field(default=1.0, metadata=number_or_interval(0.05, 50))
    kernel: int | None = field(default=None, metadata=odd_or_none(3))

    @property
    def side(self) -> int:
        """Of the kernel in pixels; without one named OpenCV's choice for images of 8 bits."""
        largest = max(self.sigma) if isinstance(self.sigma, Sequence) else self.sigma
        return self.kernel or round(6 * largest + 1) | 1

    def module(self) -> nn.Module:
        """Build the op."""
        return Changed(partial(_blurred, side=self.side), self.sigma, self.p)

    def misfit(self, size: Size) -> Misfit | None:
        """Say whether the kernel needs more than one mirror of the image."""
        if self.side // 2 < min(size):
            return None
        largest = 2 * min(size) - 1
        named = "sigma" if self.kernel is None else "kernel"
        problem = f"a kernel of {self.side} pixels is too large for the {spelled(size)} images"
        return Misfit(named, problem, f"Choose a smaller sigma, or a kernel up to {largest}.")


@dataclass(frozen=True, kw_only=True)
class Equalize(Op):
    """Equalise the histogram of every image, of a colour image that of its brightness.

    Args:
        p: probability per image.
    """

    fixed = True

    p: float = probability(1.0)

    def module(self) -> nn.Module:
        """Build the op."""
        return Changed(_equalized, 0.0, self.p)


@dataclass(frozen=True, kw_only=True)
class Clahe(Op):
    """Equalise the histogram tile by tile with limited contrast (CLAHE), of a colour image that of its brightness.

    Args:
        p: probability per image.
        clip_limit: largest count of a level, in multiples of the mean count of a tile; the lower, the milder.
        grid: number of tiles along each axis, or [rows, columns].
    """

    fixed = True

    p: float = probability(1.0)
    clip_limit: Strength = field(default=2.0, metadata=number_or_interval(0.1, 256))
    grid: Any = field(default=8, metadata=sides("tiles"))

    @property
    def tiles(self) -> Size:
        """Rows and columns of tiles."""
        named = as_size(self.grid)
        assert named is not None, self.grid
        return named

    def module(self) -> nn.Module:
        """Build the op."""
        return Changed(partial(clahe, grid=self.tiles), self.clip_limit, self.p)

    def misfit(self, size: Size) -> Misfit | None:
        """Say whether there are as many tiles as pixels."""
        if self.tiles[0] < size[0] and self.tiles[1] < size[1]:
            return None
        problem = f"{in_key(self.tiles)}: tiles of a single pixel in the {spelled(size)} images"
        return Misfit("grid", problem, "Choose fewer tiles; 8 is usual.")


class Changed(nn.Module):
    """Change every image by one number, or each by a number drawn for it.

    Args:
        change: faces (N, C, H, W) and a number, or (N, 1, 1, 1) of them -> changed faces.
        strength: the number, or the interval it is drawn from.
        p: probability that an image is changed at all.
    """

    def __init__(self, change: Callable[[Tensor, float | Tensor], Tensor], strength: Strength, p: float) -> None:
        super().__init__()
        self.change, self.strength, self.p = change, strength, p

    def forward(self, faces: Tensor) -> Tensor:
        """Change (N, C, H, W) in [0, 1]; nothing is drawn with one number and a probability of 1."""
        number = faces.shape[0]
        # Drawn on the CPU like kornia's numbers, so that a seed gives the same changes on every device.
        chosen = None if self.p == 1 else (torch.rand(number) < self.p).to(faces.device, non_blocking=True)
        changed = self.change(faces, self._strengths(number, faces.device))
        return changed if chosen is None else torch.where(chosen.view(-1, 1, 1, 1), changed, faces)

    def _strengths(self, number: int, device: torch.device) -> float | Tensor:
        if not isinstance(self.strength, Sequence):
            return float(self.strength)
        low, high = map(float, self.strength)
        return (low + (high - low) * torch.rand(number)).to(device, non_blocking=True).view(-1, 1, 1, 1)


def _blurred(faces: Tensor, sigma: float | Tensor, side: int) -> Tensor:
    both = sigma.view(-1, 1).expand(-1, 2) if isinstance(sigma, Tensor) else (sigma, sigma)
    return gaussian_blur2d(faces, side, both).clamp(0, 1)


def _equalized(faces: Tensor, _: float | Tensor) -> Tensor:
    """Equalisation has no strength."""
    return equalized(faces)


def _noisy(faces: Tensor, std: float | Tensor) -> Tensor:
    noise = torch.randn(faces.shape).to(faces.device, non_blocking=True)
    return (faces + std * noise).clamp(0, 1)
