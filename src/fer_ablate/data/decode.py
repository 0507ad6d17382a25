"""Decodes pictures for training and prediction, and converts them to a given size and number of channels.

A picture is turned as its EXIF orientation says, laid over white where it is transparent, and reduced to 8 bits; of an animation
the first frame is used. Pixels are (H, W) gray levels or (H, W, 3) red, green, blue. Pictures that would take gigabytes of memory
are refused.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fer_ablate.config.choices import Fit
from fer_ablate.errors import UserError
from fer_ablate.extras import imported
from fer_ablate.sizes import Size

Pixels = NDArray[np.uint8]

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".pgm", ".ppm", ".pbm", ".pnm"),
)
"""Suffixes of files that are read as pictures; the format itself is recognised by the content."""

LIMIT = 50_000_000
"""Most pixels that are decoded (150 MB). Larger JPEG files are decoded at a half, a quarter or an eighth of their size."""

GROUND = "white"
"""Colour under a transparent picture."""

_REDUCTIONS = (1, 2, 4, 8)  # divisors of the size that JPEG decoders support
_GRAY = ("1", "L", "LA", "La", "I", "F")  # Pillow's gray modes; `I` and `F` have variants such as `I;16`
_DEEP = ("I", "F")  # modes with more than 8 bits, and their variants
_TURNING = (5, 6, 7, 8)  # EXIF orientations that swap height and width
_pillow_limit = Lock()


@dataclass(frozen=True)
class Header:
    """Facts about a picture that are known without decoding its pixels.

    Args:
        size: height and width of the upright picture.
        gray: whether it has no colours.
    """

    size: Size
    gray: bool


def header(path: Path) -> Header:
    """Read the header of a picture.

    Raises:
        UserError: it is not a picture, or too large; the message gives the reason without the name of the file.
        OSError: it cannot be opened or read.
    """
    with path.open("rb") as stream, _damage_reported(on_disk=True), _opened(stream) as image:
        _reduction(image, LIMIT)  # both lines below may decode the pixels: getexif those of a PNG, getpalette all
        width, height = image.size
        # Of a TIFF Pillow gives the size of the upright picture.
        turned = image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation) in _TURNING
        return Header((width, height) if turned else (height, width), _is_gray(image))


def decode(content: bytes, limit: int = LIMIT) -> tuple[Pixels, Size]:
    """Decode a picture, upright and without transparency.

    Args:
        content: content of a file.
        limit: most pixels that are decoded.

    Returns:
        Pixels (H, W) of a gray picture or (H, W, 3) of another; and the size of the whole picture, which is larger if it was
        decoded at a reduced size.

    Raises:
        UserError: it is not a picture, damaged, cut off, or too large; the message gives the reason without the name of the file.
    """
    with _damage_reported():
        image = _opened(io.BytesIO(content))
        width, height = image.size
        _load_pixels(image, limit)
        turned = image.getexif().get(ExifTags.Base.Orientation) in _TURNING
        pixels = pixels_of(ImageOps.exif_transpose(image), sixteen_bits=image.format == "PPM")
    return pixels, (width, height) if turned else (height, width)


def pixels_of(image: Image.Image, sixteen_bits: bool = False) -> Pixels:
    """Convert a Pillow image to (H, W) or (H, W, 3): laid over white, reduced to 8 bits, not turned.

    Args:
        image: image of any mode.
        sixteen_bits: whether its integers go up to 65,535, as those of a 16-bit PGM file do in Pillow.
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
    """Convert pixels to gray (H, W) for 1 channel, or colour (H, W, 3) for 3; gray is the brightness of ITU-R BT.601."""
    if pixels.ndim == (2 if channels == 1 else 3):
        return pixels
    cv2 = imported("cv2")
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def fitted(pixels: Pixels, size: Size, fit: Fit) -> Pixels:
    """Resize a picture to a size of possibly another aspect ratio.

    Args:
        pixels: (H, W) or (H, W, 3).
        size: height and width of the result.
        fit: what to do about another aspect ratio: `pad` repeats the edge pixels, `crop` cuts to the middle, `stretch` distorts.
    """
    if pixels.shape[:2] == size:
        return pixels
    height, width = pixels.shape[:2]
    if fit is Fit.stretch or height * size[1] == width * size[0]:
        return resized(pixels, size)
    wide = height * size[1] < width * size[0]
    if fit is Fit.pad:
        # Resized before the border is added: otherwise a picture of a single long line would be padded to gigabytes.
        scale = size[1] / width if wide else size[0] / height
        inside = (max(1, min(size[0], round(height * scale))), max(1, min(size[1], round(width * scale))))
        return _padded(resized(pixels, inside), size)
    shape = (height, max(1, round(height * size[1] / size[0]))) if wide else (max(1, round(width * size[0] / size[1])), width)
    return resized(_middle(pixels, shape), size)


