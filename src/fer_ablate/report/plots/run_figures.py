"""The three pictures of a run: its confusion matrix, its curves, and faces it got right and wrong."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from fer_ablate.report.plots.canvas import BLUE, GRAY, GREEN, ORANGE, figure, plain, shown_pixels
from fer_ablate.report.quantities import one_line, shorten

FACES_PER_ROW = 8
CELL_WIDTH, CELL_HEIGHT = 1.35, 1.4
"""Of a face and its caption, in sides of the face."""

FACE_PIXELS = 108
"""Side of a face as `faces_picture` draws it."""

NAME_LENGTH, CAPTION_LENGTH = 24, 16
"""Letters of a class's name beside a matrix and above a face."""

NUMBERED = 0.45
"""Inches: numbers have room in cells of this width or more, which 30 classes have."""


def confusion_picture(confusion: ArrayLike, classes: Sequence[str]) -> Figure:
    """Counts and percentages of how each class was read.

    Args:
        confusion: (K, K) counts; row = truth, column = prediction. Of more than about 30 classes only the colours are shown.
        classes: K names.
    """
    counts = np.asarray(confusion)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    k = len(classes)
    cell = min(0.78, max(0.16, 14 / k))  # inches; a hundred classes fit into 16
    picture = figure(2.2 + cell * k, 1.6 + 0.85 * cell * k)
    axes = picture.subplots()
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(shares) if cell >= NUMBERED else ():
        text = f"{100 * share:.0f} %\n{counts[row, column]}"
        size = 8.5 * min(1.0, cell / 0.6)
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color="white" if share > 0.55 else "black")
    names = [plain(_short(name, NAME_LENGTH)) for name in classes]
    size = min(10.0, 0.75 * 72 * 0.85 * cell)  # of letters that leave a quarter of a line between lines
    axes.set_xticks(range(k), names, rotation=35 if cell >= NUMBERED else 90, ha="right" if cell >= NUMBERED else "center")
    axes.set_yticks(range(k), [f"{name} ({total})" for name, total in zip(names, totals[:, 0], strict=True)])
    axes.tick_params(labelsize=size)
    axes.set_xlabel("prediction")
    axes.set_ylabel("truth (images)")
    accuracy = counts.trace() / max(counts.sum(), 1)
    axes.set_title(f"{100 * accuracy:.2f} % of {counts.sum()} images right", fontsize=11)
    picture.colorbar(image, ax=axes, label="% of the true class", fraction=0.04)
    return picture


def curves_picture(history: Sequence[Mapping[str, float]], best_epoch: int | None = None) -> Figure:
    """Loss, accuracy and learning rate over the epochs.

    Args:
        history: rows of metrics.csv: `epoch`, `lr`, `train/loss`, `val/loss`, `train/acc`, `val/acc`; gaps are left out.
        best_epoch: the one to mark; by default the first with the highest `val/acc`.
    """
    if best_epoch is None:
        measured = [row for row in history if "val/acc" in row]
        best_epoch = int(max(measured, key=lambda row: row["val/acc"])["epoch"]) if measured else None
    picture = figure(11, 3.6)
    panels = picture.subplots(1, 3)
    for axes, metric, title, scale in zip(panels[:2], ("loss", "acc"), ("loss (nats)", "accuracy (%)"), (1, 100), strict=True):
        for split, color in (("train", BLUE), ("val", ORANGE)):
            _curve(axes, history, f"{split}/{metric}", color, split, scale)
        axes.set_title(title, fontsize=11)
    _curve(panels[2], history, "lr", GRAY, "", 1)
    panels[2].set_title("learning rate at the end of the epoch", fontsize=11)
    for axes in panels:
        if best_epoch is not None:
            axes.axvline(best_epoch, color=GREEN, linestyle="--", linewidth=1, label=f"best epoch {best_epoch}")
            axes.legend(fontsize=8.5, frameon=False)
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, max((row["epoch"] for row in history), default=1) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.25)
    return picture


