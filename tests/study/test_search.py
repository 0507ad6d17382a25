"""Searches of plain functions: kept, continued, reproducible; what may be searched for."""

import itertools
import json
import math
import re
import threading
from dataclasses import replace

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import NopPruner
from optuna.samplers import CmaEsSampler, GridSampler, NSGAIISampler, RandomSampler, TPESampler

from fer_ablate import addresses
from fer_ablate.errors import BusyError, UserError
from fer_ablate.metrics import SplitResult
from fer_ablate.search.objectives import (
    check_objectives,
    objective_directions,
    objective_values,
    own_objectives,
    why_not_pruned,
)
from fer_ablate.search.search import Search, SearchPlan, search_lock
from fer_ablate.search.trial_store import absolute, open_store
from fer_ablate.search.trials import search_summary

from ..finished_runs import make_result

SPACE = {"width": FloatDistribution(0.1, 1.0), "depth": IntDistribution(1, 6), "norm": CategoricalDistribution(["batch", "none"])}
SAMPLERS = {
    "random": lambda number: RandomSampler(seed=number),
    "tpe": lambda number: TPESampler(seed=number, n_startup_trials=3),
    "genetic": lambda number: NSGAIISampler(seed=number, population_size=4),
    "cmaes": lambda number: CmaEsSampler(seed=number),
}


def each_sampler(usually, without=()):
    """Every sampler; those that are not named are left to the slow suite."""
    return [
        pytest.param(sampler, id=name, marks=[] if name in usually else [pytest.mark.slow])
        for name, sampler in SAMPLERS.items()
        if name not in without
    ]


@pytest.fixture
def plan(search_address):
    """A search for more of `score`, unless told otherwise."""

    def build(**given):
        told = {
            "name": "small",
            "address": search_address,
            "objectives": ("val/acc",),
            "directions": ("maximize",),
            "space": SPACE,
            "fixed": {"seed": 0, "trainer.max_epochs": 3},
            "sampler": SAMPLERS["random"],
            "pruner": NopPruner(),
        }
        return SearchPlan(**{**told, **given})

    return build


def score(params):
    return params["width"] - abs(params["depth"] - 4) + (params["norm"] == "batch")


def run(search, number):
    """Run so many trials of a search; their parameters."""
    asked = []
    for _ in range(number):
        suggestion = search.ask()
        search.done(suggestion.number, [score(suggestion.params)])
        asked.append(suggestion.params)
    return asked


def test_the_same_search_goes_on_where_it_stopped(plan):
    run(Search.open(plan()), 3)
    search = Search.open(plan())
    assert search.counted == 3
    run(search, 2)
    assert [trial.number for trial in search.records] == [0, 1, 2, 3, 4]


@pytest.mark.long
@pytest.mark.parametrize("sampler", each_sampler(usually=("tpe",)))
def test_an_interrupted_search_suggests_the_same_trials(plan, sampler):
    unbroken = run(Search.open(plan(sampler=sampler, name="unbroken")), 9)
    broken = run(Search.open(plan(sampler=sampler)), 4)
    broken += run(Search.open(plan(sampler=sampler)), 5)
    assert broken == unbroken
    assert len({json.dumps(params) for params in broken}) > 5


# CMA-ES draws by the number of a trial, and the repeated one has another.
@pytest.mark.long
@pytest.mark.parametrize("sampler", each_sampler(usually=("tpe",), without=("cmaes",)))
def test_a_killed_trial_is_repeated_and_counts_once(plan, sampler):
    unbroken = run(Search.open(plan(sampler=sampler, name="unbroken")), 6)
    search = Search.open(plan(sampler=sampler))
    asked = run(search, 3)
    killed = search.ask()
    search.begun(killed.number, "abc")
    again = Search.open(plan(sampler=sampler))
    assert again.counted == 3
    assert [(trial.state, trial.key) for trial in again.records[3:]] == [("interrupted", "abc"), ("open", "")]
    repeated = again.ask()
    assert (repeated.params, repeated.resumes) == (killed.params, killed.number)
    again.done(repeated.number, [score(repeated.params)])
    assert [*asked, repeated.params, *run(again, 2)] == unbroken
    assert again.counted == 6


@pytest.mark.slow
def test_a_trial_killed_twice_keeps_its_parameters(plan):
    first = Search.open(plan()).ask()
    second = Search.open(plan()).ask()
    # Killed between taking a waiting trial and asking for its parameters.
    store = open_store(plan().address)
    search = Search.open(plan())
    study_id = store.get_study_id_from_name("small")
    store.set_trial_state_values(store.get_all_trials(study_id)[2]._trial_id, optuna.trial.TrialState.RUNNING)
    assert Search.open(plan()).ask().params == second.params == first.params
    assert search.counted == 0


def test_an_impossible_trial_counts_and_is_kept(plan):
    search = Search.open(plan(sampler=SAMPLERS["genetic"]))
    search.impossible(search.ask().number, "model.stages[1]: kernel 3 on a 0x0 map.")
    run(search, 2)
    again = Search.open(plan(sampler=SAMPLERS["genetic"]), retry_failed=True)
    assert again.counted == 3
    first = again.records[0]
    assert (first.state, first.values, first.problem) == ("impossible", (), "model.stages[1]: kernel 3 on a 0x0 map.")
    assert again.ask().resumes is None


