"""What was exported of a table in words: how much of it is measured, on which machines, and when."""

from collections.abc import Callable, Sequence

from fer_ablate.report.results.export import ExportedRun
from fer_ablate.report.results.table import StudyResults

SETTING = " -> "
"""In the reasons for which a run is stale: a key whose value has changed since."""


def measured_rows(results: StudyResults) -> str:
    """Such as `2 of 8`."""
    return f"{len({run.label for run in results.runs})} of {len(results.labels)}"


def measured_in_words(results: StudyResults) -> str:
    """Rows, machines and dates in one line; empty if nothing is measured."""
    runs = results.trained
    if not runs:
        return ""
    earlier, seeds = sum(bool(run.stale) for run in runs), sorted({run.seed for run in runs})
    rows = f"{measured_rows(results)} rows, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    parts = [rows, counted(runs, machine), trained(runs)]
    return "; ".join([*parts, f"{earlier} of an earlier state"] if earlier else parts)


def as_studied(run: ExportedRun) -> bool:
    """Whether a run had the study's config; an older state of the code alone does not make it another training."""
    return not run.changes and SETTING not in run.stale


def machine(run: ExportedRun) -> str:
    """Such as `AMD EPYC, 1 thread, bf16-mixed, torch 2.13.0+cpu`."""
    environment = run.environment
    parts = [environment.get("hardware", "")]
    if environment.get("devices", "1") != "1":
        parts.append(f"{environment['devices']} devices")
    if environment.get("device") == "cpu":
        threads = environment.get("threads", "")
        parts.append(f"{threads} thread{'' if threads == '1' else 's'}")
    return ", ".join([*parts, environment.get("precision", ""), f"torch {environment.get('torch', '')}"])


def trained(runs: Sequence[ExportedRun]) -> str:
    """The first and the last day on which one of at least one run finished."""
    dates = sorted(run.date for run in runs)
    return " to ".join(dict.fromkeys((dates[0], dates[-1])))


def counted(runs: Sequence[ExportedRun], name: Callable[[ExportedRun], str]) -> str:
    """`a` if it is the same for all runs, otherwise `a (3 runs); b (1 run)`."""
    counts: dict[str, int] = {}
    for run in runs:
        counts[name(run)] = counts.get(name(run), 0) + 1
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{text} ({count} run{'s' if count > 1 else ''})" for text, count in counts.items())
