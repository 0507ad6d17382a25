"""Conditions on overrides, as `{optimizer: adam}`: what `exclude` of a study or search leaves out and what its `when` needs."""

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydra.errors import HydraException

from fer_ablate.config.overrides import assignment, key_of, parsed_overrides, spelled, value_of
from fer_ablate.errors import Fault

COMPARISONS = {"<=": operator.le, ">=": operator.ge, "!=": operator.ne, "<": operator.lt, ">": operator.gt}

COMPARED = re.compile(rf"({'|'.join(COMPARISONS)})\s*(\S.*)")
"""A condition such as `>0.01` or `!=adam`."""

EXCLUDE = "study.exclude"

REMEDY = "Write {optimizer: adam, optimizer.lr: [0.1, 0.01]}, or a comparison such as '>0.01'."

Exclusion = Mapping[str, Any]
"""Key -> value, list of values, or comparison as text; a row is left out if all of them hold."""


def is_excluded(words: Sequence[str], exclusions: Iterable[Exclusion]) -> bool:
    """Whether a row with these overrides is left out.

    Args:
        words: overrides; the last one of a key counts. A condition on a key that none of them sets does not hold.
        exclusions: without faults.

    >>> is_excluded(["optimizer=adam", "optimizer.lr=0.1"], [{"optimizer": ["adam", "adamw"], "optimizer.lr": ">0.01"}])
    True
    """
    return any(applies(one, words) for one in exclusions)


def applies(exclusion: Exclusion, words: Sequence[str]) -> bool:
    """Whether all conditions of an exclusion hold for a row with these overrides."""
    values = {key_of(word): word for word in words}
    return all(key in values and holds(condition, values[key]) for key, condition in exclusion.items())


def exclusion_faults(exclusions: Sequence[Any], place: str = EXCLUDE) -> list[Fault]:
    """Faults of the conditions by themselves; `place` is the key of the config that has them."""
    faults = []
    for one in exclusions:
        if not isinstance(one, Mapping) or not one:
            faults.append(Fault(place, f"{one!r} is no mapping of keys to values.", REMEDY))
            continue
        for key, condition in one.items():
            if not isinstance(key, str):
                faults.append(Fault(place, f"{key!r} is no key of the config.", REMEDY))
            elif isinstance(condition, Mapping) or condition == [] or not _are_values(condition):
                faults.append(Fault(place, f"{key}: {condition!r} is no value or list of values.", REMEDY))
            elif (comparison := _compared(condition)) is not None and not _is_one_value(f"{key}={comparison[1]}"):
                faults.append(Fault(place, f"{key}: '{condition}' compares with no value.", REMEDY))
    return faults


def without_effect(exclusions: Sequence[Exclusion], rows: Iterable[Sequence[str]]) -> list[Fault]:
    """Exclusions that leave none of these rows out, whose author may have misspelt a key."""
    every = [tuple(words) for words in rows]
    keys = sorted({key_of(word) for words in every for word in words})
    return [
        Fault(EXCLUDE, f"{spelled(one)} leaves no row out.", f"Keys that rows set: {', '.join(keys)}.")
        for one in exclusions
        if not any(applies(one, words) for words in every)
    ]


def exclusion_of(rows: Sequence[Sequence[str]], others: Sequence[Sequence[str]]) -> str:
    """The shortest `exclude` that leaves these rows out and keeps the others.

    >>> exclusion_of([["optimizer=adam", "lr=1"], ["optimizer=adam", "lr=2"]], [["optimizer=sgd", "lr=1"]])
    '[{optimizer: adam}]'
    """
    shared = [word for word in rows[0] if all(word in row for row in rows) and not all(word in row for row in others)]
    exact = [[word for word in row if not all(word in other for other in (*rows, *others))] for row in rows]
    is_enough = bool(shared) and not any(all(word in row for word in shared) for row in others)
    listed = [shared] if is_enough else list(dict.fromkeys(map(tuple, exact)))
    return "[" + ", ".join("{" + ", ".join(_as_yaml(word) for word in words) + "}" for words in listed) + "]"


def _as_yaml(word: str) -> str:
    return f"{key_of(word)}: {value_of(word)}"


def holds(condition: Any, word: str) -> bool:
    """Whether the condition of an exclusion holds for the value of an override."""
    value, others = _value(word), values_in(condition, key_of(word))
    same = [_same(value, other) for other in others]
    if (comparison := _compared(condition)) is None:
        return any(same)
    try:
        return bool(comparison[0](others[0] if same[0] else value, others[0]))
    except TypeError:  # a name and a number have no order
        return False


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal; numbers of a range such as 0.1, 0.15 are multiples of its step, with their rounding."""
    return bool(one == other or (isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-12)))


def values_in(condition: Any, key: str) -> list[Any]:
    """The values that a condition compares with."""
    if (comparison := _compared(condition)) is not None:
        return [_value(f"{key}={comparison[1]}")]
    return [_value(assignment(key, value)) for value in _listed(condition)]


def in_words(exclusion: Exclusion) -> str:
    """The conditions as people read them.

    >>> in_words({"optimizer": ["adam", "adamw"], "optimizer.lr": ">0.01"})
    'optimizer=adam or adamw, optimizer.lr>0.01'
    """
    return ", ".join(
        f"{key}{condition.strip()}" if _compared(condition) else f"{key}={' or '.join(map(spelled, _listed(condition)))}"
        for key, condition in exclusion.items()
    )


def _listed(condition: Any) -> Sequence[Any]:
    return condition if isinstance(condition, Sequence) and not isinstance(condition, str) else [condition]


def _compared(condition: Any) -> tuple[Any, str] | None:
    found = COMPARED.fullmatch(condition.strip()) if isinstance(condition, str) else None
    return (COMPARISONS[found[1]], found[2]) if found is not None else None


def _are_values(condition: Any) -> bool:
    return all(_is_one_value(assignment("key", value)) for value in _listed(condition))


def _is_one_value(word: str) -> bool:
    try:
        return not parsed_overrides([word])[0].is_sweep_override()
    except HydraException:
        return False


def _value(word: str) -> Any:
    value = parsed_overrides([word])[0].value()
    # Hydra keeps the quotes of a text; here 'adam' and adam are the same.
    return getattr(value, "text", value)
