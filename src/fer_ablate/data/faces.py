"""The one shape in which images travel: a `FaceSet`.

Letters: N images of the file, M usable ones, C channels, H W pixels, K classes.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Rows = NDArray[np.int64]
Floats = NDArray[np.float32]
Progress = Callable[[float], None]

NO_LABEL = -1
"""Class index of an image whose votes decide nothing; such a row is never in `FaceSet.rows`."""


@dataclass(frozen=True)
class Parsed:
    """What a reader makes of a file or folder: every image, in its order.

    Args:
        faces: (N, C, H, W).
        labels: (N,) index into `classes`.
        usage: (N,) index into `splits`.
        splits: names of the splits as the source spells them.
        classes: names of the classes, in the order of their index.
        notes: what a person should know about the reading, a sentence each; not part of the content.
    """

    faces: Bytes
    labels: Rows
    usage: Bytes
    splits: tuple[str, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """SHA-256 of the content alone: the same images by another path or compression give the same one."""
        content = hashlib.sha256(repr((self.faces.shape, self.splits, self.classes)).encode())
        for array in (self.faces, self.labels, self.usage):
            content.update(np.ascontiguousarray(array).data)
        return content.hexdigest()


@dataclass(frozen=True)
class FaceSet:
    """All images of a source, and which of them are usable.

    Every array but `rows` covers all N images in the order of the file, so a row number means the same image
    whatever was dropped, and the images can stay memory-mapped.

    Args:
        faces: (N, C, H, W), memory-mapped from the cache.
        labels: (N,) index into `classes`; `NO_LABEL` where the votes decide nothing.
        targets: (N, K) probabilities, or None for hard labels.
        usage: (N,) index into `splits`.
        splits: names of the splits as the source spells them.
        classes: names of the classes, in the order of their index.
        rows: (M,) ascending numbers of the usable images.
        digest: SHA-256 of the content, before anything is dropped.
        notes: what a person should know about the reading, a sentence each.
    """

    faces: Bytes
    labels: Rows
    targets: Floats | None
    usage: Bytes
    splits: tuple[str, ...]
    classes: tuple[str, ...]
    rows: Rows
    digest: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for colour."""
        return int(self.faces.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.faces.shape[2]), int(self.faces.shape[3])

    def split_rows(self, split: str) -> Rows:
        """Usable rows of one split; none for a split that the set does not have."""
        if split not in self.splits:
            return self.rows[:0]
        rows: Rows = self.rows[self.usage[self.rows] == self.splits.index(split)]
        return rows
