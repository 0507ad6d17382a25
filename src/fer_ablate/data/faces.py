"""The one shape in which images travel: a `FaceSet`.

Letters: N images of the source, M usable ones, C channels, H W pixels, K classes.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fer_ablate.sizes import Size

Bytes = NDArray[np.uint8]
Rows = NDArray[np.int64]
Floats = NDArray[np.float32]
Progress = Callable[[float], None]
Write = Callable[[Bytes], None]
"""Takes the next images (n, C, H, W) of a source; only one block is in memory at a time."""

NO_LABEL = -1
"""Class index of an image whose votes decide nothing, or whose class is left out; such a row is never in `FaceSet.rows`."""


@dataclass(frozen=True)
class Parsed:
    """What a reader knows of the N images that it has written, in their order.

    Args:
        labels: (N,) index into `classes`.
        usage: (N,) index into `splits`.
        splits: names of the splits as the source spells them.
        classes: names of the classes, in the order of their index.
        files: N paths of the images within the source; empty where they have none.
        groups: N names of the persons, or of what else belongs together; empty where the source names none.
        votes: (N, 10) votes in the order of `labels.FERPLUS_COLUMNS`; None where there are none.
        left_out: what was not read -> how many, such as `.txt` or `empty lines`.
        notes: what a person should know about the reading, a sentence each; not part of the content.
    """

    labels: Rows
    usage: Bytes
    splits: tuple[str, ...]
    classes: tuple[str, ...]
    files: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    votes: Rows | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


Reader = Callable[[Write], Parsed]
"""Reads a source: writes its images block by block, in order, and says what they are."""


def content_digest(faces: Bytes, parsed: Parsed) -> str:
    """SHA-256 of the content alone: the same images by another path or compression give the same one."""
    content = hashlib.sha256(repr((faces.shape, parsed.splits, parsed.classes)).encode())
    for array in (faces, parsed.labels, parsed.usage):
        content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()


@dataclass(frozen=True)
class FaceSet:
    """All images of a source, and which of them are usable.

    Every array but `rows` covers all N images in the order of the source, so a row number means the same image
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
        files: N paths of the images within the source; empty where they have none.
        groups: (N,) numbers of the persons, or of what else must stay together; None where nobody knows or asks.
        left_out: what was not read or is not used -> how many.
        prints: (N,) hashes of the pixels of each image; None where they are not known.
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
    files: tuple[str, ...] = ()
    groups: Rows | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    prints: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for colour."""
        return int(self.faces.shape[1])

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return int(self.faces.shape[2]), int(self.faces.shape[3])

    def split_rows(self, split: str) -> Rows:
        """Usable rows of one split; none for a split that the set does not have."""
        if split not in self.splits:
            return self.rows[:0]
        rows: Rows = self.rows[self.usage[self.rows] == self.splits.index(split)]
        return rows
