"""From boxes in a picture to what a network takes."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ablate.config.choices import Fit
from fer_ablate.data.decode import Pixels, fitted, planes, resized
from fer_ablate.inference.media.detection import Boxes, Detector
from fer_ablate.sizes import Size

MARGIN = 0.0
"""Share of a box that is added on each of its sides.

Measured on 453 faces of FER2013's PrivateTest that the Haar cascade finds in the enlarged picture: its box is as wide as
FER2013's own frame (median 0.985), and a LeNet that is right on 61 % of them is right on 58, 55, 46 and 38 % of the crops with a
margin of 0, 0.03, 0.1 and 0.2.
"""


@dataclass(frozen=True)
class Cropping:
    """How faces are cut out.

    Args:
        size: of the result.
        channels: of the result, 1 for gray levels, 3 for red, green, blue.
        fit: how a picture that is a face already is brought to the shape of `size`.
        margin: share of a found box that is added on each side.
        equalize: spread the gray levels of each face evenly (histogram equalisation).
    """

    size: Size
    channels: int = 1
    fit: Fit = Fit.pad
    margin: float = MARGIN
    equalize: bool = False


def faces_in(pixels: Pixels, detector: Detector, cropping: Cropping) -> tuple[Boxes, Pixels]:
    """Find the faces of a picture and cut them out.

    Args:
        pixels: (H, W, 3) blue, green, red.
        detector: finds them.
        cropping: how they are cut.

    Returns:
        (n, 4) boxes, the largest first; (n, C, *size) faces, colours in the order red, green, blue.
    """
    gray = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)
    boxes = detector.faces(gray)
    shown = gray if cropping.channels == 1 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
    cut = [crop(shown, box, cropping, detector.whole) for box in boxes]
    return boxes, np.array(cut, np.uint8).reshape(len(boxes), cropping.channels, *cropping.size)


def crop(pixels: Pixels, box: NDArray[np.int64], cropping: Cropping, whole: bool = False) -> Pixels:
    """Cut one face out: the smallest box of the wanted shape around a square around the given one.

    It is continued by the nearest pixels where it leaves the picture.

    Args:
        pixels: (H, W) gray, or (H, W, 3) red, green, blue.
        box: x, y, width, height.
        cropping: how.
        whole: cut the box as it is, and bring it to the wanted shape as pictures were for the training.

    Returns:
        (C, *size), with as many channels as `pixels`.
    """
    left, top, width, height = (int(value) for value in box)
    if whole:
        face = fitted(_part(pixels, left, top, width, height), cropping.size, cropping.fit)
    else:
        side = max(width, height) * (1 + 2 * cropping.margin)
        down, across = (max(1, round(side * (one / min(cropping.size)))) for one in cropping.size)
        left, top = left + (width - across) // 2, top + (height - down) // 2
        face = resized(_part(pixels, left, top, across, down), cropping.size)
    return planes(_equalized(face) if cropping.equalize else face)


def _part(pixels: Pixels, left: int, top: int, width: int, height: int) -> Pixels:
    right, bottom = left + width, top + height
    inside = pixels[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    above, below, before, after = (max(0, by) for by in (-top, bottom - pixels.shape[0], -left, right - pixels.shape[1]))
    if not (above or below or before or after):
        return inside
    return np.asarray(cv2.copyMakeBorder(inside, above, below, before, after, cv2.BORDER_REPLICATE), np.uint8)


def _equalized(face: Pixels) -> Pixels:
    """Of a colour face only the brightness is changed."""
    if face.ndim == 2:
        return np.asarray(cv2.equalizeHist(face), np.uint8)
    brightness = cv2.cvtColor(face, cv2.COLOR_RGB2YCrCb)
    brightness[:, :, 0] = cv2.equalizeHist(brightness[:, :, 0])
    return np.asarray(cv2.cvtColor(brightness, cv2.COLOR_YCrCb2RGB), np.uint8)
