"""Everything that `explain` finds out about a network: chosen images, heat maps, weight per region, sanity of each method.

Letters: K classes, R regions, H W pixels of what the network sees.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.explain.attributions import PASSES, Lens, Maps
from fer_ablate.explain.choose import Confusion, common_confusions, spread_right, surest_right
from fer_ablate.explain.regions import Shares, as_shares, region_masks, region_shares
from fer_ablate.explain.sanity import randomised, rank_correlations, verdict
from fer_ablate.training.evaluation import Predictions

Progress = Callable[[float], None]
Request = tuple[int, int]
"""Row of an image, class index whose score is explained."""

EXAMPLES = 3
"""Images of each direction of a confusion."""

SANITY_IMAGES = 28
"""On which trained and redrawn weights are compared: four of each of seven classes."""

CHUNK = 8
"""Images between two steps of the progress bar."""


@dataclass(frozen=True)
class Wanted:
    """What to look at.

    Args:
        methods: among `attributions.PASSES`.
        per_class: images of each class that the network was surest of and right about.
        pairs: of classes that are confused.
        images: of each class, for means over right ones.
    """

    methods: tuple[str, ...]
    per_class: int
    pairs: int
    images: int


@dataclass(frozen=True)
class Sanity:
    """How alike the maps of trained and redrawn weights are.

    Args:
        correlation: Spearman's, mean over the images; None if there was none to compare.
        images: number of them.
    """

    correlation: float | None
    images: int

    @property
    def verdict(self) -> str:
        """In words."""
        return verdict(self.correlation)


@dataclass(frozen=True)
class Explanation:
    """What was found.

    Args:
        wanted: what was asked for.
        lens: the network.
        faces: the set that the rows are of.
        predictions: of the split.
        right: class -> rows of the surest right images.
        spread: class -> rows of the right images that means are taken over.
        confusions: most common first.
        maps: method -> request -> (H, W).
        masks: (R, H, W) of the regions.
        sanity: of each method.
    """

    wanted: Wanted
    lens: Lens
    faces: FaceSet
    predictions: Predictions
    right: list[Rows]
    spread: list[Rows]
    confusions: list[Confusion]
    maps: dict[str, dict[Request, Maps]]
    masks: NDArray[np.bool_]
    sanity: dict[str, Sanity]

    def face(self, row: int) -> NDArray[np.float64]:
        """What the network sees of an image, as (H, W, 3) red, green, blue in [0, 1]; those of a gray one are equal."""
        seen = self.lens.seen(self.faces.faces[row][None])[0]
        return np.asarray(seen.expand(3, -1, -1).permute(1, 2, 0).cpu().numpy(), np.float64)

    def probability(self, row: int, label: int) -> float:
        """What the network gave a class for an image of the split."""
        return float(self.predictions.probabilities[np.searchsorted(self.predictions.rows, row), label])

    def class_maps(self, method: str, label: int) -> Maps:
        """Maps (n, H, W) of the right images of one class."""
        found = [self.maps[method][int(row), label] for row in self.spread[label]]
        return np.stack(found) if found else np.zeros((0, *self.masks.shape[1:]), np.float32)

    def mean_map(self, method: str, label: int) -> Maps:
        """Mean (H, W) of the shares of the right images of one class; zero if there are none."""
        shares = as_shares(self.class_maps(method, label))
        mean: Maps = shares.sum(axis=0) / max(1, len(shares))
        return mean

    def shares(self, method: str, label: int) -> Shares | None:
        """Share of weight (R,) on each region; None for a class without right images or without positive weight."""
        return region_shares(self.class_maps(method, label), self.masks)

    def mean_shares(self, method: str) -> Shares | None:
        """The same, mean over the classes that have one."""
        found = [shares for label in range(len(self.spread)) if (shares := self.shares(method, label)) is not None]
        mean: Shares | None = np.mean(found, axis=0) if found else None
        return mean


def explain(lens: Lens, faces: FaceSet, predictions: Predictions, wanted: Wanted, tell: Progress) -> Explanation:
    """Choose images of a split and compute their heat maps.

    Args:
        lens: the network.
        faces: the set; of its prepared images, the centre crops are seen.
        predictions: what the network said about the images of the split.
        wanted: how much of everything.
        tell: told the finished fraction.
    """
    right, spread = surest_right(predictions, wanted.per_class), spread_right(predictions, wanted.images)
    confusions = common_confusions(predictions, wanted.pairs, EXAMPLES)
    requests = _requests(right, spread, confusions)
    compared = _compared(spread)
    total = sum(PASSES[method] for method in wanted.methods) * (len(requests) + len(compared))
    done = 0

    def step(passes: int) -> None:
        nonlocal done
        done += passes
        tell(done / total)

    maps = {method: heat_maps(lens, method, faces, requests, step) for method in wanted.methods}
    blank = replace(lens, network=randomised(lens.network))
    redrawn = {method: heat_maps(blank, method, faces, compared, step) for method in wanted.methods}
    sanity = {method: _sanity(maps[method], redrawn[method]) for method in wanted.methods}
    masks = region_masks(lens.prepared_size(faces.size), lens.size)
    return Explanation(wanted, lens, faces, predictions, right, spread, confusions, maps, masks, sanity)


def heat_maps(
    lens: Lens, method: str, faces: FaceSet, requests: Sequence[Request], step: Callable[[int], None]
) -> dict[Request, Maps]:
    """Maps (H, W) of one method.

    Args:
        lens: the network.
        method: among `attributions.PASSES`.
        faces: the set.
        requests: of it.
        step: told the forward passes since it was last told.
    """
    found: dict[Request, Maps] = {}
    for start in range(0, len(requests), CHUNK):
        part = requests[start : start + CHUNK]
        images = np.stack([faces.faces[row] for row, _ in part])
        maps = lens.maps(method, images, np.array([target for _, target in part]))
        found |= dict(zip(part, maps, strict=True))
        step(PASSES[method] * len(part))
    return found


def _requests(right: Sequence[Rows], spread: Sequence[Rows], confusions: Sequence[Confusion]) -> list[Request]:
    """All that is shown or averaged, each once."""
    wanted = {(int(row), label) for groups in (right, spread) for label, rows in enumerate(groups) for row in rows}
    for confusion in confusions:
        for direction in confusion.directions:
            wanted |= {(int(row), label) for row in direction.rows for label in (direction.truth, direction.said)}
    return sorted(wanted)


def _compared(spread: Sequence[Rows]) -> list[Request]:
    """As many right images of each class as there are, up to an equal part of `SANITY_IMAGES`."""
    each = max(1, SANITY_IMAGES // len(spread))
    return [(int(row), label) for label, rows in enumerate(spread) for row in rows[:: max(1, -(-len(rows) // each))][:each]]


def _sanity(trained: Mapping[Request, Maps], redrawn: Mapping[Request, Maps]) -> Sanity:
    if not redrawn:
        return Sanity(None, 0)
    pairs = [(trained[request], maps) for request, maps in redrawn.items()]
    found = rank_correlations(np.stack([one for one, _ in pairs]), np.stack([other for _, other in pairs]))
    return Sanity(float(found.mean()) if len(found) else None, len(found))
