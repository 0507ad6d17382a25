"""Turns frames into predictions. Every stage runs in a thread of its own; order is kept, memory is bounded, stages are timed."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from queue import Full, Queue
from threading import Condition, Event, Thread
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fer_ablate.data.decode import Pixels
from fer_ablate.inference.media.detection import MOVING_SIDE, STILL_SIDE, Boxes, Detector, FaceCropping, build_detector, faces_in
from fer_ablate.inference.media.frames import Frame
from fer_ablate.inference.media.sources import MediumKind, Skipped
from fer_ablate.inference.scorer import Scorer

T = TypeVar("T")

STAGES = ("read", "detect", "network", "draw", "write")
"""Reading, finding and cutting faces, the network, drawing labels, writing files. Only one thread works on each."""

IN_FLIGHT = 256 * 2**20
"""Bytes of frames that may be between reading and writing; a single frame passes whatever its size."""

LIVE_FRAMES = 4
"""Frames of a camera that may be between reading and writing; more would only add delay."""

_WAITING = 64  # items that may wait between two stages
_POLL = 0.1  # seconds between two looks of a waiting stage at whether it should stop
_JOIN = 5.0  # seconds to wait for a stage to stop; a camera that hangs may need longer, and its thread is abandoned


@dataclass
class Timing:
    """Seconds spent in each stage, without the time that it waited for other stages.

    Args:
        frames: number of frames that passed all stages.
        seconds: stage -> total.
    """

    frames: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    _began: float = field(default_factory=perf_counter)
    _took: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the `with` block to a stage."""
        began = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += perf_counter() - began

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Yield the items and add the time that making them takes to a stage."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def finish(self) -> None:
        """End the measurement; `total` is the time until now."""
        self._took = perf_counter() - self._began

    @property
    def total(self) -> float:
        """Seconds from the beginning to `finish`."""
        return self._took


@dataclass(frozen=True)
class _DetectedFrame:
    """A frame, the (n, 4) boxes of its faces and the (n, C, H, W) faces."""

    frame: Frame
    boxes: Boxes
    faces: Pixels


@dataclass(frozen=True)
class ScoredFrame:
    """A frame with its faces and their scores.

    Args:
        frame: the frame as it was read.
        boxes: (n, 4) in the coordinates of `frame.pixels`, the largest first.
        probabilities: (n, K).
    """

    frame: Frame
    boxes: Boxes
    probabilities: NDArray[np.float32]

    @property
    def original_boxes(self) -> list[tuple[int, int, int, int]]:
        """Boxes as x, y, width, height in the coordinates of the original, of which the pixels may be a reduced copy."""
        height, width = self.frame.pixels.shape[:2]
        down, across = self.frame.size[0] / height, self.frame.size[1] / width
        return [(round(x * across), round(y * down), round(w * across), round(h * down)) for x, y, w, h in self.boxes.tolist()]


class Budget:
    """Limits the bytes of the frames between reading and writing.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int = IN_FLIGHT) -> None:
        self.limit, self._used, self._closed = limit, 0, False
        self._changed = Condition()

    def cost(self, frame: Frame) -> int:
        """Bytes that a frame counts for.

        At most half of the limit: a batch that waits for more frames must not wait for room that its own frames take (`_scored`).
        """
        return min(self.limit // LIVE_FRAMES if frame.live else frame.pixels.nbytes, self.limit // 2)

    def take(self, frame: Frame) -> None:
        """Wait until there is room for a frame and take it."""
        with self._changed:
            # `_used == 0` lets a single frame pass that is larger than the whole limit.
            self._changed.wait_for(lambda: self._closed or self._used == 0 or self._used + self.cost(frame) <= self.limit)
            self._used += self.cost(frame)

    def give(self, frame: Frame) -> None:
        """Return the room of a frame that has been written."""
        with self._changed:
            self._used -= self.cost(frame)
            self._changed.notify_all()

    def close(self) -> None:
        """End all waiting, so that threads can stop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def build_detectors(name: str) -> dict[MediumKind, Detector]:
    """Build the detector of this name for pictures, and a quicker one for videos and cameras.

    Raises:
        UserError: there is no detector of this name.
    """
    moving = build_detector(name, MOVING_SIDE)
    return {MediumKind.picture: build_detector(name, STILL_SIDE), MediumKind.video: moving, MediumKind.camera: moving}


