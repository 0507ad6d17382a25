"""Output of a search: facts at its start; best and failed trials, list, figures and MLflow run at its end."""

import csv
import io
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.config.key import short
from fer_ablate.config.overrides import key_of
from fer_ablate.config.schema import Config
from fer_ablate.data.load import load_faces
from fer_ablate.errors import UserError
from fer_ablate.report.plots.search import save_search_figures
from fer_ablate.report.quantities import count, metric_title, scale
from fer_ablate.search.objectives import COSTS, MAXIMIZE, why_not_pruned
from fer_ablate.search.search import Search
from fer_ablate.search.trials import COUNTED, SearchSummary, TrialRecord, search_summary
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.tracking.disk.log import LOG, attempt
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.disk.scan import scan
from fer_ablate.tracking.mlflow.study_runs import ITSELF, StudySummary, close_study, open_study
from fer_ablate.training.role_set import role_set

SHOWN = 10
"""Trials of the Pareto front that are printed; the file lists all."""

FRESH_SEEDS = 3
"""Number of seeds that the command to confirm the best trial names."""


def begin(search: Search, config: Config, n_trials: int, missing: int, at_once: int) -> None:
    """Print what the search is about to do.

    Args:
        search: the search, new or continued.
        config: config of its first trial.
        n_trials: number of trials in all.
        missing: number of trials still to run.
        at_once: number of trials in a batch.
    """
    plan = search.plan
    objectives = ", ".join(f"{name} ({way})" for name, way in zip(plan.objectives, plan.directions, strict=True))
    at = f", {at_once} at once" if at_once > 1 else ""
    rows = [
        ("search", plan.name),
        ("for", objectives),
        ("over", ", ".join(plan.space)),
        ("trials", f"{n_trials} in all, {n_trials - missing} done, {missing} to run{at}"),
        ("kept in", plan.address),
    ]
    notes = [search.note, why_not_pruned(config) if plan.pruner_settings.get("name") != "none" else ""]
    rows += [("note", note) for note in (*notes, *_image_notes(config)) if note]
    console.facts(rows)


def _image_notes(config: Config) -> tuple[str, ...]:
    """Notes about the images, once for all trials; images that cannot be read are reported by the trials themselves."""
    try:
        return role_set(config, load_faces(config.data)).notes
    except UserError:
        return ()


def open_parent(search: Search, config: Config) -> str | None:
    """Id of the search's MLflow run, below which its trials are shown; None without MLflow."""
    plan = search.plan
    parents, warning = open_study(config.tracking, Path(config.runs_dir), plan.name, [], _tags(plan.objectives))
    if warning:
        console.console.print(f"  note: {warning}", style="yellow")
    return parents.parent_id if parents is not None else None


def finish(search: Search, config: Config, fixed: Sequence[str], folder: Path, state: RunState) -> None:
    """Show the best trials and what failed, write the list of trials and the pictures, bring both to MLflow.

    Args:
        search: after its last trial of this start.
        config: config of its first trial.
        fixed: overrides that all trials share.
        folder: folder of the search.
        state: finished; failed if a trial failed; missing if the search was interrupted.
    """
    plan = search.plan
    summary = search_summary(search.study, plan.objectives, plan.directions)
    _show_counts(summary)
    _show_best(summary)
    write_text(folder / "trials.csv", _table(summary))
    files = [folder / "trials.csv"]
    with console.bar("drawing the pictures"):
        problem = attempt(folder / LOG, "The pictures", lambda: files.extend(save_search_figures(folder, summary)))
    facts = _commands(summary, fixed, config.seed)
    facts.append(("written", f"{folder}/ {', '.join(file.name for file in files)}"))
    if config.tracking.enabled:
        where = f"(experiment {config.tracking.experiment})"
        facts.append(("compare", f"mlflow ui --backend-store-uri {config.tracking.uri}   {where}"))
    console.console.print()
    console.facts(facts)
    warning = close_study(config.tracking, Path(config.runs_dir), plan.name, _mlflow_summary(summary, config, files, state))
    for note in filter(None, (problem, warning)):
        console.console.print(f"  note: {note}", style="yellow")
    _print_failed(summary)


def _mlflow_summary(summary: SearchSummary, config: Config, files: Sequence[Path], state: RunState) -> StudySummary:
    """What MLflow records: counts, the best value of each objective, the figures, and which runs are trials."""
    metrics = {f"trials/{state}": float(len(summary.of(state))) for state in COUNTED}
    for number, (name, way) in enumerate(zip(summary.objectives, summary.directions, strict=True)):
        if found := [trial.values[number] for trial in summary.best]:
            metrics[f"best/{name}"] = max(found) if way == MAXIMIZE else min(found)
    keys = dict.fromkeys(trial.key for trial in summary.of("done"))
    folders = scan(Path(config.runs_dir)).folders
    finished = [folder for key in keys if (folder := folders.of(config, "", key)).finished]
    tags = _tags(summary.objectives)
    return StudySummary(rows={ITSELF: metrics}, runs={ITSELF: finished}, artifacts=files, state=state, tags=tags)


