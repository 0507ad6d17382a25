"""The pictures of an explanation: right faces, confusions, means, and weight per region, as figures."""

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from fer_ablate.explain.choose import Direction
from fer_ablate.explain.explanation import Explanation
from fer_ablate.explain.mosaic import Tile, Words, mosaic, overlay
from fer_ablate.explain.regions import REGIONS, areas
from fer_ablate.report.plots.canvas import GREEN, ORANGE, figure, plain

TITLES = {
    "gradcam": "Grad-CAM",
    "saliency": "saliency",
    "integrated_gradients": "integrated gradients",
    "occlusion": "occlusion",
}
"""Methods as they are written."""

ACROSS, LEAST = 10, 6
"""Tiles side by side: fewer than `LEAST` would be drawn too large."""

STRONGEST = 3.0
"""Preference at which the colour of a region is fullest: three times, or a third of, what its area would give."""


def right_picture(found: Explanation, label: int) -> Figure:
    """Faces of one class that the network was right about and surest of, each beside its heat maps."""
    rows = found.right[label]
    wide = 1 + len(found.wanted.methods)
    lines = -(-len(rows) // max(1, ACROSS // wide))
    beside = -(-len(rows) // lines)
    tiles = []
    for place, row in enumerate(rows.tolist()):
        line, column = divmod(place, beside)
        left, top = column * (wide + 0.15) + 0.05, line * 1.32 + 0.27
        face = found.face(row)
        tiles.append(Tile(face, left, top, f"{100 * found.probability(row, label):.1f} %", GREEN))
        for number, method in enumerate(found.wanted.methods, 1):
            pixels = overlay(face, found.maps[method][row, label])
            tiles.append(Tile(pixels, left + 1.03 * number - 0.03, top, _short(method)))
    title = f"{found.faces.classes[label]}: right, and surest of it. Bright is what speaks for {found.faces.classes[label]}"
    return mosaic(title, tiles, [], max(LEAST, beside * (wide + 0.15) + 0.1), lines * 1.32)


def confusions_picture(found: Explanation, method: str) -> Figure:
    """The most common confusions: face, what speaks for the class it was taken for, and what for the true one."""
    tiles: list[Tile] = []
    words: list[Words] = []
    top = 0.0
    for confusion in found.confusions:
        for direction in confusion.directions:
            if direction.count:
                _direction(found, direction, method, top, tiles, words)
                top += 1.72
    title = f"The most common confusions, by {TITLES[method]}: each face, what speaks for the prediction, what for the truth"
    return mosaic(title, tiles, words, 9.9, max(top, 0.3))


def means_picture(found: Explanation) -> Figure:
    """Mean heat map of every class under each method, on the mean face."""
    tiles: list[Tile] = []
    words: list[Words] = []
    for label, name in enumerate(found.faces.classes):
        rows, left = found.spread[label], 0.85 + 1.04 * label
        if not len(rows):
            words.append(Words(f"{name}\nnone right", left + 0.5, 0.8, "center"))
            continue
        face = np.mean([found.face(row) for row in rows.tolist()], axis=0)
        tiles.append(Tile(face, left, 0.35, f"{name}\n{len(rows)} images"))
        for line, method in enumerate(found.wanted.methods, 1):
            tiles.append(Tile(overlay(face, found.mean_map(method, label)), left, 0.35 + 1.04 * line))
    for line, text in enumerate(("mean face", *(TITLES[method] for method in found.wanted.methods))):
        words.append(Words(text.replace(" ", "\n"), 0.8, 0.85 + 1.04 * line, "right"))
    title = "Mean over faces that were taken for their class: where the weight for it lies (each tile on its own scale)"
    columns = max(LEAST, 0.9 + 1.04 * len(found.faces.classes))
    return mosaic(title, tiles, words, columns, 0.35 + 1.04 * (1 + len(found.wanted.methods)))


def regions_picture(found: Explanation) -> Figure:
    """Share of the weight on each region, class by class, coloured by how it compares with the region's area."""
    expected = areas(found.masks)
    names = [*found.faces.classes, "mean"]
    across = min(2, len(found.wanted.methods))
    down = -(-len(found.wanted.methods) // across)
    picture = figure(11, 0.9 + down * (0.9 + 0.4 * len(names)))
    panels = picture.subplots(down, across, squeeze=False).ravel()
    for axes, method in zip(panels, found.wanted.methods, strict=False):
        rows = [*(found.shares(method, label) for label in range(len(found.faces.classes))), found.mean_shares(method)]
        shares = np.array([np.full(len(REGIONS), np.nan) if row is None else row for row in rows])
        # On a log scale, as twice and half are equally far from no preference.
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
        axes.set_title(TITLES[method], fontsize=11)
        axes.axhline(len(names) - 1.5, color="black", linewidth=0.8)
    for axes in panels[len(found.wanted.methods) :]:
        axes.set_axis_off()
    bar = picture.colorbar(image, ax=panels.tolist(), fraction=0.025, ticks=[-np.log2(STRONGEST), 0, np.log2(STRONGEST)])
    bar.ax.set_yticklabels(["a third", "as much as\nits area", "three times"], fontsize=8)
    picture.suptitle("Share of the weight on each part of the face (below its name: its share of the pixels)", fontsize=11)
    return picture


def _direction(found: Explanation, direction: Direction, method: str, top: float, tiles: list[Tile], words: list[Words]) -> None:
    """One line of the confusions."""
    truth, said = found.faces.classes[direction.truth], found.faces.classes[direction.said]
    images = "1 image" if direction.count == 1 else f"{direction.count:,} images"
    words.append(Words(f"{truth} taken for {said}: {images}", 0.05, top + 0.2, bold=True))
    for place, row in enumerate(direction.rows.tolist()):
        left, face = 0.05 + 3.3 * place, found.face(row)
        tiles.append(Tile(face, left, top + 0.65, f"truth: {truth}\nsaid: {said}"))
        for column, label, color in ((1, direction.said, ORANGE), (2, direction.truth, GREEN)):
            weights = found.maps[method][row, label]
            empty = "" if (weights > 0).any() else ", empty map"
            caption = f"for {found.faces.classes[label]}\n{100 * found.probability(row, label):.1f} %{empty}"
            tiles.append(Tile(overlay(face, weights), left + 1.03 * column, top + 0.65, caption, color))


def _short(method: str) -> str:
    return TITLES[method].replace("integrated gradients", "int. gradients")
