"""What may be searched, and by which sampler."""

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from fer_ablate.cli.command_line import parse
from fer_ablate.config.conf_files import conf_dir
from fer_ablate.errors import FaultyConfigError
from fer_ablate.execution.search.plan import read_search
from fer_ablate.execution.search.settings import SweeperSettings, derived_name, sampler_of
from fer_ablate.execution.search.space import SearchSpace, read_space
from fer_ablate.search.optuna_internals import grid_size

OURS = conf_dir() / "hydra" / "sweeper"
NOTHING = SearchSpace({}, ())


def sampler_config(name, **given):
    """Of a sampler, from conf/ or from the plugin."""
    file = OURS / "sampler" / f"{name}.yaml"
    Plugins.instance()  # the plugin makes its own known
    known = ConfigStore.instance().repo["hydra"]["sweeper"]["sampler"]
    return OmegaConf.merge(OmegaConf.load(file) if file.is_file() else known[f"{name}.yaml"].node, given)


def test_searched_keys_are_separated_from_fixed_ones():
    typed = ["model.conv_layers=choice(3,4)", "optimizer.lr=tag(log, interval(1e-4, 1e-1))", "seed=3", "model.width=range(1,4)"]
    space = read_space(None, typed)
    assert space.varied == {
        "model.conv_layers": CategoricalDistribution([3, 4]),
        "optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True),
        "model.width": IntDistribution(1, 3),
    }
    assert space.fixed == ("seed=3",)


def test_the_command_line_has_the_last_word():
    params = {"optimizer.lr": "interval(0.1,1)", "model.width": "choice(1,2)"}
    space = read_space(params, ["model.width=1", "optimizer.lr=0.1,0.2"])
    assert space.varied == {"optimizer.lr": CategoricalDistribution([0.1, 0.2])}
    assert space.fixed == ("model.width=1",)


FAULTS = {
    "nothing to search": (["optimizer.lr=0.1"], "no key has several values"),
    "seeds": (["seed=choice(0,1,2)"], "seed: a search over seeds finds the luckiest"),
    "what changes nothing": (["tracking=none,mlflow"], "tracking: does not change what a run gives"),
    "a part of what changes nothing": (["trainer.num_threads=1,2"], "trainer.num_threads: does not change"),
    "a logarithm of 0": (["optimizer.lr=tag(log, interval(0.0, 1.0))"], "optimizer.lr: .*cannot be searched"),
    "an empty range": (["model.width=range(3,3)"], "model.width: range.* cannot be searched"),
    "a study": (["study=quickstart", "seed=0"], "study: a search has no rows"),
}


@pytest.mark.parametrize(("typed", "message"), FAULTS.values(), ids=FAULTS)
def test_what_cannot_be_searched(typed, message):
    with pytest.raises(FaultyConfigError, match=message):
        read_space(None, typed)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ([1], r"params: \[1\] is no mapping"),
        ({"optimizer": "choice(adam,"}, r"params\.optimizer: choice\(adam, is no text of values"),
        ({"optimizer.lr": [0.1, 0.2]}, r"params\.optimizer\.lr: \[0\.1, 0\.2\] is no text of values"),
        ({"trainer.gradient_clip": "choice(null,1)"}, r"null as in null,1"),
    ],
)
def test_params_that_are_no_values_are_faults(params, message):
    with pytest.raises(FaultyConfigError, match=message):
        read_space(params, [])


def test_all_faults_are_reported_together():
    with pytest.raises(FaultyConfigError, match=r"(?s)2 faults.*seed.*optimizer\.lr"):
        read_space(None, ["seed=0,1", "optimizer.lr=tag(log, interval(0.0, 1.0))"])


@pytest.mark.parametrize("name", ["tpe", "random", "nsgaii", "nsgaiii", "gp", "qmc"])
def test_every_sampler_can_be_made(name):
    make = sampler_of(sampler_config(name), SearchSpace({"lr": FloatDistribution(0, 1)}, ()))
    assert type(make(0)).__name__.lower().startswith(name)
    assert grid_size(make(0)) is None


def test_every_suggestion_has_a_seed_of_its_own():
    make = sampler_of(sampler_config("random"), NOTHING)
    draws = [make(number)._rng.rng.rand() for number in (0, 1, 1)]
    assert draws[0] != draws[1] == draws[2]
    assert sampler_of(sampler_config("random", seed=1), NOTHING)(0)._rng.rng.rand() not in draws


def test_a_grid_keeps_its_order():
    space = {"depth": IntDistribution(1, 4), "norm": CategoricalDistribution(["batch", "none"])}
    make = sampler_of(sampler_config("grid", seed=5), SearchSpace(space, ()))
    assert grid_size(make(0)) == 8
    assert make(0)._all_grids == make(7)._all_grids


REFUSED = {
    "a grid of an interval": (sampler_config("grid"), {"lr": FloatDistribution(0, 1)}, "an interval has no end of values"),
    "CMA-ES with one number": (sampler_config("cmaes"), {"lr": FloatDistribution(0, 1)}, "CMA-ES moves numbers, and here are 1"),
    "one that is gone": (sampler_config("motpe"), {}, "'motpe' sampler was removed"),
    "a negative seed": (sampler_config("random", seed=-1), {}, "negative"),
    "other code": (OmegaConf.create({"_target_": "os.system", "command": "true"}), {}, "Target 'os.system' cannot be authorized"),
}


