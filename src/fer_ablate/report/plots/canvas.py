"""Shared by all figures: colours, text without surprises, and files that are whole or absent."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fer_ablate.tracking.disk.files import write_atomically

BLUE, ORANGE, GREEN, GRAY = "#0072b2", "#d55e00", "#009e73", "#666666"
SERIES = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Colours that colour-blind readers can distinguish (Okabe and Ito, 2008), without their yellow, which vanishes on white."""

DPI = 110
"""Dots per inch: a figure 11 inches wide fits a screen, and each figure of a run stays below 300 kB."""


TITLE_AT = 1.0
"""Height of a title, in the height of its axes. Without one, matplotlib measures all ticks to find the same place."""


class NotebookFigure(Figure):
    """A figure without a window that a notebook shows by itself."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        with boxes_for_foreign_letters():
            self.savefig(stream, format="png")
        return stream.getvalue()


def new_figure(width: float, height: float, margins: Mapping[str, float] | None = None) -> Figure:
    """An empty figure of this size in inches, without a window and outside of matplotlib's global state.

    Args:
        width: in inches.
        height: in inches.
        margins: for `Figure.subplots_adjust`, where the labels have a known size; None: matplotlib finds margins that fit, for
            which it draws everything twice.
    """
    new = NotebookFigure(figsize=(width, height), dpi=DPI, layout="constrained" if margins is None else None)
    if margins is not None:
        new.subplots_adjust(**margins)
    FigureCanvasAgg(new)
    return new


def plain(text: str) -> str:
    """Text that matplotlib shows letter by letter: dollars start no formula, and a leading underscore hides no legend entry."""
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def shown_pixels(face: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The (H, W, 3) pixels that show (H, W) or (1, H, W) gray levels, or (3, H, W) colours."""
    planes = face[None] if face.ndim == 2 else face
    return np.moveaxis(np.broadcast_to(planes, (3, *planes.shape[1:])), 0, -1)


@contextmanager
def boxes_for_foreign_letters() -> Iterator[None]:
    """Silence matplotlib's warnings about letters that its font lacks; it draws a box for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Replace a file by a figure; the same figure gives the same bytes.

    Args:
        figure: to write.
        path: its suffix, `.png` or `.svg`, is the format.
    """
    form = path.suffix.removeprefix(".")
    # Compressing a PNG as far as zlib can takes a fifth of the time of drawing it, and saves a twentieth of the file.
    options: dict[str, Any] = {"metadata": {"Date": None}} if form == "svg" else {"pil_kwargs": {"compress_level": 1}}
    # Text stays text in an SVG: it can be searched, and files are a third of the size. The salt makes names in it repeatable.
    vectors = mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fer_ablate"}) if form == "svg" else nullcontext()
    with vectors, boxes_for_foreign_letters():
        write_atomically(path, lambda stream: figure.savefig(stream, format=form, **options))
    figure.set_layout_engine("none")  # the places found for one format serve the next; finding them takes half of the time
