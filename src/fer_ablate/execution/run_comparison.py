"""Runs side by side: what differs in settings, data, code and machine; metrics, scores by class, and the paired test."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fer_ablate.cli.console import METRICS, SPLITS
from fer_ablate.config.behaviour import behaviour
from fer_ablate.config.compose import flat
from fer_ablate.config.key import short
from fer_ablate.execution.differences import differing, side_by_side, stored_settings
from fer_ablate.judgement.paired_runs import PairedTest, paired_tests
from fer_ablate.judgement.row_runs import ScoredRun
from fer_ablate.judgement.wording import p_text
from fer_ablate.metrics import METRICS as KNOWN
from fer_ablate.report.plain_table import PlainTable
from fer_ablate.report.quantities import ABSENT, count, duration, metric_title, number, one_line, scale, shorten
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader
from fer_ablate.training.result import RunResult

CLASS_SCORES = ("recall", "precision", "f1")

LONGEST_VALUE = 40
"""Letters of a value of a setting on the screen."""

Values = Mapping[str, Sequence[Any]]
"""Name -> value in each run, in their order; None where a run has none."""


@dataclass(frozen=True)
class ComparedRun:
    """A run in a comparison.

    Args:
        letter: by which tables name it: A, B, ...
        folder: where its files are.
        header: what was trained, and on what.
        result: its scores; None if it is not finished.
        settings: dotted key -> value of every setting that can change the result.
    """

    letter: str
    folder: RunFolder
    header: RunHeader
    result: RunResult | None
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For people: `quickstart/-1 Conv, seed 0`."""
        return f"{self.header.experiment}/{self.header.name}, {self.header.repeat}"


@dataclass(frozen=True)
class RunComparison:
    """Runs side by side.

    Args:
        runs: two or more; the first one is what the others are compared with.
        split: whose scores by class and test are shown.
        settings: those that differ.
        data: what differs in the images: their digest, data set, and number for each role and class.
        code: what the code of each run computes, see `config.behaviour`; empty if it is the same.
        machine: what differs in device, threads, number format and versions.
        metrics: every metric of every split, as stored.
        classes: `happy recall` and so on -> values in the split.
        tests: one for each finished run after the first.
    """

    runs: Sequence[ComparedRun]
    split: str
    settings: Values
    data: Values
    code: Values
    machine: Values
    metrics: Values
    classes: Values
    tests: Mapping[str, PairedTest]

    @property
    def letters(self) -> tuple[str, ...]:
        """Letters of the runs."""
        return tuple(run.letter for run in self.runs)


def compare_runs(folders: Sequence[RunFolder], split: str) -> RunComparison:
    """Compare runs; those that are not finished have no metrics.

    Raises:
        UserError: a run is damaged.
    """
    runs = [_compared_run(chr(ord("A") + place), folder) for place, folder in enumerate(folders)]
    results = [run.result for run in runs]
    scored = {run.letter: ScoredRun(run.folder, run.header, run.result) for run in runs if run.result is not None}
    # Compared with the first run that was named: where it has no result, there is no test.
    tests = paired_tests(list(scored.values()), split) if results[0] is not None else []
    machine = differing([result.environment for result in results if result is not None])
    return RunComparison(
        runs=runs,
        split=split,
        settings=differing([run.settings for run in runs]),
        data=differing([_data(run.header) for run in runs]),
        code=differing([{"code": behaviour(run.header.code_digest)} for run in runs]),
        machine={name: _for_all(values, results) for name, values in machine.items()},
        metrics=side_by_side([result.flat_metrics() if result is not None else {} for result in results]),
        classes=side_by_side([_class_scores(result, split) for result in results]),
        tests=dict(zip(list(scored)[1:], tests, strict=False)),
    )


def _compared_run(letter: str, folder: RunFolder) -> ComparedRun:
    header = folder.header
    return ComparedRun(letter, folder, header, folder.result if folder.finished else None, stored_settings(folder, header))


def _data(header: RunHeader) -> dict[str, Any]:
    stored = {key: value for key, value in header.dataset.items() if key not in ("notes", "left_out")}
    return {"digest": short(header.data_digest), **flat(stored)}


def _class_scores(result: RunResult | None, split: str) -> dict[str, float]:
    found = result.splits.get(split) if result is not None else None
    per_class = found.per_class if found is not None else {}
    return {f"{name} {score}": values[score] for name, values in per_class.items() for score in CLASS_SCORES if score in values}


def _for_all(values: Sequence[Any], results: Sequence[RunResult | None]) -> list[Any]:
    """Values of the finished runs, with None in the places of the others."""
    remaining = iter(values)
    return [next(remaining) if result is not None else None for result in results]


def comparison_tables(comparison: RunComparison, longest: int = LONGEST_VALUE) -> list[PlainTable]:
    """The comparison as tables, with sentences where there is nothing to put into one.

    Args:
        comparison: the runs side by side.
        longest: letters of a value; longer ones lose their middle.
    """
    parts = {
        "settings": (comparison.settings, "settings"),
        "data": (comparison.data, "images"),
        "code": (comparison.code, "code"),
        "machine": (comparison.machine, "machine with its threads, number format and versions"),
    }
    tables = [_run_table(comparison.runs, longest)]
    for title, (values, _) in parts.items():
        rows = tuple((name, *(_spelled(value, longest) for value in row)) for name, row in values.items())
        tables.append(PlainTable("", (title, *comparison.letters), rows, 1 + len(comparison.letters)))
    if same := [name for values, name in parts.values() if not values]:
        tables.append(PlainTable("", (), (), 0, (f"The same in all of them: {', '.join(same)}.",)))
    tables += [_metric_table(comparison), _class_table(comparison)]
    return [table for table in tables if table.rows or table.notes]


