"""Ops that change the values of pixels: brightness, contrast, equalisation, noise, blur, and erased rectangles."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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


@dataclass(frozen=True, kw_only=True)
class Noise(Op):
    """Add Gaussian noise to every pixel and channel; clipped to [0, 1].

    Args:
        p: probability per image.
        std: standard deviation of the noise as a fraction of the range from black to white, before clipping.
    """

    p: float = probability(1.0)
    std: Strength = field(default=0.05, metadata=number_or_interval(0, 1))


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

    def misfit(self, size: Size) -> Misfit | None:
        """Return a misfit if tiles have less than two pixels."""
        if self.tiles[0] < size[0] and self.tiles[1] < size[1]:
            return None
        problem = f"{in_key(self.tiles)}: tiles of a single pixel in the {spelled(size)} images"
        return Misfit("grid", problem, "Choose fewer tiles; 8 is usual.")
