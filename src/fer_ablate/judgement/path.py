"""An ablation path: from a baseline to another row of a study, one change at a time, each time the one that scores best on val.

Which change comes next is decided by val alone; what the steps gain is judged on all columns.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from fer_ablate.judgement.evidence import SeedEvidence, row_evidence, split_and_metric
from fer_ablate.judgement.judged_table import STRICT_JSON, Difference, JudgedTable, Score, Verdict
from fer_ablate.judgement.protocols import Comparability
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.judgement.statistics import usual_spread
from fer_ablate.judgement.verdicts import Comparison, compared, judged_differences, same_runs, widened, with_zero
from fer_ablate.judgement.wording import Judging

FILE = "path.json"
"""Name of the stored path in the folder of its table."""

ORDER_NOTE = (
    "The order was chosen by {column} of these very runs, so gains there look larger than they are, on test only as far as their "
    "seeds were lucky. No test image decided; fresh seeds show what is left."
)
"""How lucky: `benchmarks/path_order.py`."""


@dataclass(frozen=True)
class Candidate:
    """A change that was tried at a step.

    Args:
        change: for people.
        value: mean of the deciding column over the runs; None if they are not finished, or cannot be.
        problem: why it was no candidate at this step; may be empty.
    """

    change: str
    value: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Decided:
    """A step whose change is known.

    Args:
        label: of the row with all changes up to this one.
        change: that was made, for people.
        candidates: all that could have been made, in the order of the overrides.
    """

    label: str
    change: str
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class PathStep:
    """A step with its scores.

    Args:
        decided: what was changed, and what was tried.
        scores: column -> score after the step, with its difference to the baseline.
        gains: column -> difference to the step before; corrected for the number of steps (Holm).
        wider: column -> interval of a gain within noise whose 95 % interval is wider for the number of steps.
    """

    decided: Decided
    scores: dict[str, Score]
    gains: dict[str, Difference]
    wider: dict[str, tuple[float, float]] = field(default_factory=dict)

    def interval(self, column: str) -> tuple[float, float]:
        """The interval of the gain that its verdict is about; NaN where there is none."""
        gain = self.gains.get(column)
        return self.wider.get(column, (gain.low, gain.high) if gain is not None else (math.nan, math.nan))


@dataclass(frozen=True)
class AblationPath:
    """A path from the baseline to another row.

    Args:
        study: name of the path.
        baseline: label of the row at its beginning.
        target: label of the row at its end.
        decides: column that chose the steps, such as `val/acc`.
        columns: that are judged.
        start: column -> score of the baseline.
        steps: in order; fewer than there are changes while runs are missing.
        notes: sentences for people.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT_JSON

    study: str
    baseline: str
    target: str
    decides: str
    columns: tuple[str, ...]
    start: dict[str, Score]
    steps: tuple[PathStep, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The path as JSON text, every number in full."""
        return TypeAdapter(AblationPath).dump_json(self, indent=2).decode() + "\n"

    @classmethod
    def from_json(cls, text: str) -> "AblationPath":
        """Inverse of `to_json`.

        Raises:
            ValueError: the text is not JSON, or a field is missing or of another type.
        """
        return TypeAdapter(AblationPath).validate_json(text)


def best_change(candidates: Mapping[Any, float], higher_is_better: bool) -> Any:
    """The candidate with the best score; of equal ones the first. One without a number (NaN) is behind all others.

    >>> best_change({"norm": math.nan, "width": 0.81, "depth": 0.84, "lr": 0.84}, True)
    'depth'
    """
    sign = 1 if higher_is_better else -1
    return max(candidates, key=lambda one: -math.inf if math.isnan(candidates[one]) else sign * candidates[one])


def most_rows(changes: int) -> int:
    """Rows that a path may need: the baseline, and at each step every change that is left.

    >>> most_rows(3)
    7
    """
    return 1 + changes * (changes + 1) // 2


def judged_path(
    table: JudgedTable, rows: Sequence[RowRuns], decided: Sequence[Decided], target: str, decides: str, notes: Sequence[str] = ()
) -> AblationPath:
    """Judge a path.

    Args:
        table: of the rows on the path, compared with the baseline.
        rows: with these labels, the baseline among them.
        decided: steps whose change is known.
        target: label of the row at the end.
        decides: column that chose the steps.
        notes: for people, such as what could not be tried.
    """
    scores = {row.label: row.scores for row in table.rows}
    baseline = next(row.label for row in table.rows if row.baseline)
    order = [baseline, *(one.label for one in decided)]
    on_path = {row.label: row for row in rows if row.label in order}
    gains = {column: step_gains([on_path[label] for label in order], column, table) for column in table.columns}

    def step(one: Decided) -> PathStep:
        found = {column: known[one.label] for column, known in gains.items() if one.label in known}
        wider = {column: gain.wider for column, gain in found.items() if gain.wider is not None}
        return PathStep(one, scores[one.label], {column: gain.difference for column, gain in found.items()}, wider)

    order_note = [ORDER_NOTE.format(column=decides.replace("/", " "))] if len(decided) > 1 else []
    steps = tuple(map(step, decided))
    return AblationPath(table.study, baseline, target, decides, table.columns, scores[baseline], steps, (*order_note, *notes))


@dataclass(frozen=True)
class Gain:
    """Difference of a step to the one before; `wider` as in `PathStep`."""

    difference: Difference
    wider: tuple[float, float] | None = None


def step_gains(rows: Sequence[RowRuns], column: str, table: JudgedTable) -> dict[str, Gain]:
    """Label -> gain of a step, with a verdict that counts the steps (Holm).

    Args:
        rows: of the path, from the baseline on.
        column: such as `test/acc`.
        table: that has these rows; it says which way is better, and the margin.
    """
    evidence = {row.label: row_evidence(row, [column]) for row in rows}
    repeated = [
        drawn[0]
        for found in evidence.values()
        if isinstance(one := found.get(column), SeedEvidence) and (drawn := one.drawn) is not None
    ]
    usual, count = usual_spread(repeated), sum(len(scores) > 1 for scores in repeated)
    comparisons: dict[str, Comparison] = {}
    gains: dict[str, Gain] = {}
    for before, after in pairwise(rows):
        both = Comparability(before, {row.label: row for row in (before, after)}, evidence)
        if both.same_runs(after.label):
            gains[after.label] = Gain(same_runs(before.label))
        elif both.comparable(after.label, column):
            comparisons[after.label] = compared(evidence[after.label][column], evidence[before.label][column], usual, count)
    judging = _judging(table, column)
    differences = judged_differences(judging, list(comparisons.values()))
    for (label, comparison), difference in zip(comparisons.items(), differences, strict=True):
        gains[label] = Gain(difference, wider_interval(judging, comparison, difference))
    return gains


def _judging(table: JudgedTable, column: str) -> Judging:
    metric = split_and_metric(column)[1]
    return Judging.of(metric, table.higher_is_better.get(column, True), table.margin)


def wider_interval(judging: Judging, comparison: Comparison, difference: Difference) -> tuple[float, float] | None:
    """The interval of a difference that only the correction puts within noise; None for all others, whose own one fits."""
    if difference.kind is not Verdict.noise or comparison.estimate is None or not widened(difference):
        return None
    return judging.clipped(with_zero(comparison.estimate, difference.p_holm))
