"""Explains a network: chooses images, computes their heat maps, the weight on each region, and the sanity check of each method.

Letters: K classes, R regions, H W pixels of what the network sees.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fer_ablate.data.faces import FaceSet, Progress, Rows
from fer_ablate.explain.attributions import PASSES, Explainer, Maps
from fer_ablate.explain.choose import ConfusedPair, common_confusions, spread_right, surest_right
from fer_ablate.explain.regions import Shares, as_shares, region_masks, region_shares
from fer_ablate.explain.sanity import SanityCheck, randomised, rank_correlations
from fer_ablate.training.evaluation import Predictions

MapTarget = tuple[int, int]
"""Row of an image, and index of the class whose score is explained."""

EXAMPLES = 3
"""Images shown for each direction of a confusion."""

SANITY_IMAGES = 28
"""Images for the sanity check, four of each of seven classes."""

CHUNK = 8
"""Images between two updates of the progress bar."""


@dataclass(frozen=True)
class ExplanationSpec:
    """Which methods and how many images to use.

    Args:
        methods: some of `attributions.PASSES`.
        per_class: images to show of each class, those that the network was right about and surest of.
        pairs: pairs of confused classes to show.
        images: correct images of each class that means are taken over.
    """

    methods: tuple[str, ...]
    per_class: int
    pairs: int
    images: int


@dataclass(frozen=True)
class Explanation:
    """The chosen images of a split, their heat maps and the sanity checks.

    Args:
        spec: which methods and how many images were used.
        explainer: computes the maps of the network.
        faces: the set that all rows refer to.
        predictions: predictions of the split.
        right: class -> rows of the correct images that the network was surest of.
        spread: class -> rows of the correct images that means are taken over.
        confusions: pairs of confused classes, most common first.
        maps: method -> image and class -> (H, W).
        masks: (R, H, W), the pixels of each region.
        sanity: method -> its sanity check.
    """

    spec: ExplanationSpec
    explainer: Explainer
    faces: FaceSet
    predictions: Predictions
    right: list[Rows]
    spread: list[Rows]
    confusions: list[ConfusedPair]
    maps: dict[str, dict[MapTarget, Maps]]
    masks: NDArray[np.bool_]
    sanity: dict[str, SanityCheck]

    def face(self, row: int) -> NDArray[np.float64]:
        """Give what the network sees of an image, as (H, W, 3) red, green, blue in [0, 1]; in a gray image these are equal."""
        seen = self.explainer.seen(self.faces.faces[row][None])[0]
        return np.asarray(seen.expand(3, -1, -1).permute(1, 2, 0).cpu().numpy(), np.float64)

    def probability(self, row: int, label: int) -> float:
        """Probability that the network gave a class for an image of the split."""
        return float(self.predictions.probabilities[np.searchsorted(self.predictions.rows, row), label])

    def class_maps(self, method: str, label: int) -> Maps:
        """Maps (n, H, W) of the correct images of one class."""
        found = [self.maps[method][int(row), label] for row in self.spread[label]]
        return np.stack(found) if found else np.zeros((0, *self.masks.shape[1:]), np.float32)

    def mean_map(self, method: str, label: int) -> Maps:
        """Mean map (H, W) of the correct images of one class, each scaled to a sum of 1; zero if there are none."""
        shares = as_shares(self.class_maps(method, label))
        mean: Maps = shares.sum(axis=0) / max(1, len(shares))
        return mean

    def shares(self, method: str, label: int) -> Shares | None:
        """Share of the weight (R,) on each region; None for a class without correct images or without positive weight."""
        return region_shares(self.class_maps(method, label), self.masks)

    def mean_shares(self, method: str) -> Shares | None:
        """Mean of `shares` over the classes that have some; None if no class has."""
        found = [shares for label in range(len(self.spread)) if (shares := self.shares(method, label)) is not None]
        mean: Shares | None = np.mean(found, axis=0) if found else None
        return mean


def explain_network(
    explainer: Explainer, faces: FaceSet, predictions: Predictions, spec: ExplanationSpec, progress: Progress
) -> Explanation:
    """Choose images of a split and compute their heat maps.

    Args:
        explainer: computes the maps of the network.
        faces: the set that the split is a part of.
        predictions: predictions of the network for the split.
        spec: which methods and how many images to use.
        progress: takes the finished fraction.
    """
    right, spread = surest_right(predictions, spec.per_class), spread_right(predictions, spec.images)
    confusions = common_confusions(predictions, spec.pairs, EXAMPLES)
    targets = _map_targets(right, spread, confusions)
    compared = _sanity_targets(spread)
    total = sum(PASSES[method] for method in spec.methods) * (len(targets) + len(compared))
    done = 0

    def step(passes: int) -> None:
        nonlocal done
        done += passes
        progress(done / total)

    maps = {method: heat_maps(explainer, method, faces, targets, step) for method in spec.methods}
    # The same method with redrawn weights: maps that hardly change do not show what was learnt.
    untrained = replace(explainer, network=randomised(explainer.network))
    redrawn = {method: heat_maps(untrained, method, faces, compared, step) for method in spec.methods}
    sanity = {method: _sanity(maps[method], redrawn[method]) for method in spec.methods}
    # Regions are boxes in the prepared image; the network may see only its centre.
    masks = region_masks(explainer.prepared_size(faces.size), explainer.size)
    return Explanation(spec, explainer, faces, predictions, right, spread, confusions, maps, masks, sanity)


def heat_maps(
    explainer: Explainer, method: str, faces: FaceSet, targets: Sequence[MapTarget], step: Callable[[int], None]
) -> dict[MapTarget, Maps]:
    """Compute the maps (H, W) of one method.

    Args:
        explainer: computes the maps of the network.
        method: one of `attributions.PASSES`.
        faces: the set of images.
        targets: images and classes to explain.
        step: takes the number of forward passes since its last call.
    """
    found: dict[MapTarget, Maps] = {}
    for start in range(0, len(targets), CHUNK):
        part = targets[start : start + CHUNK]
        images = np.stack([faces.faces[row] for row, _ in part])
        maps = explainer.maps(method, images, np.array([target for _, target in part]))
        found |= dict(zip(part, maps, strict=True))
        step(PASSES[method] * len(part))
    return found


def _map_targets(right: Sequence[Rows], spread: Sequence[Rows], confusions: Sequence[ConfusedPair]) -> list[MapTarget]:
    """List every image and class that is shown or averaged, each once."""
    chosen = {(int(row), label) for groups in (right, spread) for label, rows in enumerate(groups) for row in rows}
    for confusion in confusions:
        for direction in confusion.directions:
            chosen |= {(int(row), label) for row in direction.rows for label in (direction.truth, direction.predicted)}
    return sorted(chosen)


def _sanity_targets(spread: Sequence[Rows]) -> list[MapTarget]:
    """Choose up to an equal part of `SANITY_IMAGES` from the correct images of each class."""
    each = max(1, SANITY_IMAGES // len(spread))
    return [(int(row), label) for label, rows in enumerate(spread) for row in rows[:: max(1, -(-len(rows) // each))][:each]]


def _sanity(trained: Mapping[MapTarget, Maps], redrawn: Mapping[MapTarget, Maps]) -> SanityCheck:
    if not redrawn:
        return SanityCheck(None, 0)
    pairs = [(trained[target], maps) for target, maps in redrawn.items()]
    correlations = rank_correlations(np.stack([one for one, _ in pairs]), np.stack([other for _, other in pairs]))
    return SanityCheck(float(correlations.mean()) if len(correlations) else None, len(correlations))
