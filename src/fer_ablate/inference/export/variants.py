"""One network in several formats, compared on real images: speed, accuracy, and how far the probabilities are apart.

Letters: N images, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from fer_ablate.errors import UserError
from fer_ablate.inference.scorer import Scorer
from fer_ablate.judgement.statistics import mcnemar

LIMIT = 1e-4
"""Two programs round 32-bit floats in their own ways; probabilities further apart than this have another cause."""

BATCH = 64
"""Images at once."""


@dataclass(frozen=True)
class Variant:
    """What one format made of the images.

    Args:
        probabilities: (N, K).
        images_per_second: in batches of `BATCH`.
    """

    probabilities: NDArray[np.float32]
    images_per_second: float


@dataclass(frozen=True)
class Comparison:
    """A format beside PyTorch, on the same images.

    Args:
        difference: largest one of any probability.
        changed: images with another likeliest class.
        accuracy: of the format.
        gain: its accuracy minus PyTorch's.
        p: of McNemar's exact test that both are right equally often.
    """

    difference: float
    changed: int
    accuracy: float
    gain: float
    p: float


def measured(scorer: Scorer, faces_u8: NDArray[np.uint8], tell: Callable[[float], None]) -> Variant:
    """Run a network over (N, C, H, W) images, after a first batch that is not timed."""
    scorer.probabilities(faces_u8[:BATCH])
    parts, began = [], perf_counter()
    for start in range(0, len(faces_u8), BATCH):
        parts.append(scorer.probabilities(np.ascontiguousarray(faces_u8[start : start + BATCH])))
        tell(min(1.0, (start + BATCH) / len(faces_u8)))
    return Variant(np.concatenate(parts), len(faces_u8) / (perf_counter() - began))


def compared(variant: Variant, reference: Variant, labels: NDArray[np.int64]) -> Comparison:
    """Set a format beside PyTorch; `labels` are the (N,) true classes."""
    found, right = (one.probabilities.argmax(axis=1) for one in (variant, reference))
    own, other = found == labels, right == labels
    return Comparison(
        float(np.abs(variant.probabilities - reference.probabilities).max()),
        int((found != right).sum()),
        float(own.mean()),
        float(own.mean() - other.mean()),
        mcnemar(own, other),
    )


def require_equal(name: str, comparison: Comparison) -> None:
    """Refuse a file in 32-bit floats that says something else than PyTorch.

    Raises:
        UserError: the probabilities differ by more than rounding, or are no numbers.
    """
    if not comparison.difference <= LIMIT:
        raise UserError(
            f"{name}: its probabilities differ from PyTorch's by up to {comparison.difference:.2g}, more than {LIMIT:g}; "
            f"{comparison.changed} predictions changed. The file was not kept. Try another format or opset=..."
        )
