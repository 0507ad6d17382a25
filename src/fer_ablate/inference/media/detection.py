"""Finds faces in a picture and cuts them out. Another detector takes one class here and one line in `DETECTORS`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from cv2.data import haarcascades
from numpy.typing import NDArray

from fer_ablate.config.choices import Fit
from fer_ablate.data.decode import Pixels, fitted, planes, resized
from fer_ablate.errors import UserError, choices
from fer_ablate.sizes import Size

Boxes = NDArray[np.int64]
"""(n, 4): x and y of the upper left corner, width, height; in pixels."""

STILL_SIDE, MOVING_SIDE = 720, 240
"""Short side, in pixels, that pictures and frames are reduced to: pictures have time for small faces, videos do not."""

_CASCADE = "haarcascade_frontalface_default.xml"
_STEP = 1.2  # ratio of two successive face sizes that are searched for
_NEIGHBOURS = 5  # overlapping detections that make a face
_SMALLEST = 30  # smallest face in the reduced picture, in pixels; the cascade was trained on 24
_OVERLAP = 0.4  # two boxes that share at least this part of the smaller one are one face


class Detector(Protocol):
    """Finds the faces of a picture."""

    @property
    def whole(self) -> bool:
        """Whether its boxes are cut as they are, without a margin and without being made square."""
        ...

    def faces(self, gray_u8: NDArray[np.uint8]) -> Boxes:
        """Find the boxes of the faces in (H, W) gray levels, the largest first."""
        ...


class HaarDetector:
    """Finds frontal faces with OpenCV's cascade of Haar features (Viola and Jones, 2001); for one thread at a time.

    Args:
        short_side: pixels; a picture whose short side is longer is reduced to this first.
    """

    whole = False

    def __init__(self, short_side: int) -> None:
        self.short_side = short_side
        path = Path(haarcascades) / _CASCADE
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            raise UserError(f"OpenCV's face detector is not in {path}. Install opencv-python-headless<5, or use detector=none.")

    def faces(self, gray_u8: NDArray[np.uint8]) -> Boxes:
        """Find the boxes of the faces, the largest first; of two that overlap, only the larger one is kept."""
        height, width = gray_u8.shape
        scale = min(1.0, self.short_side / min(height, width))
        small = gray_u8
        if scale < 1:
            reduced = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = np.asarray(cv2.resize(gray_u8, reduced, interpolation=cv2.INTER_AREA), np.uint8)
        found = self._cascade.detectMultiScale(small, _STEP, _NEIGHBOURS, minSize=(_SMALLEST, _SMALLEST))
        factor = np.tile([width / small.shape[1], height / small.shape[0]], 2)
        boxes = np.asarray(found, np.float64).reshape(-1, 4) * factor
        return distinct_boxes(np.round(boxes).astype(np.int64))


class NoDetector:
    """Takes the whole picture as one face, as in FER2013."""

    whole = True

    def faces(self, gray_u8: NDArray[np.uint8]) -> Boxes:
        """Give one box around the whole picture."""
        return np.array([[0, 0, gray_u8.shape[1], gray_u8.shape[0]]])


DETECTORS: dict[str, Callable[[int], Detector]] = {"haar": HaarDetector, "none": lambda short_side: NoDetector()}
"""Name -> function that builds the detector from the `short_side` that pictures are reduced to."""


def build_detector(name: str, short_side: int) -> Detector:
    """Build a detector by its name.

    Raises:
        UserError: there is no detector of this name.
    """
    if name not in DETECTORS:
        raise UserError(f"detector={name}: there is no such detector. {choices(name, DETECTORS)}")
    return DETECTORS[name](short_side)


def distinct_boxes(boxes: Boxes) -> Boxes:
    """Sort boxes from the largest to the smallest, and drop those that overlap a larger one too much."""
    ordered = boxes[np.argsort(-boxes[:, 2] * boxes[:, 3], kind="stable")]
    kept: list[NDArray[np.int64]] = []
    for box in ordered:
        if all(_overlap(box, larger) < _OVERLAP for larger in kept):
            kept.append(box)
    return np.array(kept, np.int64).reshape(-1, 4)


def _overlap(box: NDArray[np.int64], larger: NDArray[np.int64]) -> float:
    """Share of a box that is inside a larger one."""
    upper, lower = np.maximum(box[:2], larger[:2]), np.minimum(box[:2] + box[2:], larger[:2] + larger[2:])
    return float(np.prod(np.maximum(lower - upper, 0)) / np.prod(box[2:]))


MARGIN = 0.0
"""Share of a box that is added on each of its sides.

