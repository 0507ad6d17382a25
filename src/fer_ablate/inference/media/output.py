"""Writes predictions: tables that grow line by line, and annotated copies of pictures and videos."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

import cv2

from fer_ablate.data.decode import Pixels
from fer_ablate.errors import UserError
from fer_ablate.inference.media.sources import RESULTS, Medium, MediumKind, Skipped
from fer_ablate.inference.pipeline import ScoredFrame
from fer_ablate.tracking.disk.files import REASONS

TABLE = "predictions.csv"

FIELDS = ("file", "frame", "time_s", "face", "x", "y", "w", "h", "label")
"""Columns before those of the probabilities, `p_<class>`."""

_FLUSH = 2.0  # at most so many seconds of lines are lost if the process is killed
_KEPT_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"))  # others become .png or .mp4
_CODEC = "mp4v"
_MOST_TICKS = 65_535  # a second, of the clock of an mp4v file


class PredictionTables:
    """Writes `predictions.csv` and `predictions.jsonl`: a line for every face, and one for every frame without a face.

    Args:
        folder: folder of both files; made if missing.
        classes: K names.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.csv_file, self.json_file = folder / TABLE, folder / RESULTS
        self._classes, self._flushed = tuple(classes), monotonic()
        with _write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with _write_errors(self.csv_file):
            self._csv = self.csv_file.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        # No need to close the first file if this one fails: a folder that took one file takes another.
        with _write_errors(self.json_file):
            self._json = self.json_file.open("w", encoding="utf-8", errors="surrogateescape")
        self._rows = csv.writer(self._csv)
        self._rows.writerow([*FIELDS, *(f"p_{name}" for name in self._classes)])

    def __enter__(self) -> "PredictionTables":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        problems = []
        for path, stream in ((self.csv_file, self._csv), (self.json_file, self._json)):
            try:
                with _write_errors(path):
                    stream.close()
            except UserError as problem:
                problems.append(problem)
        if problems and error is None:  # an error within the block matters more than one at its end
            raise problems[0]

    def add(self, scored: ScoredFrame) -> None:
        """Write the lines of one frame."""
        for line in lines(scored, self._classes):
            box = line["box"] or [None] * 4
            shares = (line["probabilities"] or dict.fromkeys(self._classes)).values()
            with _write_errors(self.csv_file):
                self._rows.writerow([*(line[name] for name in FIELDS[:4]), *box, line["label"], *shares])
            with _write_errors(self.json_file):
                self._json.write(json.dumps(line, ensure_ascii=False) + "\n")
        if monotonic() - self._flushed > _FLUSH:
            self._flushed = monotonic()
            for path, stream in ((self.csv_file, self._csv), (self.json_file, self._json)):
                with _write_errors(path):
                    stream.flush()


