"""Tiles side by side: faces, faces under their heat map, and captions.

Letters: `H W` pixels of a face.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fer_ablate.report.plots.canvas import figure, plain

COLORS = "inferno"
"""Brighter is more, for colour-blind readers too, and in print."""

OPACITY = 0.75
"""Of the strongest weight; where there is none, the face shows as it is."""

BRIGHTEST = 99.5
"""Percentile of a map that is drawn brightest: a single pixel would leave the rest dark."""

BLUR = 1 / 48
"""Spread by which maps are blurred for the eye, in sides of a face: single pixels of a derivative are hard to see."""

Colors = NDArray[np.float64]


@dataclass(frozen=True)
class Tile:
    """One picture of a mosaic, in the middle of a square place whose side is its longer one.

    Args:
        pixels: (H, W, 3) in [0, 1].
        column: of its left edge, in tiles.
        row: of its upper edge, in tiles.
        caption: above it; may have two lines.
        color: of the caption.
    """

    pixels: Colors
    column: float
    row: float
    caption: str = ""
    color: str = "black"


@dataclass(frozen=True)
class Words:
    """Text of a mosaic at a place in tiles; `align` is that of matplotlib's `ha`."""

    text: str
    column: float
    row: float
    align: str = "left"
    bold: bool = False


def overlay(face: Colors, weights: NDArray[np.float32]) -> Colors:
    """A face under the positive part of its heat map.

    Args:
        face: (H, W, 3) in [0, 1].
        weights: (H, W); blurred by a pixel of 48, and what is above its own 99.5th percentile is brightest.
    """
    positive = gaussian_filter(np.maximum(weights, 0), [BLUR * side for side in weights.shape])
    top = float(np.percentile(positive, BRIGHTEST)) or float(positive.max())
    strength = np.clip(positive / top, 0, 1) if top > 0 else np.zeros(positive.shape)
    heat = mpl.colormaps[COLORS](strength)[..., :3]
    opacity = OPACITY * np.sqrt(strength)[..., None]
    mixed: Colors = (1 - opacity) * face + opacity * heat
    return mixed


def mosaic(title: str, tiles: Sequence[Tile], words: Sequence[Words], columns: float, rows: float) -> Figure:
    """A figure 11 inches wide, with one scale for all tiles.

    Args:
        title: above all.
        tiles: the pictures.
        words: further text.
        columns: width of the whole, in tiles.
        rows: its height.
    """
    width = 11.0
    picture = figure(width, 0.45 + width * rows / columns)
    axes: Axes = picture.subplots()
    axes.set_axis_off()
    axes.set_title(plain(title), fontsize=11)
    for tile in tiles:
        left, right, bottom, top = _extent(tile)
        axes.imshow(np.clip(tile.pixels, 0, 1), interpolation="bilinear", extent=(left, right, bottom, top))
        axes.text(tile.column + 0.5, top - 0.03, plain(tile.caption), fontsize=8.5, color=tile.color, ha="center", va="bottom")
    for one in words:
        weight = "bold" if one.bold else "normal"
        axes.text(one.column, one.row, plain(one.text), fontsize=9, ha=one.align, va="center", fontweight=weight)
    axes.set_xlim(0, columns)  # at the end, since every image sets them to its own
    axes.set_ylim(rows, 0)
    axes.set_aspect("equal")
    return picture


def _extent(tile: Tile) -> tuple[float, float, float, float]:
    """Left, right, lower and upper edge in tiles."""
    height, width = (side / max(tile.pixels.shape[:2]) for side in tile.pixels.shape[:2])
    left, top = tile.column + (1 - width) / 2, tile.row + (1 - height) / 2
    return left, left + width, top + height, top
