"""The trials of a search: composed, checked, given to the launcher, and their results reported to the search."""

import math
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fer_ablate.cli import console
from fer_ablate.cli.command_line import allow_plugins, parse
from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.config.choices import Mode
from fer_ablate.config.overrides import key_of
from fer_ablate.config.schema import SearchConfig
from fer_ablate.errors import Fault, FaultyConfigError, UserError, first_line
from fer_ablate.execution.job import JobResult, result_on_disk, times_before
from fer_ablate.execution.launching import Launch, open_launcher
from fer_ablate.execution.live_view import LiveView, showing
from fer_ablate.execution.run_progress import WatchedRun
from fer_ablate.execution.search import output
from fer_ablate.execution.search.plan import PreparedSearch, read_search
from fer_ablate.execution.search.space import KEY
from fer_ablate.execution.search.structures import impossible
from fer_ablate.execution.sharing import Sharing, share, this_machine
from fer_ablate.execution.submitted_jobs import Jobs
from fer_ablate.search.objectives import objective_values
from fer_ablate.search.search import Search, Suggestion, search_lock
from fer_ablate.study.cells import Cell
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.disk.scan import scan


def run_search(arguments: Sequence[str]) -> int:
    """Run trials until `n_trials` have ended, then show the best.

    Args:
        arguments: plain Hydra, with `-m` and `hydra/sweeper=optuna`.

    Returns:
        1 if a trial of this start failed or was interrupted, else 0.

    Raises:
        FaultyConfigError: with every fault of the command line.
        BusyError: another process runs this search.
    """
    parsed = parse(arguments)
    allow_plugins(parsed.overrides)
    prepared, words = read_search(parsed)

    def shared(most: int | None) -> Sharing:
        # All trials of a batch are taken to be as large as the first one; how large the largest gets, nobody knows before.
        return share([prepared.config] * prepared.settings.n_jobs, this_machine(), {}, most)

    with open_launcher(words, parsed.config_dir, Path(prepared.config.runs_dir).resolve() / "multirun", shared) as launcher:
        try:
            return run_trials(prepared, launcher.launch, launcher.jobs)
        except KeyboardInterrupt:
            if launcher.jobs is not None:
                launcher.jobs.show_left()
            raise


MOST_NAMED = 8
"""Parameters up to which a trial is named by their values; the network of a search over structures has dozens."""


@dataclass(frozen=True)
class Trial:
    """A suggestion and the run that it makes."""

    suggestion: Suggestion
    cell: Cell
    place: str
    folder: RunFolder

    @property
    def number(self) -> int:
        """Number within the search, from 0."""
        return self.suggestion.number


def run_trials(prepared: PreparedSearch, launch: Launch, jobs: Jobs | None = None) -> int:
    """Run the trials that are missing, then show the best.

    Args:
        prepared: the search.
        launch: starts runs.
        jobs: the jobs of the runs on a cluster, if it starts them as such.

    Returns:
        1 if a trial of this start failed or was interrupted, else 0.

    Raises:
        UserError: more trials failed than `max_failure_rate` allows; the best ones until then are shown all the same.
    """
    # Two processes with one search would each run all trials that are missing.
    with search_lock(prepared.folder, prepared.plan.name):
        search = Search.open(prepared.plan, prepared.settings.retry_failed)
        ended = search.counted
        missing = prepared.missing(ended)
        output.begin(search, prepared, ended)
        parent = output.open_parent(search, prepared.config) if missing else None
        view = LiveView([], fresh=True, job_note=jobs.note if jobs is not None else None)
        trials = Trials(prepared, search, launch, parent, view)
        try:
            with showing(view) if missing else nullcontext():
                trials.run(missing)
        except KeyboardInterrupt:
            output.finish(search, prepared, RunState.missing)
            raise
        state = RunState.failed if trials.lost else RunState.finished
        output.finish(search, prepared, state)
        if trials.given_up:
            raise UserError(trials.given_up)
        return int(bool(trials.lost))


