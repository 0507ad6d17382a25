"""Numbers and names as people read them: percent, millions of parameters, minutes, short labels."""

import math
from collections.abc import Iterable
from statistics import median

from fer_ablate.judgement.doubtful_units import doubtful_unit
from fer_ablate.metrics import SUPPORT, in_percent

ABSENT = "—"
"""A cell without a value."""


def scale(column: str) -> float:
    """Factor by which a metric such as `test/acc` is multiplied when shown: 100 where it is a fraction of one."""
    return 100.0 if in_percent(column.partition("/")[2] or column) else 1.0


def metric_name(column: str) -> str:
    """The name of a metric as people read it, such as `test macro f1`."""
    return column.replace("/", " ").replace("_", " ")


def metric_title(column: str) -> str:
    """The name of a metric with its unit, such as `test acc, %`."""
    return metric_name(column) + (", %" if scale(column) == 100 else "")


def decimals(column: str, spreads: Iterable[float]) -> int:
    """Digits after the point for all rows of a column.

    One for percent, none for numbers of images and three for other metrics; one more where the usual spread between seeds would
    vanish in the last digit.

    Args:
        column: such as `test/acc`.
        spreads: standard deviations in the unit of the metric; NaN for single runs.
    """
    if column.partition("/")[2].startswith(SUPPORT):
        return 0
    digits = 1 if scale(column) == 100 else 3
    known = [scale(column) * spread for spread in spreads if math.isfinite(spread)]
    return digits + (bool(known) and median(known) < 10.0**-digits)


def number(value: float, digits: int, signed: bool = False) -> str:
    """A number with `digits` digits after the point, never a negative zero; `—` if it is not finite."""
    if not math.isfinite(value):
        return ABSENT
    return f"{value:+z.{digits}f}" if signed else f"{value:z.{digits}f}"


def interval(low: float, high: float, digits: int, signed: bool = False) -> str:
    """An interval as `[low, high]`; `—` if an end is not finite."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ABSENT
    return f"[{number(low, digits, signed)}, {number(high, digits, signed)}]"


MOST_PRINTED_DIGITS = 2
"""Digits after the point that are shown of a printed number; some documents print all that the computer knows."""


def printed_digits(values: Iterable[float]) -> int:
    """Digits after the point that show all of these printed numbers, so that 46.2 reads as 46.20 beside 53.84; at most two."""
    # Not by `str`, which would write a printed 64 as 64.0.
    return min(MOST_PRINTED_DIGITS, max((len(f"{value:.10g}".partition(".")[2]) for value in values), default=0))


def published(column: str, values: Iterable[float | None], digits: int | None = None) -> tuple[str, ...]:
    """Published numbers of a column, such as `46.20` beside `53.84`, with a question where the unit is doubtful.

    Args:
        column: such as `test/acc`.
        values: as printed; None where there is none.
        digits: after the point; None: as many as show all values that are not in doubt.
    """
    found = [(value, "" if value is None else doubtful_unit(column.partition("/")[2], value)) for value in values]
    if digits is None:
        digits = printed_digits(value for value, question in found if value is not None and not question)
    return tuple(
        ABSENT if value is None else f"{value:.4g} ({question})" if question else number(value, digits)
        for value, question in found
    )


def count(value: float) -> str:
    """A count in thousands, millions or thousand millions: `3.66 M`, `515.7 M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.99995 * size:  # what would be shown as 1000.0 of the smaller unit
            return f"{value / size:.{2 if value < 10 * size else 1}f} {letter}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """Seconds in the unit a person would choose: `42 s`, `3.5 min`, `2.1 h`."""
    # Units change at 90 rather than 60: 75 s is more exact than 1.2 min.
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def memory(mebibytes: float) -> str:
    """Memory as `412 MiB` or `1.9 GiB`."""
    return f"{mebibytes:.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:.1f} GiB"


def one_line(text: str) -> str:
    """Text without line breaks and control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def shorten(text: str, length: int) -> str:
    """Text of at most `length` characters. The middle is cut, since keys stand at the start and swept values at the end."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"
