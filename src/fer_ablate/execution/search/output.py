"""What people see of a search: what it is about to do, its best trials, what failed; its pictures, and its run in MLflow."""

import csv
import io
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.config.key import short
from fer_ablate.config.schema import Config
from fer_ablate.data.load import load_faces
from fer_ablate.errors import UserError
from fer_ablate.report.plots.search import save_search_pictures
from fer_ablate.report.quantities import count, scale, title
from fer_ablate.search.objectives import COSTS, MAXIMIZE, why_not_pruned
from fer_ablate.search.search import Search
from fer_ablate.search.trials import COUNTED, SearchSummary, TrialRecord, summarised
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.tracking.disk.log import LOG, attempt
from fer_ablate.tracking.disk.places import run_path
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.mlflow.study_runs import ITSELF, StudySummary, close_study, open_study
from fer_ablate.training.assembly import role_set

SHOWN = 10
"""Trials of the Pareto front on the screen; all of them are in the file."""

FRESH_SEEDS = 3


def begin(search: Search, config: Config, n_trials: int, missing: int, at_once: int) -> None:
    """Say what is about to happen.

    Args:
        search: that is begun or taken up.
        config: of its first trial.
        n_trials: in all.
        missing: still to be run.
        at_once: trials in a batch.
    """
    plan = search.plan
    wanted = ", ".join(f"{name} ({way})" for name, way in zip(plan.objectives, plan.directions, strict=True))
    at = f", {at_once} at once" if at_once > 1 else ""
    rows = [
        ("search", plan.name),
        ("for", wanted),
        ("over", ", ".join(plan.space)),
        ("trials", f"{n_trials} in all, {n_trials - missing} there, {missing} to run{at}"),
        ("kept in", plan.address),
    ]
    notes = [search.note, why_not_pruned(config) if plan.pruner_settings.get("name") != "none" else ""]
    rows += [("note", note) for note in (*notes, *_image_notes(config)) if note]
    console.facts(rows)


def _image_notes(config: Config) -> tuple[str, ...]:
    """What a person should know about the images, once for all trials; trials themselves say what is wrong with them."""
    try:
        return role_set(config, load_faces(config.data)).notes
    except UserError:
        return ()


def open_parent(search: Search, config: Config) -> str | None:
    """The MLflow run of the search, below which its trials are shown; None without one."""
    plan = search.plan
    parents, warning = open_study(config.tracking, Path(config.runs_dir), plan.name, [], _tags(plan.objectives))
    if warning:
        console.console.print(f"  note: {warning}", style="yellow")
    return parents.parent_id if parents is not None else None


def finish(search: Search, config: Config, fixed: Sequence[str], folder: Path, status: str) -> None:
    """Show the best trials and what failed, write the list of trials and the pictures, bring both to MLflow.

    Args:
        search: after its last trial of this start.
        config: of its first trial.
        fixed: overrides that all trials share.
        folder: of the search.
        status: for MLflow; FINISHED, FAILED or KILLED.
    """
    plan = search.plan
    summary = summarised(search.study, plan.objectives, plan.directions)
    _show_counts(summary)
    _show_best(summary)
    write_text(folder / "trials.csv", _table(summary))
    files = [folder / "trials.csv"]
    with console.bar("drawing the pictures"):
        problem = attempt(folder / LOG, "The pictures", lambda: files.extend(save_search_pictures(folder, summary)))
    facts = _commands(summary, fixed, config.seed)
    facts.append(("written", f"{folder}/ {', '.join(file.name for file in files)}"))
    if config.tracking.enabled:
        where = f"(experiment {config.tracking.experiment})"
        facts.append(("compare", f"mlflow ui --backend-store-uri {config.tracking.uri}   {where}"))
    console.console.print()
    console.facts(facts)
    warning = close_study(config.tracking, Path(config.runs_dir), plan.name, _told(summary, config, files, status))
    for note in filter(None, (problem, warning)):
        console.console.print(f"  note: {note}", style="yellow")
    _tell_failed(summary)


