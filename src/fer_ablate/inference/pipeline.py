"""Frames on their way to predictions: every stage is a thread of its own, order is kept, and memory is bounded."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from queue import Full, Queue
from threading import Condition, Event, Thread
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fer_ablate.data.decode import Pixels
from fer_ablate.inference.media.crops import Cropping, faces_in
from fer_ablate.inference.media.detection import MOVING_SIDE, STILL_SIDE, Boxes, Detector, build_detector
from fer_ablate.inference.media.frames import Frame
from fer_ablate.inference.media.sources import Kind, Skipped
from fer_ablate.inference.media.timing import Timing
from fer_ablate.inference.scorer import Scorer

T = TypeVar("T")

IN_FLIGHT = 256 * 2**20
"""Bytes of frames that may be between reading and writing; one frame is let through whatever its size."""

LIVE_FRAMES = 4
"""Frames of a camera that may be under way: more would only be a longer delay."""

_WAITING = 64  # items between two stages
_POLL = 0.1  # seconds after which a stage looks whether it is to stop
_JOIN = 5.0  # seconds that a stage gets to stop; a camera that hangs may need longer, and is left behind


@dataclass(frozen=True)
class _Seen:
    frame: Frame
    boxes: Boxes
    faces: Pixels


@dataclass(frozen=True)
class Scored:
    """A frame with what was found in it.

    Args:
        frame: as it was read.
        boxes: (n, 4) in the coordinates of `frame.pixels`, the largest first.
        probabilities: (n, K).
    """

    frame: Frame
    boxes: Boxes
    probabilities: NDArray[np.float32]

    @property
    def original_boxes(self) -> list[tuple[int, int, int, int]]:
        """x, y, width, height in the coordinates of the original, of which the pixels may be a reduced copy."""
        height, width = self.frame.pixels.shape[:2]
        down, across = self.frame.size[0] / height, self.frame.size[1] / width
        return [(round(x * across), round(y * down), round(w * across), round(h * down)) for x, y, w, h in self.boxes.tolist()]


class Budget:
    """Bytes of frames under way."""

    def __init__(self, limit: int = IN_FLIGHT) -> None:
        self.limit, self._used, self._closed = limit, 0, False
        self._changed = Condition()

    def cost(self, frame: Frame) -> int:
        """What a frame takes. At most half: a batch that waits for more frames must never wait for its own (see `_scored`)."""
        return min(self.limit // LIVE_FRAMES if frame.live else frame.pixels.nbytes, self.limit // 2)

    def take(self, frame: Frame) -> None:
        """Wait until there is room."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._used == 0 or self._used + self.cost(frame) <= self.limit)
            self._used += self.cost(frame)

    def give(self, frame: Frame) -> None:
        """The frame is done with."""
        with self._changed:
            self._used -= self.cost(frame)
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody go who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def build_detectors(name: str) -> dict[Kind, Detector]:
    """The detector of that name for pictures, and a quicker one for what moves.

    Raises:
        UserError: there is none of that name.
    """
    moving = build_detector(name, MOVING_SIDE)
    return {Kind.picture: build_detector(name, STILL_SIDE), Kind.video: moving, Kind.camera: moving}


def predictions(
    frames: Iterable[Frame | Skipped],
    scorer: Scorer,
    detectors: Mapping[Kind, Detector],
    cropping: Cropping,
    batch_size: int,
    timing: Timing,
    limit: int = IN_FLIGHT,
) -> Generator[Scored | Skipped, None, None]:
    """Read, detect and score at the same time; what comes out must be used up before as much again is read.

    Args:
        frames: of `frames.read`.
        scorer: the network.
        detectors: by kind of medium.
        cropping: how faces are cut out.
        batch_size: faces that the network gets at once, of several frames; a camera's frames do not wait for each other.
        timing: learns how long the stages take.
        limit: bytes of frames that may be under way.

    Returns:
        Everything in the order of `frames`. Close it to end the threads early.
    """
    budget = Budget(limit)
    read = _ahead(_taken(timing.each("read", frames), budget))
    seen = _ahead(_seen(read, detectors, cropping, timing))
    scored = _ahead(_scored(seen, scorer, batch_size, timing, limit // 4))
    with closing(scored):
        try:
            for item in scored:
                yield item
                if isinstance(item, Scored):
                    budget.give(item.frame)
                    timing.frames += 1
        finally:
            budget.close()


def _taken(frames: Iterable[Frame | Skipped], budget: Budget) -> Generator[Frame | Skipped, None, None]:
    for item in frames:
        if isinstance(item, Frame):
            budget.take(item)
        yield item


def _seen(
    items: Generator[Frame | Skipped, None, None], detectors: Mapping[Kind, Detector], cropping: Cropping, timing: Timing
) -> Generator[_Seen | Skipped, None, None]:
    with closing(items):
        for item in items:
            if isinstance(item, Skipped):
                yield item
                continue
            with timing.stage("detect"):
                boxes, faces = faces_in(item.pixels, detectors[item.medium.kind], cropping)
            yield _Seen(item, boxes, faces)


def _scored(
    items: Generator[_Seen | Skipped, None, None], scorer: Scorer, batch_size: int, timing: Timing, most_bytes: int
) -> Generator[Scored | Skipped, None, None]:
    """Gather faces of several frames, which hold at most a quarter of the bytes: there is always room for another."""
    waiting: list[_Seen | Skipped] = []
    with closing(items):
        for item in items:
            waiting.append(item)
            seen = [one for one in waiting if isinstance(one, _Seen)]
            full = sum(len(one.faces) for one in seen) >= batch_size or len(waiting) >= batch_size
            heavy = sum(one.frame.pixels.nbytes for one in seen) >= most_bytes
            if full or heavy or any(one.frame.live for one in seen):
                yield from _batch(waiting, scorer, batch_size, timing)
                waiting = []
    yield from _batch(waiting, scorer, batch_size, timing)


def _batch(items: Sequence[_Seen | Skipped], scorer: Scorer, batch_size: int, timing: Timing) -> Iterator[Scored | Skipped]:
    counts = [len(item.faces) if isinstance(item, _Seen) else 0 for item in items]
    found = [item.faces for item in items if isinstance(item, _Seen) and len(item.faces)]
    probabilities = np.zeros((0, len(scorer.classes)), np.float32)
    if found:
        faces = np.concatenate(found)
        with timing.stage("network"):
            parts = [scorer.probabilities(faces[start : start + batch_size]) for start in range(0, len(faces), batch_size)]
        probabilities = np.concatenate(parts)
    ends = np.cumsum(counts)
    for item, end, count in zip(items, ends, counts, strict=True):
        yield Scored(item.frame, item.boxes, probabilities[end - count : end]) if isinstance(item, _Seen) else item


def _ahead(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """Hand items on while a thread already makes the next ones; what goes wrong there is raised here."""
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
            with closing(items):
                for item in items:
                    put((item,))
                    if stop.is_set():
                        return
        except BaseException as error:
            put(error)
        put(None)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while (received := queue.get()) is not None:
            if isinstance(received, BaseException):
                raise received
            yield received[0]
    finally:
        stop.set()
        thread.join(_JOIN)