class Trials:
    """Runs trials in batches, since a launcher returns only when all of its runs have ended.

    Args:
        prepared: the checked search.
        search: its storage, open.
        launch: starts runs.
        parent: MLflow run below which the trials are shown.
        view: shows how far the trials are.

    Attributes:
        lost: trials of this start that failed or were interrupted.
        given_up: why no more trials are run, for people; empty if all are.
    """

    def __init__(self, prepared: PreparedSearch, search: Search, launch: Launch, parent: str | None, view: LiveView) -> None:
        self.prepared, self.search, self.launch, self.parent, self.view = prepared, search, launch, parent, view
        self.lost, self.given_up = 0, ""
        self._folders = scan(Path(prepared.config.runs_dir)).folders

    def run(self, missing: int) -> None:
        """Run this number of trials; fewer if more of them fail than `max_failure_rate` allows."""
        begun, rate = 0, self.prepared.settings.max_failure_rate
        while begun < missing and not self.given_up:
            batch = [self.search.ask() for _ in range(min(self.prepared.settings.n_jobs, missing - begun))]
            done = self.prepared.n_trials - missing + begun
            begun += len(batch)
            places = [f"{done + number}/{self.prepared.n_trials}" for number in range(1, len(batch) + 1)]
            self._run_batch(batch, places, missing - begun)
            if self.lost / begun > rate:
                problem = f"{self.lost} of {begun} trials failed, more than {KEY}.max_failure_rate={rate:g} allows."
                self.given_up = f"{problem} Fix the problems above; the same command continues the search."

    def _run_batch(self, batch: Sequence[Suggestion], places: Sequence[str], to_come: int) -> None:
        trials: list[Trial] = []
        for suggestion, place in zip(batch, places, strict=True):
            label = f"trial {suggestion.number:03} {_short_values(suggestion.params)}".rstrip()
            if exclusion := self.prepared.space.left_out(suggestion.params):
                console.console.print(f"  {label}: excluded: {exclusion}")
                self.search.excluded(suggestion.number, exclusion)
                continue
            try:
                cell = self.prepared.compose(label, self.prepared.space.words(suggestion.params))
            except FaultyConfigError as error:  # values that do not fit together
                self._refuse(suggestion.number, label, error.faults)
                continue
            except UserError as error:  # values that the images, or the runs on disk, do not fit
                self._fail(suggestion.number, label, str(error))
                continue
            trials.append(Trial(suggestion, cell, place, self._folders.of(cell.config, label, cell.key)))
            self.search.begun(suggestion.number, cell.key)
        # Each key once: two trials with the same values are one run.
        outcomes = self._launched({trial.cell.key: trial for trial in trials}, to_come)
        for trial in trials:
            self._settle(trial, outcomes[trial.cell.key])

    def _launched(self, trials: dict[str, Trial], to_come: int) -> dict[str, JobResult]:
        """The results of the runs; finished ones are not given to the launcher.

        Args:
            trials: of this batch, by the keys of their runs.
            to_come: number of trials after them.
        """
        outcomes: dict[str, JobResult] = {}
        for key, trial in trials.items():
            if trial.folder.finished and not trial.cell.config.force:
                console.console.print(f"  [{trial.place}] {trial.cell.row.label}: finished before")
                outcomes[key] = JobResult(RunState.finished, key)
        waiting = {key: trial for key, trial in trials.items() if key not in outcomes}
        self.view.add([_watched(trial) for trial in waiting.values()], to_come)
        if not waiting:
            return outcomes
        before = {key: times_before(trial.folder, trial.cell.config.force) for key, trial in waiting.items()}
        try:
            ended = self.launch([self._run_spec(trial) for trial in waiting.values()])
            return outcomes | dict(zip(waiting, ended, strict=True))
        except Exception as error:  # launchers raise errors of their own: a worker was killed, a cluster is gone
            problem = first_line(error)
            sys.stdout.flush()
            print(f"fer_ablate: the launcher broke off: {problem}", file=sys.stderr, flush=True)
            return outcomes | {key: result_on_disk(trial.folder, key, problem, before[key]) for key, trial in waiting.items()}

    def _run_spec(self, trial: Trial) -> RunSpec:
        plan, config = self.prepared.plan, trial.cell.config
        objective = self.prepared.config.search.objective
        search = SearchConfig(objective=objective, storage=plan.address, study_name=plan.name, trial=trial.number)
        # Neither section is part of the key, so the trial keeps the key it was composed with.
        own = replace(config, search=search, tracking=replace(config.tracking, parent=self.parent))
        params = {key_of(key): str(value) for key, value in trial.suggestion.params.items()}
        return RunSpec(
            own,
            trial.cell.row.label,
            list(trial.cell.overrides),
            params,
            key=trial.cell.key,
            place=trial.place,
            folder=str(trial.folder.path),
            quiet=True,
        )

    def _settle(self, trial: Trial, outcome: JobResult) -> None:
        label = trial.cell.row.label
        if outcome.state is RunState.pruned:
            self.search.pruned(trial.number)
        elif outcome.state in (RunState.running, RunState.missing):
            self.lost += 1
            self.search.interrupted(trial.number)
            console.console.print(f"  {label}: interrupted; the same command runs it again")
        elif outcome.state is RunState.failed:
            self.lost += 1
            self.search.failed(trial.number, outcome.problem, outcome.log)  # the view has printed the problem
        elif not trial.folder.finished:
            self._fail(trial.number, label, "its result has another key: data or code changed while the search ran")
        else:
            found = objective_values(trial.folder.result, self.prepared.plan.objectives)
            if any(math.isnan(value) for value in found):
                self._fail(trial.number, label, f"{', '.join(self.prepared.plan.objectives)} = {found}")
            else:
                self.search.done(trial.number, found)

    def _refuse(self, number: int, label: str, faults: Sequence[Fault]) -> None:
        """End a trial that cannot be run: one whose maps shrink to nothing is no failure."""
        problem = "\n".join(str(fault) for fault in faults)
        if not impossible(faults):
            self._fail(number, label, problem)
            return
        console.console.print(f"  {label}: impossible: {problem.splitlines()[0]}")
        self.search.impossible(number, problem)

    def _fail(self, number: int, label: str, problem: str) -> None:
        self.lost += 1
        sys.stdout.flush()  # in a pipe, stdout is buffered and would follow the message
        print(f"fer_ablate: {label}: failed: {problem}", file=sys.stderr, flush=True)
        self.search.failed(number, problem)


def _watched(trial: Trial) -> WatchedRun:
    trainer, label = trial.cell.config.trainer, trial.cell.row.label
    title, higher, anew = f"[{trial.place}] {label}", trainer.mode is Mode.max, trial.cell.config.force
    # Trials differ in their settings, hence each is a row of its own.
    return WatchedRun(title, label, trial.folder, trainer.max_epochs, trainer.monitor, higher, anew)


def _short_values(params: dict[str, Any]) -> str:
    """Parameters with the last part of their keys and three digits: `conv_layers=4 lr=0.00123`; none if there are many."""
    if len(params) > MOST_NAMED:
        return ""
    short = {key_of(key).rsplit(".", 1)[-1]: value for key, value in params.items()}
    return " ".join(f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in short.items())
