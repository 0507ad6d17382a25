"""Factors that tests of designs and effects share, crossed to designs."""

import itertools

from fer_ablate.judgement.designs import Design
from fer_ablate.judgement.judged_table import Difference, Factor, Verdict

OPTIMIZER = Factor("optimizer", ("adam", "sgd"), "adam")
SCHEDULER = Factor("scheduler", ("constant", "cosine", "step"), "constant")
LOSS = Factor("loss", ("ce", "focal"), "ce")


def crossed(*factors):
    """A full design, whose labels are the levels."""
    rows = {" ".join(levels): levels for levels in itertools.product(*(factor.levels for factor in factors))}
    return Design(factors, rows)


def difference(value, kind=Verdict.noise, verdict="within noise (could be -1.0 to +1.0)"):
    return Difference(value, value - 0.01, value + 0.01, 0.01, 0.02, verdict, kind)