def lines(scored: ScoredFrame, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the entries of a frame: one per face, or a single one if it has no face.

    Boxes are in pixels of the original. Probabilities have 7 decimals, the precision of 32-bit floats.
    """
    frame = scored.frame
    time_s = None if frame.time_s is None else round(frame.time_s, 4)
    source = frame.medium.display_name if frame.live else str(frame.medium.path)
    origin: dict[str, Any] = {"file": source, "frame": frame.number, "time_s": time_s}
    if not len(scored.boxes):
        yield {**origin, "face": None, "box": None, "label": None, "probabilities": None}
    for number, (box, shares) in enumerate(zip(scored.original_boxes, scored.probabilities, strict=True)):
        probabilities = {name: round(float(share), 7) for name, share in zip(classes, shares, strict=True)}
        label = classes[int(shares.argmax())]
        yield {**origin, "face": number, "box": list(box), "label": label, "probabilities": probabilities}


def copy_paths(media: Iterable[Medium], folder: Path) -> dict[Medium, Path]:
    """Choose the path of the annotated copy of each medium: its own name, with a number if another copy has it already.

    Raises:
        UserError: a copy would replace one of the pictures or videos themselves.
    """
    media = list(media)
    originals = {medium.path.resolve() for medium in media if medium.kind is not MediumKind.camera}
    taken: set[str] = set()
    paths = {}
    for medium in media:
        suffix = medium.name.suffix.lower()
        kept = medium.name.suffix if suffix in _KEPT_SUFFIXES else ".png" if medium.kind is MediumKind.picture else ".mp4"
        path = folder / medium.name.with_suffix(kept)
        number = 1
        while str(path).casefold() in taken:  # for some file systems a.jpg and A.JPG are the same file
            number += 1
            path = folder / medium.name.with_name(f"{medium.name.stem}-{number}{kept}")
        if path.resolve() in originals:
            raise UserError(
                f"output={folder}: the annotated copy of {medium.display_name} would replace {path}. Choose another folder."
            )
        taken.add(str(path).casefold())
        paths[medium] = path
    return paths


class AnnotatedCopies:
    """Writes annotated pictures and videos.

    Args:
        paths: from `copy_paths`.
    """

    def __init__(self, paths: dict[Medium, Path]) -> None:
        self._paths = paths
        self._video: cv2.VideoWriter | None = None
        self._medium: Medium | None = None
        self._frames = 0
        self.damaged: list[Path] = []

    def __enter__(self) -> "AnnotatedCopies":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def add(self, scored: ScoredFrame, drawn: Pixels) -> Skipped | None:
        """Write a picture, or the next frame of a video.

        Args:
            scored: the frame, whose medium decides on the file.
            drawn: the annotated frame.

        Returns:
            Why there is no copy of a picture; None if it was written.
        """
        medium = scored.frame.medium
        path = self._paths[medium]
        if medium is not self._medium:
            self._close()
            with _write_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
        self._medium = medium
        if medium.kind is MediumKind.picture:
            return _write_picture(path, drawn, medium)
        if self._video is None:
            size = (drawn.shape[1], drawn.shape[0])
            rate = _writable_rate(scored.frame.fps)
            self._video = cv2.VideoWriter(str(path.resolve()), cv2.VideoWriter.fourcc(*_CODEC), rate, size)
            if not self._video.isOpened():
                raise UserError(
                    f"Cannot write {path}. Allow writing there, choose another folder by output=..., or annotate=false."
                )
        self._video.write(drawn)
        self._frames += 1
        return None

    def _close(self) -> None:
        """End the current video; its writer does not report a full disk, so the frames in the file are counted."""
        if self._video is None or self._medium is None:
            return
        self._video.release()
        path = self._paths[self._medium]
        written = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
        if int(written.get(cv2.CAP_PROP_FRAME_COUNT)) < self._frames:
            self.damaged.append(path)
        written.release()
        self._video, self._frames = None, 0


def _writable_rate(fps: float) -> float:
    """Round a high rate to two digits: with three, OpenCV asks for more ticks a second than an mp4v file can have."""
    return fps if fps * 1000 <= _MOST_TICKS else round(fps, 2)


def _encoded(suffix: str, drawn: Pixels) -> bytes | None:
    """The content of a picture file; None if the format cannot hold the picture."""
    try:
        done, content = cv2.imencode(suffix, drawn)
    except cv2.error:  # some versions of OpenCV raise it, others only say that they failed
        return None
    return content.tobytes() if done else None


def _write_picture(path: Path, drawn: Pixels, medium: Medium) -> Skipped | None:
    encoded = _encoded(path.suffix.lower(), drawn)
    if encoded is None:
        size = f"{drawn.shape[1]:,} x {drawn.shape[0]:,} pixels"
        reason = f"has no annotated copy: a {path.suffix} file cannot hold {size}. Convert the picture to .png to get one."
        return Skipped(medium.display_name, reason, partly=True)
    partial = path.with_name(f".{path.name}.partial")
    with _write_errors(path):
        try:
            # Renaming replaces a picture in one step, so a killed process leaves no half-written one.
            partial.write_bytes(encoded)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return None


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Turn errors of the disk within the block into a message.

    Raises:
        UserError: `path` could not be written.
    """
    try:
        yield
    except OSError as error:
        reason = REASONS.get(error.errno or 0, str(error))
        raise UserError(
            f"Cannot write {path}: {reason}. What was written until then is kept. "
            "Make room or allow writing there, or choose another folder by output=..."
        ) from error
