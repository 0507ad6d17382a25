"""Judges rows look by look while seeds are added: each comparison ends as soon as it is decided, or is not worth more seeds.

All looks and rows of a column together call an equal row different in at most 5 % of tables: the levels of `looks` are divided
by the number of rows, and what a decided row had is left to the others, as Holm does (Maurer and Bretz 2013, Statistics in
Biopharmaceutical Research 5:311-320). Ending a comparison early without a verdict only lowers that share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fer_ablate.judgement.evidence import SeedEvidence
from fer_ablate.judgement.judged_table import Difference, Verdict
from fer_ablate.judgement.looks import nominal_levels
from fer_ablate.judgement.margins import ALPHA, p_same
from fer_ablate.judgement.power import power_with
from fer_ablate.judgement.statistics import usual_spread
from fer_ablate.judgement.verdicts import Comparison, compared, untested
from fer_ablate.judgement.wording import Judging

HOPELESS = 0.5
"""A comparison is given up if even all seeds would show a difference one standard error larger than seen in fewer tables."""

_DIFFERENT = (Verdict.better, Verdict.worse, Verdict.higher, Verdict.lower)


@dataclass(frozen=True)
class Ended:
    """How the comparison of a row came out.

    Args:
        difference: with an interval and a verdict that hold over all looks.
        seeds: of the look that ended it, or of the last one so far.
        open: whether it needs more seeds.
    """

    difference: Difference
    seeds: int
    open: bool


@dataclass(frozen=True)
class Column:
    """The scores of a column, by their seeds so far, ascending.

    Args:
        judging: how they are put into verdicts.
        rows: label -> scores of the rows that are compared.
        baseline: scores that they are compared with.
        every: scores of all rows, which show what spread is usual.
        deciding: whether this column says when rows get no more seeds; others follow as far as these seeds go.
        planned: number of rows that are compared in the end, of which some may have no scores yet.
    """

    judging: Judging
    rows: Mapping[str, SeedEvidence]
    baseline: SeedEvidence
    every: Sequence[SeedEvidence]
    deciding: bool = True
    planned: int = 0

    @property
    def comparisons(self) -> int:
        """Number of rows by which the levels are divided."""
        return max(len(self.rows), self.planned)

    def compared(self, labels: Sequence[str], seeds: int) -> dict[str, Comparison]:
        """Comparisons over the first seeds of those rows that have as many."""
        ready = [label for label in labels if min(self.rows[label].n, self.baseline.n) >= seeds]
        drawn = [one[0] for row in self.every if (one := row.first(seeds).drawn) is not None] if ready else []
        usual, count = usual_spread(drawn), sum(len(scores) > 1 for scores in drawn)
        baseline = self.baseline.first(seeds)
        return {label: compared(self.rows[label].first(seeds), baseline, usual, count) for label in ready}


def judged_in_looks(column: Column, looks: tuple[int, ...]) -> dict[str, Ended]:
    """Label -> outcome of each row, as far as its seeds go.

    Args:
        column: scores of the rows.
        looks: numbers of seeds after which the table is looked at.
    """
    ended: dict[str, Ended] = {}
    for seeds in looks:
        waiting = column.compared([label for label in column.rows if label not in ended or ended[label].open], seeds)
        if not waiting:
            break
        while new := _decided(column, waiting, looks, seeds, ended):
            ended |= {label: Ended(difference, seeds, open=False) for label, difference in new.items()}
            waiting = {label: one for label, one in waiting.items() if label not in new}
        level, _ = _levels(column, looks, seeds, ended)
        for label, comparison in waiting.items():
            over = seeds == looks[-1] or (column.deciding and _hopeless(comparison, looks[-1], column.comparisons))
            difference = _undecided(column.judging, comparison, level, waits=column.deciding and not over)
            ended[label] = Ended(difference, seeds, open=not over)
    return ended


def _decided(
    column: Column, waiting: Mapping[str, Comparison], looks: tuple[int, ...], seeds: int, ended: Mapping[str, Ended]
) -> dict[str, Difference]:
    """Verdicts of a look; each leaves more of the 5 % to the rows that are still waiting."""
    levels = _levels(column, looks, seeds, ended)
    found = {label: _decision(column.judging, comparison, levels) for label, comparison in waiting.items()}
    return {label: difference for label, difference in found.items() if difference is not None}


def _levels(column: Column, looks: tuple[int, ...], seeds: int, ended: Mapping[str, Ended]) -> tuple[float, float]:
    """Levels of a look for differences and for sameness, which are claims of their own."""
    kinds = [one.difference.kind for one in ended.values()]
    done = (sum(kind in _DIFFERENT for kind in kinds), kinds.count(Verdict.same))
    place = looks.index(seeds)
    for_difference, for_margin = (nominal_levels(looks, ALPHA / max(column.comparisons - count, 1))[place] for count in done)
    return for_difference, for_margin


def _decision(judging: Judging, comparison: Comparison, levels: Sequence[float]) -> Difference | None:
    """The verdict of a look; None if there is none yet.

    Args:
        judging: of the column.
        comparison: over the seeds of the look.
        levels: of this look, for a difference and for a margin.
    """
    estimate = comparison.estimate
    if estimate is None:
        return None
    for_difference, for_margin = levels
    interval = estimate.interval(1 - for_difference)
    p = _adjusted(comparison.p, for_difference)
    found = Difference(comparison.value, *judging.clipped(interval), comparison.p, p, "")
    if comparison.p < for_difference:
        kind, words = judging.certain(interval)
        return replace(found, kind=kind, verdict=words)
    if p_same(judging, estimate) < for_margin:
        words = f"{judging.same()} ({judging.could_be(estimate.interval(1 - 2 * for_margin))})"
        return replace(found, kind=Verdict.same, verdict=words, within_margin=True)
    return None


def _undecided(judging: Judging, comparison: Comparison, level: float, waits: bool) -> Difference:
    """What is known of a comparison without a verdict.

    Args:
        judging: of the column.
        comparison: over the seeds of the look.
        level: of this look.
        waits: whether more seeds are added.
    """
    estimate = comparison.estimate
    if estimate is None:
        return untested(comparison, comparison.p)
    interval = estimate.interval(1 - level)
    p = _adjusted(comparison.p, level)
    words = f"within noise (could be {judging.could_be(interval)}{'; not decided yet' if waits else ''})"
    return Difference(comparison.value, *judging.clipped(interval), comparison.p, p, words, Verdict.noise)


def _hopeless(comparison: Comparison, most: int, rows: int) -> bool:
    """Whether even all seeds would hardly tell a difference that is a little larger than the one seen."""
    if comparison.estimate is None or comparison.noise is None:
        return False
    likely = abs(comparison.value) + float(np.sqrt(comparison.estimate.variance))
    return power_with(comparison.noise, likely, most, rows) < HOPELESS


def _adjusted(p: float, level: float) -> float:
    """P that is below 5 % exactly if the unadjusted one is below the level of its look."""
    return min(1.0, p * ALPHA / level)
