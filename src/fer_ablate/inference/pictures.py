"""From the bytes of a picture to pixels, whatever its format, depth and orientation, and never at the price of gigabytes."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fer_ablate.errors import UserError

Pixels = NDArray[np.uint8]

LIMIT = 50_000_000
"""Pixels that are decoded at most: 150 MB. JPEG files with more are decoded at a half, a quarter or an eighth of their size."""

_REDUCTIONS = (1, 2, 4, 8)  # that a JPEG decoder can do on its way
_pillow_limit = Lock()


def decode(content: bytes, limit: int = LIMIT) -> tuple[Pixels, tuple[int, int]]:
    """Decode a picture the way it is meant to be seen.

    Args:
        content: of a file.
        limit: pixels that are decoded at most.

    Returns:
        (H, W, 3) blue, green, red, as OpenCV has them, upright; and (width, height) of the whole picture, which differs if it was
        decoded at a smaller size.

    Raises:
        UserError: not a picture, damaged, cut off, or too large to be decoded; the reason, without the name of the file.
    """
    try:
        with _unlimited():
            image = Image.open(io.BytesIO(content))
        size = image.size
        _reduce(image, limit)
        upright = ImageOps.exif_transpose(image)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError("is not a picture, or its beginning is damaged.") from error
    except Exception as error:  # what a damaged file makes a decoder raise is no closed list
        raise UserError(f"is damaged ({error}).") from error
    turned = (upright.width > upright.height) != (image.width > image.height)
    return pixels_of(upright), (size[1], size[0]) if turned else size


def pixels_of(image: Image.Image) -> Pixels:
    """(H, W, 3) blue, green, red of a Pillow image: transparency on white, more than 8 bits cut down to 8."""
    if image.mode.startswith(("I;16", "I", "F")):
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    elif image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.asarray(cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2BGR), np.uint8)


def _reduce(image: Image.Image, limit: int) -> None:
    """Read the pixels, of a large JPEG fewer of them."""
    width, height = image.size
    fitting = [by for by in _REDUCTIONS if (width // by) * (height // by) <= limit]
    # A progressive file is held whole by the decoder, whatever the size that is asked for.
    simple = image.format == "JPEG" and not image.info.get("progressive")
    if not fitting or (fitting[0] > 1 and not simple):
        raise UserError(
            f"{width:,} x {height:,} pixels are more than the {limit / 1e6:.0f} million that are decoded at most. "
            "Make it smaller; large JPEG files (not progressive) are read at a reduced size."
        )
    if fitting[0] > 1:
        image.draft(None, (width // fitting[0], height // fitting[0]))
    image.load()


def _eight_bits(deep: NDArray[np.generic]) -> Pixels:
    """16 bits lose the lower half; other types are stretched from their darkest to their brightest pixel."""
    if deep.dtype.itemsize == 2:
        return (deep.astype(np.uint16) >> 8).astype(np.uint8)
    values = np.nan_to_num(deep.astype(np.float64))
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255 / (high - low) if high > low else 0)).round().astype(np.uint8)


@contextmanager
def _unlimited() -> Iterator[None]:
    """Let Pillow open the header of any size; `_reduce` has a limit of its own."""
    with _pillow_limit:
        kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = kept
