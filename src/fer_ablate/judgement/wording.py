"""Verdicts in words: `better by 0.4 to 1.9 points`, `the same within 1 point (-0.4 to +0.7)`, `within noise (could be ...)`."""

import math
from dataclasses import dataclass

from fer_ablate.judgement.judged_table import Verdict
from fer_ablate.metrics import in_percent

Interval = tuple[float, float]

LIMITS = {"auc": (0.0, 1.0), "kappa": (-1.0, 1.0), "loss": (0.0, math.inf)}
"""Values that metrics can have, beside those that are fractions."""


def possible(metric: str, interval: Interval) -> Interval:
    """The interval of a mean cut to values that the metric can have: a t interval of few seeds may go beyond."""
    low, high = (0.0, 1.0) if in_percent(metric) else LIMITS.get(metric, (-math.inf, math.inf))
    # NaN stays, since no comparison with it holds.
    start, end = (low if one < low else high if one > high else one for one in interval)
    return start, end


@dataclass(frozen=True)
class Judging:
    """How the comparisons of a column are put into verdicts.

    Args:
        metric: that the column shows.
        higher_is_better: whether more of it is better; None: neither more nor less is.
        margin: difference within which rows count as the same, as a fraction; None: no such verdicts.
    """

    metric: str
    higher_is_better: bool | None = True
    margin: float | None = None

    @classmethod
    def of(cls, metric: str, higher_is_better: bool | None, points: float | None) -> "Judging":
        """With a margin in points, which metrics that are not in percent do not have."""
        return cls(metric, higher_is_better, points / 100 if points is not None and in_percent(metric) else None)

    def clipped(self, interval: Interval) -> Interval:
        """The interval cut to what is possible: a fraction cannot change by more than 1, however little two seeds show."""
        low, high = interval
        return (max(low, -1.0), min(high, 1.0)) if in_percent(self.metric) else (low, high)

    def certain(self, interval: Interval) -> tuple[Verdict, str]:
        """The verdict about an interval that leaves out 0, and its words."""
        low, high = self.clipped(interval)
        if self.higher_is_better is None:
            kind = Verdict.higher if low > 0 else Verdict.lower
        else:
            kind = Verdict.better if (low > 0) == self.higher_is_better else Verdict.worse
        near, far = sorted((abs(low), abs(high)))
        unit = " points" if in_percent(self.metric) else ""
        return kind, f"{kind.value} by {self.amount(near)} to {self.amount(far)}{unit}"

    def same(self) -> str:
        """That two rows are the same within the margin."""
        return f"the same within {self._margin()}"

    def not_worse(self) -> str:
        """That a row is not worse by more than the margin."""
        return f"no worse than {self._margin()}"

    def could_be(self, interval: Interval) -> str:
        """An interval such as `-0.4 to +1.2`; a number that rounds to 0 has no sign."""
        amounts = [(self.amount(abs(value)), "-" if value < 0 else "+") for value in self.clipped(interval)]
        return " to ".join(amount if float(amount) == 0 else f"{sign}{amount}" for amount, sign in amounts)

    def amount(self, value: float) -> str:
        """A difference, in points where the metric is in percent."""
        return f"{100 * value:.1f}" if in_percent(self.metric) else f"{value:.3f}"

    def _margin(self) -> str:
        points = 100 * (self.margin or 0)
        return f"{points:g} point" + ("" if points == 1 else "s")


def p_text(p: float) -> str:
    """A p value as text, such as `p = 0.03`."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.01 else f"p = {p:.2f}"
