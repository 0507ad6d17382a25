"""The scores of a row by class, seed by seed, and the printed classification report of a document judged by them."""

from collections.abc import Mapping, Sequence

import numpy as np

from fer_ablate.judgement.doubtful_units import doubtful_unit
from fer_ablate.judgement.judged_table import Published, Score
from fer_ablate.judgement.row_runs import RowRuns, ScoredRun
from fer_ablate.metrics import SplitResult, class_scores, in_percent

ROUNDING = 1e-6
"""Rounding error of stored metrics, which are 32-bit floats, in the unit of the table."""


def split_results(rows: Sequence[RowRuns], split: str) -> dict[str, list[SplitResult]]:
    """Label -> result of each of its seeds on a split; rows and runs without one are left out.

    The folds of a seed are counted together: they are parts of one set, and a class may be absent from some.
    """
    found = {row.label: [_together(runs, split) for runs in _by_seed(row, split)] for row in rows}
    return {label: results for label, results in found.items() if results}


def judged_by_class(row: RowRuns) -> dict[str, Score]:
    """Column -> score of a row beside the number that a document prints by class; columns without a measured one are absent.

    These numbers are compared with nothing but the printed ones. As with other published numbers, one run more is what they are
    compared with, and cross-validated rows are not judged.
    """
    results = {split: [_together(runs, split) for runs in _by_seed(row, split)] for split in splits_of(row.by_class)}
    scores = {column: class_score(column, results, printed, row.folds is None) for column, printed in row.by_class.items()}
    return {column: score for column, score in scores.items() if score is not None}


def splits_of(columns: Mapping[str, Published]) -> list[str]:
    """Splits that columns name, in order."""
    return list(dict.fromkeys(column.partition("/")[0] for column in columns))


def class_score(
    column: str, results: Mapping[str, Sequence[SplitResult]], printed: Published, repeated: bool = True
) -> Score | None:
    """Mean and spread of a metric over seeds, with the gap to its printed number; None where a run lacks the split or the class.

    Args:
        column: such as `test/recall/fear`.
        results: split -> one result per seed.
        printed: number in the document.
        repeated: whether one more run could be expected within the spread of these, which is not so of folds.
    """
    split, _, metric = column.partition("/")
    seeds = results.get(split, ())
    found = [result.value(metric) for result in seeds]
    if not found or None in found:
        return None
    values = np.array(found, np.float64)
    mean, sd = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else np.nan
    unit = 100 if in_percent(metric) else 1
    asked = doubtful_unit(metric, printed.value)
    return Score(
        n=len(values),
        images=seeds[0].n,
        mean=mean,
        sd=sd,
        low=np.nan,
        high=np.nan,
        over_images=False,
        published=printed,
        gap=None if asked else unit * mean - printed.value,
        agrees=agrees(values, printed.value, unit) if repeated and len(values) > 1 and not asked else None,
    )


def agrees(values: Sequence[float] | np.ndarray, printed: float, unit: float) -> bool:
    """Whether a printed number is within the range where one more run would fall, by two runs or more."""
    from fer_ablate.judgement.statistics import prediction_interval  # loads scipy, which takes half a second

    low, high = prediction_interval(np.asarray(values, np.float64))
    return within(printed, (low, high), unit)


def within(printed: float, interval: tuple[float, float], unit: float) -> bool:
    """Whether a printed number is in an interval, as exactly as it is printed: 62 % may be any from 61.5 to 62.5 %.

    Args:
        printed: in the unit of the table.
        interval: as metrics are stored.
        unit: 100 where these are fractions; other numbers are not taken for rounded ones.
    """
    slack = ROUNDING + (0.5 * 10.0 ** -len(f"{printed:.10g}".partition(".")[2]) if unit == 100 else 0)
    return bool(unit * interval[0] - slack <= printed <= unit * interval[1] + slack)


def _by_seed(row: RowRuns, split: str) -> list[list[ScoredRun]]:
    """Groups of runs whose counts are added: the folds of one seed, or single runs without folds."""
    runs = [run for run in row.runs if split in run.result.splits]
    if row.folds is None:
        return [[run] for run in runs]
    seeds = dict.fromkeys(run.header.seed for run in runs)
    return [[run for run in runs if run.header.seed == seed] for seed in seeds]


def _together(runs: Sequence[ScoredRun], split: str) -> SplitResult:
    return counted_together([run.result.splits[split] for run in runs])


def counted_together(results: Sequence[SplitResult]) -> SplitResult:
    """One result of the predictions of several, such as the folds of a seed."""
    if len(results) == 1:
        return results[0]
    counts = np.sum([result.confusion for result in results], axis=0).tolist()
    scores = class_scores(counts, list(results[0].per_class))
    # Counts do not give metrics of probabilities, such as the loss; those of counts are computed when they are read.
    return SplitResult(n=sum(result.n for result in results), metrics={}, per_class=scores, confusion=counts)
