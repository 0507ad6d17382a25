"""What all tests share: small runs on drawn faces."""

import gc
import os

# Before torch reads it: workers with a thread for every core wait for each other, and equal weights need a fixed number.
os.environ["OMP_NUM_THREADS"] = "1"

from copy import deepcopy
from functools import cache

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from fer_ablate.config.compose import composed, composer, to_config


def pytest_collection_finish(session):
    """Leave what was imported out of garbage collection, which would look at all of it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def small_run():
    """Words for a run of a second: 140 drawn training faces and a narrow network."""
    return (
        "data.synthetic.train=140",
        "data.synthetic.val=70",
        "data.synthetic.test=70",
        "model=pisa",
        "model.width=0.125",
        "trainer=cpu",
        "trainer.batch_size=32",
    )


@pytest.fixture(scope="session")
def _small_tree(cache_dir, small_run):
    """The config tree of a small run of one epoch, composed once for each choice of files."""

    @cache
    def compose(*choices):
        with composer():
            return composed([f"data.cache_dir={cache_dir}", *small_run, "trainer.max_epochs=1", *choices])

    return compose


@pytest.fixture
def config_of(_small_tree, tmp_path):
    """The config of a small run of one epoch with outputs in a temporary folder.

    Composing takes longer than an epoch. Values are therefore set in a copy of the tree, as Hydra itself sets them.
    """

    def compose(*overrides: str):
        parsed = OverridesParser.create().parse_overrides([f"runs_dir={tmp_path / 'runs'}", *overrides])
        values = [one for one in parsed if "." in one.key_or_group or one.key_or_group == "runs_dir"]
        tree = deepcopy(_small_tree(*(one.input_line for one in parsed if one not in values)))
        for one in values:
            OmegaConf.update(tree, one.key_or_group, one.value(), merge=True)
        return to_config(tree)

    return compose
