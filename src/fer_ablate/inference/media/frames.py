"""Frames of pictures, videos and cameras, one after another."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fer_ablate.data.decode import LIMIT, Pixels, decode
from fer_ablate.errors import UserError
from fer_ablate.inference.media.sources import Kind, Medium, Skipped
from fer_ablate.sizes import Size

USUAL_FPS = 30.0
"""Frames per second where a file or camera does not say."""

_HIGHEST_FPS = 480.0  # some containers give the resolution of their clock, 1000 or 90000
_MISSING = 0.02  # the number of frames is an estimate in some containers; more than this share missing is damage


@dataclass(frozen=True)
class Frame:
    """One picture, or one frame of a video.

    Args:
        medium: what it comes from.
        number: of the frame, from 0.
        time_s: since the beginning of the video; None for a picture.
        pixels: (H, W, 3) blue, green, red.
        size: of the original, of which `pixels` may be a reduced copy; boxes are told in its coordinates.
        fps: of the frames that are read; 0 for a picture.
        count: frames that are to come of this medium, this one and earlier ones included; 0 if nobody knows.
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
        return self.medium.kind is Kind.camera


def read(media: Sequence[Medium], every: int = 1, max_frames: int = 0, limit: int = LIMIT) -> Iterator[Frame | Skipped]:
    """All frames, in order; what cannot be read gives a word about it instead.

    Args:
        media: of `sources.find`.
        every: of a video or camera, one of so many frames is taken.
        max_frames: taken of each video or camera; 0: all.
        limit: pixels of a picture that are decoded at most.
    """
    for medium in media:
        if medium.kind is Kind.picture:
            yield _picture(medium, limit)
        else:
            yield from _moving(medium, every, max_frames)


def quiet_opencv() -> None:
    """Keep OpenCV and the libraries below it from writing about damaged files; we say it in our own words."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def as_frame(pixels: Pixels) -> Pixels:
    """(H, W, 3) blue, green, red of a gray picture (H, W) or a colour picture (H, W, 3) in red, green, blue; nothing is lost."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR if pixels.ndim == 2 else cv2.COLOR_RGB2BGR), np.uint8)


def _picture(medium: Medium, limit: int) -> Frame | Skipped:
    try:
        pixels, size = decode(medium.path.read_bytes(), limit)
    except OSError as error:
        return Skipped(medium.told, f"cannot be read ({error.strerror}).")
    except UserError as error:
        return Skipped(medium.told, str(error))
    return Frame(medium, 0, None, as_frame(pixels), size)


def _moving(medium: Medium, every: int, max_frames: int) -> Iterator[Frame | Skipped]:
    quiet_opencv()
    live = medium.kind is Kind.camera
    # FFmpeg alone: other readers take digits in a name for a series of pictures. The whole path: it takes `a:` for a protocol.
    capture = cv2.VideoCapture(int(medium.path.name)) if live else cv2.VideoCapture(str(medium.path.resolve()), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            yield Skipped(medium.told, _no_camera() if live else _unreadable(medium.path))
            return
        yield from _captured(capture, medium, every, max_frames)
    finally:
        capture.release()


def _captured(capture: cv2.VideoCapture, medium: Medium, every: int, max_frames: int) -> Iterator[Frame | Skipped]:
    live = medium.kind is Kind.camera
    rate = capture.get(cv2.CAP_PROP_FPS)
    fps = rate if math.isfinite(rate) and 0 < rate <= _HIGHEST_FPS else USUAL_FPS
    announced = 0 if live else max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    coming = math.ceil(announced / every)
    count = min(coming, max_frames) if coming and max_frames else coming or max_frames
    number, taken = 0, 0
    while (not max_frames or taken < max_frames) and capture.grab():
        if number % every == 0:
            time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            whole, pixels = capture.retrieve()
            if not whole:
                break
            known = time_s > 0 or number == 0
            seen = np.asarray(pixels, np.uint8)
            size = (seen.shape[0], seen.shape[1])
            yield Frame(medium, number, time_s if known else number / fps, seen, size, fps / every, count)
            taken += 1
        number += 1
    if max_frames and taken >= max_frames:
        return
    if not taken:
        yield Skipped(medium.told, "no frame of it could be read; it is damaged or empty.")
    elif live:
        yield Skipped(medium.told, f"gave no more frames after {number:,}; is it still connected?", partly=True)
    elif announced - number > max(1, _MISSING * announced):
        yield Skipped(medium.told, f"damaged or cut off: {number:,} of {announced:,} frames could be read.", partly=True)


def _no_camera() -> str:
    there = sorted(str(path) for path in Path("/dev").glob("video*"))
    return (
        "there is no such camera, or another program has it. "
        + (f"This machine has {', '.join(there)}. " if there else "This machine shows none (no /dev/video*). ")
        + "source=0 is the first one; a file is read as source=<video>."
    )


def _unreadable(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        return f"cannot be read ({error.strerror})."
    return "is empty." if empty else "is no video that can be read, or is damaged."
