"""What designs claim whose rows are runs of one network that differ by their seeds alone: every certain effect is false.

    python -m fer_ablate --config-dir benchmarks/conf -m study=real_noise
    python benchmarks/real_effects.py [designs=1000] [runs_dir=runs and other words of fer_ablate]

As `real_noise.py`, for main effects and interactions: the runs of each row of the study are cut at random into designs.
"""

import itertools
import sys

import numpy as np
from common import table

from fer_ablate.execution.planning import plan_of
from fer_ablate.judgement.contrasts import RowParts, image_contrast
from fer_ablate.judgement.designs import Design
from fer_ablate.judgement.effects import interactions, main_effects
from fer_ablate.judgement.evidence import SeedEvidence, row_evidence
from fer_ablate.judgement.judged_table import Factor
from fer_ablate.judgement.planned_rows import rows_with_runs
from fer_ablate.judgement.statistics import holm, usual_spread

METRICS = ("acc", "macro_f1", "loss")
SIZES = ((2, 2, 6), (2, 3, 4), (2, 4, 3), (3, 4, 2))
"""Levels of two factors, and seeds."""


def main() -> None:
    """Print the share of designs with a false verdict and the coverage of their intervals, for each network and metric."""
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    designs = int(given.pop("designs", 1000))
    words = ["--config-dir", "benchmarks/conf", "study=real_noise", *(f"{key}={value}" for key, value in given.items())]
    plan, _, _ = plan_of(words)
    lines = []
    for row in rows_with_runs(plan):
        if len(row.runs) < max(one * other * seeds for one, other, seeds in SIZES):
            raise SystemExit(f"{row.label}: only {len(row.runs)} runs are finished. Train the study first.")
        for metric, size in itertools.product(METRICS, SIZES):
            found = row_evidence(row, [f"test/{metric}"])[f"test/{metric}"]
            assert isinstance(found, SeedEvidence)
            assert found.scores is not None
            shares = _cut(found.scores, designs, *size)
            lines.append([row.label, metric, " x ".join(map(str, size)), *(f"{100 * share:.1f} %" for share in shares)])
    header = ["network", "metric", "levels x seeds", "designs with a false verdict", "main effects that cover 0", "interactions"]
    print(f"{designs:,} designs\n")
    print(table(header, lines))


def _cut(scores: np.ndarray, designs: int, one: int, other: int, seeds: int) -> tuple[float, float, float]:
    """Share of designs with a false verdict, and of intervals of main effects and of interactions that cover 0."""
    factors = [Factor(name, tuple(map(str, range(size))), "0") for name, size in (("a", one), ("b", other))]
    rows = {" ".join(levels): levels for levels in itertools.product(*(factor.levels for factor in factors))}
    design, generator = Design(tuple(factors), rows), np.random.default_rng(0)
    kinds = [main_effects(design), interactions(design)]
    false, covered = 0, ([], [])
    for _ in range(designs):
        runs = generator.permutation(len(scores))[: len(rows) * seeds].reshape(len(rows), seeds)
        usual = usual_spread([scores[one] for one in runs])
        parts = {label: RowParts.of(scores[one], usual) for label, one in zip(rows, runs, strict=True)}
        p = []
        for contrasts, held in zip(kinds, covered, strict=True):
            for contrast in contrasts:
                found = image_contrast([parts[label] for label in contrast.weights], list(contrast.weights.values()))
                held.append(found.interval()[0] <= 0 <= found.interval()[1])
                p.append(found.p)
        false += min(holm(p)) < 0.05
    return false / designs, float(np.mean(covered[0])), float(np.mean(covered[1]))


if __name__ == "__main__":
    main()
