"""What lies between two rows: the changes that lead from one to the other, and the words of every row on the way."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from fer_ablate.config.overrides import Override, key_of
from fer_ablate.errors import Fault

Words = tuple[str, ...]

Check = Callable[[Words], Sequence[Fault]]
"""Overrides of a row -> their faults."""


Values = Mapping[str, str]
"""Key -> its value, of those that a row has, set or by default."""

ABSENT = "absent"
"""What stands for the value of a key that a row does not have."""


@dataclass(frozen=True)
class Change:
    """Keys that are changed in one step.

    Args:
        keys: of the overrides; a choice of a group comes with the keys that exist only beside it.
        words: overrides that the row at the end of the way has for these keys; without those that it leaves to the defaults.
        values: for each key its values before and after; empty where they are not known.
        whole_keys: whether the label has all of each key, because another change of the path would have the same short one.
    """

    keys: tuple[str, ...]
    words: Words
    values: tuple[tuple[str, str], ...] = ()
    whole_keys: bool = False

    @property
    def label(self) -> str:
        """The change for people, such as `optimizer=sgd_nesterov`, `lr=0.02` or `width=1.0 (default)`."""
        changed = {key_of(word) for word in self.words}
        left = [self._left(key, place) for place, key in enumerate(self.keys) if key not in changed]
        return " ".join([*(self._shown(Override.parse(word)) for word in self.words), *filter(None, left)])

    def _shown(self, word: Override) -> str:
        return word.without_prefix if self.whole_keys else word.short

    def _left(self, key: str, place: int) -> str:
        """A key that is left to its default; empty for one that is gone with the choice it belongs to."""
        if not self.values:
            return f"{key} by default"
        value = self.values[place][1]
        # A change that only takes a key away needs a name as well.
        if value == ABSENT:
            return "" if len(self.keys) > 1 else f"{key} {ABSENT}"
        return f"{self._shown(Override('', key, value))} (default)"

    @property
    def described(self) -> str:
        """Every key with its values before and after, such as `optimizer.lr 0.01 -> 0.02`; the label if they are not known."""
        pairs = zip(self.keys, self.values, strict=True) if self.values else ()
        return ", ".join(f"{key} {before} -> {after}" for key, (before, after) in pairs) or self.label


def with_values(changes: Sequence[Change], before: Values, after: Values) -> list[Change]:
    """The changes with the values that their keys have in the rows at the beginning and at the end."""
    return [replace(one, values=tuple((before.get(key, ABSENT), after.get(key, ABSENT)) for key in one.keys)) for one in changes]


def told_apart(changes: Sequence[Change]) -> list[Change]:
    """The changes; those that have the label of another one get one of whole keys, since rows are found by their labels.

    >>> twins = [Change((key,), (f"{key}=5",)) for key in ("scheduler.patience", "trainer.early_stopping.patience")]
    >>> [change.label for change in told_apart(twins)]
    ['scheduler.patience=5', 'trainer.early_stopping.patience=5']
    """
    counts = Counter(change.label for change in changes)
    return [replace(change, whole_keys=counts[change.label] > 1) for change in changes]


def changes_between(
    start: Sequence[str], end: Sequence[str], check: Check, needs: Mapping[str, str] | None = None
) -> list[Change]:
    """The single changes that lead from one row to another, in the order of the overrides of the latter.

    Args:
        start: overrides of the row at the beginning.
        end: overrides of the row at the end.
        check: finds keys that exist only beside a choice of a group, as `optimizer.momentum` beside `optimizer=sgd_nesterov`.
        needs: key -> another key with which it changes, where that is known.
    """
    one, other = _by_key(start), _by_key(end)
    keys = [key for key in dict.fromkeys((*other, *one)) if one.get(key) != other.get(key)]
    groups = [key for key in keys if "." not in key]
    leader = {key: key for key in keys}
    for key in keys:
        if key not in groups:
            known = (needs or {}).get(key)
            leader[key] = known if known in keys else _group_of(key, groups, start, end, check)
    together = {name: [key for key in keys if leader[key] == name] for name in keys}
    return [Change(tuple(found), tuple(other[key] for key in found if key in other)) for found in together.values() if found]


def words_between(start: Sequence[str], end: Sequence[str], taken: Collection[Change]) -> Words:
    """Overrides of the row at which some of the changes have been made.

    >>> words_between(["model=small", "optimizer=adam"], ["model=small", "optimizer=sgd"], [Change(("optimizer",), ())])
    ('model=small', 'optimizer=sgd')
    """
    return _mixed(start, end, {key for change in taken for key in change.keys})


def joined(changes: Sequence[Change]) -> Change:
    """Several changes as one."""
    keys, words, values = ([part for one in changes for part in getattr(one, name)] for name in ("keys", "words", "values"))
    return Change(tuple(keys), tuple(words), tuple(values), any(one.whole_keys for one in changes))


def _group_of(key: str, groups: Sequence[str], start: Sequence[str], end: Sequence[str], check: Check) -> str:
    """The group that a key changes with, because it exists beside one of both choices only; or the key itself."""
    for group in groups:
        # An experiment chooses the files of all groups.
        if group not in (key.partition(".")[0], "experiment"):
            continue
        alone = _concerns(key, check(_mixed(start, end, {key})))
        without = _concerns(key, check(_mixed(start, end, {group})))
        if alone or without:
            return group
    return key


def _concerns(key: str, faults: Sequence[Fault]) -> bool:
    return any(fault.key == key for fault in faults)


def _mixed(start: Sequence[str], end: Sequence[str], taken: Collection[str]) -> Words:
    one, other = _by_key(start), _by_key(end)
    found = ((other if key in taken else one).get(key) for key in dict.fromkeys((*one, *other)))
    return tuple(word for word in found if word is not None)


def _by_key(words: Sequence[str]) -> dict[str, str]:
    """The last override of each key, at its place."""
    found: dict[str, str] = {}
    for word in words:
        found.pop(key_of(word), None)  # so that what a row sets comes after what all rows have
        found[key_of(word)] = word
    return found
