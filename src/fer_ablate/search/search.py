"""A search: suggests trials and records how they end, in a database from which another process can continue it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from fer_ablate.addresses import hide
from fer_ablate.errors import BusyError, UserError
from fer_ablate.search.optuna_internals import begin_suggesting, known_params, reopened_trial, suggest
from fer_ablate.search.trial_store import is_begun, open_store, reachable
from fer_ablate.search.trials import (
    COUNTED,
    ERROR_LOG,
    EXCLUDED,
    INTERRUPTED,
    PROBLEM,
    RESUMES,
    RUN_KEY,
    TrialRecord,
    trial_records,
)
from fer_ablate.tracking.disk.files import write_error

IDENTITY, CODE, PRUNER = "fer_ablate", "code", "pruner"
"""User attributes of Optuna's study: its `SearchPlan.identity`, the digest of the code it began with, and how it prunes."""

LISTED = 4
"""Differences named in the message that a search was begun with other settings; further ones are counted."""


def _always(key: str, params: Mapping[str, Any]) -> bool:
    return True


@dataclass(frozen=True)
class SearchPlan:
    """Specification of a search.

    Args:
        name: identifies the search within its database.
        address: of the database.
        objectives: see `search.objectives`.
        directions: `minimize` or `maximize` for each.
        space: override key -> distribution of its values.
        fixed: all other settings that can change an objective; plain values.
        sampler: number of a suggestion, from 0 -> its sampler. A fresh sampler for each, seeded by the number, lets an
            interrupted search make the suggestions that an uninterrupted one would have made.
        pruner: of this process.
        pruner_settings: plain values from which the processes of the trials build the same pruner.
        code: digest of the code that trains.
        extend: suggests further parameters, which depend on the values of the others.
        active: key and the values of the keys before it in `space` -> whether a trial with them has this key.
    """

    name: str
    address: str
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    space: dict[str, BaseDistribution]
    fixed: dict[str, Any]
    sampler: Callable[[int], BaseSampler]
    pruner: BasePruner
    pruner_settings: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    extend: Callable[[optuna.Trial], None] | None = None
    active: Callable[[str, Mapping[str, Any]], bool] = _always

    @property
    def identity(self) -> dict[str, Any]:
        """Settings that must be equal for objectives to be comparable; plain values as JSON gives them back."""
        space = {name: json.loads(distribution_to_json(one)) for name, one in self.space.items()}
        fixed = {name: value for name, value in self.fixed.items() if name not in space}
        parts = {"objectives": self.objectives, "directions": self.directions, "space": space, "fixed": fixed}
        found: dict[str, Any] = json.loads(json.dumps(parts, default=str))
        return found

    def is_complete(self, params: Mapping[str, Any]) -> bool:
        """Whether these are all parameters of a trial."""
        return all(name in params or not self.active(name, params) for name in self.space)


@dataclass(frozen=True)
class Suggestion:
    """A trial to be run.

    Args:
        number: of the trial, from 0.
        params: override key -> value.
        resumes: number of the interrupted trial that this one repeats, if it does.
    """

    number: int
    params: dict[str, Any]
    resumes: int | None = None