@pytest.mark.long
def test_failed_trials_are_repeated_only_on_request(plan):
    search = Search.open(plan())
    failed = search.ask()
    search.failed(failed.number, "The training loss became nan", "log.txt")
    assert (search.counted, search.records[0].problem, search.records[0].log) == (1, "The training loss became nan", "log.txt")
    assert Search.open(plan()).ask().resumes is None
    again = Search.open(plan(), retry_failed=True)
    assert sorted(again.ask().resumes for _ in range(2)) == [0, 1]
    assert again.counted == 0
    assert [record.state for record in again.records[:2]] == ["repeated", "interrupted"]


@pytest.mark.long
def test_an_interrupted_grid_is_walked_through_once(plan):
    grid = {"depth": [1, 2, 3], "norm": ["batch", "none"]}
    space = {"depth": IntDistribution(1, 3), "norm": CategoricalDistribution(["batch", "none"])}
    wanted = plan(space=space, sampler=lambda number: GridSampler(grid, seed=0))
    points = []
    for _ in range(3):
        search = Search.open(wanted)
        for _ in range(2):
            suggestion = search.ask()
            search.done(suggestion.number, [0.0])
            points.append(tuple(suggestion.params[name] for name in grid))
        search.ask()  # and killed
    search = Search.open(wanted)
    while search.counted < 6:
        suggestion = search.ask()
        search.done(suggestion.number, [0.0])
        points.append(tuple(suggestion.params[name] for name in grid))
    assert set(points) == set(itertools.product(*grid.values()))


CHANGES = {
    "another space": ({"space": {**SPACE, "depth": IntDistribution(1, 9)}}, 'depth: .*"high": 6.* then, .*"high": 9.* now'),
    "another key": ({"space": {"width": SPACE["width"]}}, "depth: .* then, nothing now"),
    "another fixed value": ({"fixed": {"seed": 0, "trainer.max_epochs": 5}}, "trainer.max_epochs: 3 then, 5 now"),
    "another objective": ({"objectives": ("val/loss",), "directions": ("minimize",)}, r"objectives: \['val/acc'\] then"),
}


@pytest.mark.long
@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_a_name_does_not_stand_for_two_searches(plan, change, message):
    run(Search.open(plan()), 1)
    with pytest.raises(
        UserError, match=f"(?s)'small' was begun with other settings.*{message}.*another hydra.sweeper.study_name"
    ):
        Search.open(plan(**change))


@pytest.mark.slow
def test_another_sampler_may_take_a_search_further(plan):
    run(Search.open(plan()), 3)
    search = Search.open(plan(sampler=SAMPLERS["tpe"]))
    run(search, 2)
    assert search.counted == 5


def test_the_study_of_another_program_is_left_alone(plan):
    study = optuna.create_study(study_name="small", storage=open_store(plan().address))
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(UserError, match="not begun by fer_ablate"):
        Search.open(plan())


def test_a_continued_search_names_changed_code(plan):
    search = Search.open(plan(code="a"))
    assert search.note == ""
    run(search, 1)
    assert Search.open(plan(code="a")).note == ""
    assert "the code has changed" in Search.open(plan(code="b")).note


def test_two_processes_are_not_at_one_search(tmp_path):
    with search_lock(tmp_path, "small"):
        found = []

        def other():
            try:
                with search_lock(tmp_path, "small"):
                    found.append("both")
            except BusyError as error:
                found.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(found) == 1
    assert "Another process works on the search 'small'" in found[0]
    with search_lock(tmp_path, "small"):
        pass


def test_a_database_that_does_not_answer_is_named(plan, tmp_path):
    (tmp_path / "search.db").write_text("no database" * 100)
    with pytest.raises(UserError, match=r"database .*search\.db does not answer: .*Repair it"):
        Search.open(plan())
    with pytest.raises(UserError, match=r"hydra\.sweeper\.storage: 'runs' is not an address"):
        absolute("runs")


def test_no_password_is_written_down(monkeypatch):
    monkeypatch.setattr(addresses, "_addresses", {})
    monkeypatch.setenv(addresses.CREDENTIALS, "[]")
    stored = absolute("postgresql://user:secret@host/db")
    assert stored == "postgresql://host/db"
    assert addresses.usable(stored) == "postgresql://user:secret@host/db"


def test_relative_addresses_hold_in_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("sqlite:///search.db") == f"sqlite:///{tmp_path / 'search.db'}"
    assert absolute("postgresql://host/db") == "postgresql://host/db"


@pytest.mark.long
def test_the_best_of_two_objectives_are_undominated(plan):
    search = Search.open(plan(objectives=("val/acc", "run/parameters"), directions=("maximize", "minimize")))
    values = [(0.5, 10.0), (0.7, 30.0), (0.6, 30.0), (0.7, 30.0), (0.4, 10.0), (0.3, 5.0)]
    for pair in values:
        search.done(search.ask().number, pair)
    found = search_summary(search.study, search.plan.objectives, search.plan.directions)
    assert [trial.number for trial in found.best] == [1, 0, 5]  # 3 equals 1 and came later
    assert {trial.number for trial in search.study.best_trials} - {3} == {0, 1, 5}


