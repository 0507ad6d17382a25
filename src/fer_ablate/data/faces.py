"""The images of a data set as one object, a `FaceSet`, and what a reader of a source returns.

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
"""Called now and then with the finished fraction of the work, from 0 to 1."""

Write = Callable[[Bytes], None]
"""Takes the next images (n, C, H, W) of a source; only one block is in memory at a time."""

NO_LABEL = -1
"""Class index of an image whose votes are undecided or whose class is left out; such images are never in `FaceSet.rows`."""


@dataclass(frozen=True)
class Parsed:
    """What a reader knows about the N images that it has written, in their order.

    Args:
        labels: (N,) index into `classes`.
        usage: (N,) index into `splits`.
        splits: names of the splits as the source spells them.
        classes: names of the classes, in the order of their index.
        files: N paths of the images within the source; empty if the images are not files.
        groups: N names of the persons, or of whatever else keeps images together; empty if the source has none.
        votes: (N, 10) numbers of votes in the order of `labels.FERPLUS_COLUMNS`; None if the source has none.
        left_out: what was not read -> how many, such as `.txt` or `empty lines`.
        notes: sentences for the user about how the source was read; not part of the content.
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
"""Reads a source: writes its images block by block, in order, and returns their description."""


def content_digest(faces: Bytes, parsed: Parsed) -> str:
    """SHA-256 of images, labels and splits; it does not depend on where or how they are stored."""
    # The shape is part of it, because the same bytes may be images of another size.
    content = hashlib.sha256(repr((faces.shape, parsed.splits, parsed.classes)).encode())
    for array in (faces, parsed.labels, parsed.usage):
        content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()


def pixel_hashes(images: Bytes) -> NDArray[np.uint64]:
    """Hash the pixels of each of (N, C, H, W) images: equal images have equal hashes.

    64 bits are enough: among 36,000 images two different ones share a hash with a probability of about 4e-11.
    """
    found = b"".join(hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).digest() for image in images)
    return np.frombuffer(found, np.uint64)


@dataclass(frozen=True)
class FaceSet:
    """All images of a source, and which of them are usable.

    Every array but `rows` covers all N images in the order of the source. A row number therefore means the same image
    whatever was dropped, and the images can stay memory-mapped.

    Args:
        faces: (N, C, H, W) uint8, memory-mapped from the cache.
        labels: (N,) index into `classes`, or `NO_LABEL`.
        targets: (N, K) probabilities, or None for hard labels.
        usage: (N,) index into `splits`.
        splits: names of the splits as the source spells them.
        classes: names of the classes, in the order of their index.
        rows: (M,) ascending row numbers of the usable images.
        digest: SHA-256 of the content, before anything is dropped.
        notes: sentences for the user about how the source was read.
        files: N paths of the images within the source; empty if the images are not files.
        groups: (N,) numbers of the persons, or of whatever else keeps images together; None if unknown or not used.
        left_out: what was not read or is not used -> how many.
        hashes: (N,) hash of the pixels of each image; None if not computed.
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
    hashes: NDArray[np.uint64] | None = None

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
        """Return the usable rows of one split; none for a split that the set does not have."""
        if split not in self.splits:
            return self.rows[:0]
        rows: Rows = self.rows[self.usage[self.rows] == self.splits.index(split)]
        return rows

    def usable_hashes(self) -> NDArray[np.uint64]:
        """Pixel hashes (M,) of the usable images: the stored ones, or computed now if the set has none."""
        if self.hashes is not None:
            return self.hashes[self.rows]
        return pixel_hashes(self.faces[self.rows])
