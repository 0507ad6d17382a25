"""Tests finished weights: on one device, every image once, with or without test-time augmentation."""

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
from fer_ablate.data.faces import FaceSet, Progress, Rows
from fer_ablate.data.transform import Preprocess
from fer_ablate.data.views import views
from fer_ablate.metrics import SplitResult
from fer_ablate.metrics.scores import score
from fer_ablate.sizes import Size
from fer_ablate.training.hardware import Hardware


@dataclass(frozen=True)
class Predictions:
    """A network's predictions for some images of a set.

    Args:
        rows: (n,) rows of the set, ascending, each once.
        labels: (n,) true class indices.
        probabilities: (n, K) float32, the mean over the views.
    """

    rows: Rows
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    def of(self, rows: Rows) -> "Predictions":
        """Return the predictions for some of the rows."""
        places = np.searchsorted(self.rows, rows)
        return Predictions(rows, self.labels[places], self.probabilities[places])


@dataclass(frozen=True)
class Evaluator:
    """Predicts classes with a network.

    Args:
        tta: views whose probabilities are averaged.
        size: height and width of the views in pixels.
        batch_size: images in a batch, each with all its views.
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
        progress: Progress | None = None,
    ) -> Predictions:
        """Return the probabilities of every class for some images of a set, as the mean over the views.

        Args:
            network: normalised faces (N, C, H, W) -> logits (N, K); moved to the device and put into evaluation mode.
            preprocess: prepares and normalises the images, without augmentation; moved to the device.
            faces: the set.
            rows: rows of the images, in any order.
            progress: called after each batch with the finished fraction, from 0 to 1.
        """
        device = self.hardware.device
        network.to(device).eval()
        preprocess.to(device)
        # Parts overlap, as the test role is often an official split: every image is predicted once.
        rows = np.unique(rows)
        images = as_tensor(faces.faces)
        parts = []
        with torch.inference_mode(), autocast(self.hardware):
            for start in range(0, len(rows), self.batch_size):
                batch = images.index_select(0, torch.from_numpy(rows[start : start + self.batch_size])).to(device)
                seen = views(preprocess.prepared(batch), self.tta, self.size)
                # Views become images of the batch, and are averaged after the softmax.
                logits: Tensor = network(preprocess.normalise(seen.flatten(0, 1)))
                parts.append(logits.float().softmax(dim=1).view(*seen.shape[:2], -1).mean(dim=0).cpu())
                if progress is not None:
                    progress(min(1.0, (start + self.batch_size) / len(rows)))
        probabilities = torch.cat(parts).numpy() if parts else np.zeros((0, len(faces.classes)), np.float32)
        return Predictions(rows, faces.labels[rows], probabilities)


def autocast(hardware: Hardware) -> AbstractContextManager[Any]:
    """Return a context in which matrix products are computed in the hardware's number format."""
    dtype = hardware.autocast_dtype
    return nullcontext() if dtype is None else torch.autocast(hardware.device.type, dtype)


def first_images(parts: Mapping[str, Rows], limit: float | int | None, batch_size: int) -> dict[str, Rows]:
    """Keep only the first images of every part.

    Args:
        parts: name -> rows.
        limit: as in Lightning, a float is a fraction of each part and an integer a number of batches; None: all images.
        batch_size: images in a batch.
    """
    if limit is None:
        return dict(parts)
    if isinstance(limit, int):
        return {name: rows[: limit * batch_size] for name, rows in parts.items()}
    return {name: rows[: max(1, round(limit * len(rows)))] for name, rows in parts.items()}


Extra = Callable[[Tensor, Tensor], Mapping[str, float]]
"""Probabilities (N, K) and class indices (N,) -> further scores by name."""


def split_results(
    predictions: Predictions, parts: Mapping[str, Rows], classes: tuple[str, ...], extra: Extra | None = None
) -> dict[str, SplitResult]:
    """Compute the scores of every part of the predictions; parts without images are left out.

    Args:
        predictions: predictions for all parts.
        parts: name -> rows.
        classes: K names.
        extra: measures further scores.
    """
    results: dict[str, SplitResult] = {}
    for name, rows in parts.items():
        # A role is often equal to an official split, and for small networks scoring takes longer than predicting.
        if twin := next((other for other in results if np.array_equal(parts[other], rows)), None):
            results[name] = results[twin]
        elif len(rows):
            part = predictions.of(rows)
            probabilities, labels = torch.from_numpy(part.probabilities), torch.from_numpy(part.labels)
            results[name] = score(probabilities, labels, classes)
            results[name].metrics.update(extra(probabilities, labels) if extra is not None else {})
    return results
