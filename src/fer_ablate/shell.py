"""Commands as they are shown to people, who paste them into a shell."""

import shlex
from collections.abc import Iterable

PROGRAM = "python -m fer_ablate"


def quoted(word: str) -> str:
    """A word quoted for a shell; one with an apostrophe in double quotes, which are easier to read than the quoting of shlex.

    >>> print(quoted("runs_dir='x/why?'"))
    "runs_dir='x/why?'"
    """
    if "'" in word and not set(word) & set('"$`\\!'):
        return f'"{word}"'
    return shlex.quote(word)


def joined(words: Iterable[object]) -> str:
    """Words as a line for a shell."""
    return " ".join(quoted(str(word)) for word in words)


def program(*words: object) -> str:
    """The command of this program with these words."""
    return f"{PROGRAM} {joined(words)}".rstrip()
