"""What a run needs from the machine that planned it, kept in a folder of the machine that trains it: images and first weights.

The pixels are kept once in the cache of images, by their digest. What belongs to a run (labels, splits, the identity of the
weights that it starts from) is in a folder beside the run's own.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_ablate.data.cache import Origin, cached
from fer_ablate.data.faces import Bytes, FaceSet, Parsed, Progress, Write, content_digest
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import write_atomically, write_json
from fer_ablate.training.start import Start

Blocks = Callable[[], Iterable[Bytes]]
"""Gives the pixels (n, C, H, W) of a set block by block."""

_ARRAYS = ("labels", "targets", "usage", "rows", "groups", "hashes")
_TEXTS = ("splits", "classes", "files", "notes")


def pixel_digest(faces: Bytes) -> str:
    """Digest of the pixels (N, C, H, W) alone, by which they are sent and kept."""
    return content_digest(faces, _pixels_only(len(faces)))


def description(faces: FaceSet) -> dict[str, Any]:
    """Everything of a set but its pixels, as arrays and plain values."""
    plain = {name: list(getattr(faces, name)) for name in _TEXTS}
    return {
        "arrays": {name: getattr(faces, name) for name in _ARRAYS if getattr(faces, name) is not None},
        "facts": {**plain, "left_out": dict(faces.left_out), "digest": faces.digest},
    }


def keep_pixels(cache_dir: Path, digest: str, blocks: Blocks) -> Bytes:
    """The pixels with this digest, memory-mapped from the cache; they are written there if it lacks them.

    Args:
        cache_dir: folder of the cache.
        digest: see `pixel_digest`.
        blocks: gives the pixels; only called if they are not there.

    Raises:
        UserError: the cache cannot be written, its disk is full, or the pixels have another digest.
    """

    def read(write: Write) -> Parsed:
        count = 0
        for block in blocks():
            write(block)
            count += len(block)
        return _pixels_only(count)

    entry = cached(cache_dir, Origin("received", digest), read)
    if entry.digest != digest:
        raise UserError(f"The images in {cache_dir} are not those that were sent (received-*). Delete them, and try again.")
    return entry.faces


def has_pixels(cache_dir: Path, digest: str) -> bool:
    """Whether the cache has an entry for these pixels, sound or not."""

    def missing(_: Write) -> Parsed:
        raise LookupError

    try:
        return cached(cache_dir, Origin("received", digest), missing).digest == digest
    except LookupError:
        return False


@dataclass(frozen=True)
class Received:
    """The folder of a run with what was sent for it.

    Args:
        folder: the folder.
    """

    folder: Path

    def write(self, cache_dir: Path, pixels: str, faces: dict[str, Any], start: tuple[Start, Bytes] | None) -> None:
        """Keep what was sent.

        Args:
            cache_dir: where `keep_pixels` has put the pixels.
            pixels: their digest.
            faces: see `description`.
            start: the weights to begin with and their file; None: drawn ones, or published ones.
        """
        write_atomically(self.folder / "images.npz", lambda stream: np.savez(stream, **faces["arrays"]))
        if start is not None:
            write_atomically(self.folder / "start.ckpt", lambda stream: stream.write(start[1].data))
        known = [start[0].identity, start[0].classes] if start is not None else None
        write_json(
            self.folder / "received.json",
            {"cache_dir": str(cache_dir), "pixels": pixels, "start": known, "facts": faces["facts"]},
        )

    def faces(self, progress: Progress | None = None) -> FaceSet:
        """The images, memory-mapped.

        Raises:
            UserError: they have gone from the cache.
        """
        known = self._known()

        def missing(_: Write) -> Parsed:
            raise UserError(f"The images that were sent have gone from {known['cache_dir']}. Start the command again.")

        pixels = cached(Path(known["cache_dir"]), Origin("received", known["pixels"]), missing, progress).faces
        facts = known["facts"]
        with np.load(self.folder / "images.npz") as stored:
            arrays: dict[str, Any] = {name: stored[name] if name in stored.files else None for name in _ARRAYS}
        texts: dict[str, Any] = {name: tuple(facts[name]) for name in _TEXTS}
        return FaceSet(faces=pixels, **arrays, **texts, digest=facts["digest"], left_out=facts["left_out"])

    def start(self) -> Start | None:
        """The weights to begin with; None if the run begins with others than those of a run or file."""
        known = self._known()["start"]
        return Start(self.folder / "start.ckpt", known[0], tuple(known[1])) if known is not None else None

    def _known(self) -> dict[str, Any]:
        known: dict[str, Any] = json.loads((self.folder / "received.json").read_text(encoding="utf-8"))
        return known


def is_elsewhere(address: str) -> bool:
    """Whether a database is a file on the disk of the machine that planned the run, so that another one cannot reach it."""
    return "://" not in address or address.partition(":")[0].partition("+")[0] in ("sqlite", "file")


def _pixels_only(count: int) -> Parsed:
    return Parsed(np.zeros(count, np.int64), np.zeros(count, np.uint8), ("",), ("",))
