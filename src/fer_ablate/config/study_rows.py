"""From a study file to its rows: the written ones, those of the short notations, and what is wrong with them."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from fer_ablate.config.schema import RowConfig, StudyConfig
from fer_ablate.errors import Fault, choices

FOLD_KEYS = ("data.folds", "data.fold")
"""Keys that `study.folds` sets for every run."""

FEWEST_FOLDS = 2
_FOLDS_REMEDY = "Give the study folds: 10, which trains every row on each of ten folds."

BASELINE = "baseline"
"""Label of the row that changes nothing, where a study names none."""


@dataclass(frozen=True)
class Row:
    """A named row.

    Args:
        label: unique in its study.
        overrides: all of them, those of the study first.
        start_from: label of the row whose weights it starts with.
        published: column -> printed number, or a mapping of `value` and `note`.
        auxiliary: trained only because another row starts from it; stands in no table.
    """

    label: str
    overrides: tuple[str, ...]
    start_from: str | None = None
    published: Mapping[str, Any] = field(default_factory=dict)
    auxiliary: bool = False


def rows_of(study: StudyConfig) -> list[Row]:
    """Every row of a study free of faults, the written ones first.

    >>> [row.label for row in rows_of(StudyConfig(one_factor={"optimizer.lr": [0.1, 0.01]}))]
    ['baseline', 'lr=0.1', 'lr=0.01']
    """
    written = [
        Row(
            label=row.label,
            overrides=(*study.base, *row.overrides),
            start_from=row.start_from,
            published={**study.published.get(row.label, {}), **row.published},
            auxiliary=row.auxiliary,
        )
        for row in [*_implied_baseline(study), *study.rows]
    ]
    short = [
        Row(label, (*study.base, *overrides), None, study.published.get(label, {})) for label, overrides in _short_rows(study)
    ]
    return [*written, *short]


def baseline_of(study: StudyConfig) -> str:
    """Label of the row that the others are compared with."""
    return study.baseline or rows_of(study)[0].label


def check_study(study: StudyConfig) -> list[Fault]:
    """What is wrong with a study, whatever its rows' configs say."""
    faults = [*_notation_faults(study), *_override_faults(study)]
    if faults:
        return faults
    rows = rows_of(study)
    labels = [row.label for row in rows]
    if not rows:
        return [Fault("study.rows", "there are no rows.", "Give rows, one_factor, zipped or crossed in the study's file.")]
    faults += [
        Fault("study.rows", f"{count} rows are called '{label}'.", "Give each a label of its own.")
        for label, count in Counter(labels).items()
        if count > 1
    ]
    if study.baseline is not None and study.baseline not in labels:
        faults.append(Fault("study.baseline", f"there is no row '{study.baseline}'.", choices(study.baseline, labels)))
    faults += [
        Fault("study.rows", f"there is no row '{label}'.", choices(label, labels))
        for label in (*study.select, *study.published)
        if label not in labels
    ]
    if not study.seeds or len(set(study.seeds)) < len(study.seeds):
        faults.append(Fault("study.seeds", f"{list(study.seeds)} is empty or names a seed twice.", "Give, say, [0,1,2]."))
    if study.folds is not None and study.folds < FEWEST_FOLDS:
        way_out = "Give 2 or more, such as 10, or study.folds=null for none."
        faults.append(Fault("study.folds", f"{study.folds} leaves nothing to train on.", way_out))
    return [*faults, *_start_faults(rows), *_auxiliary_faults(rows, baseline_of(study)), *_published_faults(rows)]


