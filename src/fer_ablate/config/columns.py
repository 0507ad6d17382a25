"""Names of the columns of a table, such as `test/acc`: what may be wrong with one."""

from fer_ablate.errors import choices
from fer_ablate.metrics import CLASS_SCORES, METRICS, SPLITS

EXAMPLES = "Examples: test/acc, test/recall/fear."


def column_problem(column: str) -> str:
    """What is wrong with the name of a column, with the choices there are; empty if nothing is.

    The class in `test/recall/fear` is not checked, since only the images say which classes there are.
    """
    split, _, metric = column.partition("/")
    if split not in SPLITS:
        return f"{column} does not begin with a split. {choices(split, SPLITS)} {EXAMPLES}"
    score, slash, name = metric.partition("/")
    if metric not in METRICS and not (slash and name and score in CLASS_SCORES):
        known = (*METRICS, *(f"{score}/<class>" for score in CLASS_SCORES))
        return f"{column} does not end with a metric. {choices(metric, known)} {EXAMPLES}"
    return ""
