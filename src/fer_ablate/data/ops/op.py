"""Base class of all ops: their arguments and their effect on the size of an image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, TypeGuard

from fer_ablate.errors import choices
from fer_ablate.sizes import Size, as_size

Rule = Callable[[object], str | None]
"""Returns what is wrong with a value, or None."""

FILLS = ("border", "zeros", "reflection")
"""Pixels beyond an image: the nearest pixel of the image, black, or its mirror image."""


def probability(default: float) -> Any:
    """Return the field `p` of an op: the probability from 0 to 1 with which an image is changed at all."""

    def draws(value: object) -> str | None:
        return None if value == 1 else "only some images would be changed"

    return field(default=default, metadata={**number(0, 1), "draws": draws})


def number(low: float, high: float) -> Mapping[str, Rule]:
    """Rule for a number within bounds."""

    def rule(value: object) -> str | None:
        if isinstance(value, Real) and _is_number(value) and low <= float(value) <= high:
            return None
        return f"expected a number from {low:g} to {high:g}"

    return {"rule": rule}


def whole(low: int) -> Mapping[str, Rule]:
    """Rule for a whole number of pixels, at least `low`."""

    def rule(value: object) -> str | None:
        return None if _is_whole(value, low) else f"expected a whole number of pixels, at least {low}"

    return {"rule": rule}


def odd_or_none(low: int) -> Mapping[str, Rule]:
    """Rule for an odd number of pixels, at least `low`, or None."""

    def rule(value: object) -> str | None:
        if value is None or (_is_whole(value, low) and value % 2):
            return None
        return f"expected an odd number of pixels, at least {low}, or null"

    return {"rule": rule}


def sides(unit: str) -> Mapping[str, Rule]:
    """Rule for the side of a square, or [height, width], in `unit`."""

    def rule(value: object) -> str | None:
        return None if as_size(value) else f"expected a whole number of {unit}, at least 1, or [height, width]"

    return {"rule": rule}


def interval(low: float, high: float, lengths: tuple[int, ...] = (2,)) -> Mapping[str, Rule]:
    """Rule for the ends of an interval within bounds; four numbers are one interval for each axis."""
    expected = "[lowest, highest]" if lengths == (2,) else "[lowest, highest] or [lowest x, highest x, lowest y, highest y]"

    def rule(value: object) -> str | None:
        if _is_list(value) and len(value) in lengths and all(map(_is_number, value)):
            pairs = zip(value[::2], value[1::2], strict=True)
            if all(low <= first <= second <= high for first, second in pairs):
                return None
        return f"expected {expected} with numbers from {low:g} to {high:g}"

    return {"rule": rule}


def number_or_interval(low: float, high: float) -> Mapping[str, Rule]:
    """Rule for a number, or the ends of an interval from which one is drawn for every image."""
    one, two = number(low, high)["rule"], interval(low, high)["rule"]

    def rule(value: object) -> str | None:
        if (two if _is_list(value) else one)(value) is None:
            return None
        return f"expected a number from {low:g} to {high:g}, or [lowest, highest] within them"

    def draws(value: object) -> str | None:
        return "a number is drawn from the interval for every image" if _is_list(value) else None

    return {"rule": rule, "draws": draws}


def numbers(low: float, high: float) -> Mapping[str, Rule]:
    """Rule for a list of numbers within bounds, at least one."""

    def rule(value: object) -> str | None:
        one = number(low, high)["rule"]
        if _is_list(value) and len(value) and all(one(each) is None for each in value):
            return None
        return f"expected a list of numbers from {low:g} to {high:g}"

    return {"rule": rule}


def one_of(names: Sequence[str]) -> Mapping[str, Rule]:
    """Rule for one of several names."""

    def rule(value: object) -> str | None:
        return None if value in names else choices(str(value), names)

    return {"rule": rule}


def _is_number(value: object) -> bool:
    # In Python True is a number, but `p: true` in a config is a mistake.
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_whole(value: object, low: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


@dataclass(frozen=True)
class Misfit:
    """Reason why an op cannot be applied to images of some size.

    Args:
        argument: argument of the op that causes it.
        problem: what is wrong with its value.
        remedy: what to do about it.
    """

    argument: str
    problem: str
    remedy: str


class Op:
    """A change of a whole batch of images (N, C, H, W) in [0, 1]; random numbers are drawn for each image separately.

    The arguments are the fields of a frozen dataclass, with a rule of this module in the metadata of each. `build.build_op` makes
    the module that applies the op; the dataclasses themselves load no torch, so that a config is checked at once.
    """

    fixed: ClassVar[bool] = False
    """Whether the op can change every image in the same way and is allowed in `data.prepare`; its module can be exported then."""

    def after(self, size: Size | None) -> Size | None:
        """Return the height and width after the op of images that had `size` before; None if not known."""
        return size

    def misfit(self, size: Size) -> Misfit | None:
        """Return why the op cannot be applied to images of this size, or None if it can."""
        return None