Measured on 453 faces of FER2013's PrivateTest that the Haar cascade finds in the enlarged picture: its box is as wide as
FER2013's own frame (median 0.985), and a LeNet that is right on 61 % of them is right on 58, 55, 46 and 38 % of the crops with a
margin of 0, 0.03, 0.1 and 0.2.
"""


@dataclass(frozen=True)
class FaceCropping:
    """How faces are cut out.

    Args:
        size: height and width of a cut face.
        channels: its channels, 1 for gray levels, 3 for red, green, blue.
        fit: how a picture that is a face already is brought to the shape of `size`.
        margin: share of a found box that is added on each side.
        equalize: spread the gray levels of each face evenly (histogram equalisation).
    """

    size: Size
    channels: int = 1
    fit: Fit = Fit.pad
    margin: float = MARGIN
    equalize: bool = False


def faces_in(pixels: Pixels, detector: Detector, cropping: FaceCropping) -> tuple[Boxes, Pixels]:
    """Find the faces of a picture and cut them out.

    Args:
        pixels: (H, W, 3) blue, green, red.
        detector: finds the faces.
        cropping: how they are cut out.

    Returns:
        (n, 4) boxes, the largest first; (n, C, *size) faces, colours in the order red, green, blue.
    """
    # The detector always gets gray levels, whatever the network takes.
    gray = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)
    boxes = detector.faces(gray)
    source = gray if cropping.channels == 1 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
    cut = [crop_face(source, box, cropping, detector.whole) for box in boxes]
    return boxes, np.array(cut, np.uint8).reshape(len(boxes), cropping.channels, *cropping.size)


def crop_face(pixels: Pixels, box: NDArray[np.int64], cropping: FaceCropping, whole: bool = False) -> Pixels:
    """Cut one face out.

    The box becomes a square and grows by the margin; the smallest area of the shape of `cropping.size` around it is cut out.
    Where that area leaves the picture, the nearest pixels are repeated.

    Args:
        pixels: (H, W) gray, or (H, W, 3) red, green, blue.
        box: x, y, width, height.
        cropping: size, margin and equalisation.
        whole: cut the box as it is, and bring it to the size as pictures were for the training.

    Returns:
        (C, *size), with as many channels as `pixels`.
    """
    left, top, width, height = (int(value) for value in box)
    if whole:
        face = fitted(_area(pixels, left, top, width, height), cropping.size, cropping.fit)
    else:
        side = max(width, height) * (1 + 2 * cropping.margin)
        # The shorter side of the area is the side of the square, so all of the face is inside.
        down, across = (max(1, round(side * (one / min(cropping.size)))) for one in cropping.size)
        left, top = left + (width - across) // 2, top + (height - down) // 2
        face = resized(_area(pixels, left, top, across, down), cropping.size)
    return planes(_equalized(face) if cropping.equalize else face)


def _area(pixels: Pixels, left: int, top: int, width: int, height: int) -> Pixels:
    """Cut an area out that may leave the picture; the nearest pixels are repeated there."""
    right, bottom = left + width, top + height
    inside = pixels[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    above, below, before, after = (max(0, by) for by in (-top, bottom - pixels.shape[0], -left, right - pixels.shape[1]))
    if not (above or below or before or after):
        return inside
    return np.asarray(cv2.copyMakeBorder(inside, above, below, before, after, cv2.BORDER_REPLICATE), np.uint8)


def _equalized(face: Pixels) -> Pixels:
    """Spread the levels of a face evenly; in a colour face only the brightness changes."""
    if face.ndim == 2:
        return np.asarray(cv2.equalizeHist(face), np.uint8)
    brightness = cv2.cvtColor(face, cv2.COLOR_RGB2YCrCb)
    brightness[:, :, 0] = cv2.equalizeHist(brightness[:, :, 0])
    return np.asarray(cv2.cvtColor(brightness, cv2.COLOR_YCrCb2RGB), np.uint8)
