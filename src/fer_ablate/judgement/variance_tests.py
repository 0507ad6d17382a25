"""Analysis of variance over the scores of runs: whether a factor, or two together, make any difference.

statsmodels fits the linear model (ordinary least squares) and computes the F tests with sums of squares of type II, which test
each factor beside the others and each interaction beside all factors. The scores are those on the images at hand, so that these
tests generalise over seeds alone.
"""

import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ablate.judgement.designs import Design
from fer_ablate.judgement.judged_table import FactorTest


def variance_tests(design: Design, scores: Mapping[str, NDArray[Any]]) -> tuple[FactorTest, ...]:
    """F tests of all factors, and of all pairs of them if the design is crossed.

    Args:
        design: complete, or one factor at a time.
        scores: label -> (S,) score of each run.

    Returns:
        None for scores without any spread within rows, such as single runs.
    """
    if all(len(one) < 2 or np.ptp(one) == 0 for one in scores.values()):
        return ()
    # Importing takes two seconds, which tables without effects need not wait for.
    import pandas as pd
    from statsmodels.regression.linear_model import OLS
    from statsmodels.stats.anova import anova_lm

    # Names of its own, since keys such as optimizer.lr are no names in a formula.
    places = range(len(design.factors))
    lines = [
        {"score": score, **{f"f{place}": design.rows[label][place] for place in places}}
        for label, values in scores.items()
        for score in values
    ]
    pairs = list(itertools.combinations(places, 2)) if design.crossed else []
    terms: list[tuple[int, ...]] = [*((place,) for place in places), *pairs]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        fitted = OLS.from_formula(f"score ~ {' + '.join(map(_term, terms))}", pd.DataFrame(lines)).fit()
        table = anova_lm(fitted, typ=2)
    return tuple(_test(design, term, table) for term in terms)


def _term(places: Sequence[int]) -> str:
    return ":".join(f"C(f{place})" for place in places)


def _test(design: Design, places: Sequence[int], table: Any) -> FactorTest:
    line, names = table.loc[_term(places)], tuple(design.factors[place].name for place in places)
    return FactorTest(names, float(line["F"]), float(line["df"]), float(table.loc["Residual", "df"]), float(line["PR(>F)"]))
