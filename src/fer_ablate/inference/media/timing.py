"""How long each stage of the work takes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")

STAGES = ("read", "detect", "network", "draw", "write")
"""Reading, finding and cutting faces, the network, drawing labels, writing files; each is used by one thread alone."""


@dataclass
class Timing:
    """Seconds spent by stage, waiting for other stages left out.

    Args:
        frames: that came out at the end.
        seconds: stage -> total.
    """

    frames: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    _began: float = field(default_factory=perf_counter)
    _took: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside."""
        began = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += perf_counter() - began

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Hand items on; making them is counted."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def finish(self) -> None:
        """The work is over; from here on `total` stands."""
        self._took = perf_counter() - self._began

    @property
    def total(self) -> float:
        """Seconds from the beginning to `finish`."""
        return self._took
