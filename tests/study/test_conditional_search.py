"""Keys that are searched only where others have some value, and combinations that a search leaves out."""

import itertools

import pytest
from omegaconf import OmegaConf
from optuna.pruners import NopPruner
from optuna.samplers import CmaEsSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler

from fer_ablate.errors import FaultyConfigError
from fer_ablate.execution.search.settings import sampler_note, sampler_of
from fer_ablate.execution.search.space import read_space
from fer_ablate.search.optuna_internals import grid_size
from fer_ablate.search.search import Search, SearchPlan
from fer_ablate.search.trials import search_summary

TYPED = ["optimizer=choice(adam,sgd_nesterov)", "optimizer.lr=interval(0.001,0.1)", "optimizer.momentum=range(0.5,0.95,0.05)"]
WHEN = {"optimizer.momentum": {"optimizer": "sgd_nesterov"}}
GRID = ["optimizer=choice(adam,sgd_nesterov)", "optimizer.lr=choice(0.1,0.01)", "optimizer.momentum=choice(0.5,0.9)"]

GRID_SAMPLER = OmegaConf.create({"_target_": "optuna.samplers.GridSampler", "_partial_": True, "seed": 0})


def sampler(name, **given):
    return OmegaConf.create({"_target_": f"optuna.samplers.{name}", "seed": 0, **given})


def test_an_inactive_key_is_no_override():
    space = read_space(None, [*TYPED, "seed=1"], WHEN)
    values = {"optimizer": "adam", "optimizer.lr": 0.1, "optimizer.momentum": 0.5}
    assert space.words(space.searched(values)) == ["seed=1", "optimizer=adam", "optimizer.lr=0.1"]
    other = space.searched({**values, "optimizer": "sgd_nesterov"})
    assert space.words(other)[-1] == "optimizer.momentum=0.5"


def test_conditions_may_depend_on_each_other():
    typed = ["a=choice(1,2,3)", "b=range(1,9)", "+c=interval(0.0,1.0)"]
    space = read_space(None, typed, {"c": {"b": ">=5"}, "b": {"a": [2, 3]}})
    assert list(space.varied) == ["a", "b", "+c"]
    found = [space.searched({"a": a, "b": b, "+c": 0.5}) for a, b in ((1, 7), (2, 4), (3, 5))]
    assert found == [{"a": 1}, {"a": 2, "b": 4}, {"a": 3, "b": 5, "+c": 0.5}]
    assert space.examples() == [{"a": 1}, {"a": 2, "b": 5, "+c": 0.0}]


def test_examples_have_every_key_and_leave_nothing_out():
    exclude = [{"optimizer": "adam", "optimizer.lr": "<0.05"}, {"optimizer.momentum": "<=0.55"}]
    space = read_space(None, TYPED, WHEN, exclude)
    examples = space.examples()
    assert {key for one in examples for key in one} == set(space.varied)
    assert not any(space.left_out(one) for one in examples)
    assert read_space(None, TYPED, WHEN, exclude[1:]).examples()[0] == {"optimizer": "adam", "optimizer.lr": 0.001}


FAULTS = {
    "a value that there is not": ({"b": {"a": 4}}, [], r"when\.b: a=4 never holds: a is one of 1, 2"),
    "a number out of bounds": ({"a": {"b": ">8"}}, [], "b>8 never holds: b is between 1 and 8"),
    "an exact number of an interval": ({"b": {"c": 0.5}}, [], "c=0.5 never holds: c is between 0.0 and 1.0"),
    "what a fixed key is not": ({"b": {"d": 3}}, [], "d=3 never holds: d=2"),
    "conditions against each other": ({"c": {"b": ">=5", "a": 1}, "b": {"a": 2}}, [], r"when\.c: .* never holds: a is one of"),
    "bounds against each other": ({"c": {"b": ">=5"}, "b": {"c2": 1}}, [], "'c2' is neither searched nor given"),
    "a circle": ({"a": {"b": 1}, "b": {"c": ">0.5"}, "c": {"a": 1}}, [], r"when: (\w needs ){3}\w\. *\n *Break the circle"),
    "itself": ({"a": {"a": 1}}, [], "a needs a"),
    "a key that is not searched": ({"e": {"a": 1}}, [], r"when\.e: is not searched"),
    "a key with one value": ({"d": {"a": 1}}, [], r"when\.d: has one value"),
    "no conditions": ({"b": {}}, [], r"when\.b: {} is no mapping"),
    "no mapping": ("b", [], "when: 'b' is no mapping of keys to conditions"),
    "a comparison with nothing": ({"b": {"a": ">choice(1,2)"}}, [], "compares with no value"),
    "an exclusion that is no list": ({}, {"a": 1}, "exclude: .* is no list of conditions"),
    "an exclusion of nothing": ({"b": {"a": 1}}, [{"a": 2, "b": 3}], "exclude: a=2, b=3 never holds: a is one of"),
    "an unknown key left out": ({}, [{"f": 1}], "exclude: 'f' is neither searched nor given"),
}


@pytest.mark.parametrize(("when", "exclude", "message"), FAULTS.values(), ids=FAULTS)
def test_conditions_that_cannot_be_are_faults(when, exclude, message):
    with pytest.raises(FaultyConfigError, match=message):
        read_space(None, ["a=choice(1,2)", "b=range(1,9)", "c=interval(0.0,1.0)", "d=2"], when, exclude)


