"""Output of a search: facts at its start; best and failed trials, list, figures and MLflow run at its end."""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.config.compose import file_flags
from fer_ablate.config.key import short
from fer_ablate.config.multirun import GRID, PARAMS, SWEEPER, multirun_of
from fer_ablate.config.overrides import key_of
from fer_ablate.config.schema import Config
from fer_ablate.data.load import load_faces
from fer_ablate.errors import UserError
from fer_ablate.execution.mlflow_pages import study_facts
from fer_ablate.execution.search.front import FRESH_SEEDS, cell_of, write_front
from fer_ablate.execution.search.plan import PreparedSearch, search_facts
from fer_ablate.execution.search.structures import network_text, varies_stages
from fer_ablate.report.plots.search import save_search_figures
from fer_ablate.report.quantities import count, metric_title, scale
from fer_ablate.search.objectives import COSTS, MAXIMIZE, why_not_pruned
from fer_ablate.search.search import Search
from fer_ablate.search.trials import COUNTED, SearchSummary, TrialRecord, TrialStatus, search_summary
from fer_ablate.shell import program
from fer_ablate.study.cells import Cell
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.tracking.disk.log import LOG, attempt
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.disk.scan import scan
from fer_ablate.tracking.mlflow.study_runs import ITSELF, StudySummary, close_study, open_study
from fer_ablate.training.role_set import role_set

SHOWN = 10
"""Trials of the Pareto front that are printed; the file lists all."""

RARE: tuple[TrialStatus, ...] = ("impossible", "excluded")
"""States that few searches can have at all, so that only these speak of them."""


def begin(search: Search, prepared: PreparedSearch, ended: int) -> None:
    """Print what the search is about to do.

    Args:
        search: the search, new or continued.
        prepared: the same search.
        ended: number of trials that count, of earlier starts.
    """
    plan, config = search.plan, prepared.config
    rows = search_facts(prepared, ended)
    notes = [search.note, why_not_pruned(config) if plan.pruner_settings.get("name") != "none" else ""]
    rows += [("note", note) for note in (*notes, *_image_notes(config)) if note]
    console.facts(rows)


def _image_notes(config: Config) -> tuple[str, ...]:
    """Notes about the images, once for all trials; images that cannot be read are reported by the trials themselves."""
    try:
        return role_set(config, load_faces(config.data, plugins=config.plugins)).notes
    except UserError:
        return ()


def open_parent(search: Search, config: Config) -> str | None:
    """Id of the search's MLflow run, below which its trials are shown; None without MLflow."""
    plan = search.plan
    parents, warning = open_study(config.tracking, Path(config.runs_dir), plan.name, [], _tags(plan.objectives))
    if warning:
        console.console.print(f"  note: {warning}", style="yellow")
    return parents.parent_id if parents is not None else None


def finish(search: Search, prepared: PreparedSearch, state: RunState) -> None:
    """Show the best trials and what failed, write the list of trials and the pictures, bring both to MLflow.

    Args:
        search: after its last trial of this start.
        prepared: the same search.
        state: finished; failed if a trial failed; missing if the search was interrupted.
    """
    plan, config, folder = search.plan, prepared.config, prepared.folder
    summary = search_summary(search.study, plan.objectives, plan.directions)
    cells = [cell_of(prepared, trial) for trial in summary.best]
    _show_counts(summary)
    _show_best(summary, cells)
    write_text(folder / "trials.csv", _table(summary))
    files = [folder / "trials.csv"]
    with console.bar("drawing the pictures"):
        problem = attempt(folder / LOG, "The pictures", lambda: files.extend(save_search_figures(folder, summary)))
    facts = _commands(prepared, summary, cells, files)
    facts.append(("written", f"{folder}/ {', '.join(str(file.relative_to(folder)) for file in files)}"))
    warning = close_study(config.tracking, Path(config.runs_dir), plan.name, _mlflow_summary(summary, config, files, state))
    if config.tracking.enabled:
        facts += study_facts(config.tracking, Path(config.runs_dir), plan.name)
    console.console.print()
    console.facts(facts)
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
    ended = sum(len(summary.of(state)) for state in COUNTED)
    counts = ", ".join(f"{len(found)} {state}" for state in COUNTED if (found := summary.of(state)) or state not in RARE)
    # An open one waits until the search has the time for it.
    again = {trial.resumes: trial.number for trial in summary.trials if trial.resumes is not None and trial.state != "open"}
    console.console.print(f"\n  {console.counted(ended, 'trial')}: {counts}")
    for words, trials in (("interrupted", summary.of("interrupted")), ("failed", summary.of("repeated"))):
        # One that was killed before its run began has no key: another suggestion takes its place.
        begun = [trial.number for trial in trials if trial.key or trial.problem]
        if numbers := ", ".join(f"{number} as {again[number]}" for number in begun if number in again):
            console.console.print(f"  {words} and run again: {numbers}")
        if numbers := ", ".join(str(number) for number in begun if number not in again):
            console.console.print(f"  {words}: {numbers}; the same command runs them again")


