"""Heights and widths of images in pixels, as they are given in a config and written in messages."""

from typing import Any

Size = tuple[int, int]
"""Height, width."""


def as_size(given: object) -> Size | None:
    """Read the value of a key: the side of a square, or [height, width]; None if it is neither.

    >>> as_size(48), as_size([56, 40]), as_size("48"), as_size(0)
    ((48, 48), (56, 40), None, None)
    """
    sides: list[Any] = list(given) if isinstance(given, list | tuple) else [given, given]
    if len(sides) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides):
        return None
    return sides[0], sides[1]


def spelled(size: Size) -> str:
    """Write height x width, as in `56x40`."""
    return f"{size[0]}x{size[1]}"


def read_spelled(text: str) -> Size:
    """Read the text of `spelled`; a single number, as in files of earlier versions, is the side of a square.

    Raises:
        ValueError: the text is neither.
    """
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def in_key(size: Size) -> str:
    """Write a size like the value of a key: the side of a square, or `[56, 40]`."""
    return str(size[0]) if size[0] == size[1] else str(list(size))