class Search:
    """A search in its database. The caller holds `search_lock`, so no other process works on it."""

    def __init__(self, plan: SearchPlan, study: optuna.Study) -> None:
        self.plan = plan
        self.study = study
        self._open: dict[int, optuna.Trial] = {}

    @classmethod
    def open(cls, plan: SearchPlan, retry_failed: bool = False) -> "Search":
        """Begin a search or continue it; trials of a killed process are repeated first.

        Args:
            plan: of the search.
            retry_failed: whether failed trials are repeated as well.

        Raises:
            UserError: a search with other settings has this name, or the database does not answer.
        """
        store = open_store(plan.address)
        with reachable(plan.address):
            study = optuna.create_study(
                storage=store,
                study_name=plan.name,
                directions=[_direction(word) for word in plan.directions],
                sampler=RandomSampler(),
                pruner=plan.pruner,
                load_if_exists=True,
            )
            search = cls(plan, study)
            search._identify()
            study.set_user_attr(PRUNER, plan.pruner_settings)
            search._reclaim(retry_failed)
        return search

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """Every trial so far, by number."""
        with reachable(self.plan.address):
            return trial_records(self.study)

    @property
    def counted(self) -> int:
        """Number of trials that count towards the number of trials of the search."""
        return sum(record.state in COUNTED for record in self.records)

    @property
    def note(self) -> str:
        """Sentence for a person who continues this search; empty if there is nothing to say."""
        if not self.counted or self.study.user_attrs.get(CODE) == self.plan.code:
            return ""
        return "the code has changed since this search began; earlier values are those of the earlier code"

    def ask(self) -> Suggestion:
        """The next trial to run."""
        with reachable(self.plan.address):
            # Repeats do not count, so that an interrupted search keeps the numbering of its suggestions.
            originals = sum(RESUMES not in trial.user_attrs for trial in self.study.get_trials(deepcopy=False))
            self.study.sampler = self.plan.sampler(originals)
            trial = self.study.ask()
            begin_suggesting(trial)
            for name, one in self.plan.space.items():
                if self.plan.active(name, trial.params):
                    suggest(trial, name, one)
            if self.plan.extend is not None:
                self.plan.extend(trial)
            self._open[trial.number] = trial
            return Suggestion(trial.number, dict(trial.params), trial.user_attrs.get(RESUMES))

    def begun(self, number: int, key: str) -> None:
        """Record the key of a trial's run before it is trained."""
        with reachable(self.plan.address):
            self._open[number].set_user_attr(RUN_KEY, key)

    def done(self, number: int, values: Sequence[float]) -> None:
        """End a trial with these objectives, none of which may be NaN."""
        self._end(number, TrialState.COMPLETE, values=values)

    def pruned(self, number: int) -> None:
        """End a trial that was pruned; the value reported last counts."""
        self._end(number, TrialState.PRUNED)

    def impossible(self, number: int, problem: str) -> None:
        """End a trial whose network shrinks to nothing; nothing was trained, and only TPE learns from it, to avoid the values."""
        self._end(number, TrialState.PRUNED, {PROBLEM: problem})

    def excluded(self, number: int, problem: str) -> None:
        """End a trial that the search leaves out, as one whose network shrinks to nothing."""
        self._end(number, TrialState.PRUNED, {PROBLEM: problem, EXCLUDED: True})

    def failed(self, number: int, problem: str, log: str = "") -> None:
        """End a trial with an error; the search goes on."""
        self._end(number, TrialState.FAIL, {PROBLEM: hide(problem), ERROR_LOG: log})

    def interrupted(self, number: int) -> None:
        """End a trial whose process died or whose run another process trains; it is repeated when the search is continued."""
        self._end(number, TrialState.FAIL, {INTERRUPTED: True})

    def _end(
        self, number: int, state: TrialState, attributes: Mapping[str, Any] | None = None, values: Sequence[float] | None = None
    ) -> None:
        with reachable(self.plan.address):
            trial = self._open.pop(number)
            for name, value in (attributes or {}).items():
                trial.set_user_attr(name, value)
            # The sampler of a grid would try to stop Optuna's own loop, which does not run here.
            self.study.sampler = RandomSampler()
            self.study.tell(trial, list(values) if values is not None else None, state)

    def check(self) -> None:
        """Compare the settings that the search began with to its plan.

        Raises:
            UserError: they differ, so that its values cannot be compared.
        """
        known, own = self.study.user_attrs.get(IDENTITY), self.plan.identity
        if known != own:
            lines = "\n".join(f"  {line}" for line in _differences(known or {}, own))
            raise UserError(f"The search '{self.plan.name}' was begun with other settings:\n{lines}\n{_WAY_OUT}")

    def _identify(self) -> None:
        if self.study.user_attrs.get(IDENTITY) is None:
            if self.study.get_trials(deepcopy=False):
                raise UserError(f"The search '{self.plan.name}' in {self.plan.address} was not begun by fer_ablate. {_WAY_OUT}")
            self.study.set_user_attr(CODE, self.plan.code)
            self.study.set_user_attr(IDENTITY, self.plan.identity)
        self.check()

    def _reclaim(self, retry_failed: bool) -> None:
        """Repeat trials of processes that died: no other process holds the lock, so every running trial is one of these.

        All are marked as interrupted first, so that being killed in between loses none of them.
        """
        trials = self.study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state is TrialState.RUNNING:
                self._open[trial.number] = reopened_trial(self.study, trial)
                self.interrupted(trial.number)
        trials = self.study.get_trials(deepcopy=False)
        repeated = {trial.user_attrs.get(RESUMES) for trial in trials}
        for trial in trials:
            again = trial.state is TrialState.FAIL and (retry_failed or trial.user_attrs.get(INTERRUPTED))
            params = known_params(trial)
            # A trial killed while its parameters were suggested lacks some of them, and none of it was trained.
            if again and trial.number not in repeated and self.plan.is_complete(params):
                self.study.enqueue_trial(params, user_attrs={RESUMES: trial.number})


def kept_trials(plan: SearchPlan) -> tuple[TrialRecord, ...]:
    """The trials of a search so far, by number; begins nothing.

    Raises:
        UserError: a search with other settings has this name, or the database does not answer.
    """
    if not is_begun(plan.address):
        return ()
    store = open_store(plan.address)
    with reachable(plan.address):
        if plan.name not in optuna.get_all_study_names(store):
            return ()
        study = optuna.load_study(study_name=plan.name, storage=store, sampler=RandomSampler(), pruner=plan.pruner)
        if study.user_attrs.get(IDENTITY) is not None:
            Search(plan, study).check()
        return trial_records(study)


@contextmanager
def search_lock(folder: Path, name: str) -> Iterator[None]:
    """Hold a search for this process alone.

    Args:
        folder: of the search; made if missing.
        name: of the search.

    Raises:
        BusyError: another process holds it.
    """
    held = FileLock(folder / "search.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held.acquire(timeout=0)
    except Timeout:
        way_out = "Wait for it; hydra.sweeper.n_jobs and a parallel launcher run trials at once."
        raise BusyError(f"Another process works on the search '{name}' (lock in {folder}). {way_out}") from None
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        yield
    finally:
        held.release()


_WAY_OUT = "Give another hydra.sweeper.study_name, or leave it out: a changed search then gets a name of its own."


def _direction(word: str) -> Literal["minimize", "maximize"]:
    return "minimize" if word == "minimize" else "maximize"


def _differences(known: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """The first few settings that differ, with both values."""
    was, now = ({**one["space"], **one["fixed"], "objectives": one["objectives"]} for one in (known, own))
    lines = [f"{key}: {_shown(was, key)} then, {_shown(now, key)} now" for key in {**was, **now} if was.get(key) != now.get(key)]
    if known["directions"] != own["directions"]:
        lines.append(f"directions: {known['directions']} then, {own['directions']} now")
    return lines[:LISTED] + ([f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else [])


def _shown(parts: Mapping[str, Any], key: str) -> str:
    value = parts.get(key, "nothing")
    return json.dumps(value["attributes"]) if isinstance(value, dict) and "attributes" in value else str(value)
