"""Predicts expressions in pictures and videos, for a notebook or a program of one's own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fer_ablate.data.decode import Pixels, decode, fitted, pixels_of, planes, with_channels
from fer_ablate.errors import UserError
from fer_ablate.inference.media.detection import MARGIN, FaceCropping, faces_in
from fer_ablate.inference.media.frames import Frame, as_frame, read_frames
from fer_ablate.inference.media.sources import Medium, MediumKind, Skipped, find_media
from fer_ablate.inference.pipeline import ScoredFrame, Timing, build_detectors, predict_frames
from fer_ablate.inference.scorer import Scorer
from fer_ablate.paths import expanded
from fer_ablate.sizes import Size

BATCH = 32
"""Faces that the network scores at once."""


@dataclass(frozen=True)
class Face:
    """A face and its expression.

    Args:
        box: x, y, width and height in pixels of the original picture.
        probabilities: class -> probability, in the order of the classes.
    """

    box: tuple[int, int, int, int]
    probabilities: dict[str, float]

    @property
    def label(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


@dataclass(frozen=True)
class Prediction:
    """The faces of one picture or frame.

    Args:
        file: name of the file or camera, as it is shown.
        frame: number of the frame, from 0.
        time_s: seconds since the beginning of the video; None for a picture.
        faces: the largest first; empty if there are none.
        problem: why the file could not be read, or not to its end, or what was left out of a folder; empty if nothing was.
    """

    file: str
    frame: int
    time_s: float | None
    faces: list[Face]
    problem: str = ""


class Predictor:
    """A face detector followed by a finished network; for one thread at a time.

    Args:
        scorer: the network, or several as one.
        detector: `haar`, or `none` for pictures that are faces already.
        margin: share of a face's box that is added on each side.
        equalize: spread the gray levels of each face evenly.
    """

    def __init__(self, scorer: Scorer, detector: str = "haar", margin: float = MARGIN, equalize: bool = False) -> None:
        self.scorer = scorer
        self._detectors = build_detectors(detector)
        self._cropping = FaceCropping(scorer.image_size, scorer.channels, scorer.fit, margin, equalize)

    @property
    def classes(self) -> tuple[str, ...]:
        """K names, in the order of the outputs."""
        return self.scorer.classes

    def probabilities(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score pictures that are faces already.

        Faces of another size or other channels than the training images are brought to those, by the same rules as in training.

        Args:
            faces_u8: (N, H, W) or (N, 1, H, W) gray levels, or (N, 3, H, W) red, green, blue.

        Returns:
            (N, K) in [0, 1].

        Raises:
            UserError: the array has another shape or type.
        """
        faces = np.asarray(faces_u8)
        faces = faces[:, None] if faces.ndim == 3 else faces
        if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[1] not in (1, 3) or 0 in faces.shape[2:]:
            raise UserError(
                f"Faces must be uint8 of the shape (N, H, W), (N, 1, H, W) or (N, 3, H, W); these are {faces.dtype} "
                f"of the shape {np.shape(faces_u8)}."
            )
        size, channels = self.scorer.image_size, self.scorer.channels
        if faces.shape[1:] != (channels, *size) and len(faces):
            pictures = [with_channels(_channels_last(face), channels) for face in faces]
            faces = np.stack([planes(fitted(pixels, size, self.scorer.fit)) for pixels in pictures])
        parts = [self.scorer.probabilities(faces[start : start + BATCH]) for start in range(0, len(faces), BATCH)]
        # The empty array gives no faces the right shape, too.
        return np.concatenate([np.zeros((0, len(self.classes)), np.float32), *parts])

    def predict(self, image: str | PathLike[str] | NDArray[np.uint8] | Image.Image) -> list[Face]:
        """Find the faces of one picture and score them.

        Args:
            image: a file; or (H, W) gray or (H, W, 3) red, green, blue; or a Pillow image.

        Returns:
            The faces, the largest first.

        Raises:
            UserError: the file cannot be read, or the array is not a picture.
        """
        pixels, size = _pixels(image)
        boxes, faces = faces_in(pixels, self._detectors[MediumKind.picture], self._cropping)
        # An array has no file; only its pixels and its size matter here.
        name = Path(fspath(image)) if isinstance(image, str | PathLike) else Path()
        frame = Frame(Medium(MediumKind.picture, str(name), name, name), 0, None, pixels, size)
        return self._faces(ScoredFrame(frame, boxes, self.probabilities(faces)))

    def predict_many(
        self,
        sources: str | PathLike[str] | Sequence[str | PathLike[str]],
        every: int = 1,
        max_frames: int = 0,
        batch_size: int = BATCH,
    ) -> Iterator[Prediction]:
        """Score the faces of pictures, folders, patterns, videos and cameras, reading ahead in threads.

        Args:
            sources: as `predict source=` takes them, one or several; a camera is its number as text.
            every: take every n-th frame of a video or camera.
            max_frames: most frames to take from each video or camera; 0 takes all.
            batch_size: faces that the network scores at once.

        Returns:
            One prediction per frame. A file that cannot be read gives one with a `problem`; so does a folder in which files are
            left out.
        """
        for name, value in (("every", every), ("batch_size", batch_size)):
            if value < 1:
                raise UserError(f"{name}={value} is not a number from 1.")
        if max_frames < 0:
            raise UserError(f"max_frames={max_frames} is not a number from 0.")
        named = [sources] if isinstance(sources, str | PathLike) else sources
        media, missing = find_media([fspath(source) for source in named])
        for skipped in missing:
            yield Prediction(skipped.display_name, 0, None, [], skipped.reason)
        frames = read_frames(media, every, max_frames)
        for item in predict_frames(frames, self.scorer, self._detectors, self._cropping, batch_size, Timing()):
            if isinstance(item, Skipped):
                yield Prediction(item.display_name, 0, None, [], item.reason)
            else:
                yield Prediction(item.frame.medium.display_name, item.frame.number, item.frame.time_s, self._faces(item))

    def _faces(self, scored: ScoredFrame) -> list[Face]:
        named = [dict(zip(self.classes, map(float, shares), strict=True)) for shares in scored.probabilities]
        return [Face(box, shares) for box, shares in zip(scored.original_boxes, named, strict=True)]


def _channels_last(face: Pixels) -> Pixels:
    """Turn (1, H, W) into (H, W), and (3, H, W) into (H, W, 3)."""
    return face[0] if len(face) == 1 else np.ascontiguousarray(face.transpose(1, 2, 0))


def _pixels(image: str | PathLike[str] | NDArray[np.uint8] | Image.Image) -> tuple[Pixels, Size]:
    """Pixels of a picture in blue, green, red, and the size of the original."""
    if isinstance(image, Image.Image):
        if not (image.width and image.height):
            raise UserError(f"The picture has no pixels: it is {image.width}x{image.height}.")
        try:
            # As `decode` treats files, so that an opened file gives the same faces as its path.
            upright = ImageOps.exif_transpose(image)
            return as_frame(pixels_of(upright, sixteen_bits=image.format == "PPM")), (upright.height, upright.width)
        except (OSError, SyntaxError) as error:  # it is read only now
            raise UserError(f"The picture cannot be decoded ({error}).") from error
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)) or not image.size:
            raise UserError(
                f"A picture must be uint8 of the shape (H, W), or (H, W, 3) in red, green, blue; this is {image.dtype} "
                f"of the shape {image.shape}."
            )
        return as_frame(image), (image.shape[0], image.shape[1])
    path = expanded(fspath(image))
    try:
        pixels, size = decode(path.read_bytes())
        return as_frame(pixels), size
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
