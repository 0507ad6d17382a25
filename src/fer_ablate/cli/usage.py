"""What verbs with a help text of their own share."""

from collections.abc import Sequence


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether nothing else is wanted than the usage."""
    return not arguments or bool({"-h", "--help"} & set(arguments))
