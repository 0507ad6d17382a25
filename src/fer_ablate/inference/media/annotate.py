"""Draws faces into a picture: boxes, labels and, where there is room, a bar for the probability of every class."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fer_ablate.data.decode import Pixels
from fer_ablate.inference.media.detection import Boxes

COLOURS = ((0, 94, 213), (115, 158, 0), (167, 121, 204), (0, 159, 230), (178, 114, 0), (233, 180, 86), (66, 228, 240))
"""Blue, green, red; colour-blind readers can distinguish them, too (Okabe and Ito, 2008). More than seven classes reuse them."""

_SMALLEST = 320  # a picture with a shorter side, in pixels, is enlarged, so that text fits
_LONGEST = 16_383  # pixels of a side up to which a picture is enlarged; the formats of copies take it, WebP no more
_TEXT = 30  # the short side of a picture divided by the height of a line of text
_TEXT_RANGE = (13, 96)  # pixels
_SHADE = 0.35  # share of its brightness that the picture keeps under the bars
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def enlarged(pixels: Pixels, boxes: Boxes) -> tuple[Pixels, Boxes]:
    """Enlarge a small picture and its boxes a whole number of times, so that labels can be read.

    A large one stays as it is. A long and thin one is enlarged as far as its file can hold it.
    """
    short, long = sorted(pixels.shape[:2])
    factor = max(1, min(-(-_SMALLEST // short), _LONGEST // long))
    if factor == 1:
        return pixels, boxes
    size = (pixels.shape[1] * factor, pixels.shape[0] * factor)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8), boxes * factor


def annotated(pixels: Pixels, boxes: Boxes, probabilities: NDArray[np.float32], classes: Sequence[str]) -> Pixels:
    """Copy a picture and mark its faces.

    Args:
        pixels: (H, W, 3) blue, green, red.
        boxes: (n, 4) x, y, width, height.
        probabilities: (n, K).
        classes: K names.
    """
    drawn = pixels.copy()
    short = min(drawn.shape[:2])
    text = int(np.clip(short / _TEXT, *_TEXT_RANGE))
    thick = max(1, round(short / 250))
    # Small faces come first, so that the labels of large ones are drawn on top.
    for number in reversed(range(len(boxes))):
        best = int(probabilities[number].argmax())
        colour = COLOURS[best % len(COLOURS)]
        x, y, width, height = boxes[number].tolist()
        cv2.rectangle(drawn, (x, y), (x + width - 1, y + height - 1), colour, thick)
        others = [boxes[other].tolist() for other in range(len(boxes)) if other != number]
        _bars(drawn, (x, y, width, height), others, probabilities[number], classes, text)
        _label(drawn, (x, y, width, height), f"{classes[best]} {probabilities[number, best]:.0%}", colour, text)
    return drawn


def _label(drawn: Pixels, box: tuple[int, int, int, int], caption: str, colour: tuple[int, int, int], text: int) -> None:
    """Write a line above the box, or at its upper edge if there is no room."""
    mask = _text_mask(caption, text)
    height, width = mask.shape[0] + text // 3, mask.shape[1] + text // 2
    x = max(0, min(box[0], drawn.shape[1] - width))
    y = box[1] - height if box[1] >= height else max(0, box[1])
    cv2.rectangle(drawn, (x, y), (x + width - 1, y + height - 1), colour, cv2.FILLED)
    # The eye's weights of blue, green and red decide whether black or white ink can be read on the colour.
    bright = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2] > 110
    _blend(drawn, mask, x + text // 4, y + text // 6, _BLACK if bright else _WHITE)


def _bars(
    drawn: Pixels,
    box: tuple[int, int, int, int],
    others: Sequence[Sequence[int]],
    shares: NDArray[np.float32],
    classes: Sequence[str],
    text: int,
) -> None:
    """Draw a bar for each class to the right or left of the box, if there is room within the picture and beside other faces."""
    small = max(_TEXT_RANGE[0] - 2, round(text * 0.7))
    names = [_text_mask(name, small) for name in classes]
    line, indent, length = round(small * 1.35), max(mask.shape[1] for mask in names) + small, small * 5
    width, height = indent + length + small // 2, line * len(classes) + small // 2
    top = min(box[1], drawn.shape[0] - height)
    for left in (box[0] + box[2] + small // 2, box[0] - width - small // 2):
        place = (left, top, width, height)
        if left >= 0 and left + width <= drawn.shape[1] and top >= 0 and not any(_touch(place, other) for other in others):
            break
    else:
        return
    panel = drawn[top : top + height, left : left + width]
    panel[:] = cv2.convertScaleAbs(panel, alpha=_SHADE)
    for number, (mask, share) in enumerate(zip(names, shares, strict=True)):
        y = top + small // 4 + number * line
        _blend(drawn, mask, left + small // 2, y + (line - mask.shape[0]) // 2, _WHITE)
        start = (left + indent, y + line // 5)
        cv2.rectangle(drawn, start, (start[0] + length, start[1] + line * 3 // 5), (90, 90, 90), 1)
        end = (start[0] + round(length * float(share)), start[1] + line * 3 // 5)
        cv2.rectangle(drawn, start, end, COLOURS[number % len(COLOURS)], cv2.FILLED)


def _touch(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two boxes overlap."""
    return all(one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2] for axis in (0, 1))


@lru_cache(maxsize=2048)
def _text_mask(words: str, size: int) -> Pixels:
    """Render text as (H, W) amounts of ink from 0 to 255, `size` pixels high.

    Pillow does it, since OpenCV writes only letters without accents.
    """
    font = ImageFont.load_default(size)
    left, _, right, _ = font.getbbox(words)
    image = Image.new("L", (max(1, int(right - left) + 2), round(size * 1.2)))
    ImageDraw.Draw(image).text((1 - left, 0), words, 255, font)
    return np.asarray(image)


def _blend(drawn: Pixels, mask: Pixels, x: int, y: int, ink: tuple[int, int, int]) -> None:
    """Draw text on a picture; parts outside the picture are cut off."""
    height, width = min(mask.shape[0], drawn.shape[0] - y), min(mask.shape[1], drawn.shape[1] - x)
    if height <= 0 or width <= 0:
        return
    share = mask[:height, :width, None].astype(np.float32) / 255
    part = drawn[y : y + height, x : x + width]
    part[:] = (part * (1 - share) + np.array(ink, np.float32) * share).round().astype(np.uint8)
