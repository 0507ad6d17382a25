"""What is left of a prediction: two tables written as it goes, and annotated copies of pictures and videos."""

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
from fer_ablate.inference.media.sources import RESULTS, Kind, Medium
from fer_ablate.inference.pipeline import Scored
from fer_ablate.tracking.disk.files import REASONS

TABLE = "predictions.csv"

FIELDS = ("file", "frame", "time_s", "face", "x", "y", "w", "h", "label")
"""Columns before those of the probabilities, `p_<class>`."""

_FLUSH = 2.0  # seconds after which what was written is safe from a kill
_AS_THEY_ARE = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"))  # formats that copies are written in
_CODEC = "mp4v"


class Tables:
    """`predictions.csv` and `predictions.jsonl`, a line for every face and one for every frame without a face.

    Args:
        folder: for both; made if missing.
        classes: K names.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.csv_file, self.json_file = folder / TABLE, folder / RESULTS
        self._classes, self._flushed = tuple(classes), monotonic()
        with _told(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with _told(self.csv_file):
            self._csv = self.csv_file.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        with _told(self.json_file):  # a folder that took one file takes the other: nothing is left open here
            self._json = self.json_file.open("w", encoding="utf-8", errors="surrogateescape")
        self._rows = csv.writer(self._csv)
        self._rows.writerow([*FIELDS, *(f"p_{name}" for name in self._classes)])

    def __enter__(self) -> "Tables":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        problems = []
        for path, stream in ((self.csv_file, self._csv), (self.json_file, self._json)):
            try:
                with _told(path):
                    stream.close()
            except UserError as problem:
                problems.append(problem)
        if problems and error is None:  # else that one is to be told
            raise problems[0]

    def add(self, scored: Scored) -> None:
        """Write one frame."""
        for line in lines(scored, self._classes):
            box = line["box"] or [None] * 4
            shares = (line["probabilities"] or dict.fromkeys(self._classes)).values()
            with _told(self.csv_file):
                self._rows.writerow([*(line[name] for name in FIELDS[:4]), *box, line["label"], *shares])
            with _told(self.json_file):
                self._json.write(json.dumps(line, ensure_ascii=False) + "\n")
        if monotonic() - self._flushed > _FLUSH:
            self._flushed = monotonic()
            for path, stream in ((self.csv_file, self._csv), (self.json_file, self._json)):
                with _told(path):
                    stream.flush()


def lines(scored: Scored, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What is written about a frame: one entry per face, or a single one without a face.

    Boxes are in pixels of the original, probabilities have 7 decimals, as many as 32-bit floats are good for.
    """
    frame = scored.frame
    time_s = None if frame.time_s is None else round(frame.time_s, 4)
    where: dict[str, Any] = {"file": str(frame.medium.path), "frame": frame.number, "time_s": time_s}
    if frame.live:
        where["file"] = frame.medium.told
    if not len(scored.boxes):
        yield {**where, "face": None, "box": None, "label": None, "probabilities": None}
    for number, (box, shares) in enumerate(zip(scored.original_boxes, scored.probabilities, strict=True)):
        probabilities = {name: round(float(share), 7) for name, share in zip(classes, shares, strict=True)}
        label = classes[int(shares.argmax())]
        yield {**where, "face": number, "box": list(box), "label": label, "probabilities": probabilities}


def places(media: Iterable[Medium], folder: Path) -> dict[Medium, Path]:
    """Where the annotated copy of each medium goes: its own name, with a number if another one has it already.

    Raises:
        UserError: a copy would replace one of the pictures or videos themselves.
    """
    media = list(media)
    originals = {medium.path.resolve() for medium in media if medium.kind is not Kind.camera}
    taken: set[str] = set()
    found = {}
    for medium in media:
        suffix = medium.name.suffix.lower()
        kept = medium.name.suffix if suffix in _AS_THEY_ARE else ".png" if medium.kind is Kind.picture else ".mp4"
        place = folder / medium.name.with_suffix(kept)
        number = 1
        while str(place).casefold() in taken:  # some file systems take a.jpg and A.JPG for one
            number += 1
            place = folder / medium.name.with_name(f"{medium.name.stem}-{number}{kept}")
        if place.resolve() in originals:
            raise UserError(f"output={folder}: the annotated copy of {medium.told} would replace {place}. Choose another folder.")
        taken.add(str(place).casefold())
        found[medium] = place
    return found


class Copies:
    """Annotated pictures and videos.

    Args:
        where: of `places`.
    """

    def __init__(self, where: dict[Medium, Path]) -> None:
        self._where = where
        self._video: cv2.VideoWriter | None = None
        self._medium: Medium | None = None
        self._frames = 0
        self.damaged: list[Path] = []

    def __enter__(self) -> "Copies":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def add(self, scored: Scored, drawn: Pixels) -> None:
        """Write a picture, or the next frame of a video.

        Args:
            scored: what was found in the frame.
            drawn: the annotated frame.
        """
        medium = scored.frame.medium
        path = self._where[medium]
        if medium is not self._medium:
            self._close()
            with _told(path):
                path.parent.mkdir(parents=True, exist_ok=True)
        self._medium = medium
        if medium.kind is Kind.picture:
            _write_picture(path, drawn)
            return
        if self._video is None:
            size = (drawn.shape[1], drawn.shape[0])
            self._video = cv2.VideoWriter(str(path.resolve()), cv2.VideoWriter.fourcc(*_CODEC), scored.frame.fps, size)
            if not self._video.isOpened():
                raise UserError(
                    f"Cannot write {path}. Allow writing there, choose another folder by output=..., or annotate=false."
                )
        self._video.write(drawn)
        self._frames += 1

    def _close(self) -> None:
        """End the current video. Its writer does not tell of a full disk, so the file is looked at."""
        if self._video is None or self._medium is None:
            return
        self._video.release()
        path = self._where[self._medium]
        written = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
        if int(written.get(cv2.CAP_PROP_FRAME_COUNT)) < self._frames:
            self.damaged.append(path)
        written.release()
        self._video, self._frames = None, 0


def _write_picture(path: Path, drawn: Pixels) -> None:
    encoded = cv2.imencode(path.suffix.lower(), drawn)[1].tobytes()
    partial = path.with_name(f".{path.name}.partial")
    with _told(path):
        try:
            partial.write_bytes(encoded)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say what is wrong with the disk in words.

    Raises:
        UserError: what happens inside could not write to `path`.
    """
    try:
        yield
    except OSError as error:
        reason = REASONS.get(error.errno or 0, str(error))
        raise UserError(
            f"Cannot write {path}: {reason}. What was written until then is kept. "
            "Make room or allow writing there, or choose another folder by output=..."
        ) from error
