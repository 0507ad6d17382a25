"""Overrides as text: `Override` splits one, `assignment` writes one, and Hydra's parser interprets the value."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from hydra.core.override_parser import types
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException

ParsedOverride = types.Override
"""An override as Hydra's parser gives it: kind, key, and value or sweep."""

SPLIT = re.compile(r"(?P<prefix>\+\+|\+|~)?(?P<key>[^=]*)(?:=(?P<value>.*))?", re.DOTALL)


MANY_DIGITS = re.compile(r"\d{400,}")
"""A number that no setting has: Python reads none of more than 4,300 digits."""

MOST_COMBINATIONS = 100_000
"""Of a grid: composing them takes an hour, and a range or a search over a file's choices can stand for billions."""


@dataclass(frozen=True)
class Override:
    """An override such as `model.conv_layers=4`, split and not interpreted.

    Args:
        prefix: `+` adds a key, `++` adds or changes one, `~` removes one; empty changes one.
        key: dotted key, or a group with its package if it has one.
        value: as it was typed; None where there is no `=`.
    """

    prefix: str
    key: str
    value: str | None

    @classmethod
    def parse(cls, text: str) -> "Override":
        """Split any text, also one that Hydra would not accept.

        >>> Override.parse("++optimizer.betas=[0.9,0.99]")
        Override(prefix='++', key='optimizer.betas', value='[0.9,0.99]')
        """
        match = SPLIT.fullmatch(text)
        assert match is not None
        return cls(match["prefix"] or "", match["key"], match["value"])

    def __str__(self) -> str:
        return self.prefix + self.without_prefix

    @property
    def without_prefix(self) -> str:
        """`key=value`, or the key alone if there is no value."""
        return self.key if self.value is None else f"{self.key}={self.value}"

    @property
    def short(self) -> str:
        """The override without prefix and with the last part of its key only, such as `conv_layers=4`."""
        *others, last = self.key.split(".")
        # The seed of drawn faces is not that of a run.
        return replace(self, key=f"{others[-1]}.{last}" if others and last == "seed" else last).without_prefix

    def with_value(self, value: object) -> "Override":
        """The same override with another value."""
        return replace(self, value=str(value))


def key_of(text: str) -> str:
    """Key or group of an override."""
    return Override.parse(text).key


def value_of(text: str) -> str:
    """Value of an override as it was typed; empty if it has none."""
    return Override.parse(text).value or ""


def is_of_study(text: str) -> bool:
    """Whether an override names a study or sets one of its keys, rather than a key of a run."""
    key = key_of(text)
    return key == "study" or key.startswith("study.")


def parsed_overrides(texts: Sequence[str]) -> list[ParsedOverride]:
    """Interpret overrides with Hydra's parser.

    Raises:
        hydra.errors.HydraException: a text is no override.
    """
    return [_parsed(text) for text in texts]


def is_override(text: str) -> bool:
    """Whether Hydra's parser takes a text for an override."""
    try:
        parsed_overrides([text])
    except HydraException:
        return False
    return True


@lru_cache(maxsize=10_000)
def _parsed(text: str) -> ParsedOverride:
    # Parsing takes milliseconds, and the rows of a study have most of their words in common.
    if MANY_DIGITS.search(text):
        raise OverrideParseException(text, "it has a number that is too long.")
    parsed = OverridesParser.create().parse_override(text)
    value = parsed.value()
    # What follows Hydra would find only when it lists the values.
    if isinstance(value, types.RangeSweep) and value.step == 0:
        raise OverrideParseException(text, "the step of a range cannot be 0.")
    if isinstance(value, types.RangeSweep) and _values_of(value) > MOST_COMBINATIONS:
        raise OverrideParseException(text, f"it has more than {MOST_COMBINATIONS:,} values.")
    return parsed


def _values_of(sweep: types.RangeSweep) -> float:
    start, stop, step = (float(one or 0) for one in (sweep.start, sweep.stop, sweep.step))
    return (stop - start) / step


def assignment(key: str, value: Any) -> str:
    """`key=value` in Hydra's grammar for a value read from YAML.

    >>> assignment("augment.steps", [{"op": "flip", "p": 0.5}])
    'augment.steps=[{op:flip,p:0.5}]'
    """
    return f"{key}={spelled(value)}"


def spelled(value: Any) -> str:
    """A value read from YAML, in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{spelled(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(spelled(item) for item in value) + "]"
    return quoted(value) if isinstance(value, str) else str(value)


def quoted(text: str) -> str:
    """A text as one value of Hydra's grammar: in quotes, unless it is a plain word."""
    # Outside of quotes the grammar knows no other letters than those of ASCII.
    if text and text.isascii() and all(letter.isalnum() or letter in "_-./" for letter in text):
        return text
    return in_quotes(text)


def in_quotes(text: str) -> str:
    """A text in single quotes, as Hydra's grammar reads it back: there a backslash means more only before a quote."""
    return types.QuotedString(text, types.Quote.single).with_quotes()
