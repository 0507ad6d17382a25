"""Where in a picture faces are. A further detector is one class here and one line in `DETECTORS`."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from cv2.data import haarcascades
from numpy.typing import NDArray

from fer_ablate.errors import UserError, choices

Boxes = NDArray[np.int64]
"""(n, 4): x and y of the left upper corner, width, height; in pixels."""

STILL_SIDE, MOVING_SIDE = 720, 240
"""Pixels of the short side that faces are looked for at: pictures have time for small faces, videos have not."""

_CASCADE = "haarcascade_frontalface_default.xml"
_STEP = 1.2  # between two sizes of face that are looked for
_NEIGHBOURS = 5  # detections that must agree
_SMALLEST = 30  # pixels of a face at the side above; the cascade was trained on 24
_OVERLAP = 0.4  # share of the smaller box from which two boxes are one face


class Detector(Protocol):
    """Finds faces."""

    @property
    def whole(self) -> bool:
        """Whether its boxes are to be cut as they are, without margin and without being made square."""
        ...

    def faces(self, gray_u8: NDArray[np.uint8]) -> Boxes:
        """Boxes of the faces in (H, W) gray levels, the largest first."""
        ...


class HaarDetector:
    """Frontal faces by OpenCV's cascade of Haar features (Viola and Jones, 2001); for one thread at a time.

    Args:
        short_side: pixels that a larger picture's short side is reduced to before looking.
    """

    whole = False

    def __init__(self, short_side: int) -> None:
        self.short_side = short_side
        path = Path(haarcascades) / _CASCADE
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            raise UserError(f"OpenCV's face detector is not in {path}. Install opencv-python-headless<5, or use detector=none.")

    def faces(self, gray_u8: NDArray[np.uint8]) -> Boxes:
        """Boxes of the faces, the largest first; of two that overlap, the larger one."""
        height, width = gray_u8.shape
        scale = min(1.0, self.short_side / min(height, width))
        small = gray_u8
        if scale < 1:
            reduced = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = np.asarray(cv2.resize(gray_u8, reduced, interpolation=cv2.INTER_AREA), np.uint8)
        found = self._cascade.detectMultiScale(small, _STEP, _NEIGHBOURS, minSize=(_SMALLEST, _SMALLEST))
        factor = np.tile([width / small.shape[1], height / small.shape[0]], 2)
        boxes = np.asarray(found, np.float64).reshape(-1, 4) * factor
        return distinct(np.round(boxes).astype(np.int64))


class NoDetector:
    """The whole picture is one face, as in FER2013."""

    whole = True

    def faces(self, gray_u8: NDArray[np.uint8]) -> Boxes:
        """One box: everything."""
        return np.array([[0, 0, gray_u8.shape[1], gray_u8.shape[0]]])


DETECTORS: dict[str, Callable[[int], Detector]] = {"haar": HaarDetector, "none": lambda short_side: NoDetector()}
"""Name -> what builds it from the `short_side` that it may reduce pictures to."""


def build_detector(name: str, short_side: int) -> Detector:
    """Build a detector by its name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in DETECTORS:
        raise UserError(f"detector={name}: there is no such detector. {choices(name, DETECTORS)}")
    return DETECTORS[name](short_side)


def distinct(boxes: Boxes) -> Boxes:
    """Boxes from the largest to the smallest, without those that lie for a good part in a larger one."""
    ordered = boxes[np.argsort(-boxes[:, 2] * boxes[:, 3], kind="stable")]
    kept: list[NDArray[np.int64]] = []
    for box in ordered:
        if all(_shared(box, larger) < _OVERLAP for larger in kept):
            kept.append(box)
    return np.array(kept, np.int64).reshape(-1, 4)


def _shared(box: NDArray[np.int64], larger: NDArray[np.int64]) -> float:
    """Share of a box that lies in a larger one."""
    upper, lower = np.maximum(box[:2], larger[:2]), np.minimum(box[:2] + box[2:], larger[:2] + larger[2:])
    return float(np.prod(np.maximum(lower - upper, 0)) / np.prod(box[2:]))
