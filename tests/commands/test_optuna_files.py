"""Files written for hydra-optuna-sweeper: the examples of its documents, with keys of this program, planned and searched here."""

import csv
import sys

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from fer_ablate.cli.command_line import parse
from fer_ablate.config.multirun import multirun_of
from fer_ablate.errors import FaultyConfigError, UserError
from fer_ablate.execution.search.plan import read_search

SPHERE = """
hydra:
  sweeper:
    direction: minimize
    study_name: sphere
    storage: sqlite:///example.db
    n_trials: 20
    n_jobs: 1
    max_failure_rate: 0.0
    params:
      optimizer.weight_decay: range(0, 0.55, step=0.05)
      optimizer.lr: choice(0.1 ,0.01 ,0.001)
"""
PRINTED = """
# as `--cfg hydra -p hydra.sweeper` prints it
hydra:
  sweeper:
    sampler:
      _target_: optuna.samplers.TPESampler
      seed: 123
      consider_prior: true
      prior_weight: 1.0
      consider_magic_clip: true
      consider_endpoints: false
      n_startup_trials: 10
      n_ei_candidates: 24
      multivariate: false
      warn_independent_sampling: true
    _target_: hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper
    direction: minimize
    storage: null
    study_name: sphere
    n_trials: 20
    n_jobs: 1
    params:
      optimizer.lr: interval(0.0001, 0.1)
      model.width: choice(0.125, 0.25, 0.5)
"""
TEMPLATE = """
hydra:
  mode: MULTIRUN
  sweeper:
    _target_: hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper
    storage: null
    study_name: null
    n_jobs: 1
    direction: maximize
    n_trials: 20
    sampler:
      _target_: optuna.samplers.TPESampler
      seed: 1234
      n_startup_trials: 10
    params:
      optimizer.lr: tag(log, interval(0.0001, 0.1))
      trainer.batch_size: choice(32, 64, 128, 256)
      model.conv_layers: range(2, 5)
"""
SEVERAL = """
search:
  objective: [val/loss, run/parameters]
hydra:
  sweeper:
    sampler:
      seed: 123
    direction: [minimize, minimize]
    study_name: multi-objective
    storage: null
    n_trials: 20
    n_jobs: 1
    params:
      model.width: range(0.25, 1, step=0.25)
      model.conv_layers: range(2, 5, step=1)
"""
CUSTOM = """
hydra:
  sweeper:
    sampler:
      seed: 123
    direction: minimize
    study_name: custom-search-space
    storage: null
    n_trials: 20
    n_jobs: 1
    params:
      optimizer.lr: range(0.1, 0.6, 0.1)
      optimizer: choice(sgd, adam)
    custom_search_space: own_search.configure
"""
OPTUNA, SAMPLER = "- override /hydra/sweeper: optuna\n", "- override /hydra/sweeper/sampler: "
EXPERIMENTS = {
    "sphere": f"{OPTUNA}{SAMPLER}grid\n{SPHERE}",
    "printed": f"{OPTUNA}{PRINTED}",
    "template": f"{OPTUNA}{TEMPLATE}",
    "several": f"{OPTUNA}{SAMPLER}nsgaii\n{SEVERAL}",
    "custom": f"{OPTUNA}{CUSTOM}",
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The present folder, with `conf` for `--config-dir`."""
    for name, text in EXPERIMENTS.items():
        file = tmp_path / "conf" / "experiment" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# @package _global_\ndefaults:\n{text}")
    primary = EXPERIMENTS["sphere"].replace("/hydra", "hydra")
    (tmp_path / "conf" / "mine.yaml").write_text(f"defaults:\n- config\n- _self_\n{primary}")
    (tmp_path / "own_search.py").write_text(
        "def configure(config, trial):\n    trial.suggest_float('optimizer.weight_decay', 0.0, trial.params['optimizer.lr'])\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_search", raising=False)
    return tmp_path


@pytest.fixture
def search(files, small):
    """The search of a command line."""
    places = [word for word in small if not word.startswith("model")]
    return lambda *words: read_search(parse(["--config-dir", "conf", *places, *words]))[0]


@pytest.mark.long
@pytest.mark.parametrize("words", [("experiment=sphere",), ("--config-name", "mine")], ids=["experiment", "primary config"])
def test_the_sphere_is_a_grid_of_optuna(search, words, files):
    found = search(*words)
    plan = found.plan
    assert plan.space == {
        "optimizer.lr": CategoricalDistribution([0.1, 0.01, 0.001]),
        "optimizer.weight_decay": FloatDistribution(0, 0.5, step=0.05),
    }
    assert (plan.name, plan.address) == ("sphere", f"sqlite:///{files}/example.db")
    assert (plan.objectives, plan.directions) == (("val/loss",), ("minimize",))
    assert (type(plan.sampler(0)).__name__, found.n_trials, found.settings.n_jobs) == ("GridSampler", 20, 1)
    assert found.settings.max_failure_rate == 0


@pytest.mark.long
def test_a_templates_file_searches_without_a_flag(search, files):
    assert multirun_of(["experiment=template"], files / "conf").on
    found = search("experiment=template", "trainer.batch_size=32", "hydra.sweeper.n_trials=7")
    assert found.plan.space == {
        "model.conv_layers": IntDistribution(2, 4),
        "optimizer.lr": FloatDistribution(0.0001, 0.1, log=True),
    }
    assert (found.plan.objectives, found.plan.directions) == (("val/acc",), ("maximize",))
    assert (type(found.plan.sampler(0)).__name__, found.n_trials) == ("TPESampler", 7)
    assert "trainer.batch_size=32" in found.space.fixed


@pytest.mark.long
def test_several_objectives_have_their_directions(search):
    plan = search("experiment=several").plan
    assert (plan.objectives, plan.directions) == (("val/loss", "run/parameters"), ("minimize", "minimize"))
    assert type(plan.sampler(0)).__name__ == "NSGAIISampler"
    assert plan.space["model.width"] == FloatDistribution(0.25, 0.75, step=0.25)


@pytest.mark.long
def test_an_own_space_is_allowed_by_the_command(search):
    with pytest.raises(FaultyConfigError, match=r"(?s)custom_search_space.*plugins=\[own_search\]"):
        search("experiment=custom")
    assert search("experiment=custom", "plugins=[own_search]").plan.extend is not None


@pytest.mark.long
def test_a_section_as_hydra_prints_it_is_read(search):
    plan = search("experiment=printed").plan
    assert (plan.name, plan.objectives, type(plan.sampler(0)).__name__) == ("sphere", ("val/loss",), "TPESampler")


FAULTS = {
    "the worst network": ("hydra.sweeper.direction=minimize search.objective=val/acc", "minimize val/acc looks for the worst"),
    "a space of old": ("+hydra.sweeper.search_space={x: 1}", "search_space: was replaced by params"),
    "a misspelt key": ("+hydra.sweeper.n_trails=3", "Did you mean 'n_trials'"),
    "no text": ("hydra.sweeper.storage={url: x}", "hydra.sweeper.storage: .* is no text"),
}


@pytest.mark.long
@pytest.mark.parametrize(("words", "message"), FAULTS.values(), ids=FAULTS)
def test_what_cannot_be_is_answered(search, words, message):
    word, *others = words.split(" ", 1) if words.startswith("hydra.sweeper.direction") else [words]
    with pytest.raises(FaultyConfigError, match=message):
        search("experiment=template", word, *others)


@pytest.mark.long
def test_plan_shows_the_search_and_table_refuses_it(files, typed, small):
    places = [word for word in small if not word.startswith("model")]
    printed = typed("plan", "--config-dir", "conf", *places, "experiment=template")
    assert printed.code == 0, printed.err
    assert "20 in all, 0 done, 20 to run" in printed.out
    assert not (files / "runs").exists()
    printed = typed("table", "--config-dir", "conf", *places, "experiment=template")
    assert (printed.code, "ask for a search, not for a study or a grid" in printed.err) == (1, True)


@pytest.mark.slow
def test_a_plugins_file_is_searched_and_continued(files, typed, small):
    words = ["--config-dir", "conf", *small, "experiment=sphere", "trainer.max_epochs=1", "tracking=none"]
    printed = typed("-m", *words, "hydra.sweeper.n_trials=2")
    assert printed.code == 0, printed.err
    assert (files / "example.db").is_file()
    planned = typed("plan", *words, "hydra.sweeper.n_trials=3")
    assert "3 in all, 2 done, 1 to run" in planned.out
    assert "2 done" in planned.out
    again = typed("-m", *words, "hydra.sweeper.n_trials=3")
    assert again.code == 0, again.err
    (file,) = (files / "runs").glob("*/*/trials.csv")
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["state"] for row in rows] == ["done"] * 3
    assert all(float(row["val/loss"]) > 0 for row in rows)


@pytest.mark.long
def test_a_study_begun_elsewhere_is_left_alone(search, files):
    import optuna

    from fer_ablate.search.search import Search, kept_trials

    plan = search("experiment=sphere").plan
    study = optuna.create_study(study_name="sphere", storage=plan.address)
    study.tell(study.ask(), 1.0)
    assert len(kept_trials(plan)) == 1
    with pytest.raises(UserError, match="was not begun by fer_ablate"):
        Search.open(plan)
