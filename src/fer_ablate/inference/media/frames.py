"""Reads pictures, videos and cameras frame by frame."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fer_ablate.data.decode import LIMIT, Pixels, decode
from fer_ablate.errors import UserError
from fer_ablate.inference.media.sources import Medium, MediumKind, Skipped
from fer_ablate.sizes import Size

USUAL_FPS = 30.0
"""Frames per second of a file or camera that does not say."""

_HIGHEST_FPS = 480.0  # more is not believed: some containers give the resolution of their clock, 1000 or 90000
_MISSING = 0.02  # share of frames; some containers only estimate their number, but if more are missing the file is damaged


@dataclass(frozen=True)
class Frame:
    """One picture, or one frame of a video.

    Args:
        medium: the picture, video or camera that it comes from.
        number: number of the frame, from 0.
        time_s: seconds since the beginning of the video; None for a picture.
        pixels: (H, W, 3) blue, green, red.
        size: size of the original, of which `pixels` may be a reduced copy; boxes are written in its coordinates.
        fps: frames per second that are read; 0 for a picture.
        count: number of frames that this medium gives in all; 0 if it is not known.
    """

    medium: Medium
    number: int
    time_s: float | None
    pixels: Pixels
    size: Size
    fps: float = 0.0
    count: int = 1

    @property
    def live(self) -> bool:
        """Whether it comes from a camera."""
        return self.medium.kind is MediumKind.camera


def read_frames(media: Sequence[Medium], every: int = 1, max_frames: int = 0, limit: int = LIMIT) -> Iterator[Frame | Skipped]:
    """Read all frames in order; a file that cannot be read, or not to its end, gives a `Skipped`.

    Args:
        media: from `sources.find_media`.
        every: take every n-th frame of a video or camera.
        max_frames: most frames to take from each video or camera; 0 takes all.
        limit: most pixels of a picture to decode; see `decode`.
    """
    for medium in media:
        if medium.kind is MediumKind.picture:
            yield _picture(medium, limit)
        else:
            yield from _moving(medium, every, max_frames)


def quiet_opencv() -> None:
    """Stop OpenCV and its libraries from printing about damaged files, which are reported as `Skipped`."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def as_frame(pixels: Pixels) -> Pixels:
    """Convert a gray picture (H, W), or one (H, W, 3) in red, green, blue, to (H, W, 3) in blue, green, red without loss."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR if pixels.ndim == 2 else cv2.COLOR_RGB2BGR), np.uint8)


def _picture(medium: Medium, limit: int) -> Frame | Skipped:
    try:
        pixels, size = decode(medium.path.read_bytes(), limit)
    except OSError as error:
        return Skipped(medium.display_name, f"cannot be read ({error.strerror}).")
    except UserError as error:
        return Skipped(medium.display_name, str(error))
    return Frame(medium, 0, None, as_frame(pixels), size)


def _moving(medium: Medium, every: int, max_frames: int) -> Iterator[Frame | Skipped]:
    quiet_opencv()
    live = medium.kind is MediumKind.camera
    # Only FFmpeg: other readers take digits in a name for a series of pictures.
    # The absolute path: FFmpeg takes the beginning of `a:b.mp4` for a protocol.
    capture = cv2.VideoCapture(int(medium.path.name)) if live else cv2.VideoCapture(str(medium.path.resolve()), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            yield Skipped(medium.display_name, _no_camera() if live else _unreadable(medium.path))
            return
        yield from _captured(capture, medium, every, max_frames)
    finally:
        capture.release()


def _captured(capture: cv2.VideoCapture, medium: Medium, every: int, max_frames: int) -> Iterator[Frame | Skipped]:
    live = medium.kind is MediumKind.camera
    rate = capture.get(cv2.CAP_PROP_FPS)
    fps = rate if math.isfinite(rate) and 0 < rate <= _HIGHEST_FPS else USUAL_FPS
    announced = 0 if live else max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    expected = math.ceil(announced / every)
    count = min(expected, max_frames) if expected and max_frames else expected or max_frames
    number, taken = 0, 0
    while (not max_frames or taken < max_frames) and capture.grab():
        if number % every == 0:
            time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            decoded, picture = capture.retrieve()
            if not decoded:
                break
            # Some containers give no times and answer 0 for every frame.
            known = time_s > 0 or number == 0
            pixels = np.asarray(picture, np.uint8)
            size = (pixels.shape[0], pixels.shape[1])
            yield Frame(medium, number, time_s if known else number / fps, pixels, size, fps / every, count)
            taken += 1
        number += 1
    if max_frames and taken >= max_frames:
        return
    if not taken:
        yield Skipped(medium.display_name, "no frame could be read; the file is damaged or empty.")
    elif live:
        yield Skipped(medium.display_name, f"gave no more frames after {number:,}; is it still connected?", partly=True)
    elif announced - number > max(1, _MISSING * announced):
        yield Skipped(medium.display_name, f"damaged or cut off: {number:,} of {announced:,} frames could be read.", partly=True)


def _no_camera() -> str:
    devices = sorted(str(path) for path in Path("/dev").glob("video*"))
    return (
        "there is no such camera, or another program uses it. "
        + (f"This machine has {', '.join(devices)}. " if devices else "This machine shows none (no /dev/video*). ")
        + "source=0 is the first one; a file is read as source=<video>."
    )


def _unreadable(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        return f"cannot be read ({error.strerror})."
    return "is empty." if empty else "is not a video that can be read, or is damaged."
