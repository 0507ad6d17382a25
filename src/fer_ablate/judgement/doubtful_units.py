"""Published numbers that are likely in another unit than the table that shows them."""

from fer_ablate.metrics import in_percent

AT_MOST_ONE = ("auc", "kappa")
"""Metrics that tables show as they are, although documents may print them in percent."""


def doubtful_unit(metric: str, printed: float) -> str:
    """The question about a printed number that is likely in another unit than its table; empty where there is none.

    It is `a fraction?` for 0.65 beside accuracies in percent, and `percent?` for 90 beside areas of at most 1.
    """
    # A calibration error of less than 1 % is nothing unusual.
    if in_percent(metric) and metric != "ece" and 0 < printed <= 1:
        return "a fraction?"
    return "percent?" if metric in AT_MOST_ONE and abs(printed) > 1 else ""
