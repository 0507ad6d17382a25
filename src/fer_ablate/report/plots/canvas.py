"""What all pictures share: colours, text as it was meant, and a way to the disk that leaves no half-written file."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fer_ablate.tracking.disk.files import write_atomically

BLUE, ORANGE, GREEN, GRAY = "#0072b2", "#d55e00", "#009e73", "#666666"
SERIES = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Told apart by colour-blind readers too (Okabe and Ito, 2008); their yellow is left out, as it vanishes on white."""

DPI = 110
"""A picture 11 inches wide fits a screen, and a run's pictures stay below 300 kB each."""


class Picture(Figure):
    """A figure that a notebook shows by itself, although it belongs to no window."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        with boxes_for_foreign_letters():
            self.savefig(stream, format="png")
        return stream.getvalue()


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches that belongs to no window and no global state."""
    new = Picture(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(new)
    return new


def plain(text: str) -> str:
    """Text that matplotlib shows letter by letter: dollars begin no formula, a leading underscore hides nothing in a legend."""
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def shown_pixels(face: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The (H, W, 3) pixels by which (H, W) or (1, H, W) gray levels, or (3, H, W) colours, are shown."""
    planes = face[None] if face.ndim == 2 else face
    return np.moveaxis(np.broadcast_to(planes, (3, *planes.shape[1:])), 0, -1)


@contextmanager
def boxes_for_foreign_letters() -> Iterator[None]:
    """Without a warning for every letter that matplotlib's font does not have; it draws a box there."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def save(picture: Figure, path: Path) -> None:
    """Write a figure, replacing `path` at once; the same figure gives the same bytes.

    Args:
        picture: to write.
        path: its suffix, `.png` or `.svg`, is the format.
    """
    form = path.suffix.removeprefix(".")
    metadata = {"Date": None} if form == "svg" else None
    # Text stays text in an SVG: it can be searched, and files are a third of the size. The salt makes names in it repeatable.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fer_ablate"}), boxes_for_foreign_letters():
        write_atomically(path, lambda stream: picture.savefig(stream, format=form, metadata=metadata))
