"""The tables of a page beside the judged one: scores by class, settings and environments that differ, the runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fer_ablate.config.key import short
from fer_ablate.judgement.row_runs import RowRuns, ScoredRun
from fer_ablate.metrics import SplitResult
from fer_ablate.report.page.elements import Details, Facts, Grid, Part
from fer_ablate.report.quantities import ABSENT, duration, metric_name, metric_title, one_line, scale
from fer_ablate.report.table.classes import percent
from fer_ablate.report.table.shown_table import AGREES, PUBLISHED, ShownTable

FIRST_SPLITS = ("test", "val", "train", "public", "private")
"""Splits shown first, in this order."""


def classes_grid(results: Mapping[str, Sequence[SplitResult]], split: str) -> list[Part]:
    """F1 of every row and class, and after a click precision and recall.

    Args:
        results: label -> one result per seed.
        split: which the results are scores on.
    """
    names = list(dict.fromkeys(name for seeds in results.values() for name in seeds[0].per_class))
    grids = {}
    for score, heading in (("f1", "F1"), ("precision", "Precision"), ("recall", "Recall")):
        rows = tuple(
            (one_line(label), *(percent(seeds, name, score) if name in seeds[0].per_class else ABSENT for name in names))
            for label, seeds in results.items()
        )
        grids[score] = Grid(f"{heading} of each class on {metric_name(split)}, %", ("row", *names), rows)
    return [
        grids["f1"],
        Details(f"Precision and recall of each class on {metric_name(split)}", (grids["precision"], grids["recall"])),
    ]


def class_grid(result: SplitResult, split: str) -> Grid:
    """Precision, recall and F1 of one result, class by class."""
    rows = tuple(
        (name, *(f"{100 * values[score]:.1f}" for score in ("precision", "recall", "f1")), f"{values['support']:,.0f}")
        for name, values in result.per_class.items()
    )
    return Grid(f"By class on {metric_name(split)}", ("class", "precision, %", "recall, %", "F1, %", "images"), rows)


def report_grid(report: ShownTable) -> Grid:
    """A classification report of a document beside the measured one."""
    header = tuple(column.name if column.name == PUBLISHED or not column.group else column.group for column in report.columns)
    rows = tuple(zip(*(column.cells for column in report.columns), strict=True))
    words = frozenset(place for place, column in enumerate(report.columns) if column.name == AGREES)
    return Grid(f"{report.caption}: measured and published", header, rows, words=words)


def scores_grid(splits: Mapping[str, SplitResult]) -> Grid:
    """Every metric of a run, one column for each split."""
    names = in_order(splits)
    metrics = dict.fromkeys(metric for name in names for metric in splits[name].metrics)

    def cell(split: str, metric: str) -> str:
        value = splits[split].metrics.get(metric)
        if value is None:
            return ABSENT
        return f"{100 * value:.2f}" if scale(metric) == 100 else f"{value:.4f}"

    rows = [(metric_title(metric), *(cell(name, metric) for name in names)) for metric in metrics]
    count = ("predictions", *(f"{splits[name].n:,}" for name in names))
    return Grid("Scores of the kept weights", ("metric", *map(metric_name, names)), (*rows, count))


def in_order(splits: Iterable[str]) -> list[str]:
    """Names of splits, the usual ones first."""
    given = list(splits)
    return [name for name in dict.fromkeys((*FIRST_SPLITS, *given)) if name in given]


def changed_grid(defaults: Mapping[str, Any], settings: Mapping[str, Any]) -> Grid | None:
    """Settings of a run that differ from the default; None if none does."""
    before, here = _leaves(defaults), _leaves(settings)
    rows = tuple((key, before.get(key, ABSENT), value) for key, value in here.items() if before.get(key) != value)
    caption = "Settings that are not the default"
    return Grid(caption, ("setting", "default", "this run"), rows, words=frozenset({1, 2})) if rows else None


def settings_grid(settings: Mapping[str, Mapping[str, Any]]) -> tuple[Grid | None, int]:
    """The settings that differ between configs.

    Args:
        settings: label -> dotted key -> value; in the others, values that differ from the first label's are marked.

    Returns:
        The table, None if all are equal, with the longer one of labels and keys downwards; and the number of equal settings.
    """
    leaves = {label: _leaves(values) for label, values in settings.items()}
    keys = list(dict.fromkeys(key for values in leaves.values() for key in values))
    different = [key for key in keys if len({values.get(key, ABSENT) for values in leaves.values()}) > 1]
    if not different:
        return None, len(keys)
    reference = next(iter(leaves.values()))
    rows = [(one_line(label), *(values.get(key, ABSENT) for key in different)) for label, values in leaves.items()]
    marked = {
        (row, column)
        for row, values in enumerate(leaves.values())
        for column, key in enumerate(different, start=1)
        if values.get(key, ABSENT) != reference.get(key, ABSENT)
    }
    table = [("row", *different), *rows]
    # A table should be longer than wide, so that a phone can show it.
    if len(different) > len(rows):
        table = list(zip(*table, strict=True))
        table[0] = ("setting", *table[0][1:])
        marked = {(column - 1, row + 1) for row, column in marked}
    words = frozenset(range(1, len(table[0])))
    caption = "Settings that differ; those that differ from the baseline's are marked"
    return Grid(caption, table[0], tuple(table[1:]), frozenset(marked), words), len(keys) - len(different)


def environments(runs: Mapping[str, Mapping[str, str]]) -> list[Part]:
    """Environments of runs: the entries that all share, and those that differ with the names of their runs.

    Args:
        runs: name of a run -> its environment.
    """
    keys = list(dict.fromkeys(key for values in runs.values() for key in values))
    found: dict[str, dict[str, list[str]]] = {}
    for key in keys:
        for name, values in runs.items():
            found.setdefault(key, {}).setdefault(values.get(key, ABSENT), []).append(name)
    same = tuple((key, next(iter(values))) for key, values in found.items() if len(values) == 1)
    rows = tuple(
        (key, value, "; ".join(names))
        for key, values in found.items()
        if len(values) > 1
        for value, names in sorted(values.items(), key=lambda item: -len(item[1]))
    )
    parts: list[Part] = [Facts(same)] if same else []
    if rows:
        parts.append(Grid("Not the same for all runs", ("", "value", "runs"), rows, words=frozenset({1, 2})))
    return parts


def runs_grid(rows: Sequence[RowRuns]) -> Grid:
    """Every finished run with its seed, key and dates."""
    folds = any(run.header.folds is not None for row in rows for run in row.runs)
    header = ("row", "seed", *(("fold",) if folds else ()), "key", "epochs", "tested epoch", "time", "finished", "code")
    return Grid(
        "Finished runs",
        header,
        tuple(_run(row.label, run, folds) for row in rows for run in row.runs),
        words=frozenset(map(header.index, ("key", "finished", "code"))),
    )


def _run(label: str, run: ScoredRun, folds: bool) -> tuple[str, ...]:
    result, code = run.result, run.header.code_digest + (" (stale)" if run.stale else "")
    numbers = (str(result.epochs), str(result.best_epoch), duration(result.seconds))
    finished = result.finished_at[:16].replace("T", " ")
    fold = run.header.repeat.fold
    which = (str(result.seed), ABSENT if fold is None else str(fold)) if folds else (str(result.seed),)
    return (one_line(label), *which, short(run.header.key), *numbers, finished, code)


def _leaves(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as text, with every part of a network's stages under a key of its own; without the seed."""
    leaves: dict[str, str] = {}
    for key, value in settings.items():
        # As one value, a list of stages would differ as a whole and be too long for a cell.
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            leaves[key] = f"{len(value)} in all"
            leaves |= {f"{key}[{place}].{name}": _text(part) for place, item in enumerate(value) for name, part in item.items()}
        elif key != "seed":
            leaves[key] = _text(value)
    return leaves


def _text(value: Any) -> str:
    """A value as one would type it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str).replace('"', "")