def _curve(axes: Axes, history: Sequence[Mapping[str, float]], metric: str, color: str, label: str, scale: float) -> None:
    points = [(row["epoch"], scale * row[metric]) for row in history if metric in row]
    if points:
        # A run of one epoch is a point, which a line without markers would not show.
        marker = "o" if len(points) <= 30 else ""
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, color=color, marker=marker, markersize=3, label=label or "_hidden")


def faces_picture(
    faces_u8: NDArray[np.uint8],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
) -> Figure:
    """Faces the network was surest about: right ones above, wrong ones below.

    The choice is the same every time: by falling probability of the prediction, in each block class after class in turn.

    Args:
        faces_u8: (N, H, W) or (N, 1, H, W) gray levels, or (N, 3, H, W) colours; of any shape, which is kept.
        labels: (N,) true class indices.
        probabilities: (N, K).
        classes: K names.
    """
    predictions, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    picture = figure(11, 6.9)
    # One mosaic for each half: axes for every face would take most of the time that a short run needs beside training.
    halves = zip(picture.subplots(2, 1), _halves(labels, probabilities), ("right", "wrong"), strict=True)
    for axes, chosen, title in halves:
        axes.set_title(f"{title}, and sure of it", fontsize=11)
        axes.set_axis_off()
        for place, index in enumerate(chosen):
            row, column = divmod(place, FACES_PER_ROW)
            left, top = CELL_WIDTH * (column + 0.5) - 0.5, CELL_HEIGHT * (row + 1) - 1
            said, truth = (_short(classes[one], CAPTION_LENGTH) for one in (predictions[index], labels[index]))
            right = predictions[index] == labels[index]
            caption = f"{said} {100 * confidences[index]:.0f} %"
            told, color = (caption, GREEN) if right else (f"{caption}\ntruth: {truth}", ORANGE)
            upper = _show_face(axes, faces_u8[index], left, top)
            axes.text(left + 0.5, upper - 0.04, plain(told), fontsize=8.5, color=color, ha="center", va="bottom")
        axes.set_xlim(0, CELL_WIDTH * FACES_PER_ROW)  # at the end, since every image sets them to its own
        axes.set_ylim(2 * CELL_HEIGHT, 0)
    return picture


def shown_faces(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> NDArray[np.intp]:
    """Ascending indices of the images that `faces_picture` shows; of these alone it makes the same picture."""
    return np.array(sorted(index for half in _halves(labels, probabilities) for index in half), np.intp)


def _halves(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> list[list[int]]:
    """Which images are shown above, and which below."""
    right = probabilities.argmax(axis=1) == labels
    return [_varied(np.flatnonzero(half), labels, probabilities.max(axis=1)) for half in (right, ~right)]


def _show_face(axes: Axes, face: NDArray[np.uint8], left: float, top: float) -> float:
    """Draw (H, W) or (C, H, W) with its own aspect at the lower edge of a place whose side is 1; where its upper edge is."""
    pixels = shown_pixels(face)
    longer = float(max(pixels.shape[:2]))
    height, width = pixels.shape[0] / longer, pixels.shape[1] / longer
    edge = left + (1 - width) / 2
    # Pixels are shown as they are, unless there are more of them than the place has.
    way = "nearest" if longer <= FACE_PIXELS else "antialiased"
    upper: float = top + 1 - height
    axes.imshow(pixels, interpolation=way, extent=(edge, edge + width, top + 1, upper), aspect="equal")
    return upper


def _short(name: str, length: int) -> str:
    """A class's name as a picture has room for it."""
    return shorten(one_line(name), length)


def _varied(indices: NDArray[np.intp], labels: NDArray[np.int64], confidences: NDArray[np.float32]) -> list[int]:
    """Up to two rows of indices: the surest of every class, then the second of every class, and so on."""
    by_confidence = sorted(indices.tolist(), key=lambda index: (-confidences[index], index))
    rank: dict[int, int] = {}
    ranked = []
    for index in by_confidence:
        rank[int(labels[index])] = rank.get(int(labels[index]), -1) + 1
        ranked.append((rank[int(labels[index])], int(labels[index]), index))
    return [index for _, _, index in sorted(ranked)[: 2 * FACES_PER_ROW]]
