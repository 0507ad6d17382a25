"""The augmentation ops: each is its arguments, what they may be, and the kornia module that does it.

`N` images of a batch, `C` channels, `H W` pixels. Every op draws anew for every image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch
from kornia.augmentation import ColorJitter, GeometricAugmentationBase2D, RandomAffine, RandomErasing, RandomHorizontalFlip
from torch import Tensor, nn
from torch.nn import functional

from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.data.views import views
from fer_ablate.errors import choices

Rule = Callable[[object], str | None]
"""Says what is wrong with a value, or None."""

FILLS = ("border", "zeros", "reflection")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _number(low: float, high: float) -> Mapping[str, Rule]:
    def rule(value: object) -> str | None:
        if isinstance(value, Real) and _is_number(value) and low <= float(value) <= high:
            return None
        return f"expected a number from {low:g} to {high:g}"

    return {"rule": rule}


def _whole(low: int) -> Mapping[str, Rule]:
    def rule(value: object) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and value >= low:
            return None
        return f"expected a whole number of pixels, at least {low}"

    return {"rule": rule}


def _interval(low: float, high: float, lengths: tuple[int, ...] = (2,)) -> Mapping[str, Rule]:
    wanted = "[lowest, highest]" if lengths == (2,) else "[lowest, highest] or [lowest x, highest x, lowest y, highest y]"

    def rule(value: object) -> str | None:
        if isinstance(value, Sequence) and not isinstance(value, str) and len(value) in lengths and all(map(_is_number, value)):
            pairs = zip(value[::2], value[1::2], strict=True)
            if all(low <= first <= second <= high for first, second in pairs):
                return None
        return f"expected {wanted} with numbers from {low:g} to {high:g}"

    return {"rule": rule}


def _one_of(names: Sequence[str]) -> Mapping[str, Rule]:
    def rule(value: object) -> str | None:
        return None if value in names else choices(str(value), names)

    return {"rule": rule}


@dataclass(frozen=True, kw_only=True)
class Flip:
    """Mirror left and right."""

    p: float = field(default=0.5, metadata=_number(0, 1))

    def module(self) -> GeometricAugmentationBase2D:
        """Build the op."""
        op: GeometricAugmentationBase2D = RandomHorizontalFlip(p=self.p)
        return op


@dataclass(frozen=True, kw_only=True)
class Affine:
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

    p: float = field(default=1.0, metadata=_number(0, 1))
    rotation: float = field(default=0.0, metadata=_number(0, 180))
    shift: float = field(default=0.0, metadata=_number(0, 1))
    scale: Sequence[float] = field(default=(1.0, 1.0), metadata=_interval(0.1, 10, lengths=(2, 4)))
    shear: float = field(default=0.0, metadata=_number(0, 89))
    fill: str = field(default="border", metadata=_one_of(FILLS))

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
class Erasing:
    """Paint a random rectangle in one gray (Zhong et al. 2020, arXiv:1708.04896).

    Args:
        p: probability per image.
        area: interval of the rectangle's share of the image.
        ratio: interval of its height over its width.
        value: its gray, 0 black to 1 white.
    """

    p: float = field(default=0.5, metadata=_number(0, 1))
    area: Sequence[float] = field(default=(0.02, 0.33), metadata=_interval(0, 1))
    ratio: Sequence[float] = field(default=(0.3, 3.3), metadata=_interval(0.05, 20))
    value: float = field(default=0.0, metadata=_number(0, 1))

    def module(self) -> nn.Module:
        """Build the op."""
        op: nn.Module = RandomErasing(scale=tuple(self.area), ratio=tuple(self.ratio), value=float(self.value), p=self.p)
        return op


@dataclass(frozen=True, kw_only=True)
class BrightnessContrast:
    """Multiply the brightness, then the distance of every pixel from the image's mean gray; clipped to [0, 1].

    Args:
        p: probability per image.
        brightness: the factor is drawn from [1 - brightness, 1 + brightness].
        contrast: likewise.
    """

    p: float = field(default=1.0, metadata=_number(0, 1))
    brightness: float = field(default=0.2, metadata=_number(0, 1))
    contrast: float = field(default=0.2, metadata=_number(0, 1))

    def module(self) -> nn.Module:
        """Build the op."""
        op: nn.Module = ColorJitter(brightness=float(self.brightness), contrast=float(self.contrast), p=self.p, order=(0, 1))
        return op


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Cut a square out of every image at a random place, after adding a black border.

    Args:
        size: side of the square in pixels; also the side of the network's input.
        padding: width of the border in pixels.
    """

    size: int = field(metadata=_whole(1))
    padding: int = field(default=0, metadata=_whole(0))

    def module(self) -> nn.Module:
        """Build the op."""
        return RandomCrop(self.size, self.padding)


class RandomCrop(nn.Module):
    """Cut squares of one size at a random place per image.

    One gather for the whole batch. kornia's own slices image by image: twice the time on a CPU, and a launch per image on a GPU.
    """

    def __init__(self, size: int, padding: int) -> None:
        super().__init__()
        self.size = size
        self.padding = padding

    def forward(self, faces: Tensor) -> Tensor:
        """Crop (N, C, H, W) to (N, C, size, size)."""
        if self.padding:
            faces = functional.pad(faces, [self.padding] * 4)
        number, _, height, width = faces.shape
        within = torch.arange(self.size)
        # Drawn on the CPU like kornia's numbers, so that a seed gives the same crops on every device.
        rows = (torch.randint(height - self.size + 1, (number, 1)) + within).to(faces.device, non_blocking=True)
        columns = (torch.randint(width - self.size + 1, (number, 1)) + within).to(faces.device, non_blocking=True)
        images = torch.arange(number, device=faces.device)
        # The two index lists around the channel slice put C last; the caller gets it back in its place.
        return faces[images[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@dataclass(frozen=True, kw_only=True)
class TenCrop:
    """Train on ten squares of every image: its four corners, its centre, and the mirrors of these five.

    Args:
        size: side of the squares in pixels; also the side of the network's input.
    """

    size: int = field(metadata=_whole(1))

    def module(self) -> nn.Module:
        """Build the op."""
        return TenCrops(self.size)


class TenCrops(nn.Module):
    """Cut the ten squares that `views.views` tests on out of every image."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, faces: Tensor) -> Tensor:
        """Crop (N, C, H, W) to (10 N, C, size, size); the ten of the first image come first, then those of the second."""
        return views(faces, TestTimeAugmentation.ten_crop, self.size).transpose(0, 1).flatten(0, 1)


Op = Flip | Affine | Erasing | BrightnessContrast | Crop | TenCrop

OPS: Mapping[str, type[Op]] = {
    "flip": Flip,
    "affine": Affine,
    "erasing": Erasing,
    "brightness_contrast": BrightnessContrast,
    "crop": Crop,
    "ten_crop": TenCrop,
}
"""Every op by the name a config gives it."""


def read_op(step: Mapping[str, Any]) -> Op:
    """Turn one checked step of a config into its op."""
    return OPS[step["op"]](**{name: value for name, value in step.items() if name != "op"})
