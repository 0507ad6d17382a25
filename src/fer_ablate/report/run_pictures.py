"""The pictures that every finished run leaves in its folder."""

import numpy as np
from numpy.typing import NDArray

from fer_ablate.report.canvas import save
from fer_ablate.report.pictures import confusion_picture, curves_picture, faces_picture
from fer_ablate.tracking.run_folder import RunFolder
from fer_ablate.training.result import RunResult


def save_pictures(
    folder: RunFolder,
    result: RunResult,
    faces: NDArray[np.uint8],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
) -> None:
    """Draw the confusion matrix of the test role, the curves, and a grid of right and wrong predictions.

    Args:
        folder: of the run, with its history.
        result: of the run.
        faces: (n, C, H, W) uint8, of the test role.
        labels: (n,) true class indices.
        probabilities: (n, K).
    """
    pictures = {
        "confusion.png": confusion_picture(result.splits["test"].confusion, result.classes),
        "curves.png": curves_picture(folder.history, result.best_epoch),
        "faces.png": faces_picture(faces, labels, probabilities, result.classes),
    }
    for name, picture in pictures.items():
        save(picture, folder.path / name)
