"""Scores of finished weights: on one device, every image once, with or without test-time augmentation."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.data.batches import as_tensor
from fer_ablate.data.faces import FaceSet
from fer_ablate.data.transform import Preprocess
from fer_ablate.data.views import views
from fer_ablate.metrics import SplitResult, score
from fer_ablate.sizes import Size
from fer_ablate.training.hardware import Hardware

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """What a network said about some images of a set.

    Args:
        rows: (n,) rows of the set, ascending, each once.
        labels: (n,) true class indices.
        probabilities: (n, K) float32, averaged over the views.
    """

    rows: Rows
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    def of(self, rows: Rows) -> "Predictions":
        """The part about these rows, all of which must be among ours."""
        places = np.searchsorted(self.rows, rows)
        return Predictions(rows, self.labels[places], self.probabilities[places])


@dataclass(frozen=True)
class Examiner:
    """How weights are tested.

    Args:
        size: of the tested crops.
        batch_size: images at once; their views are counted on top.
        hardware: device and number format.
    """

    tta: TestTimeAugmentation
    size: Size
    batch_size: int
    hardware: Hardware

    def predict(
        self,
        network: nn.Module,
        preprocess: Preprocess,
        faces: FaceSet,
        rows: Rows,
        progress: Callable[[float], None] | None = None,
    ) -> Predictions:
        """Probabilities of every class for the given rows of a set, mean over the views.

        Args:
            network: normalised faces -> logits; moved to the device and put into evaluation mode.
            preprocess: of which the preparation and the normalisation are used; moved to the device.
            faces: the set.
            rows: which of its images, in any order.
            progress: told the finished fraction.
        """
        device = self.hardware.device
        network.to(device).eval()
        preprocess.to(device)
        rows = np.unique(rows)
        images = as_tensor(faces.faces)
        parts = []
        with torch.inference_mode(), autocast(self.hardware):
            for start in range(0, len(rows), self.batch_size):
                batch = images.index_select(0, torch.from_numpy(rows[start : start + self.batch_size])).to(device)
                seen = views(preprocess.prepared(batch), self.tta, self.size)
                logits: Tensor = network(preprocess.normalise(seen.flatten(0, 1)))
                parts.append(logits.float().softmax(dim=1).view(*seen.shape[:2], -1).mean(dim=0).cpu())
                if progress is not None:
                    progress(min(1.0, (start + self.batch_size) / len(rows)))
        probabilities = torch.cat(parts).numpy() if parts else np.zeros((0, len(faces.classes)), np.float32)
        return Predictions(rows, faces.labels[rows], probabilities)


def autocast(hardware: Hardware) -> AbstractContextManager[Any]:
    """Context in which matrix products run in the hardware's number format."""
    dtype = hardware.autocast_dtype
    return nullcontext() if dtype is None else torch.autocast(hardware.device.type, dtype)


def limited(parts: Mapping[str, Rows], limit: float | int | None, batch_size: int) -> dict[str, Rows]:
    """The first images of every part.

    Args:
        parts: name -> rows.
        limit: as Lightning has it, a float for a fraction of each part, an integer for a number of batches; None: all.
        batch_size: images of one batch.
    """
    if limit is None:
        return dict(parts)
    if isinstance(limit, int):
        return {name: rows[: limit * batch_size] for name, rows in parts.items()}
    return {name: rows[: max(1, round(limit * len(rows)))] for name, rows in parts.items()}


def split_results(predictions: Predictions, parts: Mapping[str, Rows], classes: tuple[str, ...]) -> dict[str, SplitResult]:
    """Scores of every part of what was predicted; parts without images are left out."""
    results: dict[str, SplitResult] = {}
    for name, rows in parts.items():
        # A role usually is one of the official splits; scoring takes longer than testing where networks are small.
        if twin := next((other for other in results if np.array_equal(parts[other], rows)), None):
            results[name] = results[twin]
        elif len(rows):
            part = predictions.of(rows)
            results[name] = score(torch.from_numpy(part.probabilities), torch.from_numpy(part.labels), classes)
    return results