def resized(pixels: Pixels, size: Size) -> Pixels:
    """Stretch a picture to a size: by averaging if a side shrinks, else by bilinear interpolation."""
    if pixels.shape[:2] == size:
        return pixels
    cv2 = imported("cv2")
    shrinks = pixels.shape[0] > size[0] or pixels.shape[1] > size[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (size[1], size[0]), interpolation=interpolation), np.uint8)


def planes(pixels: Pixels) -> Pixels:
    """Move the channels to the front: (1, H, W) or (3, H, W)."""
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _padded(pixels: Pixels, shape: Size) -> Pixels:
    down, right = shape[0] - pixels.shape[0], shape[1] - pixels.shape[1]
    top, left = down // 2, right // 2
    cv2 = imported("cv2")
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
    """Read the header of a picture of any size; Pillow's own limit is lifted since `_load_pixels` has another one."""
    with _pillow_limit:
        kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(stream)
        finally:
            Image.MAX_IMAGE_PIXELS = kept


def _load_pixels(image: Image.Image, limit: int) -> None:
    """Decode the pixels, those of a large JPEG at a reduced size."""
    width, height = image.size
    if (by := _reduction(image, limit)) > 1:
        image.draft(None, (width // by, height // by))
    image.load()


def _reduction(image: Image.Image, limit: int) -> int:
    """Divisor of the size at which a picture is decoded; an error if it is too large."""
    width, height = image.size
    fitting = [by for by in _REDUCTIONS if (width // by) * (height // by) <= limit]
    # For a progressive file the decoder needs memory for the full size even if it returns a smaller picture.
    simple = image.format == "JPEG" and not image.info.get("progressive")
    if not fitting or (fitting[0] > 1 and not simple):
        raise UserError(
            f"{width:,} x {height:,} pixels are more than the {limit / 1e6:.0f} million that are decoded at most. "
            "Make it smaller; large JPEG files (not progressive) are read at a reduced size."
        )
    return fitting[0]


def _eight_bits(deep: NDArray[np.generic]) -> Pixels:
    """Reduce to 8 bits: 16 bits lose the lower byte, other types are scaled from their darkest to their brightest pixel."""
    if deep.dtype.itemsize == 2:
        return (deep.astype(np.uint16) >> 8).astype(np.uint8)
    values = np.nan_to_num(deep.astype(np.float64))
    low, high = float(values.min()), float(values.max())
    if low == high:  # nothing to scale
        return np.full(values.shape, min(255, max(0, round(low))), np.uint8)
    return ((values - low) * (255 / (high - low) if high > low else 0)).round().astype(np.uint8)


@contextmanager
def _damage_reported(on_disk: bool = False) -> Iterator[None]:
    """Turn the errors that Pillow raises for a damaged file, which can be of any type, into a message; not those of the disk."""
    try:
        yield
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError("is not a picture, or its beginning is damaged.") from error
    except Exception as error:
        if on_disk and isinstance(error, OSError) and error.errno is not None:  # Pillow's own ones have no number
            raise
        raise UserError(f"is damaged ({error}).") from error
