"""What a value must be where numbers cannot bound it: one of a closed list, a size in pixels, a list without repetition.

A `Constraint` stands in the metadata of a type, beside the bounds and units of `annotated_types`; pydantic applies all of them.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fer_ablate.sizes import as_size


@dataclass(frozen=True)
class Constraint:
    """A test of one value.

    Args:
        expected: what passes, in words that complete "Give ...".
        holds: whether a value passes.
        choices: every value that passes, where they can be listed.
    """

    expected: str
    holds: Callable[[Any], bool]
    choices: tuple[Any, ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Let pydantic run the test after that of the type."""
        from pydantic_core import PydanticCustomError, core_schema

        def checked(value: Any) -> Any:
            if not self.holds(value):
                raise PydanticCustomError("constraint", "expected {expected}", {"expected": self.expected})
            return value

        return core_schema.no_info_after_validator_function(checked, handler(source))


def one_of(*values: Any) -> Constraint:
    """Build the constraint of a closed list whose members are no `Enum`."""
    return Constraint(f"one of {', '.join(map(str, values))}", lambda value: value in values, values)


def one_of_or_path(*values: str) -> Constraint:
    """Build the constraint of a closed list of names, beside which dotted paths of plugins are allowed."""
    return Constraint(f"one of {', '.join(values)}, or a dotted path", lambda value: value in values or "." in value, values)


def _are_numbers(value: Any, least: float = -math.inf) -> bool:
    numbers = value if isinstance(value, list | tuple) else [value]
    fits = (isinstance(number, int | float) and not isinstance(number, bool) and least < number < math.inf for number in numbers)
    return bool(numbers) and all(fits)


def _is_part(value: float) -> bool:
    return value >= 0 and (value <= 1 or float(value).is_integer())


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return bool(pattern)


def _is_address(text: str) -> bool:
    scheme, colon, _ = text.partition(":")
    return bool(colon) and scheme.partition("+")[0] in SCHEMES


SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")
"""Kinds of stores that MLflow 3.17 writes to; it refuses its older store of plain files."""

SIZE = Constraint("a side in pixels, such as 48, or [height, width]", lambda value: value is None or as_size(value) is not None)
NUMBERS = Constraint("a number or a list of numbers", _are_numbers)
NUMBERS_ABOVE_0 = Constraint("a number above 0 or a list of such numbers", lambda value: _are_numbers(value, 0))
PART_ABOVE_0 = Constraint("a fraction above 0 up to 1, or a whole number of batches", lambda value: _is_part(value) and value > 0)
PART_OF_BATCHES = Constraint("a fraction from 0 to 1, or a whole number of batches", _is_part)
DIFFERENT = Constraint(
    "a list of one or more different values",
    # Compared as text: what was typed may hold lists, which no set takes.
    lambda given: isinstance(given, str) or (bool(given) and len(set(map(str, given))) == len(given)),
)
FOLDER_NAME = Constraint(
    "a name with a letter or digit, of at most 200 bytes",
    lambda text: any(map(str.isalnum, text)) and len(text.encode()) <= 200,
)
NOT_BLANK = Constraint("a name that is not blank", lambda text: bool(text.strip()))
PATTERN = Constraint(r"a regular expression, such as '(S\d+)_'", _compiles)
STORE_ADDRESS = Constraint("an address that starts with " + ", ".join(f"{name}:" for name in SCHEMES), _is_address)
HASH_START = Constraint(
    "at least the first 8 hexadecimal digits of a hash", lambda text: re.fullmatch("(?i)[0-9a-f]{8,64}", text) is not None
)
