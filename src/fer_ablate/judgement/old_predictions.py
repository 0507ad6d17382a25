"""Which images formed a split, for predictions of earlier versions, whose files do not store it.

To stop reading such files, delete this module and its one use in `split_images`.

Letters: N images.
"""

from collections.abc import Callable, Iterator

import numpy as np

from fer_ablate.labels import PRIVATE, PUBLIC, TRAINING, USAGES
from fer_ablate.tracking.disk.predictions import Flags, PredictedLabels

Parts = dict[str, tuple[str, ...]]

_OFFICIAL: Parts = {"public": (PUBLIC,), "private": (PRIVATE,)}
_AS_OFFICIAL: Parts = {"val": (PUBLIC,), "test": (PRIVATE,), **_OFFICIAL}
_AS_SWAPPED: Parts = {"val": (PRIVATE,), "test": (PUBLIC,), **_OFFICIAL}
_USUAL: dict[str, Parts] = {
    "official": _AS_OFFICIAL,
    "combined": _AS_OFFICIAL,
    "auto": _AS_OFFICIAL,
    "swapped": _AS_SWAPPED,
    "combined_swapped": _AS_SWAPPED,
    "holdout": {"val": (TRAINING,), "test": (PUBLIC, PRIVATE), **_OFFICIAL},
}
"""`data.roles` -> split of a result -> official splits that it consists of."""


def guess_split(stored: PredictedLabels, roles: str, split: str, fits: Callable[[Flags], bool]) -> Flags | None:
    """(N,) whether each image was in a split: the first choice of images that fits the scores of the run.

    Args:
        stored: predictions without masks.
        roles: `data.roles` of the run, as its protocol names it.
        split: that the run was scored on.
        fits: whether a choice of images gives the confusion matrix of the result.

    Returns:
        None if no choice fits, since the predictions are not those of the result.
    """
    return next(filter(fits, _guesses(stored, roles, split)), None)


def _guesses(stored: PredictedLabels, roles: str, split: str) -> Iterator[Flags]:
    """Choices of images that a split may have consisted of, the likeliest first."""
    usual = _USUAL.get(roles, {}).get(split)
    if usual is not None:
        yield np.isin(stored.usage, [USAGES.index(name) for name in usual])
    # Image folders number their splits in their own order, and `auto` may have meant a part of the training split.
    numbers = np.unique(stored.usage)
    for number in numbers:
        yield stored.usage == number
    for number in numbers:
        yield stored.usage != number
