"""The pictures that every finished run leaves in its folder."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from fer_ablate.data.faces import FaceSet
from fer_ablate.report.plots.canvas import save
from fer_ablate.report.plots.run_figures import confusion_picture, curves_picture, faces_picture, shown_faces
from fer_ablate.tracking.disk.run_folder import PICTURES, RunFolder
from fer_ablate.training.evaluation import Predictions
from fer_ablate.training.result import RunResult


def save_pictures(folder: RunFolder, result: RunResult, faces: FaceSet, test: Predictions) -> list[str]:
    """Draw the confusion matrix of the test role, the curves, and a grid of right and wrong predictions.

    Args:
        folder: of the finished run, with its history.
        result: of the run.
        faces: the set.
        test: what was said about the images of the test role.

    Returns:
        Which of them could not be drawn and why, a sentence each; the run is finished all the same and keeps them as notes.
    """

    def grid() -> Figure:
        chosen = shown_faces(test.labels, test.probabilities)  # only these are read: the others may be gigabytes
        shown = faces.faces[test.rows[chosen]]
        return faces_picture(shown, test.labels[chosen], test.probabilities[chosen], result.classes)

    drawings: Mapping[str, Callable[[], Figure]] = {
        "confusion.png": lambda: confusion_picture(result.splits["test"].confusion, result.classes),
        "curves.png": lambda: curves_picture(folder.history, result.best_epoch),
        "faces.png": grid,
    }
    problems = [folder.attempt(name, partial(_draw, draw, folder.path / name)) for name, draw in drawings.items()]
    return [problem for problem in problems if problem]


def _draw(draw: Callable[[], Figure], path: Path) -> None:
    save(draw(), path)


def lacking(folder: RunFolder) -> list[str]:
    """Names of pictures that are not there, since the run was killed or they could not be drawn."""
    return [name for name in PICTURES if not (folder.path / name).is_file()]
