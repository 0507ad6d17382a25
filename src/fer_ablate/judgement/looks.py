"""Levels at which a table may be looked at several times while seeds are added, so that all looks together keep 5 %.

The level of a comparison is spent look by look (Lan and DeMets 1983, Biometrika 70:659-663), in proportion to a power of the
share of seeds (Kim and DeMets 1987, Biometrika 74:149-154). How much is left for a look follows from the joint distribution of
the earlier ones, integrated on a grid (Armitage, McPherson and Rowe 1969, JRSS A 132:235-244).

Letter: K looks.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import optimize, special

SPENDING = 1.5
"""Power of the share of seeds: 1 spends as much with each seed, 3 spends little at first."""

_POINTS = 401
"""Of the grid: levels are exact to three digits."""

_SMALLEST = 1e-15
"""A level below this one is none: no p value is known so exactly."""


@cache
def nominal_levels(looks: Sequence[int], level: float, spending: float = SPENDING) -> tuple[float, ...]:
    """(K,) two-sided levels of the single looks, which together are wrong with the probability `level`.

    The test images are the same at every look, so that looks are more alike than is assumed here: the levels are cautious.

    Args:
        looks: numbers of seeds, ascending; the last one is the most there will be.
        level: of all looks of one comparison.
        spending: power of the share of seeds with which the level is spent.
    """
    shares = np.array(looks) / looks[-1]
    spent = level * shares**spending
    levels, grid, density = [], np.zeros(1), np.ones(1)
    for share, left, step in zip(shares, np.diff(spent, prepend=0), np.diff(shares, prepend=0), strict=True):
        bound = _bound(grid, density, float(left), float(np.sqrt(step)), float(np.sqrt(share)))
        levels.append(float(2 * special.ndtr(-bound)))
        edge = bound * np.sqrt(share)
        finer = np.linspace(-edge, edge, _POINTS)
        kernel = np.exp(-((finer[:, None] - grid) ** 2) / (2 * step)) / np.sqrt(2 * np.pi * step)
        # Simpson's weights of the new grid go into the density, so that sums are integrals.
        grid, density = finer, (kernel @ density) * _simpson(_POINTS, finer[1] - finer[0])
    return tuple(levels)


def _bound(grid: np.ndarray, density: np.ndarray, left: float, step: float, root: float) -> float:
    """The bound of |z| at a look that is crossed now, and was not before, with the probability `left`.

    Args:
        grid: where the sum of the earlier looks may be.
        density: its density there, times the width of the grid.
        left: from 0 to 1.
        step: standard deviation of what this look adds to the sum.
        root: standard deviation of the sum.
    """
    if left < _SMALLEST:
        return float(-special.ndtri(_SMALLEST))

    def crossed(bound: float) -> float:
        edge = bound * root
        return float(density @ (special.ndtr(-(edge - grid) / step) + special.ndtr(-(edge + grid) / step))) - left

    return float(optimize.brentq(crossed, 0, 9))


def _simpson(points: int, width: float) -> np.ndarray:
    weights = np.full(points, 2.0)
    weights[1::2] = 4
    weights[[0, -1]] = 1
    return weights * width / 3
