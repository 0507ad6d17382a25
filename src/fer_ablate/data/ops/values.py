"""Ops that change the values of pixels: brightness, contrast, equalisation, noise, blur, and erased rectangles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from kornia.augmentation import ColorJitter, RandomErasing
from kornia.filters import gaussian_blur2d
from torch import Tensor, nn

from fer_ablate.data.ops.equalisation import clahe, equalized
from fer_ablate.data.ops.op import Misfit, Op, interval, number, number_or_interval, odd_or_none, probability, sides
from fer_ablate.sizes import Size, as_size, in_key, spelled

Strength = float | Sequence[float]
"""A number, or the ends of an interval from which one is drawn for every image."""


@dataclass(frozen=True, kw_only=True)
class Erasing(Op):
    """Fill a random rectangle with one gray level (Zhong et al. 2020, arXiv:1708.04896).

    Args:
        p: probability per image.
        area: interval of the rectangle's share of the image.
        ratio: interval of its height over its width.
        value: its gray level, from 0 (black) to 1 (white).
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
    """Multiply the brightness, then the difference of every pixel to the image's mean gray; clipped to [0, 1].

    Args:
        p: probability per image.
        brightness: the first factor is drawn from [1 - brightness, 1 + brightness].
        contrast: the second factor is drawn from [1 - contrast, 1 + contrast].
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
        std: standard deviation of the noise as a fraction of the range from black to white, before clipping.
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
    """Blur with a Gaussian kernel, as OpenCV's `GaussianBlur` does; the image is mirrored at its edges.

    Args:
        p: probability per image.
        sigma: standard deviation of the kernel in pixels.
        kernel: side of the kernel in pixels; null: three times the largest sigma to either side.
    """

    fixed = True

    p: float = probability(1.0)
    sigma: Strength = field(default=1.0, metadata=number_or_interval(0.05, 50))
    kernel: int | None = field(default=None, metadata=odd_or_none(3))

    @property
    def side(self) -> int:
        """Side of the kernel in pixels; by default OpenCV's choice for images of 8 bits."""
        # One kernel serves all images of a batch, so it must be large enough for the largest sigma.
        largest = max(self.sigma) if isinstance(self.sigma, Sequence) else self.sigma
        return self.kernel or round(6 * largest + 1) | 1

    def module(self) -> nn.Module:
        """Build the op."""
        return Changed(partial(_blurred, side=self.side), self.sigma, self.p)

    def misfit(self, size: Size) -> Misfit | None:
        """Return a misfit if the kernel reaches beyond the mirrored image."""
        if self.side // 2 < min(size):
            return None
        largest = 2 * min(size) - 1
        named = "sigma" if self.kernel is None else "kernel"
        problem = f"a kernel of {self.side} pixels is too large for the {spelled(size)} images"
        return Misfit(named, problem, f"Choose a smaller sigma, or a kernel up to {largest}.")


@dataclass(frozen=True, kw_only=True)
class Equalize(Op):
    """Equalise the histogram of every image; of a colour image, that of its brightness.

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
    """Equalise the histogram tile by tile with limited contrast (CLAHE); of a colour image, that of its brightness.

    Args:
        p: probability per image.
        clip_limit: largest count of a level, in multiples of the mean count of a tile; lower values change less.
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
        """Return a misfit if tiles have less than two pixels."""
        if self.tiles[0] < size[0] and self.tiles[1] < size[1]:
            return None
        problem = f"{in_key(self.tiles)}: tiles of a single pixel in the {spelled(size)} images"
        return Misfit("grid", problem, "Choose fewer tiles; 8 is usual.")


class Changed(nn.Module):
    """Apply a change with one strength for all images, or with a strength that is drawn for each of them.

    Args:
        change: takes faces (N, C, H, W) and a strength, a number or (N, 1, 1, 1), and returns changed faces.
        strength: the number, or the interval it is drawn from.
        p: probability that an image is changed at all.
    """

    def __init__(self, change: Callable[[Tensor, float | Tensor], Tensor], strength: Strength, p: float) -> None:
        super().__init__()
        self.change, self.strength, self.p = change, strength, p

    def forward(self, faces: Tensor) -> Tensor:
        """Change (N, C, H, W) in [0, 1]; with a single strength and a probability of 1 nothing is random."""
        number = faces.shape[0]
        # Drawn on the CPU, as kornia does, so that a seed gives the same changes on every device.
        chosen = None if self.p == 1 else (torch.rand(number) < self.p).to(faces.device, non_blocking=True)
        # All images are changed and some results discarded: selecting images would make a GPU wait for their number.
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
    """Equalise; the strength is ignored."""
    return equalized(faces)


def _noisy(faces: Tensor, std: float | Tensor) -> Tensor:
    # Drawn on the CPU like all other random numbers.
    noise = torch.randn(faces.shape).to(faces.device, non_blocking=True)
    return (faces + std * noise).clamp(0, 1)