def _run_table(runs: Sequence[ComparedRun], longest: int) -> PlainTable:
    rows = []
    for run in runs:
        result = run.result
        trained = (
            (str(result.best_epoch), str(result.epochs), duration(result.seconds), count(result.parameters))
            if result is not None
            else (ABSENT,) * 4
        )
        name = shorten(one_line(run.name), 3 * longest // 2)
        rows.append((run.letter, name, short(run.header.key), run.folder.state.value, *trained))
    return PlainTable("", ("", "run", "key", "state", "tested epoch", "epochs", "time", "parameters"), tuple(rows), 4)


def _metric_table(comparison: RunComparison) -> PlainTable:
    """The main metrics, with the differences to the first run where there are two."""
    letters, two = comparison.letters, len(comparison.runs) == 2
    rows = []
    for name, values in _main_metrics(comparison.metrics).items():
        digits = 1 if scale(name) == 100 else 3
        shown = [ABSENT if value is None else number(scale(name) * value, digits) for value in values]
        if two:
            known = None not in values
            shown.append(number(scale(name) * (values[1] - values[0]), digits, signed=True) if known else ABSENT)
        rows.append((metric_title(name), *shown))
    header = ("metric", *letters, *(["B - A"] if two else []))
    return PlainTable("", header, tuple(rows), 1, tuple(_sentences(comparison)))


def _main_metrics(metrics: Values) -> Values:
    """The metrics that every command shows, of each split once: an official split is most often the val or the test role."""
    found: dict[str, Sequence[Any]] = {}
    shown: list[list[Sequence[Any]]] = []
    for split in dict.fromkeys((*SPLITS, *(name.partition("/")[0] for name in metrics))):
        more = [metric for name in metrics if name.startswith(f"{split}/") and (metric := name.partition("/")[2]) not in KNOWN]
        own = {name: metrics[name] for metric in (*METRICS, *more) if (name := f"{split}/{metric}") in metrics}
        if list(own.values()) not in shown:
            found |= own
            shown.append(list(own.values()))
    return found


def _class_table(comparison: RunComparison) -> PlainTable:
    """A line for each class, in percent."""
    names = dict.fromkeys(name.rpartition(" ")[0] for name in comparison.classes)
    rows = []
    for name in names:
        every = [comparison.classes.get(f"{name} {score}", [None] * len(comparison.runs)) for score in CLASS_SCORES]
        rows.append((one_line(name), *(ABSENT if value is None else number(100 * value, 1) for row in every for value in row)))
    header = tuple(f"{score} {letter}" for score in CLASS_SCORES for letter in comparison.letters)
    return PlainTable("", (f"{comparison.split}, %", *header), tuple(rows), 1)


def _sentences(comparison: RunComparison) -> list[str]:
    """What the paired test says, and where there is none why."""
    sentences = [_test_sentence(letter, test, comparison.split) for letter, test in comparison.tests.items()]
    unfinished = [run.letter for run in comparison.runs if run.result is None]
    if unfinished:
        sentences.append(f"Without a result, hence without metrics and test: {', '.join(unfinished)}.")
    if any(test.difference is not None for test in comparison.tests.values()):
        several = (
            f" The verdicts are corrected for {len(comparison.tests)} comparisons (Holm)." if len(comparison.tests) > 1 else ""
        )
        sentences.append(
            "These networks only: the interval covers the draw of the images, not that of the seeds; `table` covers both."
            + several
        )
    return sentences


def _test_sentence(letter: str, test: PairedTest, split: str) -> str:
    if test.difference is None:
        return f"{letter} and A are not compared image by image: {test.problem}."
    found = test.difference
    return (
        f"{letter} against A, accuracy on the {test.images:,} {split} images that both share: {found.verdict} "
        f"({100 * found.value:+z.1f}; only {letter} is right about {test.won:,}, only A about {test.lost:,}; "
        f"McNemar's exact {p_text(test.mcnemar)})."
    )


def _spelled(value: Any, longest: int) -> str:
    return ABSENT if value is None else shorten(one_line(str(value)), longest)


def comparison_values(comparison: RunComparison) -> dict[str, Any]:
    """Everything in full, for JSON; metrics are fractions, values stand in the order of the runs."""
    return {
        "runs": [
            {
                "letter": run.letter,
                "key": run.header.key,
                "experiment": run.header.experiment,
                "label": run.header.name,
                "seed": run.header.repeat.seed,
                "fold": run.header.repeat.fold,
                "state": run.folder.state.value,
                "folder": str(run.folder.path),
            }
            for run in comparison.runs
        ],
        "split": comparison.split,
        **{name: dict(getattr(comparison, name)) for name in ("settings", "data", "code", "machine", "metrics", "classes")},
        "tests": {letter: _test_values(test) for letter, test in comparison.tests.items()},
    }


def _test_values(test: PairedTest) -> dict[str, Any]:
    if test.difference is None:
        return {"problem": test.problem}
    return {"images": test.images, "won": test.won, "lost": test.lost, "mcnemar_p": test.mcnemar, **asdict(test.difference)}
