"""The rows that a command chooses by their labels (`study.rows=[...]`): what is wrong with these, and how they are typed."""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from fer_ablate.config.overrides import in_quotes, is_override, parsed_overrides
from fer_ablate.config.schema import StudyKeys
from fer_ablate.config.study_rows import Row, rows_of
from fer_ablate.errors import Fault, choices
from fer_ablate.shell import quoted

CHOSEN = "study.select"
"""Key of the labels that are typed as `study.rows=[...]`."""


def selection_faults(keys: StudyKeys, typed: str) -> Iterator[Fault]:
    """Labels that no row has; `typed` is what they were read from."""
    labels = [row.label for row in rows_of(keys)]
    for label in keys.select:
        if label not in labels:
            yield Fault("study.rows", f"there is no row '{label}'.", f"{choices(label, labels)} {_typed(typed, labels)}".strip())


def is_list(word: str) -> bool:
    """Whether the value of an override is a list."""
    return is_override(word) and isinstance(parsed_overrides([word])[0].value(), list)


def no_list(typed: str, rows: Sequence[Row]) -> Fault:
    """The fault of labels that Hydra cannot read as a list, or that are none."""
    labels = [row.label for row in rows]
    found, rest = _named(typed, labels)
    known = "" if found and not rest else f"{choices(rest, labels)} "
    return Fault("study.rows", f"{typed or 'nothing'} is no list of labels.", f"{known}{_typed(typed, labels)}".strip())


def _named(typed: str, labels: Sequence[str]) -> tuple[list[str], str]:
    """The labels that stand in a text, and what else does."""
    rest, found = typed.removeprefix("[").removesuffix("]"), list[str]()
    # The longest first, since a label may be part of another one.
    for label in sorted(labels, key=len, reverse=True):
        if re.search(rf"(?<!\w){re.escape(label)}(?!\w)", rest):
            found.append(label)
            rest = rest.replace(label, "")
    return found, rest.strip(" ,'\"[]")


def _typed(typed: str, labels: Sequence[str]) -> str:
    """How to type the rows that a text seems to mean, quoted for Hydra and for the shell; empty if it seems to mean none."""
    found, rest = _named(typed, labels)
    parts = [part.strip(" '\"") for part in rest.split(",")]
    found += [near[0] for part in parts if part and (near := get_close_matches(part, labels, n=1, cutoff=0.6))]
    ordered = [label for label in labels if label in found]
    listed = ",".join(map(in_quotes, ordered))
    return f"Write {quoted(f'study.rows=[{listed}]')}." if ordered else ""
