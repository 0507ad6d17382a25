"""A search over structures: the encoding, what cannot be built, and the front as a study."""

import re
from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from fer_ablate.cli.command_line import parse
from fer_ablate.config.choices import Block
from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.config.conf_files import conf_dir
from fer_ablate.config.multirun import multirun_of
from fer_ablate.config.schema import ModelConfig, StageConfig
from fer_ablate.config.study_rows import study_file_faults
from fer_ablate.errors import FaultyConfigError
from fer_ablate.execution.search.front import PLAIN_NETWORK, cell_of, write_front
from fer_ablate.execution.search.plan import prepare_search, read_search
from fer_ablate.execution.search.settings import SweeperSettings
from fer_ablate.execution.search.structures import decoded, impossible, keys_text, network_text
from fer_ablate.search.trials import SearchSummary, TrialRecord
from fer_ablate.study.cells import compose_cells
from fer_ablate.study.spec import study_spec

BASE = ModelConfig(
    stages=[
        StageConfig(channels=16),
        StageConfig(block=Block.inverted_residual, channels=32, inner=128, depth=2),
    ]
)
SWEEPER = conf_dir() / "hydra" / "sweeper"

CODES = {
    "channels inside are a multiple of those outside": (
        ["stages.1.channels=24", "stages.1.expansion=4"],
        ["stages.1.channels=24", "stages.1.inner=96"],
    ),
    "without its own channels those of the network": (["stages.1.expansion=1.5"], ["stages.1.inner=48"]),
    "a plain convolution has no inside": (
        ["stages.1.block=conv", "stages.1.expansion=4"],
        ["stages.1.block=conv", "stages.1.inner=null"],
    ),
    "even if the network had one": (["stages.1.block=basic"], ["stages.1.block=basic", "stages.1.inner=null"]),
    "nothing of a stage that is left out counts": (
        ["stages.1.block=conv", "stages.1.depth=0", "stages.1.kernel=5"],
        ["stages.1.depth=0"],
    ),
    "depths say which stages there are": (["stages.1.depth=0", "depths=[1,2]"], ["depths=[1,2]", "stages.1.depth=0"]),
    "the last word of a key counts": (["stages.1.expansion=2", "stages.1.expansion=1"], ["stages.1.inner=32"]),
    "other keys stay as they are": (["width=0.5", "stages.0.pool=max"], ["width=0.5", "stages.0.pool=max"]),
}


@pytest.mark.parametrize(("code", "settings"), CODES.values(), ids=CODES)
def test_an_encoded_network_becomes_settings(code, settings):
    assert decoded([f"model.{word}" for word in code], BASE) == [f"model.{word}" for word in settings]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.stages.1.expansion=0", "model.stages.1.expansion: 0 is no number above 0"),
        ("model.stages.1.expansion=wide", "wide is no number"),
        ("model.stages.2.depth=1", "model.stages.2: the network has 2 stages"),
    ],
)
def test_a_code_without_meaning_is_answered(word, message):
    with pytest.raises(FaultyConfigError, match=message):
        decoded([word], BASE)


def test_a_network_is_named_in_a_line():
    pooled = replace(
        BASE, width=0.5, stages=[replace(BASE.stages[0], stride=2), BASE.stages[1], StageConfig(channels=8, depth=0)]
    )
    assert network_text(pooled) == "conv 8 k3 stride 2, 2 inverted_residual 16 (64) k3"
    keys = ["model.stages.0.kernel", "model.stages.1.depth", "model.stages.1.kernel", "optimizer.lr"]
    assert keys_text(keys) == "model.stages 0, 1: depth, kernel; optimizer.lr"
    assert keys_text(keys[2:]) == "model.stages.1.kernel, optimizer.lr"


@pytest.fixture(scope="module")
def prepared(cache_dir, tmp_path_factory):
    """The search of conf/experiment/mobile_search.yaml on drawn faces."""
    settings = OmegaConf.load(SWEEPER / "optuna.yaml")
    file = OmegaConf.load(conf_dir() / "experiment" / "mobile_search.yaml")
    values = {key: settings[key] for key in settings if key != "defaults"} | dict(file.hydra.sweeper)
    sampler = OmegaConf.load(SWEEPER / "sampler" / "nsgaii.yaml")
    words = ["experiment=mobile_search", "data=synthetic", "data.synthetic.train=140", "model.width=0.25", "trainer.max_epochs=1"]
    places = [
        f"data.cache_dir={cache_dir}",
        f"runs_dir={tmp_path_factory.mktemp('search') / 'runs'}",
        "tracking=none",
        "trainer=cpu",
    ]
    return prepare_search(SweeperSettings.read({**values, "sampler": sampler}), [*words, *places], None)


