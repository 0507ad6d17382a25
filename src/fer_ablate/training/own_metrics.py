"""Metrics of the user's own (`evaluation.metrics`): classes of torchmetrics by dotted path, measured once a run is trained.

Letters: N images, K classes.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from fer_ablate.config.binding import build_part, read_part, words_of
from fer_ablate.errors import Fault, FaultyConfigError

KEY = "evaluation.metrics"

BLOCKS = 40
"""Parts of the images that are left out one by one: enough to show a spread, and few enough to be measured after every run."""


@dataclass(frozen=True)
class OwnMetrics:
    """Metrics by their names in tables.

    Args:
        built: name -> metric, which is updated with probabilities (N, K) and class indices (N,).
        plugins: the packages of the user's own, for messages.
    """

    built: Mapping[str, Metric]
    plugins: Sequence[str] = ()

    @property
    def directions(self) -> dict[str, bool | None]:
        """Name -> whether a higher value is better, as the class says; None where it says nothing."""
        return {name: metric.higher_is_better for name, metric in self.built.items()}

    def values(self, probabilities: Tensor, labels: Tensor) -> dict[str, float]:
        """Measure some images.

        Args:
            probabilities: (N, K), with rows that sum to 1.
            labels: (N,) int64 class indices.

        Raises:
            FaultyConfigError: a metric raises an error, or is not a single number.
        """
        found, faults = {}, []
        for name, metric in self.built.items():
            try:
                metric.reset()
                metric.update(probabilities, labels)
                value = torch.as_tensor(metric.compute())
            except Exception as error:  # of the user's own code, or of a class that was meant for other predictions
                problem = f"fails on {len(labels)} images: {words_of(error, self.plugins)}."
                remedy = "It is updated with probabilities (N, K) and class indices (N,)."
                faults.append(Fault(f"{KEY}.{name}", problem, remedy))
                continue
            if value.numel() != 1:
                problem = f"gives {value.numel()} numbers, and a table shows one."
                faults.append(Fault(f"{KEY}.{name}", problem, "Average over classes, such as average: macro."))
            else:
                found[name] = float(value)
        if faults:
            raise FaultyConfigError(faults)
        return found

    def without_blocks(self, probabilities: Tensor, labels: Tensor, groups: NDArray[np.int64] | None) -> dict[str, list[float]]:
        """Each metric without each block of images, from which a table knows how much it depends on the draw of the images.

        Args:
            probabilities: (N, K).
            labels: (N,) int64 class indices.
            groups: (N,) numbers of the persons, who stay in one block; None: images were drawn one by one.

        Returns:
            Name -> as many values as there are blocks. Metrics that are not defined without some block are left out.
        """
        number = blocks(len(labels), groups)
        every: dict[str, list[float]] = {name: [] for name in self.built}
        for block in np.unique(number):
            rest = torch.from_numpy(number != block)
            for name, metric in self.built.items():
                with suppress(Exception):  # of the user's own code, which has measured all images without one
                    every[name].append(OwnMetrics({name: metric}).values(probabilities[rest], labels[rest])[name])
        count = len(np.unique(number))
        return {name: found for name, found in every.items() if len(found) == count and np.isfinite(found).all()}


def blocks(images: int, groups: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """(images,) number of the block of each image, the same for every run on the same images."""
    places = np.arange(images) if groups is None else np.unique(groups, return_inverse=True)[1]
    return np.asarray(places % BLOCKS, dtype=np.int64)


def build_metrics(section: Mapping[str, Any], num_classes: int, plugins: Sequence[str]) -> OwnMetrics:
    """Build the metrics of a section without faults.

    Args:
        section: `evaluation.metrics`.
        num_classes: K.
        plugins: the user's own packages that may be imported.

    Raises:
        FaultyConfigError: a plugin raises an error, or gives no metric.
    """
    built = {}
    for shown, given in section.items():
        name, arguments = read_part(given)
        key = f"{KEY}.{shown}.name"
        metric = build_part(name, arguments, plugins, key, num_classes=num_classes, task="multiclass")
        if not isinstance(metric, Metric):
            problem = f"{name} gives an object of the class {type(metric).__name__}, and no metric."
            raise FaultyConfigError(
                [Fault(key, problem, "Name a class of torchmetrics, or one derived from torchmetrics.Metric.")]
            )
        built[shown] = metric
    return OwnMetrics(built, plugins)
