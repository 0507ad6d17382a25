"""What the arguments of the ops may be: a rule stands in the metadata of a dataclass field and says what is wrong with a value.

An argument whose value makes an op draw random numbers says so in its metadata too: such values are for `augment.steps` alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from numbers import Real
from typing import Any, TypeGuard

from fer_ablate.errors import choices
from fer_ablate.sizes import as_size

Rule = Callable[[object], str | None]
"""Says what is wrong with a value, or None."""

Draws = Callable[[object], str | None]
"""Says what an op draws at random because of a value, or None."""

FILLS = ("border", "zeros", "reflection")
"""What lies beyond an image: its nearest pixel, black, or its mirror."""


def probability(default: float) -> Any:
    """An op's `p`, with which it changes an image at all: a field of a number from 0 to 1."""

    def draws(value: object) -> str | None:
        return None if value == 1 else "only some images would be changed"

    return field(default=default, metadata={**number(0, 1), "draws": draws})


def number(low: float, high: float) -> Mapping[str, Rule]:
    """A number within bounds."""

    def rule(value: object) -> str | None:
        if isinstance(value, Real) and _is_number(value) and low <= float(value) <= high:
            return None
        return f"expected a number from {low:g} to {high:g}"

    return {"rule": rule}


def whole(low: int) -> Mapping[str, Rule]:
    """A number of pixels."""

    def rule(value: object) -> str | None:
        return None if _is_whole(value, low) else f"expected a whole number of pixels, at least {low}"

    return {"rule": rule}


def odd_or_none(low: int) -> Mapping[str, Rule]:
    """An odd number of pixels, or None."""

    def rule(value: object) -> str | None:
        if value is None or (_is_whole(value, low) and value % 2):
            return None
        return f"expected an odd number of pixels, at least {low}, or null"

    return {"rule": rule}


def sides(unit: str) -> Mapping[str, Rule]:
    """A side of a square, or [height, width], in `unit`."""

    def rule(value: object) -> str | None:
        return None if as_size(value) else f"expected a whole number of {unit}, at least 1, or [height, width]"

    return {"rule": rule}


def interval(low: float, high: float, lengths: tuple[int, ...] = (2,)) -> Mapping[str, Rule]:
    """The ends of an interval within bounds; with four numbers of one for each axis."""
    wanted = "[lowest, highest]" if lengths == (2,) else "[lowest, highest] or [lowest x, highest x, lowest y, highest y]"

    def rule(value: object) -> str | None:
        if _is_list(value) and len(value) in lengths and all(map(_is_number, value)):
            pairs = zip(value[::2], value[1::2], strict=True)
            if all(low <= first <= second <= high for first, second in pairs):
                return None
        return f"expected {wanted} with numbers from {low:g} to {high:g}"

    return {"rule": rule}


def number_or_interval(low: float, high: float) -> Mapping[str, Rule]:
    """A number, or the ends of an interval from which one is drawn for every image."""
    one, two = number(low, high)["rule"], interval(low, high)["rule"]

    def rule(value: object) -> str | None:
        if (two if _is_list(value) else one)(value) is None:
            return None
        return f"expected a number from {low:g} to {high:g}, or [lowest, highest] within them"

    def draws(value: object) -> str | None:
        return "an interval is drawn from anew for every image" if _is_list(value) else None

    return {"rule": rule, "draws": draws}


def numbers(low: float, high: float) -> Mapping[str, Rule]:
    """A list of numbers within bounds, at least one."""

    def rule(value: object) -> str | None:
        one = number(low, high)["rule"]
        if _is_list(value) and len(value) and all(one(each) is None for each in value):
            return None
        return f"expected a list of numbers from {low:g} to {high:g}"

    return {"rule": rule}


def one_of(names: Sequence[str]) -> Mapping[str, Rule]:
    """One of several names."""

    def rule(value: object) -> str | None:
        return None if value in names else choices(str(value), names)

    return {"rule": rule}


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_whole(value: object, low: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)
