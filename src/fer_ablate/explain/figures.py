"""Draws an explanation: correct faces, confusions, mean maps, and the weight on each region.

Pictures of faces are mosaics of tiles, each with its heat map and its text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fer_ablate.explain.choose import ConfusionDirection
from fer_ablate.explain.explanation import Explanation
from fer_ablate.explain.regions import REGIONS, areas
from fer_ablate.report.plots.canvas import GREEN, ORANGE, new_figure, plain

COLORS = "inferno"
"""Brighter means more weight; colour-blind readers can read it, too, and it survives print."""

OPACITY = 0.75
"""Opacity of the map at its strongest weight; where there is no weight, the face is drawn as it is."""

BRIGHTEST = 99.5
"""Percentile of a map that is drawn brightest; with the maximum, a single pixel would leave the rest dark."""

BLUR = 1 / 48
"""Standard deviation of the blur of a map, in sides of a face; single pixels of a derivative are hard to see."""

Colors = NDArray[np.float64]


@dataclass(frozen=True)
class MosaicTile:
    """One picture of a mosaic, in the middle of a square whose side is the longer side of the picture.

    Args:
        pixels: (H, W, 3) in [0, 1].
        column: left edge of the square, in tiles.
        row: upper edge of the square, in tiles.
        caption: text above it; may have two lines.
        color: colour of the caption.
    """

    pixels: Colors
    column: float
    row: float
    caption: str = ""
    color: str = "black"


@dataclass(frozen=True)
class MosaicText:
    """Text of a mosaic at a place in tiles; `align` is matplotlib's `ha`."""

    text: str
    column: float
    row: float
    align: str = "left"
    bold: bool = False


def overlay(face: Colors, weights: NDArray[np.float32]) -> Colors:
    """Draw the positive part of a heat map over its face.

    Args:
        face: (H, W, 3) in [0, 1].
        weights: (H, W); blurred by `BLUR`, and brightest from its own percentile `BRIGHTEST` on.
    """
    positive = gaussian_filter(np.maximum(weights, 0), [BLUR * side for side in weights.shape])
    top = float(np.percentile(positive, BRIGHTEST)) or float(positive.max())
    strength = np.clip(positive / top, 0, 1) if top > 0 else np.zeros(positive.shape)
    heat = mpl.colormaps[COLORS](strength)[..., :3]
    # The square root makes weak weights visible without hiding the face under strong ones.
    opacity = OPACITY * np.sqrt(strength)[..., None]
    mixed: Colors = (1 - opacity) * face + opacity * heat
    return mixed


def mosaic(title: str, tiles: Sequence[MosaicTile], words: Sequence[MosaicText], columns: float, rows: float) -> Figure:
    """Draw a figure 11 inches wide, with one scale for all tiles.

    Args:
        title: text above everything.
        tiles: the pictures.
        words: further text.
        columns: width of the figure, in tiles.
        rows: its height, in tiles.
    """
    width = 11.0
    picture = new_figure(width, 0.45 + width * rows / columns)
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
    axes.set_xlim(0, columns)  # last, since every `imshow` sets the limits to its own image
    axes.set_ylim(rows, 0)
    axes.set_aspect("equal")
    return picture


def _extent(tile: MosaicTile) -> tuple[float, float, float, float]:
    """Left, right, lower and upper edge of a picture, in tiles."""
    height, width = (side / max(tile.pixels.shape[:2]) for side in tile.pixels.shape[:2])
    left, top = tile.column + (1 - width) / 2, tile.row + (1 - height) / 2
    return left, left + width, top + height, top


METHOD_TITLES = {
    "gradcam": "Grad-CAM",
    "saliency": "saliency",
    "integrated_gradients": "integrated gradients",
    "occlusion": "occlusion",
}
"""Method -> its name in titles."""

ACROSS, LEAST = 10, 6
"""Tiles side by side: at most `ACROSS`, and room for at least `LEAST`, since fewer would be drawn too large."""

STRONGEST = 3.0
"""A region whose weight is so many times its share of the area, or one part in so many, has the fullest colour."""