@pytest.mark.parametrize(("config", "space", "message"), REFUSED.values(), ids=REFUSED)
def test_a_sampler_that_cannot_be_is_answered(config, space, message):
    with pytest.raises(FaultyConfigError, match=message):
        sampler_of(config, SearchSpace(space, ()))


def test_two_searches_have_two_names():
    tpe = sampler_config("tpe")
    name = derived_name(["model.conv_layers", "+optimizer.momentum"], {"fixed": {"seed": 0}}, tpe)
    assert name.startswith("conv_layers+momentum-")
    assert name == derived_name(["model.conv_layers", "+optimizer.momentum"], {"fixed": {"seed": 0}}, tpe)
    samplers = (tpe, sampler_config("random"))
    others = {derived_name(["lr"], {"fixed": {"seed": seed}}, sampler) for seed in (0, 1) for sampler in samplers}
    assert len(others) == 4


def settings(**given):
    """Values of conf/hydra/sweeper/optuna.yaml, with changes."""
    values = OmegaConf.merge(OmegaConf.load(OURS / "optuna.yaml"), given)
    return {name: values[name] for name in values if name not in ("defaults", "_target_")} | {"sampler": OmegaConf.create({})}


def test_the_settings_of_conf_are_read():
    read = SweeperSettings.read(settings())
    assert (read.n_trials, read.n_jobs, read.pruner, read.max_failure_rate) == (20, 1, {"name": "median"}, 1.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_trials": 0}, "hydra.sweeper.n_trials: 0 is not a whole number from 1"),
        ({"n_jobs": "two"}, "hydra.sweeper.n_jobs: two is not"),
        ({"n_trials": True}, "True is not a whole number"),
        ({"max_failure_rate": 2}, "2 is not a fraction"),
        ({"max_failure_rate": True}, "True is not a fraction"),
        ({"retry_failed": "no"}, "hydra.sweeper.retry_failed: no is not true or false"),
        ({"direction": 5}, "hydra.sweeper.direction: 5 is no direction"),
        ({"sampler": "tpe"}, "Choose a sampler by hydra/sweeper/sampler=tpe, with a slash"),
        ({"sampler": OmegaConf.create({"seed": "abc"})}, "hydra.sweeper.sampler.seed: abc is not a whole number from 0"),
        ({"pruner": "median"}, "hydra.sweeper.pruner.name="),
    ],
)
def test_settings_of_another_kind_are_answered(given, message):
    with pytest.raises(FaultyConfigError, match=message):
        SweeperSettings.read(settings() | given)


def test_every_file_explains_itself():
    files = [OURS / "optuna.yaml", *(OURS / "sampler").glob("*.yaml")]
    assert len(files) >= 3
    for file in files:
        lines = file.read_text().splitlines()
        assert lines[0].startswith("# ")
        assert lines[1].startswith("# Run: python -m fer_ablate -m hydra/sweeper=optuna ")


FILE = """
# @package _global_
defaults:
- override /hydra/sweeper: optuna
hydra:
  sweeper:
    params: {optimizer: "choice(adam, sgd_nesterov)", optimizer.lr: "interval(1e-4,0.1)", optimizer.momentum: "interval(0.5,0.9)"}
    when: {optimizer.momentum: {optimizer: sgd_nesterov}}
"""


@pytest.fixture
def search(tmp_path, small):
    """The search of a command line, with the file above for `--config-dir`."""
    file = tmp_path / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(FILE)
    return lambda *words: read_search(parse(["--config-dir", str(tmp_path / "conf"), *small, *words]))[0]


def test_a_conditional_trial_keeps_its_runs_key(search):
    found = search("experiment=mine")
    assert found.space.when == {"optimizer.momentum": {"optimizer": "sgd_nesterov"}}
    assert found.plan.space["optimizer.momentum"] == FloatDistribution(0.5, 0.9)
    plain = found.compose("plain", [*found.space.fixed, "optimizer=adam", "optimizer.lr=0.01"])
    params = found.space.searched({"optimizer": "adam", "optimizer.lr": 0.01, "optimizer.momentum": 0.7})
    assert found.compose("trial", found.space.words(params)).key == plain.key


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("optimizer.momentom=interval(0.5,0.9)", "hydra.sweeper.when={optimizer.momentom: {optimizer: sgd_nesterov}}"),
            "Did you mean",
        ),
        (
            ("optimizer.momentum=interval(0.5,0.9)",),
            r"(?s)optimizer\.momentum: there is no such key.*only some of optimizer have it: hydra\.sweeper\.when=",
        ),
        (("optimizer.lr=interval(0.5,0.9)", "hydra.sweeper.when={optimizer.lr: {optimizer: sgd}}"), "optimizer=sgd never holds"),
    ],
)
def test_conditional_keys_are_checked_before_the_first_trial(search, words, message):
    with pytest.raises(FaultyConfigError, match=message):
        search("hydra/sweeper=optuna", "optimizer=choice(adam,sgd_nesterov)", *words)
