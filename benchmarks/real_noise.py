"""What tables claim whose rows are runs of one network that differ by their seeds alone: every verdict of a difference is false.

    python -m fer_ablate --config-dir benchmarks/conf -m study=real_noise
    python benchmarks/real_noise.py [tables=1000] [rows=8] [seeds=3] [runs_dir=runs and other words of fer_ablate]

The runs of each row of the study are cut at random into tables. Only seeds are drawn anew in them, and the test images stay the
same, so that intervals, which cover both, are wider than these tables need.
"""

import sys

import numpy as np
from common import table

from fer_ablate.execution.planning import plan_of
from fer_ablate.judgement.evidence import SeedEvidence, row_evidence
from fer_ablate.judgement.planned_rows import rows_with_runs
from fer_ablate.judgement.statistics import holm, image_difference, usual_spread

METRICS = ("acc", "top2", "macro_f1", "balanced_acc", "kappa", "auc", "ece", "loss", "recall/fear", "f1/fear")


def main() -> None:
    """Print the share of tables with a false verdict and the coverage of their intervals, for each network and metric."""
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    tables, rows, seeds = (int(given.pop(name, default)) for name, default in (("tables", 1000), ("rows", 8), ("seeds", 3)))
    words = ["--config-dir", "benchmarks/conf", "study=real_noise", *(f"{key}={value}" for key, value in given.items())]
    plan, _, _ = plan_of(words)
    lines = []
    for row in rows_with_runs(plan):
        if len(row.runs) < rows * seeds:
            have = f"{row.label}: {len(row.runs)} runs are finished, {rows} x {seeds} are needed."
            raise SystemExit(f"{have} Train the study first.")
        for metric in METRICS:
            found = row_evidence(row, [f"test/{metric}"])[f"test/{metric}"]
            assert isinstance(found, SeedEvidence)
            assert found.scores is not None
            false, covered = _cut(found.scores, tables, rows, seeds)
            spread = f"{found.values.mean():.4f} ± {found.values.std(ddof=1):.4f}"
            lines.append([row.label, metric, spread, f"{100 * false:.1f} %", f"{100 * covered:.1f} %"])
    print(f"{tables:,} tables of {rows} rows x {seeds} seeds\n")
    header = [
        "network",
        "metric",
        "mean ± SD of the runs",
        "tables with a false verdict",
        "intervals of differences that cover 0",
    ]
    print(table(header, lines))


def _cut(scores: np.ndarray, tables: int, rows: int, seeds: int) -> tuple[float, float]:
    """Share of tables with a false verdict, and of intervals that cover 0."""
    generator = np.random.default_rng(0)
    false, covered = 0, []
    for _ in range(tables):
        runs = generator.permutation(len(scores))[: rows * seeds].reshape(rows, seeds)
        baseline, *others = (scores[one] for one in runs)
        usual = usual_spread([baseline, *others])
        found = [image_difference(row, baseline, usual) for row in others]
        false += min(holm([one.p for one in found])) < 0.05
        covered += [one.interval()[0] <= 0 <= one.interval()[1] for one in found]
    return false / tables, float(np.mean(covered))


if __name__ == "__main__":
    main()
