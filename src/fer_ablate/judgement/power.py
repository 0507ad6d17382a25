"""How many seeds would show a difference: power of the test of a table, before or after the runs that it judges.

Power is the share of tables in which a true difference of a given size is called one. It is drawn rather than looked up, since
the test takes the larger of two estimates of a spread (`statistics.usual_spread`), for which no formula is tabulated.

Letters: S seeds, D drawn tables.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from fer_ablate.judgement.judged_table import LEVEL
from fer_ablate.judgement.statistics import FEWEST_ROWS, Array, SeedSpread, chi2_median, difference_parts

POWER = 0.8
"""Share of tables that should call a true difference one, as is usual (Cohen 1988, Statistical Power Analysis)."""

MOST_SEEDS = 100
"""Seeds up to which an answer is looked for."""

_TABLES = 4000
"""Drawn tables: the share of those that find a difference is known to a percentage point."""

_MANY = 500.0
"""Degrees of freedom from which a variance is as good as known."""


@dataclass(frozen=True)
class Noise:
    """What makes the difference of two rows vary.

    Args:
        images: variance from the draw of the images, which more seeds do not reduce.
        images_df: degrees of freedom that it is known with.
        row, baseline: variance between single runs of a row.
        explained: the part of these two together that the variance between images has in it, too.
        rows: rows of the table whose usual spread counts at least; 0: none does.
    """

    images: float
    images_df: float
    row: float
    baseline: float
    explained: float = 0.0
    rows: int = 0


def noise_of(row: Array, baseline: Array, usual: SeedSpread | None, rows: int, share: float = 1.0) -> Noise:
    """The noise that two rows of a table show.

    Args:
        row: (S, N) scores, or those of persons.
        baseline: (S', N), over the same images.
        usual: spread of the table.
        rows: number of its rows.
        share: as in `statistics.image_difference`.
    """
    parts = difference_parts(row, baseline, usual, share)
    disagreement = [parts.row_disagreement / len(row), parts.baseline_disagreement / len(baseline)]
    return Noise(
        images=max(parts.images - sum(disagreement), 0.0),
        images_df=max(row.shape[1] - 1, 1),
        row=parts.row_spread,
        baseline=parts.baseline_spread,
        explained=parts.row_disagreement + parts.baseline_disagreement,
        rows=rows if usual is not None else 0,
    )


def seeds_needed(noise: Noise, difference: float, comparisons: int = 1, power: float = POWER) -> int | None:
    """The fewest seeds of both rows with which a difference is shown with this power; None if `MOST_SEEDS` are not enough.

    Args:
        noise: see there.
        difference: true one, in the unit of the scores.
        comparisons: number of rows that are compared in the table, for which verdicts are corrected.
        power: from 0 to 1.
    """
    if power_with(noise, difference, MOST_SEEDS, comparisons) < power:
        return None
    low, high = 1, MOST_SEEDS  # too few, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_with(noise, difference, middle, comparisons) >= power else (middle, high)
    return high


def smallest_told(noise: Noise, comparisons: int = 1, power: float = POWER) -> float:
    """The smallest difference that any number of seeds could show: more seeds do not make more test images."""
    normal = special.ndtri(1 - (1 - LEVEL) / comparisons / 2) + special.ndtri(power)
    return float(normal * np.sqrt(noise.images))


def power_with(noise: Noise, difference: float, seeds: int, comparisons: int = 1) -> float:
    """Share of tables with this many seeds, at least 2, that call a true difference one."""
    z, row_draw, baseline_draw, usual_draw = _draws(seeds, noise.rows)
    spreads, uncertainty = [], np.zeros(_TABLES)
    disagreement = noise.explained / 2
    for size, own in ((noise.row, row_draw), (noise.baseline, baseline_draw)):
        usual = size * usual_draw if noise.rows else np.zeros(_TABLES)
        spread, df = np.maximum(size * own, usual), np.where(size * own >= usual, seeds - 1, noise.rows * (seeds - 1) / 2)
        counts = spread > disagreement
        spreads.append(np.where(counts, spread - disagreement, 0) / seeds)
        uncertainty += np.where(counts, (spread / seeds) ** 2 / np.maximum(df, 1), 0)
    images = noise.images + noise.explained / seeds
    # Few persons show their spread badly; that of hundreds of images is as good as known.
    estimated = images * _image_draws(min(noise.images_df, _MANY)) + sum(spreads)
    uncertainty += images**2 / noise.images_df
    true = images + sum(max(size - disagreement, 0) / seeds for size in (noise.row, noise.baseline))
    df = np.maximum(estimated**2 / uncertainty, seeds - 1)
    t = (difference + np.sqrt(true) * z) / np.sqrt(estimated)
    return float(np.mean(special.stdtr(df, -t) < (1 - LEVEL) / comparisons / 2))


@cache
def _image_draws(df: float) -> NDArray[np.float64]:
    """Estimates of a unit variance between images, (D,)."""
    return np.ones(_TABLES) if df == _MANY else np.random.default_rng(0).chisquare(df, _TABLES) / df


@cache
def _draws(seeds: int, rows: int) -> tuple[NDArray[np.float64], ...]:
    """Standard normal numbers, and estimates of unit variances: of two rows, and the usual one; (D,) each."""
    generator = np.random.default_rng([seeds, rows])
    df = seeds - 1
    own = generator.chisquare(df, (_TABLES, max(rows, 2))) / df
    usual = np.median(own, axis=1) * df / chi2_median(df) if rows >= FEWEST_ROWS else np.zeros(_TABLES)
    return generator.standard_normal(_TABLES), own[:, 0], own[:, 1], usual