def test_everything_left_out_is_a_fault():
    space = read_space(None, ["a=choice(1,2)"], None, [{"a": "<=2"}])
    with pytest.raises(FaultyConfigError, match="exclude: leaves out every combination"):
        space.examples()
    with pytest.raises(FaultyConfigError, match="no point of the grid is left"):
        sampler_of(GRID_SAMPLER, space)


def test_multiples_of_a_step_are_found_exactly():
    space = read_space(None, ["a=range(0,0.5,0.05)", "b=choice(1,2)"], {"b": {"a": 0.15}})
    assert space.active("b", {"a": 0 + 3 * 0.05})


def plan_of(space, given, address="sqlite://"):
    make = sampler_of(given, space)
    return SearchPlan("small", address, ("val/acc",), ("maximize",), space.varied, {}, make, NopPruner(), active=space.active)


def run(search, number):
    """Run so many trials of a search; their parameters."""
    asked = []
    for _ in range(number):
        suggestion = search.ask()
        search.done(suggestion.number, [score(suggestion.params)])
        asked.append(suggestion.params)
    return asked


def score(params):
    return -((params["optimizer.momentum"] - 0.9) ** 2) * 20 if "optimizer.momentum" in params else -1 - params["optimizer.lr"]


@pytest.mark.long
@pytest.mark.parametrize(("exclude", "points"), [([], 6), ([{"optimizer": "adam", "optimizer.lr": ">0.05"}], 5)])
def test_a_grid_has_each_trial_once(exclude, points):
    plan = plan_of(read_space(None, GRID, WHEN, exclude), GRID_SAMPLER)
    assert grid_size(plan.sampler(0)) == points
    found = {tuple(params.values()) for params in run(Search.open(plan), points)}
    wanted = [("adam", 0.01), *itertools.product(["sgd_nesterov"], [0.1, 0.01], [0.5, 0.9])]
    assert found == {*wanted, *([] if exclude else [("adam", 0.1)])}


@pytest.mark.long
def test_a_conditional_trial_is_repeated_as_it_was(search_address):
    plan = plan_of(read_space(None, TYPED, WHEN), sampler("TPESampler", n_startup_trials=2), search_address)
    found = run(Search.open(plan), 3)
    search = Search.open(plan)
    killed = [search.ask() for _ in range(2)]
    search = Search.open(plan)
    again = [search.ask() for _ in range(2)]
    assert [(one.params, one.resumes) for one in again] == [(one.params, one.number) for one in killed]
    found += [one.params for one in again]
    assert all(("optimizer.momentum" in params) == (params["optimizer"] == "sgd_nesterov") for params in found)
    assert {"optimizer.momentum" in params for params in found} == {True, False}


@pytest.mark.slow
def test_what_some_trials_lack_is_weighed():
    search = Search.open(plan_of(read_space(None, TYPED, WHEN), sampler("RandomSampler")))
    run(search, 24)
    summary = search_summary(search.study, ("val/acc",), ("maximize",))
    assert next(iter(summary.importances["val/acc"])) == "optimizer.momentum"
    assert summary.importances["val/acc"].keys() == search.plan.space.keys()


def test_an_excluded_trial_counts_and_is_kept(search_address):
    plan = plan_of(read_space(None, TYPED, WHEN), sampler("RandomSampler"), search_address)
    search = Search.open(plan)
    search.excluded(search.ask().number, "optimizer.lr<0.002")
    again = Search.open(plan, retry_failed=True)
    assert [(trial.state, trial.problem) for trial in again.records] == [("excluded", "optimizer.lr<0.002")]
    assert again.counted == 1


SAMPLERS = {
    "TPESampler": (TPESampler, ""),
    "RandomSampler": (RandomSampler, ""),
    "NSGAIISampler": (NSGAIISampler, "NSGAIISampler draws c at random"),
    "GPSampler": (GPSampler, "GPSampler draws c at random"),
    "QMCSampler": (QMCSampler, "QMCSampler draws c at random"),
    "CmaEsSampler": (CmaEsSampler, "CmaEsSampler draws c at random"),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_say_what_they_cannot_model(name):
    space = read_space(None, ["a=choice(1,2)", "b=range(1,9)", "c=interval(0.0,1.0)", "d=interval(0.0,1.0)"], {"c": {"a": 1}})
    made = sampler_of(sampler(name), space)(0)
    kind, note = SAMPLERS[name]
    assert isinstance(made, kind)
    assert sampler_note(made, space).startswith(note)


@pytest.mark.parametrize(("given", "objectives", "grouped"), [({}, 1, True), ({}, 2, False), ({"multivariate": False}, 1, False)])
def test_a_joint_tpe_models_conditional_keys_in_groups(given, objectives, grouped):
    space = read_space(None, TYPED, WHEN)
    assert sampler_of(sampler("TPESampler", **given), space, objectives)(0)._group is grouped
    assert not sampler_of(sampler("TPESampler", **given), read_space(None, TYPED), objectives)(0)._group


def test_numbers_that_only_some_trials_have_move_nothing():
    space = read_space(None, ["a=choice(1,2)", "b=range(1,9)", "c=interval(0.0,1.0)"], {"c": {"a": 1}})
    with pytest.raises(FaultyConfigError, match=r"here are 1 of them, without those of hydra\.sweeper\.when"):
        sampler_of(sampler("CmaEsSampler"), space)
