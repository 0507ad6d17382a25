"""The factorial design of a study's rows: which key has which value in which row, if the rows are combinations of these."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fer_ablate.config.compose import flat, plain
from fer_ablate.config.overrides import Override, key_of, spelled, value_of
from fer_ablate.config.study_rows import Row
from fer_ablate.judgement.judged_table import Factor
from fer_ablate.study.plan import Plan
from fer_ablate.study.spec import StudySpec

ROWS = "row"
"""Name of the factor whose levels are the rows of a study that a grid multiplies."""

Levels = tuple[str, ...]


@dataclass(frozen=True)
class Design:
    """Rows as combinations of levels.

    Args:
        factors: at least two.
        rows: label -> level of each factor; combinations that are not rows are absent.
        crossed: whether all combinations were meant to be rows; otherwise each row changes one factor of the baseline.
    """

    factors: tuple[Factor, ...]
    rows: dict[str, Levels]
    crossed: bool = True

    @property
    def combinations(self) -> list[Levels]:
        """All combinations of levels, whether they are rows or not."""
        return list(itertools.product(*(factor.levels for factor in self.factors)))

    @property
    def size(self) -> str:
        """Such as `2 x 3`."""
        return " x ".join(str(len(factor.levels)) for factor in self.factors)

    def label(self, levels: Levels) -> str | None:
        """Label of a combination; None if it is no row."""
        return next((label for label, found in self.rows.items() if found == levels), None)

    def without(self, place: int, level: str) -> "Design":
        """The design without a level of the factor at this place."""
        factor = self.factors[place]
        kept = tuple(one for one in factor.levels if one != level)
        reference = factor.reference if factor.reference in kept else kept[0]
        factors = (*self.factors[:place], replace(factor, levels=kept, reference=reference), *self.factors[place + 1 :])
        return replace(self, factors=factors, rows={label: one for label, one in self.rows.items() if one[place] != level})


def design_of(plan: Plan) -> Design | None:
    """The design of a study or a grid; None if its rows are no combinations of at least two factors.

    Rows of `crossed` and of grids are combinations, those of `one_factor` change one thing at a time, and written rows may be
    either a full cross or no design at all.
    """
    spec = plan.spec
    rows = [row for row in spec.rows if not row.auxiliary and not row.average_of]
    leaves: dict[str, Mapping[str, Any]] = {}
    for planned in plan.runs:
        if planned.cell.row.label not in leaves:
            leaves[planned.cell.row.label] = flat(plain(planned.cell.config))
    ways = (_crossed_by_grid, _crossed_in_file, _written_cross, _one_factor)
    return next((found for way in ways if (found := way(spec, rows, leaves)) is not None), None)


def _crossed_by_grid(spec: StudySpec, rows: Sequence[Row], leaves: Mapping[str, Mapping[str, Any]]) -> Design | None:
    """The rows of a study times a typed grid."""
    keys = [key for key in spec.swept if len(_values(rows, key)) > 1]
    if not keys or not spec.from_file or len(spec.study.crossed) > 1:
        return None
    levels = {row.label: (_label_in_file(row, spec.swept), *(_explicit(row, key) for key in keys)) for row in rows}
    return _design((ROWS, *keys), levels, spec.baseline)


def _crossed_in_file(spec: StudySpec, rows: Sequence[Row], leaves: Mapping[str, Mapping[str, Any]]) -> Design | None:
    """The rows of `crossed`, whatever other rows there are, times a typed grid."""
    keys = [key for key in dict.fromkeys((*spec.study.crossed, *spec.swept)) if len(_values(rows, key)) > 1]
    if len(keys) < 2 or len(spec.study.crossed) < 2:
        return None
    # Other rows of the study may set some of these keys, or give them other values.
    named = {key: {spelled(value) for value in values} for key, values in spec.study.crossed.items()}
    own = {row.label: {key_of(word): value_of(word) for word in _own_words(row, spec)} for row in rows}
    members = [row for row in rows if own[row.label].keys() == named.keys()]
    members = [row for row in members if all(own[row.label][key] in values for key, values in named.items())]
    return _design(keys, {row.label: tuple(_explicit(row, key) for key in keys) for row in members}, spec.baseline)


def _written_cross(spec: StudySpec, rows: Sequence[Row], leaves: Mapping[str, Mapping[str, Any]]) -> Design | None:
    """Any rows whose overrides are every combination of at least two factors; keys that change together are one factor."""
    given = {row.label: {key_of(word): value_of(word) for word in row.overrides} for row in rows}
    keys = [key for key in dict.fromkeys(itertools.chain(*given.values())) if len({one.get(key) for one in given.values()}) > 1]
    groups: dict[tuple[int, ...], list[str]] = {}
    for key in keys:
        column = [one.get(key) for one in given.values()]
        groups.setdefault(tuple(column.index(value) for value in column), []).append(key)
    levels = {
        row.label: tuple(_named(together, given[row.label], leaves.get(row.label, {})) for together in groups.values())
        for row in rows
    }
    found = _design([together[0] for together in groups.values()], levels, spec.baseline)
    return found if found is not None and len(found.rows) == len(found.combinations) else None


def _one_factor(spec: StudySpec, rows: Sequence[Row], leaves: Mapping[str, Mapping[str, Any]]) -> Design | None:
    """The baseline and the rows of `one_factor`, each of which changes one key of it."""
    keys = list(spec.study.one_factor)
    extra = {row.label: _own_words(row, spec) for row in rows}
    if len(keys) < 2 or spec.swept or extra.get(spec.baseline, ("",)):
        return None
    base = {key: _named([key], {}, leaves.get(spec.baseline, {})) for key in keys}
    levels = {spec.baseline: tuple(base.values())}
    for label, words in extra.items():
        if len(words) == 1 and (key := key_of(words[0])) in keys:
            levels[label] = tuple({**base, key: value_of(words[0])}.values())
    return _design(keys, levels, spec.baseline, crossed=False)


def _design(names: Sequence[str], rows: Mapping[str, Levels], baseline: str, crossed: bool = True) -> Design | None:
    """A design of these rows; None for fewer than two factors, or if a combination is there twice."""
    if len(set(rows.values())) < max(len(rows), 4 if crossed else 3) or len(names) < 2:
        return None
    columns = [tuple(dict.fromkeys(column)) for column in zip(*rows.values(), strict=True)]
    first = rows.get(baseline) or tuple(column[0] for column in columns)
    if any(len(column) < 2 for column in columns):
        return None
    factors = tuple(Factor(*one) for one in zip(names, columns, first, strict=True))
    return Design(factors, dict(rows), crossed)


def complete(design: Design, scored: set[str]) -> Design | None:
    """The largest part of a crossed design, as a rule, in which every combination has a score; None if there is none.

    Levels are left out one by one: the one that lacks the largest share of its combinations, of equals rather no reference, and
    then the last.

    Args:
        design: crossed.
        scored: labels of the rows with a score.
    """
    while True:
        there = {levels for label, levels in design.rows.items() if label in scored}
        missing = [one for one in design.combinations if one not in there]
        if not missing:
            return design
        choices = [
            (_share_of(design, place, level, missing), level != factor.reference, at, place, level)
            for place, factor in enumerate(design.factors)
            if len(factor.levels) > 2
            for at, level in enumerate(factor.levels)
        ]
        if not choices:
            return None
        *_, place, level = max(choices)
        design = design.without(place, level)


def _share_of(design: Design, place: int, level: str, missing: Sequence[Levels]) -> float:
    size = math.prod(len(factor.levels) for factor in design.factors) / len(design.factors[place].levels)
    return sum(one[place] == level for one in missing) / size


def _values(rows: Sequence[Row], key: str) -> set[str]:
    return {_explicit(row, key) for row in rows}


def _explicit(row: Row, key: str) -> str:
    """The value that a row's words give a key, the last one; empty if none does."""
    return next((value_of(word) for word in reversed(row.overrides) if key_of(word) == key), "")


def _own_words(row: Row, spec: StudySpec) -> tuple[str, ...]:
    """The words of a row that neither all rows of the study have nor somebody typed."""
    return row.overrides[len(spec.study.base) : len(row.overrides) - len(spec.typed) - len(spec.swept)]


def _label_in_file(row: Row, swept: Sequence[str]) -> str:
    """The label of a row without the combination of the grid that it was crossed with."""
    words = {key_of(word): Override.parse(word).short for word in row.overrides}
    return row.label.removesuffix(" ".join(words[key] for key in swept)).strip() or "all defaults"


def _named(keys: Sequence[str], given: Mapping[str, str], leaves: Mapping[str, Any]) -> str:
    """A level of keys that change together: the value of the first one, and what words set the others to."""
    return ", ".join(_parts(keys, given, leaves))


def _parts(keys: Sequence[str], given: Mapping[str, str], leaves: Mapping[str, Any]) -> Iterator[str]:
    first, *others = keys
    known = leaves.get(first, leaves.get(f"{first}.name"))
    yield given.get(first, spelled(known) if known is not None else "as in the base")
    yield from (f"{key.rsplit('.', 1)[-1]}={given[key]}" for key in others if key in given)