def _show_best(summary: SearchSummary, cells: Sequence[Cell]) -> None:
    if not summary.best:
        return
    shown = list(zip(summary.best, cells, strict=True))[:SHOWN]
    structures = varies_stages(summary.best[0].params)
    header, settings = _costs(summary, shown) if structures else _params(shown)
    titles = [metric_title(name) for name in summary.objectives]
    rows = []
    for (trial, _), own in zip(shown, settings, strict=True):
        values = [_value(name, value) for name, value in zip(summary.objectives, trial.values, strict=True)]
        rows.append([str(trial.number), *((*values, *own) if structures else (*own, *values)), short(trial.key)])
    heading = "the best trial" if len(summary.objectives) == 1 else "trials that no other beats in every objective"
    console.console.print()
    console.table(heading, ["trial", *((*titles, *header) if structures else (*header, *titles)), "run"], rows)
    if len(summary.best) > len(shown):
        console.console.print(f"  and {len(summary.best) - len(shown)} more in trials.csv")
    if structures:
        console.console.print()
        console.facts([(f"trial {trial.number}", network_text(cell.config.model)) for trial, cell in shown])


def _params(shown: Sequence[tuple[TrialRecord, Cell]]) -> tuple[list[str], list[list[str]]]:
    """Searched keys, and their values in each trial."""
    keys = list(dict.fromkeys(name for trial, _ in shown for name in trial.params))
    return [key_of(name) for name in keys], [[_short(trial.params.get(name, "")) for name in keys] for trial, _ in shown]


def _costs(summary: SearchSummary, shown: Sequence[tuple[TrialRecord, Cell]]) -> tuple[list[str], list[list[str]]]:
    """Sizes that are no objectives, and their values in each trial: two dozen keys of a structure fit no table."""
    names = [name for name in ("parameters", "macs") if f"run/{name}" not in summary.objectives]
    folders = scan(Path(shown[0][1].config.runs_dir)).folders
    results = [folders.of(cell.config, "", trial.key).result for trial, cell in shown]
    return names, [[count(getattr(result, name)) for name in names] for result in results]


def _commands(
    prepared: PreparedSearch, summary: SearchSummary, cells: Sequence[Cell], files: list[Path]
) -> list[tuple[str, str]]:
    """Commands for the best trials, which confirm them with other seeds, as the best of many is partly luck.

    Args:
        prepared: the search.
        summary: of its trials.
        cells: of the best ones.
        files: what is written here is added.
    """
    if not summary.best:
        return []
    if len(summary.objectives) > 1:
        front = write_front(prepared, summary, cells)
        files += front.files
        described = [("describe", f"{front.describe}   (so for each of them)")] if front.describe else []
        return [*described, ("confirm", f"{front.train}   (the best of many trials are partly luck)")]
    # The seed is given anew; name and search keys belong to the search itself.
    words = [word for word in cells[0].row.overrides if not word.startswith(("seed=", "name=", "search."))]
    seed = prepared.config.seed
    seeds = ",".join(str(seed + number) for number in range(1, FRESH_SEEDS + 1))
    own = [f"seed={seed}"] if seed else []
    flags = file_flags(prepared.config_dir)
    once = ["hydra.mode=RUN"] if multirun_of(words, prepared.config_dir).on else []
    # The file of an experiment that lists what to search would make a search, or a grid of all of it, of the seeds.
    grid = [f"{SWEEPER}={GRID}", f"{PARAMS}=null"] if prepared.settings.params else []
    return [
        ("again", program(*flags, *once, *words, *own)),
        ("confirm", f"{program('-m', *flags, *grid, *words, f'seed={seeds}')}   (the best of many trials is partly luck)"),
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
