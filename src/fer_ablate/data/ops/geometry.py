"""Ops that move whole images: flips and affine maps. `modules.geometry.Warp` joins neighbouring ones into one resampling."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fer_ablate.data.ops.op import FILLS, Op, interval, number, numbers, one_of, probability


class Geometric(Op):
    """An op that draws a matrix for every image."""

    fill: str | None = None
    """Pixels beyond the image, one of `op.FILLS`; None for a flip, which shows none of them."""


@dataclass(frozen=True, kw_only=True)
class Flip(Geometric):
    """Mirror left and right."""

    p: float = probability(0.5)


@dataclass(frozen=True, kw_only=True)
class VerticalFlip(Geometric):
    """Mirror top and bottom."""

    p: float = probability(0.5)


@dataclass(frozen=True, kw_only=True)
class Affine(Geometric):
    """Rotate, shift, scale and shear about the centre; `Warp` does the bilinear resampling.

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
