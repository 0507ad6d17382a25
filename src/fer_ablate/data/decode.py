"""The one decoder of pictures, for training and prediction: from the bytes of a file to pixels of the wanted kind and shape.

A picture is turned as its EXIF says, shown on white where it is transparent, and brought to 8 bits; of an animation the first
frame counts. Pixels are (H, W) gray levels or (H, W, 3) red, green, blue. Nothing is decoded at the price of gigabytes.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fer_ablate.config.choices import Fit
from fer_ablate.errors import UserError
from fer_ablate.sizes import Size

Pixels = NDArray[np.uint8]

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".pgm", ".ppm", ".pbm", ".pnm"),
)
"""Endings of files that are read as pictures; what is in them decides how."""

LIMIT = 50_000_000
"""Pixels that are decoded at most: 150 MB. JPEG files with more are decoded at a half, a quarter or an eighth of their size."""

GROUND = "white"
"""What a transparent picture is laid over."""

_REDUCTIONS = (1, 2, 4, 8)  # that a JPEG decoder can do on its way
_GRAY = ("1", "L", "LA", "La", "I", "F")  # and every variant of the last two
_DEEP = ("I", "F")  # and their variants: more than 8 bits
_TURNING = (5, 6, 7, 8)  # EXIF orientations that swap height and width
_pillow_limit = Lock()


@dataclass(frozen=True)
class Header:
    """What the beginning of a file tells, without its pixels.

    Args:
        size: of the picture upright.
        gray: whether it has no colours.
    """

    size: Size
    gray: bool


def header(path: Path) -> Header:
    """Look at the beginning of a picture.

    Raises:
        UserError: not a picture; the reason, without the name of the file.
        OSError: it cannot be opened.
    """
    with path.open("rb") as stream, _understood(), _opened(stream) as image:
        width, height = image.size
        turned = image.getexif().get(ExifTags.Base.Orientation) in _TURNING
        return Header((width, height) if turned else (height, width), _is_gray(image))


def decode(content: bytes, limit: int = LIMIT) -> tuple[Pixels, Size]:
    """Decode a picture the way it is meant to be seen.

    Args:
        content: of a file.
        limit: pixels that are decoded at most.

    Returns:
        (H, W) of a gray picture, (H, W, 3) of another; and the size of the whole picture, which differs if it was decoded at a
        smaller one.

    Raises:
        UserError: not a picture, damaged, cut off, or too large to be decoded; the reason, without the name of the file.
    """
    with _understood():
        image = _opened(io.BytesIO(content))
        width, height = image.size
        _reduce(image, limit)
        turned = image.getexif().get(ExifTags.Base.Orientation) in _TURNING
        pixels = pixels_of(ImageOps.exif_transpose(image), sixteen_bits=image.format == "PPM")
    return pixels, (width, height) if turned else (height, width)


def pixels_of(image: Image.Image, sixteen_bits: bool = False) -> Pixels:
    """(H, W) or (H, W, 3) of a Pillow image as it is, not turned: transparency on white, more than 8 bits cut down to 8.

    Args:
        image: of any mode.
        sixteen_bits: whether its integers are known to go up to 65,535, as those of a deep PGM file do in Pillow.
    """
    mode = "L" if _is_gray(image) else "RGB"
    if image.mode.startswith(_DEEP):
        deep = np.asarray(image)
        image = Image.fromarray(_eight_bits(deep.astype(np.uint16) if sixteen_bits else deep))
    elif image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, GROUND), layer)
    return np.asarray(image.convert(mode), np.uint8)


def with_channels(pixels: Pixels, channels: int) -> Pixels:
    """Gray (H, W) for 1 channel, colour (H, W, 3) for 3; colours turn gray by their brightness (ITU-R BT.601)."""
    if pixels.ndim == 2:
        return pixels if channels == 1 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
    return pixels if channels == 3 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def fitted(pixels: Pixels, size: Size, fit: Fit) -> Pixels:
    """Bring a picture to a size: to its shape by a border of its edge pixels, by its middle, or not at all; then resized.

    Args:
        pixels: (H, W) or (H, W, 3).
        size: wanted.
        fit: what happens where height and width are of another ratio; `stretch` distorts.
    """
    if pixels.shape[:2] == size:
        return pixels
    height, width = pixels.shape[:2]
    if fit is Fit.stretch or height * size[1] == width * size[0]:
        return resized(pixels, size)
    wide = height * size[1] < width * size[0]
    if fit is Fit.pad:
        # Resized before the border is added: a picture of one line would otherwise be padded to gigabytes.
        scale = size[1] / width if wide else size[0] / height
        inside = (max(1, min(size[0], round(height * scale))), max(1, min(size[1], round(width * scale))))
        return _padded(resized(pixels, inside), size)
    shape = (height, max(1, round(height * size[1] / size[0]))) if wide else (max(1, round(width * size[0] / size[1])), width)
    return resized(_middle(pixels, shape), size)


def resized(pixels: Pixels, size: Size) -> Pixels:
    """Stretch a picture to a size: averaged over the pixels that fall together, or bilinear where it grows."""
    if pixels.shape[:2] == size:
        return pixels
    shrinks = pixels.shape[0] > size[0] or pixels.shape[1] > size[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (size[1], size[0]), interpolation=way), np.uint8)


def planes(pixels: Pixels) -> Pixels:
    """Channels first: (1, H, W) or (3, H, W)."""
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _padded(pixels: Pixels, shape: Size) -> Pixels:
    down, right = shape[0] - pixels.shape[0], shape[1] - pixels.shape[1]
    top, left = down // 2, right // 2
    return np.asarray(cv2.copyMakeBorder(pixels, top, down - top, left, right - left, cv2.BORDER_REPLICATE), np.uint8)


def _middle(pixels: Pixels, shape: Size) -> Pixels:
    top, left = (pixels.shape[0] - shape[0]) // 2, (pixels.shape[1] - shape[1]) // 2
    return np.ascontiguousarray(pixels[top : top + shape[0], left : left + shape[1]])


def _is_gray(image: Image.Image) -> bool:
    if image.mode in ("P", "PA"):
        colours = np.array(image.getpalette("RGB") or [0, 0, 0], np.uint8).reshape(-1, 3)
        return bool((colours == colours[:, :1]).all())
    return image.mode in _GRAY or image.mode.startswith(_DEEP)


def _opened(stream: IO[bytes]) -> Image.Image:
    """Open the header of a picture of any size; `_reduce` has a limit of its own."""
    with _pillow_limit:
        kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(stream)
        finally:
            Image.MAX_IMAGE_PIXELS = kept


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
    if low == high:  # nothing to stretch: a gray level if it can be one
        return np.full(values.shape, min(255, max(0, round(low))), np.uint8)
    return ((values - low) * (255 / (high - low) if high > low else 0)).round().astype(np.uint8)


@contextmanager
def _understood() -> Iterator[None]:
    """Turn what a damaged file makes Pillow raise, which is no closed list, into words."""
    try:
        yield
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError("is not a picture, or its beginning is damaged.") from error
    except Exception as error:
        raise UserError(f"is damaged ({error}).") from error