def waves(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows in the order in which they can be trained: each behind the one that it starts from."""
    left, done, order = list(rows), set[str](), []
    present = {row.label for row in rows}
    while left:
        ready = [row for row in left if row.start_from is None or row.start_from in done or row.start_from not in present]
        order.append(ready)
        done |= {row.label for row in ready}
        left = [row for row in left if row not in ready]
    return order


def assignment(key: str, value: Any) -> str:
    """`key=value` in Hydra's grammar for a value read from YAML.

    >>> assignment("augment.steps", [{"op": "flip", "p": 0.5}])
    'augment.steps=[{op:flip,p:0.5}]'
    """
    return f"{key}={_spelled(value)}"


def _spelled(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_spelled(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_spelled(item) for item in value) + "]"
    return quoted(value) if isinstance(value, str) else str(value)


def quoted(text: str) -> str:
    """A text as one value of Hydra's grammar: in quotes, unless it is a plain word."""
    if text and all(letter.isalnum() or letter in "_-./" for letter in text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _implied_baseline(study: StudyConfig) -> Iterator[RowConfig]:
    """One factor at a time is compared with all factors as they are, whether or not that row is written down."""
    label = study.baseline or BASELINE
    if study.one_factor and label not in [row.label for row in study.rows]:
        yield RowConfig(label=label)


def _short_rows(study: StudyConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    names = _names([*study.one_factor, *study.zipped, *study.crossed])
    combinations: list[list[tuple[str, Any]]] = [[(key, value)] for key, values in study.one_factor.items() for value in values]
    if study.zipped:
        combinations += [list(zip(study.zipped, values, strict=True)) for values in zip(*study.zipped.values(), strict=True)]
    if study.crossed:
        combinations += [list(zip(study.crossed, values, strict=True)) for values in itertools.product(*study.crossed.values())]
    for pairs in combinations:
        label = " ".join(f"{names[key]}={_spelled(value).strip(chr(39))}" for key, value in pairs)
        yield label, tuple(assignment(key, value) for key, value in pairs)


def _names(keys: Sequence[str]) -> dict[str, str]:
    """The last part of every key, or all of it where that would not tell two apart."""
    last = Counter(key.rsplit(".", 1)[-1] for key in dict.fromkeys(keys))
    return {key: key if last[key.rsplit(".", 1)[-1]] > 1 else key.rsplit(".", 1)[-1] for key in keys}


def _notation_faults(study: StudyConfig) -> list[Fault]:
    faults = []
    for name in ("one_factor", "zipped", "crossed"):
        for key, values in getattr(study, name).items():
            if key in FOLD_KEYS:
                faults.append(Fault(f"study.{name}.{key}", "is not for rows to set.", _FOLDS_REMEDY))
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                faults.append(Fault(f"study.{name}.{key}", f"{values!r} is no list of values.", "Give, say, [0.1, 0.01]."))
    lengths = {key: len(values) for key, values in study.zipped.items() if isinstance(values, Sequence)}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        faults.append(Fault("study.zipped", f"the lists differ in length: {told}.", "Row k takes the k-th value of each."))
    return faults


def _override_faults(study: StudyConfig) -> list[Fault]:
    """Overrides of a file that would mean something else than one row of it."""
    faults, parser = [], OverridesParser.create()
    for label, overrides in [("study.base", study.base), *((f"study.rows '{row.label}'", row.overrides) for row in study.rows)]:
        for text in overrides:
            try:
                parsed = parser.parse_override(text)
            except HydraException:
                faults.append(Fault(label, f"'{text}' is not an override.", "Write key=value as on the command line."))
                continue
            if parsed.is_sweep_override():
                faults.append(Fault(label, f"'{text}' is several values.", "A row is one run; use one_factor or crossed."))
            elif parsed.key_or_group == "seed" or parsed.key_or_group.split(".")[0] in ("study", "hydra", "search", "name"):
                faults.append(Fault(label, f"'{text}' is not for rows to set.", "Seeds belong into study.seeds."))
            elif parsed.key_or_group in FOLD_KEYS and (label != "study.base" or study.folds is not None):
                faults.append(Fault(label, f"'{text}' is not for rows to set.", _FOLDS_REMEDY))
    return faults


def _start_faults(rows: Sequence[Row]) -> list[Fault]:
    starts = {row.label: row.start_from for row in rows}
    faults = [
        Fault(f"study.rows '{label}'", f"start_from: there is no row '{start}'.", choices(start, starts))
        for label, start in starts.items()
        if start is not None and start not in starts
    ]
    for label in starts if not faults else ():
        seen, at = [label], starts[label]
        while at is not None and at not in seen:
            seen.append(at)
            at = starts[at]
        if at == label:
            faults.append(Fault(f"study.rows '{label}'", f"starts from itself: {' <- '.join([*seen, at])}.", "Break the circle."))
    return faults


def _auxiliary_faults(rows: Sequence[Row], baseline: str) -> list[Fault]:
    starts = {row.start_from for row in rows}
    faults = []
    for row in rows:
        if row.auxiliary and row.label == baseline:
            faults.append(Fault("study.baseline", f"'{baseline}' is auxiliary and stands in no table.", "Name another row."))
        if row.auxiliary and row.label not in starts:
            faults.append(Fault(f"study.rows '{row.label}'", "is auxiliary, but no row starts from it.", "Drop one of the two."))
    return faults


def _published_faults(rows: Sequence[Row]) -> list[Fault]:
    return [
        Fault(
            f"study.rows '{row.label}'",
            f"published {column}: {given!r} is no number.",
            "Write 65.35, or {value: 65.35, note: ...}.",
        )
        for row in rows
        for column, given in row.published.items()
        if not isinstance(given.get("value") if isinstance(given, Mapping) else given, int | float) or isinstance(given, bool)
    ]
