"""Two single runs compared image by image, over the test images that both were tested on.

A table compares rows, whose seeds show how much a seed contributes. Two runs show only which of these two networks is better:
the interval covers the draw of the images, not that of the seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_ablate.judgement.evidence import SeedEvidence, row_evidence
from fer_ablate.judgement.judged_table import Difference
from fer_ablate.judgement.protocols import CONFIG_KEYS, differing_protocols
from fer_ablate.judgement.row_runs import RowRuns, ScoredRun
from fer_ablate.judgement.statistics import Estimate, by_group, holm, image_difference, mcnemar
from fer_ablate.judgement.verdicts import Comparison, judged_difference

METRIC = "acc"


@dataclass(frozen=True)
class PairedTest:
    """A run compared with another one.

    Args:
        images: number of images that both were tested on; 0 if they were not compared.
        won, lost: images that only this run, or only the other one, is right about.
        difference: accuracy of this run minus that of the other over these images; None if they were not compared.
        mcnemar: two-sided p of McNemar's exact test, not corrected for several comparisons; NaN if they were not compared.
        problem: why they were not compared; empty if they were.
    """

    images: int = 0
    won: int = 0
    lost: int = 0
    difference: Difference | None = None
    mcnemar: float = np.nan
    problem: str = ""


def paired_tests(runs: Sequence[ScoredRun], split: str) -> list[PairedTest]:
    """Compare each run but the first with the first one; verdicts are corrected for the number of comparisons (Holm).

    Args:
        runs: finished.
        split: such as `test`.
    """
    tests = [_unjudged(runs[0], other, split) for other in runs[1:]]
    corrected = holm([estimate.p if estimate is not None else np.nan for _, estimate in tests])
    return [
        test if estimate is None else _judged(test, estimate, p) for (test, estimate), p in zip(tests, corrected, strict=True)
    ]


def _unjudged(first: ScoredRun, other: ScoredRun, split: str) -> tuple[PairedTest, Estimate | None]:
    if problem := _unlike(first, other):
        return PairedTest(problem=problem), None
    column = f"{split}/{METRIC}"
    sides = []
    for run in (first, other):
        found = row_evidence(_as_row(run), [column]).get(column)
        if not isinstance(found, SeedEvidence):
            return PairedTest(problem=f"{run.header.name} has no scores of {split}"), None
        if found.scores is None or found.images is None:
            return PairedTest(problem=found.problem.rstrip(".")), None
        sides.append((found.images, found.scores[0], found.groups))
    (images, baseline, groups), (own_images, right, _) = sides
    shared, in_first, in_other = np.intersect1d(images, own_images, return_indices=True)
    if not len(shared):
        return PairedTest(problem=f"they share no images of {split}"), None
    baseline, right = baseline[in_first], right[in_other]
    test = PairedTest(len(shared), int((right > baseline).sum()), int((right < baseline).sum()), None, mcnemar(right, baseline))
    if groups is None:
        return test, image_difference(right[None], baseline[None])
    drawn, share = by_group(np.stack([right, baseline]), groups[in_first])
    return test, image_difference(drawn[:1], drawn[1:], share=share)


def _unlike(first: ScoredRun, other: ScoredRun) -> str:
    """Why two runs cannot be compared image by image; empty if they can."""
    # Row numbers identify images only within the same data.
    if first.header.data_digest != other.header.data_digest:
        return "they used different data"
    rows = [RowRuns(label, (run.header.seed,), (run,)) for label, run in zip("AB", (first, other), strict=True)]
    if parts := differing_protocols(rows):
        listed = "; ".join(f"{CONFIG_KEYS.get(part, part)} {' against '.join(values)}" for part, values in parts.items())
        return f"they used different evaluation protocols ({listed})"
    return ""


def _as_row(run: ScoredRun) -> RowRuns:
    return RowRuns(run.header.name, (run.header.seed,), (run,))


def _judged(test: PairedTest, estimate: Estimate, p: float) -> PairedTest:
    # The p of the t test, which agrees with the interval about 0; the exact p of McNemar stands beside it.
    difference = judged_difference(METRIC, Comparison(estimate.value, estimate.p, estimate), p)
    return PairedTest(test.images, test.won, test.lost, difference, test.mcnemar)
