"""predictions.npz: the scores of the kept weights for every tested image, and which images form which split."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import write_atomically

T = TypeVar("T")

Flags = NDArray[np.bool_]

SPLIT = "split_"
"""Beginning of the names of the arrays that mark the images of a split of the result."""


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
    """

    rows: NDArray[np.int64]
    usage: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    splits: Mapping[str, Flags] = field(default_factory=dict)


@dataclass(frozen=True)
class PredictedLabels:
    """The likeliest class of each image, read many times faster than the probabilities.

    The integers stay small, since a table holds those of a thousand runs at once: widen them before arithmetic.

    Args:
        rows: (N,) rows of the whole set.
        usage: (N,) as in `StoredPredictions`.
        labels: (N,) true class indices.
        predicted: (N,) class indices.
        splits: as in `StoredPredictions`.
    """

    rows: NDArray[np.int32]
    usage: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    splits: Mapping[str, Flags] = field(default_factory=dict)


def write_predictions(path: Path, predictions: StoredPredictions) -> None:
    """Replace the file; compressed, integers as small as they fit."""
    splits: dict[str, Any] = {f"{SPLIT}{name}": inside for name, inside in predictions.splits.items()}
    write_atomically(
        path,
        lambda stream: np.savez_compressed(
            stream,
            rows=predictions.rows.astype(np.int32),
            usage=predictions.usage.astype(np.uint8),
            labels=predictions.labels.astype(np.uint8),
            predicted=predictions.probabilities.argmax(axis=1).astype(np.uint8),
            probabilities=predictions.probabilities.astype(np.float32),
            **splits,
        ),
    )


def read_predictions(path: Path) -> StoredPredictions:
    """Everything; `UserError` if missing or damaged."""

    def build(arrays: Any) -> StoredPredictions:
        rows, usage, labels = (arrays[name].astype(np.int64) for name in ("rows", "usage", "labels"))
        return StoredPredictions(rows, usage, labels, arrays["probabilities"], _splits(arrays))

    return _read(path, build)


def read_predicted(path: Path) -> PredictedLabels:
    """All but the probabilities, which stay packed; `UserError` if missing or damaged."""

    def build(arrays: Any) -> PredictedLabels:
        # Runs that finished before `predicted` was stored have the probabilities only, and wider integers.
        found = arrays["predicted"] if "predicted" in arrays.files else arrays["probabilities"].argmax(axis=1)
        usage, labels, predicted = (values.astype(np.uint8, copy=False) for values in (arrays["usage"], arrays["labels"], found))
        return PredictedLabels(arrays["rows"].astype(np.int32, copy=False), usage, labels, predicted, _splits(arrays))

    return _read(path, build)


def _splits(arrays: Any) -> dict[str, Flags]:
    return {name.removeprefix(SPLIT): arrays[name].astype(bool) for name in arrays.files if name.startswith(SPLIT)}


def _read(path: Path, build: Callable[[Any], T]) -> T:
    try:
        # numpy forgets to close a file it cannot make sense of, hence the stream.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return build(arrays)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise UserError(f"Cannot read {path} ({error}). Train the run again with force=true.") from error
