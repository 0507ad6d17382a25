"""What all pictures share: colours, and a way to the disk that leaves no half-written file."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fer_ablate.tracking.files import write_atomically

BLUE, ORANGE, GREEN, GRAY = "#0072b2", "#d55e00", "#009e73", "#666666"
"""Told apart by colour-blind readers too (Okabe and Ito, 2008)."""

DPI = 110
"""A picture 11 inches wide fits a screen, and a run's pictures stay below 300 kB each."""


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches that belongs to no window and no global state."""
    new = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(new)
    return new


def save(picture: Figure, path: Path) -> None:
    """Write a figure as PNG, replacing `path` at once."""
    write_atomically(path, lambda stream: picture.savefig(stream, format="png"))
