"""Ops that cut, move or resize images by whole pixels: random crop, ten crops, shift, resize."""

from dataclasses import dataclass, field
from typing import Any

from fer_ablate.data.ops.op import Misfit, Op, one_of, probability, sides, whole
from fer_ablate.sizes import Size, as_size, in_key, spelled

METHODS = ("bilinear", "area")
"""Methods of `resize`."""


class Sized(Op):
    """An op after which images have the size that it names."""

    size: Any

    @property
    def pixels(self) -> Size:
        """Height and width after the op."""
        named = as_size(self.size)
        assert named is not None, self.size
        return named

    def after(self, size: Size | None) -> Size | None:
        """Return the named size, whatever the size before."""
        return self.pixels


class Cropping(Sized):
    """An op that cuts images."""

    def misfit(self, size: Size) -> Misfit | None:
        """Return a misfit if the crop is larger than the images."""
        if self.pixels[0] <= size[0] and self.pixels[1] <= size[1]:
            return None
        problem = f"{in_key(self.pixels)}: crop is larger than the {spelled(size)} images"
        return Misfit("size", problem, f"Choose a size up to {in_key(size)}.")


@dataclass(frozen=True, kw_only=True)
class Crop(Cropping):
    """Add a black border to every image, and cut a window out of it at a random place.

    Args:
        size: side of a square in pixels, or [height, width]; also the size of the network's input.
        padding: width of the border in pixels.
    """

    size: Any = field(metadata=sides("pixels"))
    padding: int = field(default=0, metadata=whole(0))


@dataclass(frozen=True, kw_only=True)
class TenCrop(Cropping):
    """Train on ten windows of every image: its four corners, its centre, and the mirrors of these five.

    Args:
        size: side of a square in pixels, or [height, width]; also the size of the network's input.
    """

    size: Any = field(metadata=sides("pixels"))

    def misfit(self, size: Size) -> Misfit | None:
        """Return a misfit if the crops are larger than the images, or as large."""
        if size != self.pixels:
            return super().misfit(size)
        problem = f"{in_key(size)}: all ten crops are the whole {spelled(size)} image"
        return Misfit("size", problem, f"Choose a size below {in_key(size)}, or leave ten_crop out.")


@dataclass(frozen=True, kw_only=True)
class Shift(Op):
    """Move every image by whole pixels, without resampling; the pixels that become free are black.

    For shifts by fractions of a pixel, or with another fill, use `affine` with `shift`.

    Args:
        p: probability per image.
        x: largest shift to the left or right, in pixels.
        y: largest shift up or down, in pixels.
    """

    p: float = probability(1.0)
    x: int = field(default=0, metadata=whole(0))
    y: int = field(default=0, metadata=whole(0))

    def misfit(self, size: Size) -> Misfit | None:
        """Return a misfit if a shift can move a whole image out of sight."""
        for name, shift, side in (("y", self.y, size[0]), ("x", self.x, size[1])):
            if shift >= side:
                problem = f"{shift}: may move the whole of a {spelled(size)} image away"
                return Misfit(name, problem, f"Choose a shift below {side}.")
        return None


@dataclass(frozen=True, kw_only=True)
class Resize(Sized):
    """Resize every image.

    Args:
        size: side of a square in pixels, or [height, width].
        method: `bilinear` is bilinear interpolation, antialiased like Pillow's if a side shrinks; `area` averages the area that a
            new pixel covers, like OpenCV's INTER_AREA.
    """

    fixed = True

    size: Any = field(metadata=sides("pixels"))
    method: str = field(default="bilinear", metadata=one_of(METHODS))