PARAMS = {
    **{f"model.stages.{number}.block": "inverted_residual" for number in (1, 2, 3, 4)},
    **{f"model.stages.{number}.expansion": 2 for number in (1, 2, 3, 4)},
    **{f"model.stages.{number}.pool": "max" for number in (1, 2, 3, 4)},
    "model.stages.2.depth": 0,
}


@pytest.mark.long
def test_the_front_is_a_study(prepared):
    trial = TrialRecord(7, "done", PARAMS, (0.9, 1e6), key="x")
    cell = cell_of(prepared, trial)
    assert prepared.plan.name.startswith("mobile_search-")
    third, fourth = "inverted_residual 40 (80) k3 max", "2 inverted_residual 40 (80) k3 max"
    assert network_text(cell.config.model) == f"conv 16 k3 max, inverted_residual 24 (48) k5 max, {third}, {fourth}"
    summary = SearchSummary("s", prepared.plan.objectives, prepared.plan.directions, (trial,), (trial,), {})
    front = write_front(prepared, summary, [cell])
    words = front.train.split()
    spec = study_spec(words[words.index("--config-dir") + 2 :], prepared.folder)
    assert study_file_faults(spec.study) == []
    assert [(row.label, spec.seeds) for row in spec.rows] == [(PLAIN_NETWORK, (1, 2, 3)), ("trial 007", (1, 2, 3))]
    again = compose_cells(replace(spec, seeds=(0,)), prepared.folder)
    assert again[1].key == cell.key != again[0].key
    with composer(prepared.folder):
        alone = to_config(
            composed(["experiment=trial_007", *[word for word in prepared.space.fixed if "experiment" not in word]])
        )
    assert alone.model == cell.config.model
    assert front.describe.endswith(
        "experiment=trial_007 data=synthetic data.synthetic.train=140 trainer.max_epochs=1 trainer=cpu"
    )


def test_maps_that_shrink_to_nothing_are_impossible(prepared):
    with pytest.raises(FaultyConfigError) as small:
        prepared.compose("trial", [*prepared.space.fixed, "model.stages.1.pool_kernel=40"])
    assert impossible(small.value.faults)
    with pytest.raises(FaultyConfigError) as wrong:
        prepared.compose("trial", [*prepared.space.fixed, "model.stages.1.kernel=4", "model.stages.1.block=basic"])
    assert not impossible(wrong.value.faults)


SWEEPERS = {
    "by a genetic one": ("experiment=mobile_search", "NSGAIISampler"),
    "by the sampler that is typed": ("experiment=mobile_search hydra/sweeper/sampler=random", "RandomSampler"),
}


@pytest.mark.long
@pytest.mark.parametrize(("words", "sampler"), SWEEPERS.values(), ids=SWEEPERS)
def test_the_file_of_an_experiment_makes_a_search(words, sampler, small):
    assert multirun_of(words.split()).is_search
    places = [word for word in small if not word.startswith("model")]
    prepared, _ = read_search(parse([*words.split(), "data=synthetic", *places]))
    assert type(prepared.plan.sampler(0)).__name__ == sampler
    assert len(prepared.plan.space) == 26


GRIDS = {
    "where that sweeper is typed": "experiment=mobile_search hydra/sweeper=study hydra.sweeper.params=null",
    "for a study": "experiment=mobile_search study=quickstart",
    "where the file lists nothing": "experiment=pisa",
}


@pytest.mark.parametrize("words", GRIDS.values(), ids=GRIDS)
def test_it_makes_none(words):
    asked = multirun_of(words.split())
    assert (asked.is_search, asked.params) == (False, ())


@pytest.mark.slow
def test_a_structure_is_searched_by_one_command(typed, small, tmp_path):
    words = ["experiment=mobile_search", *(word for word in small if not word.startswith("model")), "model.width=0.125"]
    words += ["data=synthetic", "trainer.max_epochs=1", "model.stages.0.pool_kernel=choice(2,40)"]
    printed = typed("-m", *words, "hydra.sweeper.n_trials=4")
    assert printed.code == 0, printed.err
    assert re.search(r"4 trials: \d done, 0 pruned, \d impossible, 0 failed", printed.out)
    assert re.search(r"trial 00\d: impossible: model.stages\[\d\]: \w+ \d+ on a \d+x\d+ map", printed.out)
    assert re.search(r"trial \d  conv \d+ k\d max", printed.out)
    (front,) = (tmp_path / "runs").glob("*/*/study/*-front.yaml")
    picture = front.parents[1] / "pareto.png"
    assert picture.is_file()
    trained = typed(
        "-m", "--config-dir", str(front.parents[1]), f"study={front.stem}", "study.seeds=[1]", f"runs_dir={tmp_path / 'runs'}"
    )
    assert trained.code == 0, trained.err
    assert "not searched" in trained.out