def _told(summary: SearchSummary, config: Config, files: Sequence[Path], status: str) -> StudySummary:
    """What MLflow is to know: counts, the best value of each objective, the pictures, and which runs are trials."""
    metrics = {f"trials/{state}": float(len(summary.of(state))) for state in COUNTED}
    for number, (name, way) in enumerate(zip(summary.objectives, summary.directions, strict=True)):
        if found := [trial.values[number] for trial in summary.best]:
            metrics[f"best/{name}"] = max(found) if way == MAXIMIZE else min(found)
    keys = dict.fromkeys(trial.key for trial in summary.of("done"))
    folders = [RunFolder(run_path(Path(config.runs_dir), config.tracking.experiment, "", config.seed, key)) for key in keys]
    finished = [folder for folder in folders if folder.status == "finished"]
    tags = _tags(summary.objectives)
    return StudySummary(rows={ITSELF: metrics}, runs={ITSELF: finished}, artifacts=files, status=status, tags=tags)


def _tags(names: Sequence[str]) -> dict[str, str]:
    return {"kind": "search", "objectives": ", ".join(names)}


def _show_counts(summary: SearchSummary) -> None:
    ended = len(summary.of("done")) + len(summary.of("pruned")) + len(summary.of("failed"))
    told = ", ".join(f"{len(summary.of(state))} {state}" for state in ("done", "pruned", "failed"))
    again = {trial.resumes for trial in summary.trials if trial.resumes is not None}
    waiting = [trial for trial in summary.of("interrupted") if trial.number not in again]
    console.console.print(f"\n  {console.counted(ended, 'trial')}: {told}")
    if again:
        numbers = ", ".join(f"{trial.resumes} as {trial.number}" for trial in summary.trials if trial.resumes is not None)
        console.console.print(f"  interrupted and taken up again: {numbers}")
    if waiting:
        numbers = ", ".join(str(trial.number) for trial in waiting)
        console.console.print(f"  interrupted: {numbers}; the same command takes them up again")


def _show_best(summary: SearchSummary) -> None:
    if not summary.best:
        return
    single = len(summary.objectives) == 1
    shown = summary.best[:SHOWN]
    keys = list(dict.fromkeys(name for trial in shown for name in trial.params))
    header = ["trial", *(name.lstrip("+") for name in keys), *(title(name) for name in summary.objectives), "run"]
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
    """What one would type next. The best of many trials is partly luck, so fresh seeds come first."""
    if not summary.best:
        return []
    best = summary.best[0]
    keyed = [word for word in fixed if not word.startswith(("seed=", "name=", "search."))]
    words = shlex.join([*keyed, *(f"{name}={value}" for name, value in best.params.items())])
    seeds = ",".join(str(seed + number) for number in range(1, FRESH_SEEDS + 1))
    own = f" seed={seed}" if seed else ""
    return [
        ("again", f"python -m fer_ablate {words}{own}"),
        ("confirm", f"python -m fer_ablate -m {words} seed={seeds}   (the best of many trials is partly luck)"),
    ]


def _tell_failed(summary: SearchSummary) -> None:
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
    """trials.csv: metrics as fractions, costs in their units."""
    keys = list(dict.fromkeys(name for trial in summary.trials for name in trial.params))
    names = [name.lstrip("+") for name in keys]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", *names, *summary.objectives, "best", "key", "resumes", "problem"])
    for trial in summary.trials:
        values = trial.values or [""] * len(summary.objectives)
        params = [trial.params.get(name, "") for name in keys]
        told = [int(trial in summary.best), trial.key, "" if trial.resumes is None else trial.resumes, trial.problem]
        writer.writerow([trial.number, trial.state, *params, *values, *told])
    return text.getvalue()


def _value(objective: str, value: float) -> str:
    name = objective.rpartition("/")[2]
    if name in ("parameters", "macs"):
        return count(value)
    return f"{scale(objective) * value:.1f}" if name in COSTS else f"{scale(objective) * value:.2f}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
