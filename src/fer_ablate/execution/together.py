"""Calls of functions that need not wait for each other."""

from collections.abc import Callable, Sequence
from typing import Any

Together = Callable[[Sequence[Callable[[], Any]]], list[Any]]
"""Calls functions, at the same time where there are processes for it, and returns what each of them returned."""


def one_after_another(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call functions in this process."""
    return [function() for function in functions]
