"""The three figures that every finished run leaves in its folder: confusion matrix, learning curves, and faces."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from fer_ablate.report.plots.canvas import BLUE, GRAY, GREEN, ORANGE, TITLE_AT, new_figure, plain, save_figure, shown_pixels
from fer_ablate.report.quantities import one_line, shorten
from fer_ablate.tracking.disk.run_folder import PICTURES, RunFolder
from fer_ablate.training.result import RunResult

FACES_PER_ROW = 8
CELL_WIDTH, CELL_HEIGHT = 1.35, 1.4
"""Size of a face with its caption, in sides of the face."""

FACE_PIXELS = 108
"""Side of a face as `run_faces_figure` draws it."""

NAME_LENGTH, CAPTION_LENGTH = 24, 16
"""Letters of a class's name beside a matrix and above a face."""

USUAL_LENGTH = 10
"""Letters of the longest name of a class up to which the margins of a matrix are known without drawing it."""

NUMBERED = 0.45
"""Inches from which a cell has room for numbers; with 30 classes cells are that wide."""


@dataclass(frozen=True)
class RunFaces:
    """The few tested images that the figures of a run show; small enough to be sent from process to process.

    Args:
        pixels: (n, C, H, W) gray levels or colours.
        labels: (n,) true class indices.
        probabilities: (n, K) of the K classes.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def save_run_figures(folder: RunFolder, result: RunResult, faces: Callable[[], RunFaces]) -> list[str]:
    """Draw the confusion matrix of the test role, the curves, and a grid of right and wrong predictions.

    Args:
        folder: where the finished run is kept, with its history.
        result: its scores.
        faces: gives those that `shown_faces` chose, or more.

    Returns:
        A sentence for each figure that could not be drawn. The run is finished all the same and keeps the sentences as notes.
    """
    drawings: Mapping[str, Callable[[], Figure]] = {
        "confusion.png": lambda: run_confusion_figure(result.splits["test"].confusion, result.classes),
        "curves.png": lambda: run_curves_figure(folder.history, result.best_epoch),
        "faces.png": lambda: _faces_figure(faces(), result.classes),
    }
    problems = [folder.attempt(name, partial(_draw, draw, folder.path / name)) for name, draw in drawings.items()]
    return [problem for problem in problems if problem]


def _draw(draw: Callable[[], Figure], path: Path) -> None:
    save_figure(draw(), path)


def _faces_figure(faces: RunFaces, classes: Sequence[str]) -> Figure:
    return run_faces_figure(faces.pixels, faces.labels, faces.probabilities, classes)


def missing_figures(folder: RunFolder) -> list[str]:
    """Names of figures that the run lacks, because it was killed or they could not be drawn."""
    return [name for name in PICTURES if not (folder.path / name).is_file()]


def run_confusion_figure(confusion: ArrayLike, classes: Sequence[str]) -> Figure:
    """Counts and percentages of the predictions for each class.

    Args:
        confusion: (K, K) counts; row = truth, column = prediction. Of more than about 30 classes only the colours are shown.
        classes: K names.
    """
    counts = np.asarray(confusion)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    k = len(classes)
    cell = min(0.78, max(0.16, 14 / k))  # inches; a hundred classes fit into 16
    width, height = 2.2 + cell * k, 1.6 + 0.85 * cell * k
    usual = max(map(len, classes)) <= USUAL_LENGTH and cell >= NUMBERED
    figure = new_figure(width, height, _usual_margins(width, height) if usual else None)
    axes = figure.subplots()
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(shares) if cell >= NUMBERED else ():
        # Most cells of a good network are empty; a single digit there is easier to overlook, and drawn in half the time.
        text = f"{100 * share:.0f} %\n{counts[row, column]}" if counts[row, column] else "0"
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
    axes.set_title(f"{100 * accuracy:.2f} % of {counts.sum()} images right", fontsize=11, y=TITLE_AT)
    figure.colorbar(image, ax=axes, label="% of the true class", fraction=0.04)
    return figure


def _usual_margins(width: float, height: float) -> dict[str, float]:
    """Margins of a matrix of this size in inches whose classes have short names."""
    return {"left": 1.55 / width, "right": 1 - 0.8 / width, "bottom": 1.0 / height, "top": 1 - 0.35 / height}


def run_curves_figure(history: Sequence[Mapping[str, float]], best_epoch: int | None = None) -> Figure:
    """Loss, accuracy and learning rate over the epochs.

    Args:
        history: rows of metrics.csv: `epoch`, `lr`, `train/loss`, `val/loss`, `train/acc`, `val/acc`; gaps are left out.
        best_epoch: the epoch to mark; by default the first with the highest `val/acc`.
    """
    if best_epoch is None:
        measured = [row for row in history if "val/acc" in row]
        best_epoch = int(max(measured, key=lambda row: row["val/acc"])["epoch"]) if measured else None
    figure = new_figure(11, 3.6, {"left": 0.05, "right": 0.985, "bottom": 0.13, "top": 0.9, "wspace": 0.2})
    panels = figure.subplots(1, 3)
    for axes, metric, title, scale in zip(panels[:2], ("loss", "acc"), ("loss (nats)", "accuracy (%)"), (1, 100), strict=True):
        for split, color in (("train", BLUE), ("val", ORANGE)):
            _curve(axes, history, f"{split}/{metric}", color, split, scale)
        axes.set_title(title, fontsize=11, y=TITLE_AT)
    _curve(panels[2], history, "lr", GRAY, "", 1)
    panels[2].set_title("learning rate at the end of the epoch", fontsize=11, y=TITLE_AT)
    for axes in panels:
        if best_epoch is not None:
            axes.axvline(best_epoch, color=GREEN, linestyle="--", linewidth=1, label=f"best epoch {best_epoch}")
            axes.legend(fontsize=8.5, frameon=False)
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, max((row["epoch"] for row in history), default=1) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.25)
    return figure


def _curve(axes: Axes, history: Sequence[Mapping[str, float]], metric: str, color: str, label: str, scale: float) -> None:
    points = [(row["epoch"], scale * row[metric]) for row in history if metric in row]
    if points:
        # A run of one epoch is a point, which a line without markers would not show.
        marker = "o" if len(points) <= 30 else ""
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, color=color, marker=marker, markersize=3, label=label or "_hidden")


def run_faces_figure(
    faces_u8: NDArray[np.uint8],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
) -> Figure:
    """Faces with the most confident predictions: right ones above, wrong ones below.

    The choice is deterministic: by falling probability of the prediction, taking the classes in turn.

    Args:
        faces_u8: (N, H, W) or (N, 1, H, W) gray levels, or (N, 3, H, W) colours; their aspect ratio is kept.
        labels: (N,) true class indices.
        probabilities: (N, K).
        classes: K names.
    """
    predictions, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    figure = new_figure(11, 6.9, {"left": 0.005, "right": 0.995, "bottom": 0.01, "top": 0.95, "hspace": 0.1})
    # One mosaic for each half: axes for every face would take longer than the training of a short run.
    halves = zip(figure.subplots(2, 1), _halves(labels, probabilities), ("right", "wrong"), strict=True)
    for axes, chosen, title in halves:
        axes.set_title(f"{title}, and sure of it", fontsize=11, y=TITLE_AT)
        axes.set_axis_off()
        for place, index in enumerate(chosen):
            row, column = divmod(place, FACES_PER_ROW)
            left, top = CELL_WIDTH * (column + 0.5) - 0.5, CELL_HEIGHT * (row + 1) - 1
            predicted, truth = (_short(classes[one], CAPTION_LENGTH) for one in (predictions[index], labels[index]))
            right = predictions[index] == labels[index]
            caption = f"{predicted} {100 * confidences[index]:.0f} %"
            text, color = (caption, GREEN) if right else (f"{caption}\ntruth: {truth}", ORANGE)
            upper = _show_face(axes, faces_u8[index], left, top)
            axes.text(left + 0.5, upper - 0.04, plain(text), fontsize=8.5, color=color, ha="center", va="bottom")
        axes.set_xlim(0, CELL_WIDTH * FACES_PER_ROW)  # last, since drawing an image sets the limits to its own
        axes.set_ylim(2 * CELL_HEIGHT, 0)
    return figure


def shown_faces(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> NDArray[np.intp]:
    """Ascending indices of the images that `run_faces_figure` shows; given these alone, it draws the same figure."""
    return np.array(sorted(index for half in _halves(labels, probabilities) for index in half), np.intp)


def _halves(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> list[list[int]]:
    """Indices of the right images, shown above, and of the wrong ones, shown below."""
    right = probabilities.argmax(axis=1) == labels
    return [_varied(np.flatnonzero(half), labels, probabilities.max(axis=1)) for half in (right, ~right)]


def _show_face(axes: Axes, face: NDArray[np.uint8], left: float, top: float) -> float:
    """Draw (H, W) or (C, H, W) in its own aspect ratio at the lower edge of a unit square; returns its upper edge."""
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
    """A class name on one line, cut to this length."""
    return shorten(one_line(name), length)


def _varied(indices: NDArray[np.intp], labels: NDArray[np.int64], confidences: NDArray[np.float32]) -> list[int]:
    """Up to two rows of indices: the most confident of every class, then the second of every class, and so on."""
    by_confidence = sorted(indices.tolist(), key=lambda index: (-confidences[index], index))
    rank: dict[int, int] = {}
    ranked = []
    for index in by_confidence:
        rank[int(labels[index])] = rank.get(int(labels[index]), -1) + 1
        ranked.append((rank[int(labels[index])], int(labels[index]), index))
    return [index for _, _, index in sorted(ranked)[: 2 * FACES_PER_ROW]]
