"""Names of the columns of a table, such as `test/acc`: what may be wrong with one."""

import math
from collections.abc import Collection
from typing import Any

from fer_ablate.errors import choices
from fer_ablate.metrics import CLASS_SCORES, METRICS, SPLITS, SUPPORT, in_percent

EXAMPLES = "Examples: test/acc, test/recall/fear."


def column_problem(column: str, own: Collection[str] = ()) -> str:
    """What is wrong with the name of a column, with the choices there are; empty if nothing is.

    The class in `test/recall/fear` is not checked, since only the images say which classes there are.

    Args:
        column: `<split>/<metric>`, such as `test/acc`.
        own: names of metrics of the user's own.
    """
    split, _, metric = column.partition("/")
    if split not in SPLITS:
        return f"{column} does not begin with a split. {choices(split, SPLITS)} {EXAMPLES}"
    score, slash, name = metric.partition("/")
    if metric not in (*METRICS, *own) and not (slash and name and score in CLASS_SCORES):
        known = (*METRICS, *own, *(f"{score}/<class>" for score in CLASS_SCORES))
        return f"{column} does not end with a metric. {choices(metric, known)} {EXAMPLES}"
    return ""


def number_problem(metric: str, number: Any) -> str:
    """What is wrong with the printed number of a metric, such as `acc` or `recall/fear`; empty if nothing is."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return f"{number!r} is not a number."
    if in_percent(metric) and not 0 <= number <= 100:
        return f"{number:g} is not a percentage."
    if metric.startswith(f"{SUPPORT}/") and not (number >= 0 and float(number).is_integer()):
        return f"{number:g} is not a number of images."
    return "" if math.isfinite(number) else f"{number:g} is not finite."