@pytest.mark.slow
def test_what_decides_the_score_is_found(plan):
    search = Search.open(plan(address="sqlite://", objectives=("val/acc", "run/macs"), directions=("maximize", "minimize")))
    for number in range(24):
        assert number != 9 or search_summary(search.study, ("val/acc", "run/macs"), ("maximize", "minimize")).importances == {}
        suggestion = search.ask()
        search.done(suggestion.number, [score(suggestion.params), 5.0])
    found = search_summary(search.study, ("val/acc", "run/macs"), ("maximize", "minimize")).importances
    assert list(found) == ["val/acc"]  # nothing decides what never changes
    assert next(iter(found["val/acc"])) == "depth"
    assert found["val/acc"]["depth"] > 0.5
    assert sum(found["val/acc"].values()) == pytest.approx(1)


@pytest.mark.slow
def test_pruned_trials_count_for_the_importance(plan):
    search = Search.open(plan(address="sqlite://"))
    for number in range(12):
        suggestion = search.ask()
        if number < 4:
            search.done(suggestion.number, [score(suggestion.params)])
        else:
            trial = optuna.Trial(search.study, search.study.trials[suggestion.number]._trial_id)
            trial.report(score(suggestion.params), 1)
            search.pruned(suggestion.number)
    assert search_summary(search.study, ("val/acc",), ("maximize",)).importances


def test_directions_follow_the_metric():
    names = ("val/acc", "val/loss", "val/ece", "val/macro_f1", "run/parameters", "run/seconds")
    assert objective_directions(names) == ("maximize", "minimize", "minimize", "maximize", "minimize", "minimize")
    assert objective_directions(("val/acc",), "minimize") == ("minimize",)
    assert objective_directions(names[:2], ["maximize", "minimize"]) == ("maximize", "minimize")


def test_own_metrics_go_the_way_they_say(config_of):
    metrics = {"worst": "my_parts.WorstRecall", "error": "my_parts.Error", "odd": "my_parts.Odd"}
    config = config_of("search.objective=[val/worst,val/error]")
    config = replace(config, evaluation=replace(config.evaluation, metrics=metrics))
    own = {"worst": True, "error": False}
    assert list(own_objectives(config)) == ["worst", "error"]
    assert check_objectives(config, None, own) == []
    assert objective_directions(config.search.objective, None, own) == ("maximize", "minimize")
    (fault,) = check_objectives(config, ["maximize", "maximize"], own)
    assert "to maximize val/error looks for the worst" in fault.problem
    silent = replace(config, search=replace(config.search, objective="val/odd"))
    (fault,) = check_objectives(silent, None, {"odd": None})
    assert "neither that more nor that less is better" in fault.problem
    assert check_objectives(silent, "minimize", {"odd": None}) == []
    assert "val/odd is not measured after every epoch" in why_not_pruned(silent)


def test_objectives_are_taken_from_val():
    scores = SplitResult(n=4, metrics={"acc": 0.75, "worst": 0.5}, per_class={}, confusion=[[2, 0], [1, 1]])
    result = make_result(splits={"val": scores}, parameters=7)
    names = ("val/worst", "val/kappa", "run/parameters", "val/ece")
    assert objective_values(result, names) == pytest.approx([0.5, 0.5, 7, math.nan], nan_ok=True)


REFUSED = {
    "the test role": ("[test/acc]", None, "'test/acc' would choose by the test images.*use val/acc"),
    "an official test split": ("private/acc", None, "'private/acc' would choose by the private images"),
    "a misspelt metric": ("val/ac", None, "Did you mean 'val/acc'"),
    "an unknown direction": ("val/acc", "up", "'up' is not a direction"),
    "too few directions": ("[val/acc,run/macs]", "maximize", "1 given for 2 objectives"),
}


@pytest.mark.parametrize(("objective", "direction", "message"), REFUSED.values(), ids=REFUSED)
def test_what_may_not_be_searched_for(config_of, objective, direction, message):
    (fault,) = check_objectives(config_of(f"search.objective={objective}"), direction)
    assert re.search(message, str(fault), re.DOTALL)


def test_trained_val_is_no_objective(config_of):
    config = config_of("data.roles=combined", "trainer.keep=last")
    assert "images that data.roles=combined trains on" in str(check_objectives(config, None)[0])
    assert check_objectives(config_of("search.objective=[val/acc,run/parameters]"), None) == []


def test_why_trials_are_not_pruned_is_told(config_of):
    assert why_not_pruned(config_of()) == ""
    assert "one objective only" in why_not_pruned(config_of("search.objective=[val/acc,run/macs]"))
    assert "run/seconds is not measured after every epoch" in why_not_pruned(config_of("search.objective=run/seconds"))
    assert "limit_val_batches=0" in why_not_pruned(config_of("trainer.limit_val_batches=0", "trainer.keep=last"))
