"""Combinations that a study leaves out: `exclude` lists conditions on the overrides of a row, such as `{optimizer: adam}`."""

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

REMEDY = "Write exclude: [{optimizer: adam, optimizer.lr: [0.1, 0.01]}], or a comparison such as '>0.01'."

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
    return all(key in values and _holds(condition, key, values[key]) for key, condition in exclusion.items())


def exclusion_faults(exclusions: Sequence[Any]) -> list[Fault]:
    """Faults of the conditions by themselves."""
    faults = []
    for one in exclusions:
        if not isinstance(one, Mapping) or not one:
            faults.append(Fault("study.exclude", f"{one!r} is no mapping of keys to values.", REMEDY))
            continue
        for key, condition in one.items():
            if isinstance(condition, Mapping) or condition == []:
                faults.append(Fault("study.exclude", f"{key}: {condition!r} is no value or list of values.", REMEDY))
            elif (comparison := _compared(condition)) is not None and not _is_one_value(f"{key}={comparison[1]}"):
                faults.append(Fault("study.exclude", f"{key}: '{condition}' compares with no value.", REMEDY))
    return faults


def without_effect(exclusions: Sequence[Exclusion], rows: Iterable[Sequence[str]]) -> list[Fault]:
    """Exclusions that leave none of these rows out, whose author may have misspelt a key."""
    every = [tuple(words) for words in rows]
    keys = sorted({key_of(word) for words in every for word in words})
    return [
        Fault("study.exclude", f"{spelled(one)} leaves no row out.", f"Keys that rows set: {', '.join(keys)}.")
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


def _holds(condition: Any, key: str, word: str) -> bool:
    if (comparison := _compared(condition)) is not None:
        compare, value = comparison
        try:
            return bool(compare(_value(word), _value(f"{key}={value}")))
        except TypeError:  # a name and a number have no order
            return False
    values = condition if isinstance(condition, Sequence) and not isinstance(condition, str) else [condition]
    return any(_value(assignment(key, value)) == _value(word) for value in values)


def _compared(condition: Any) -> tuple[Any, str] | None:
    found = COMPARED.fullmatch(condition.strip()) if isinstance(condition, str) else None
    return (COMPARISONS[found[1]], found[2]) if found is not None else None


def _is_one_value(word: str) -> bool:
    try:
        return not parsed_overrides([word])[0].is_sweep_override()
    except HydraException:
        return False


def _value(word: str) -> Any:
    value = parsed_overrides([word])[0].value()
    # Hydra keeps the quotes of a text; here 'adam' and adam are the same.
    return getattr(value, "text", value)