def right_faces_figure(found: Explanation, label: int) -> Figure:
    """Draw the faces of one class that the network was right about and surest of, each beside its heat maps."""
    rows = found.right[label]
    wide = 1 + len(found.spec.methods)
    lines = -(-len(rows) // max(1, ACROSS // wide))
    beside = -(-len(rows) // lines)
    tiles = []
    for place, row in enumerate(rows.tolist()):
        line, column = divmod(place, beside)
        left, top = column * (wide + 0.15) + 0.05, line * 1.32 + 0.27
        face = found.face(row)
        tiles.append(MosaicTile(face, left, top, f"{100 * found.probability(row, label):.1f} %", GREEN))
        for number, method in enumerate(found.spec.methods, 1):
            pixels = overlay(face, found.maps[method][row, label])
            tiles.append(MosaicTile(pixels, left + 1.03 * number - 0.03, top, _short(method)))
    title = f"{found.faces.classes[label]}: right, and surest of it. Bright places are evidence for {found.faces.classes[label]}"
    return mosaic(title, tiles, [], max(LEAST, beside * (wide + 0.15) + 0.1), lines * 1.32)


def confusions_figure(found: Explanation, method: str) -> Figure:
    """Draw the most common confusions: each face, the evidence for the predicted class, and for the true one."""
    tiles: list[MosaicTile] = []
    words: list[MosaicText] = []
    top = 0.0
    for confusion in found.confusions:
        for direction in confusion.directions:
            if direction.count:
                _add_direction(found, direction, method, top, tiles, words)
                top += 1.72
    title = f"The most common confusions, by {METHOD_TITLES[method]}: face, evidence for the prediction and for the truth"
    return mosaic(title, tiles, words, 9.9, max(top, 0.3))


def mean_maps_figure(found: Explanation) -> Figure:
    """Draw the mean heat map of every class by each method, on the mean face."""
    tiles: list[MosaicTile] = []
    words: list[MosaicText] = []
    for label, name in enumerate(found.faces.classes):
        rows, left = found.spread[label], 0.85 + 1.04 * label
        if not len(rows):
            words.append(MosaicText(f"{name}\nnone right", left + 0.5, 0.8, "center"))
            continue
        face = np.mean([found.face(row) for row in rows.tolist()], axis=0)
        tiles.append(MosaicTile(face, left, 0.35, f"{name}\n{len(rows)} images"))
        for line, method in enumerate(found.spec.methods, 1):
            tiles.append(MosaicTile(overlay(face, found.mean_map(method, label)), left, 0.35 + 1.04 * line))
    for line, text in enumerate(("mean face", *(METHOD_TITLES[method] for method in found.spec.methods))):
        words.append(MosaicText(text.replace(" ", "\n"), 0.8, 0.85 + 1.04 * line, "right"))
    title = "Mean over correctly classified faces: where the weight for their class is (each tile on its own scale)"
    columns = max(LEAST, 0.9 + 1.04 * len(found.faces.classes))
    return mosaic(title, tiles, words, columns, 0.35 + 1.04 * (1 + len(found.spec.methods)))


def regions_figure(found: Explanation) -> Figure:
    """Draw the share of the weight on each region, class by class, coloured by how it compares with the region's area."""
    expected = areas(found.masks)
    names = [*found.faces.classes, "mean"]
    across = min(2, len(found.spec.methods))
    down = -(-len(found.spec.methods) // across)
    picture = new_figure(11, 0.9 + down * (0.9 + 0.4 * len(names)))
    panels = picture.subplots(down, across, squeeze=False).ravel()
    for axes, method in zip(panels, found.spec.methods, strict=False):
        rows = [*(found.shares(method, label) for label in range(len(found.faces.classes))), found.mean_shares(method)]
        shares = np.array([np.full(len(REGIONS), np.nan) if row is None else row for row in rows])
        # On a log scale twice the area and half of it are equally far from the middle.
        strength = np.log2(np.maximum(shares, 1e-6) / np.where(expected > 0, expected, np.nan))
        norm = TwoSlopeNorm(0, -np.log2(STRONGEST), np.log2(STRONGEST))
        image = axes.imshow(strength, cmap="PuOr_r", norm=norm, aspect="auto")
        for (line, column), share in np.ndenumerate(shares):
            dark = abs(strength[line, column]) > 0.95
            text = "-" if np.isnan(share) else f"{100 * share:.0f} %"
            axes.text(column, line, text, ha="center", va="center", fontsize=8.5, color="white" if dark else "black")
        labels = [f"{name}\n({100 * area:.0f} %)" for name, area in zip(REGIONS, expected, strict=True)]
        axes.set_xticks(range(len(REGIONS)), labels, fontsize=7.5)
        axes.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=8.5)
        axes.set_title(METHOD_TITLES[method], fontsize=11)
        axes.axhline(len(names) - 1.5, color="black", linewidth=0.8)
    for axes in panels[len(found.spec.methods) :]:
        axes.set_axis_off()
    bar = picture.colorbar(image, ax=panels.tolist(), fraction=0.025, ticks=[-np.log2(STRONGEST), 0, np.log2(STRONGEST)])
    bar.ax.set_yticklabels(["a third", "as much as\nits area", "three times"], fontsize=8)
    picture.suptitle("Share of the weight on each part of the face (below its name: its share of the pixels)", fontsize=11)
    return picture


def _add_direction(
    found: Explanation, direction: ConfusionDirection, method: str, top: float, tiles: list[MosaicTile], words: list[MosaicText]
) -> None:
    """Add one direction of a confusion as a row of tiles."""
    truth, predicted = found.faces.classes[direction.truth], found.faces.classes[direction.predicted]
    images = "1 image" if direction.count == 1 else f"{direction.count:,} images"
    words.append(MosaicText(f"{truth} taken for {predicted}: {images}", 0.05, top + 0.2, bold=True))
    for place, row in enumerate(direction.rows.tolist()):
        left, face = 0.05 + 3.3 * place, found.face(row)
        tiles.append(MosaicTile(face, left, top + 0.65, f"truth: {truth}\npredicted: {predicted}"))
        for column, label, color in ((1, direction.predicted, ORANGE), (2, direction.truth, GREEN)):
            weights = found.maps[method][row, label]
            empty = "" if (weights > 0).any() else ", empty map"
            caption = f"for {found.faces.classes[label]}\n{100 * found.probability(row, label):.1f} %{empty}"
            tiles.append(MosaicTile(overlay(face, weights), left + 1.03 * column, top + 0.65, caption, color))


def _short(method: str) -> str:
    return METHOD_TITLES[method].replace("integrated gradients", "int. gradients")
