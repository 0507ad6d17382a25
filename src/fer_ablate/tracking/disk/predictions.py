"""predictions.npz: the scores of the kept weights for every tested image, and which images form which split."""

import lzma
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import write_atomically

T = TypeVar("T")

Flags = NDArray[np.bool_]

MOST_BYTES = 500_000_000
"""Of an array when unpacked; the probabilities of FER2013's 7,178 tested images have 200,000."""

SPLIT = "split_"
"""Beginning of the names of the arrays that mark the images of a split of the result."""

GROUPS = "groups"
"""Name of the array of the persons."""


@dataclass(frozen=True)
class StoredPredictions:
    """The scores of the kept weights for the images that they were tested on.

    Args:
        rows: (N,) rows of the whole set.
        usage: (N,) official split of each, as index into `labels.USAGES`, or of a folder's own splits in their order.
        labels: (N,) true class indices.
        probabilities: (N, K) in [0, 1].
        splits: split of the result (`val`, `test`, ...) -> (N,) whether each image is in it; empty in files of versions that
            did not store it.
        groups: (N,) number of the person on each image, or of whatever else `data.group` keeps together; None if the set has
            no groups, and in files of versions that did not store them.
    """

    rows: NDArray[np.int64]
    usage: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    splits: Mapping[str, Flags] = field(default_factory=dict)
    groups: NDArray[np.int64] | None = None

    def likeliest(self) -> "PredictedLabels":
        """The same without the probabilities."""
        predicted = self.probabilities.argmax(axis=1).astype(np.uint8)
        usage, labels = self.usage.astype(np.uint8), self.labels.astype(np.uint8)
        return PredictedLabels(self.rows.astype(np.int32), usage, labels, predicted, self.splits, self.groups)


@dataclass(frozen=True)
class PredictedLabels:
    """The likeliest class of each image, read many times faster than the probabilities.

    The integers stay small, since a table holds those of a thousand runs at once: widen them before arithmetic.

    Args:
        rows: (N,) rows of the whole set.
        usage: (N,) as in `StoredPredictions`.
        labels: (N,) true class indices.
        predicted: (N,) class indices.
        splits, groups: as in `StoredPredictions`.
    """

    rows: NDArray[np.int32]
    usage: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    splits: Mapping[str, Flags] = field(default_factory=dict)
    groups: NDArray[np.int64] | None = None


def write_predictions(path: Path, predictions: StoredPredictions) -> None:
    """Replace the file; compressed, integers as small as they fit."""
    optional: dict[str, Any] = {f"{SPLIT}{name}": inside for name, inside in predictions.splits.items()}
    if predictions.groups is not None:
        optional[GROUPS] = predictions.groups.astype(np.int32)
    write_atomically(
        path,
        lambda stream: np.savez_compressed(
            stream,
            rows=predictions.rows.astype(np.int32),
            usage=predictions.usage.astype(np.uint8),
            labels=predictions.labels.astype(np.uint8),
            predicted=predictions.probabilities.argmax(axis=1).astype(np.uint8),
            probabilities=predictions.probabilities.astype(np.float32),
            **optional,
        ),
    )


def read_predictions(path: Path) -> StoredPredictions:
    """Everything; `UserError` if missing or damaged."""

    def build(arrays: Mapping[str, NDArray[Any]]) -> StoredPredictions:
        rows, usage, labels = (arrays[name].astype(np.int64) for name in ("rows", "usage", "labels"))
        probabilities = arrays["probabilities"]
        if probabilities.ndim != 2 or probabilities.dtype.kind != "f" or not np.isfinite(probabilities).all():
            raise ValueError("the probabilities are not finite numbers of each image and class")
        if labels.size and not 0 <= labels.min() <= labels.max() < probabilities.shape[1]:
            raise ValueError("a label is none of the classes")
        splits, groups = _splits(arrays), _groups(arrays)
        _check_lengths(len(rows), usage, labels, probabilities[:, 0], *splits.values(), groups)
        return StoredPredictions(rows, usage, labels, probabilities, splits, groups)

    return _read(path, build)


def read_predicted(path: Path) -> PredictedLabels:
    """All but the probabilities, which stay packed; `UserError` if missing or damaged."""

    def build(arrays: Mapping[str, NDArray[Any]]) -> PredictedLabels:
        # Runs that finished before `predicted` was stored have the probabilities only, and wider integers.
        found = arrays["predicted"] if "predicted" in arrays else arrays["probabilities"].argmax(axis=1)
        usage, labels, predicted = (values.astype(np.uint8, copy=False) for values in (arrays["usage"], arrays["labels"], found))
        rows, splits, groups = arrays["rows"].astype(np.int32, copy=False), _splits(arrays), _groups(arrays)
        _check_lengths(len(rows), usage, labels, predicted, *splits.values(), groups)
        return PredictedLabels(rows, usage, labels, predicted, splits, groups)

    return _read(path, build)


def _splits(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Flags]:
    return {name.removeprefix(SPLIT): arrays[name].astype(bool) for name in arrays if name.startswith(SPLIT)}


def _groups(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.int64] | None:
    return arrays[GROUPS].astype(np.int64) if GROUPS in arrays else None


def _check_lengths(images: int, *parts: NDArray[Any] | None) -> None:
    if any(part is not None and part.shape != (images,) for part in parts):
        raise ValueError("its arrays are not of the same images")


class _Arrays(Mapping[str, NDArray[Any]]):
    """The arrays of an npz file, each read when it is taken; numpy would make room for whatever size a file claims.

    Args:
        archive: the opened file.
    """

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Read an array of numbers; `ValueError` if it is none, or its size is not that of the stored bytes."""
        info = self._members[name]
        if info.file_size > MOST_BYTES:
            raise ValueError(f"{name} has more than {MOST_BYTES:,} bytes")
        with self._archive.open(info) as member:
            content = member.read()
        stream = BytesIO(content)
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"{name} is in format {version} of numpy")
        shape, by_column, kind = np.lib.format.read_array_header_1_0(stream)
        # In this order: Python's whole numbers have no limit, and an array of objects may hold code.
        if kind.hasobject or math.prod(shape) * kind.itemsize != len(content) - stream.tell():
            raise ValueError(f"{name} is not an array of as many numbers as it claims")
        # Not by np.load, which would take the header apart once more.
        return np.frombuffer(content, kind, offset=stream.tell()).reshape(shape, order="F" if by_column else "C").copy()


def _read(path: Path, build: Callable[[Mapping[str, NDArray[Any]]], T]) -> T:
    try:
        with ZipFile(path) as archive:
            return build(_Arrays(archive))
    # A member may be encrypted (RuntimeError), or packed in a way that Python does not know (NotImplementedError).
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile, RuntimeError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"Cannot read {path} ({error}). Train the run again with force=true.") from error
