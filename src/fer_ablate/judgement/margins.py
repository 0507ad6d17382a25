"""Whether rows are the same within a margin, which "within noise" does not show: two one-sided tests.

A difference is shown to be within a margin if both one-sided tests, that it is below and that it is above, reject
(Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15:657-680).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fer_ablate.judgement.judged_table import LEVEL
from fer_ablate.judgement.statistics import Estimate, holm, t_tail
from fer_ablate.judgement.wording import Judging

ALPHA = 1 - LEVEL


@dataclass(frozen=True)
class MarginTest:
    """One claim about a margin.

    Args:
        p_holm: one-sided p, corrected for the number of rows; NaN where it cannot be tested.
        interval: of the difference; it respects the margin exactly if the claim holds.
    """

    p_holm: float
    interval: tuple[float, float]

    @property
    def holds(self) -> bool:
        """Whether the claim is shown."""
        return self.p_holm < ALPHA


UNTESTED = MarginTest(np.nan, (np.nan, np.nan))


def margin_tests(
    judging: Judging, estimates: Sequence[Estimate | None], p_of: Callable[[Judging, Estimate], float]
) -> list[MarginTest]:
    """Test one claim about each difference, corrected for their number.

    Args:
        judging: of the column.
        estimates: the differences; None where there is no test.
        p_of: `p_same` or `p_not_worse`.
    """
    p = [np.nan if estimate is None else p_of(judging, estimate) for estimate in estimates]
    tests = []
    for estimate, plain, corrected in zip(estimates, p, holm(p), strict=True):
        if estimate is None or np.isnan(plain):
            tests.append(UNTESTED)
            continue
        # Two one-sided tests at 5 % agree with an interval of 90 %, and a corrected p with one that is wider by as much.
        share = plain / corrected if corrected > 0 else 1.0
        tests.append(MarginTest(corrected, estimate.interval(1 - 2 * ALPHA * share)))
    return tests


def p_same(judging: Judging, estimate: Estimate) -> float:
    """P of the two one-sided tests that a difference is within the margin; NaN without one."""
    if judging.margin is None:
        return np.nan
    return max(_tail(estimate, judging.margin + sign * estimate.value) for sign in (1, -1))


def p_not_worse(judging: Judging, estimate: Estimate) -> float:
    """One-sided p that a row is worse by less than the margin; NaN without one, and if neither more nor less is better."""
    if judging.margin is None or judging.higher_is_better is None:
        return np.nan
    return _tail(estimate, judging.margin + (estimate.value if judging.higher_is_better else -estimate.value))


def _tail(estimate: Estimate, distance: float) -> float:
    """One-sided p that the distance of the estimate to a limit is above 0."""
    if np.isnan(estimate.variance):
        return np.nan
    if estimate.variance == 0:
        return 0.0 if distance > 0 else 1.0
    return t_tail(distance / float(np.sqrt(estimate.variance)), estimate.df)
