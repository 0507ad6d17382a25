"""What choosing the order of an ablation path on val does to the gains on test, where no change has any effect.

    python benchmarks/path_order.py

Every candidate is drawn from the same distribution: images that are hard for all rows, images that are hard for one row, seeds
that are good at all images, and chance, as in `tests/study/test_simulation.py`. Val and test images differ; the seeds, and with
them their luck, are the same.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ablate.judgement.statistics import holm, image_difference, usual_spread

EASE, DIFFICULTY, TASTE, SHIFT = 0.9, 2.0, 0.8, 0.1
CHANGES, SEEDS, IMAGES, PATHS = 4, 3, 1000, 400


def scores(generator: np.random.Generator, hard: NDArray[Any]) -> list[NDArray[Any]]:
    """Right or wrong, (seeds, images), of one row on val and on test."""
    shift = SHIFT * generator.standard_normal((SEEDS, 1))
    drawn = []
    for difficulty in hard:
        taste = TASTE * generator.standard_normal((1, IMAGES))
        drawn.append(EASE + difficulty + taste + shift + generator.standard_normal((SEEDS, IMAGES)) > 0)
    return drawn


def certain(path: list[NDArray[Any]]) -> bool:
    """Whether any step is called better or worse."""
    usual = usual_spread(path)
    estimates = [image_difference(after, before, usual) for before, after in pairwise(path)]
    return bool(min(holm([one.p for one in estimates])) < 0.05)


def main() -> None:
    """Print the gain of the first step, whose truth is 0, and how many paths have a false verdict."""
    generator = np.random.default_rng(1)
    gains, chosen, fixed = [], [], []
    for _ in range(PATHS):
        hard = DIFFICULTY * generator.standard_normal((2, IMAGES))
        path = [scores(generator, hard)]
        for left in range(CHANGES, 0, -1):
            path.append(max((scores(generator, hard) for _ in range(left)), key=lambda one: one[0].mean()))
        gains.append([100 * (path[1][role].mean() - path[0][role].mean()) for role in (0, 1)])
        chosen.append(certain([test for _, test in path]))
        fixed.append(certain([scores(generator, hard)[1] for _ in range(CHANGES + 1)]))
    val, test = np.mean(gains, axis=0)
    error = np.std(gains, axis=0)[1] / PATHS**0.5
    print(f"first step: {val:+.2f} points on val, {test:+.2f} on test (standard error {error:.2f}); truth 0, {PATHS} paths")
    print(f"false verdict in {100 * np.mean(chosen):.1f} % of paths; order fixed beforehand: {100 * np.mean(fixed):.1f} %")


if __name__ == "__main__":
    main()