def _tags(names: Sequence[str]) -> dict[str, str]:
    return {"kind": "search", "objectives": ", ".join(names)}


def _show_counts(summary: SearchSummary) -> None:
    ended = len(summary.of("done")) + len(summary.of("pruned")) + len(summary.of("failed"))
    counts = ", ".join(f"{len(summary.of(state))} {state}" for state in ("done", "pruned", "failed"))
    again = {trial.resumes for trial in summary.trials if trial.resumes is not None}
    waiting = [trial for trial in summary.of("interrupted") if trial.number not in again]
    console.console.print(f"\n  {console.counted(ended, 'trial')}: {counts}")
    if again:
        numbers = ", ".join(f"{trial.resumes} as {trial.number}" for trial in summary.trials if trial.resumes is not None)
        console.console.print(f"  interrupted and run again: {numbers}")
    if waiting:
        numbers = ", ".join(str(trial.number) for trial in waiting)
        console.console.print(f"  interrupted: {numbers}; the same command runs them again")


def _show_best(summary: SearchSummary) -> None:
    if not summary.best:
        return
    single = len(summary.objectives) == 1
    shown = summary.best[:SHOWN]
    keys = list(dict.fromkeys(name for trial in shown for name in trial.params))
    header = ["trial", *map(key_of, keys), *(metric_title(name) for name in summary.objectives), "run"]
    rows = [
        [
            str(trial.number),
            *(_short(trial.params.get(name, "")) for name in keys),
            *(_value(name, value) for name, value in zip(summary.objectives, trial.values, strict=True)),
            short(trial.key),
        ]
        for trial in shown
    ]
    heading = "the best trial" if single else "trials that no other beats in every objective"
    console.console.print()
    console.table(heading, header, rows)
    if len(summary.best) > len(shown):
        console.console.print(f"  and {len(summary.best) - len(shown)} more in trials.csv")


def _commands(summary: SearchSummary, fixed: Sequence[str], seed: int) -> list[tuple[str, str]]:
    """Commands for the best trial: to run it again, and to confirm it with other seeds, as the best of many is partly luck."""
    if not summary.best:
        return []
    best = summary.best[0]
    # The seed is given anew below; name and search keys belong to the search itself.
    keyed = [word for word in fixed if not word.startswith(("seed=", "name=", "search."))]
    words = shlex.join([*keyed, *(f"{name}={value}" for name, value in best.params.items())])
    seeds = ",".join(str(seed + number) for number in range(1, FRESH_SEEDS + 1))
    own = f" seed={seed}" if seed else ""
    return [
        ("again", f"python -m fer_ablate {words}{own}"),
        ("confirm", f"python -m fer_ablate -m {words} seed={seeds}   (the best of many trials is partly luck)"),
    ]


def _print_failed(summary: SearchSummary) -> None:
    failed = summary.of("failed")
    if not failed:
        return
    sys.stdout.flush()
    lines = [f"  trial {trial.number:03}: {_first_line(trial)}" for trial in failed]
    head = f"fer_ablate: {console.counted(len(failed), 'trial')} failed (hydra.sweeper.retry_failed=true runs them once more):"
    print("\n".join([head, *lines]), file=sys.stderr, flush=True)


def _first_line(trial: TrialRecord) -> str:
    first = next(iter(trial.problem.splitlines()), "")
    return f"{first}  (log: {trial.log})" if trial.log else first


def _table(summary: SearchSummary) -> str:
    """Content of trials.csv: metrics as fractions, costs in their units."""
    keys = list(dict.fromkeys(name for trial in summary.trials for name in trial.params))
    names = [key_of(name) for name in keys]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", *names, *summary.objectives, "best", "key", "resumes", "problem"])
    for trial in summary.trials:
        values = trial.values or [""] * len(summary.objectives)
        params = [trial.params.get(name, "") for name in keys]
        end = [int(trial in summary.best), trial.key, "" if trial.resumes is None else trial.resumes, trial.problem]
        writer.writerow([trial.number, trial.state, *params, *values, *end])
    return text.getvalue()


def _value(objective: str, value: float) -> str:
    name = objective.rpartition("/")[2]
    if name in ("parameters", "macs"):
        return count(value)
    return f"{scale(objective) * value:.1f}" if name in COSTS else f"{scale(objective) * value:.2f}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