def predict_frames(
    frames: Iterable[Frame | Skipped],
    scorer: Scorer,
    detectors: Mapping[MediumKind, Detector],
    cropping: FaceCropping,
    batch_size: int,
    timing: Timing,
    limit: int = IN_FLIGHT,
) -> Generator[ScoredFrame | Skipped, None, None]:
    """Read, detect and score at the same time. Reading waits while unused results fill the limit.

    Args:
        frames: from `frames.read_frames`.
        scorer: the network.
        detectors: the face detector for each kind of medium.
        cropping: how faces are cut out.
        batch_size: faces of several frames that the network scores at once; a camera's frames do not wait for each other.
        timing: where the time of each stage is added.
        limit: bytes of frames that may be between reading and writing.

    Returns:
        Everything in the order of `frames`. Close it to end the threads early.
    """
    budget = Budget(limit)
    read = _ahead(_within_budget(timing.each("read", frames), budget))
    detected = _ahead(_detected(read, detectors, cropping, timing))
    scored = _ahead(_scored(detected, scorer, batch_size, timing, limit // 4))
    with closing(scored):
        try:
            for item in scored:
                yield item
                # The caller has drawn and written the frame when it asks for the next one, so its memory is free only now.
                if isinstance(item, ScoredFrame):
                    budget.give(item.frame)
                    timing.frames += 1
        finally:
            budget.close()


def _within_budget(frames: Iterable[Frame | Skipped], budget: Budget) -> Generator[Frame | Skipped, None, None]:
    for item in frames:
        if isinstance(item, Frame):
            budget.take(item)
        yield item


def _detected(
    items: Generator[Frame | Skipped, None, None],
    detectors: Mapping[MediumKind, Detector],
    cropping: FaceCropping,
    timing: Timing,
) -> Generator[_DetectedFrame | Skipped, None, None]:
    with closing(items):
        for item in items:
            if isinstance(item, Skipped):
                yield item
                continue
            with timing.stage("detect"):
                boxes, faces = faces_in(item.pixels, detectors[item.medium.kind], cropping)
            yield _DetectedFrame(item, boxes, faces)


def _scored(
    items: Generator[_DetectedFrame | Skipped, None, None], scorer: Scorer, batch_size: int, timing: Timing, most_bytes: int
) -> Generator[ScoredFrame | Skipped, None, None]:
    """Score the faces of several frames at once; waiting frames hold at most a quarter of the bytes, so one more always fits."""
    waiting: list[_DetectedFrame | Skipped] = []
    with closing(items):
        for item in items:
            waiting.append(item)
            detected = [one for one in waiting if isinstance(one, _DetectedFrame)]
            full = sum(len(one.faces) for one in detected) >= batch_size or len(waiting) >= batch_size
            # Waiting for a full batch must not use up the memory, nor delay the picture of a camera.
            heavy = sum(one.frame.pixels.nbytes for one in detected) >= most_bytes
            if full or heavy or any(one.frame.live for one in detected):
                yield from _score_batch(waiting, scorer, batch_size, timing)
                waiting = []
    yield from _score_batch(waiting, scorer, batch_size, timing)


def _score_batch(
    items: Sequence[_DetectedFrame | Skipped], scorer: Scorer, batch_size: int, timing: Timing
) -> Iterator[ScoredFrame | Skipped]:
    counts = [len(item.faces) if isinstance(item, _DetectedFrame) else 0 for item in items]
    found = [item.faces for item in items if isinstance(item, _DetectedFrame) and len(item.faces)]
    probabilities = np.zeros((0, len(scorer.classes)), np.float32)
    if found:
        faces = np.concatenate(found)
        with timing.stage("network"):
            parts = [scorer.probabilities(faces[start : start + batch_size]) for start in range(0, len(faces), batch_size)]
        probabilities = np.concatenate(parts)
    ends = np.cumsum(counts)
    for item, end, count in zip(items, ends, counts, strict=True):
        yield ScoredFrame(item.frame, item.boxes, probabilities[end - count : end]) if isinstance(item, _DetectedFrame) else item


def _ahead(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield items while a thread already makes the next ones; an error in the thread is raised here."""
    # An item travels in a tuple of one, so that it cannot be confused with an error or with None, which marks the end.
    queue: Queue[tuple[T] | BaseException | None] = Queue(_WAITING)
    stop = Event()

    def put(sent: tuple[T] | BaseException | None) -> None:
        while not stop.is_set():
            try:
                queue.put(sent, timeout=_POLL)
                return
            except Full:
                continue

    def work() -> None:
        try:
            with closing(items):  # ends the stage before this one, too
                for item in items:
                    put((item,))
                    if stop.is_set():
                        return
        except BaseException as error:
            put(error)
        put(None)

    thread = Thread(target=work, daemon=True)  # a daemon, so that a camera that hangs cannot keep the program alive
    thread.start()
    try:
        while (received := queue.get()) is not None:
            if isinstance(received, BaseException):
                raise received
            yield received[0]
    finally:
        stop.set()
        thread.join(_JOIN)
