"""What all tests share: small runs on drawn faces."""

import gc
import os

# Before torch reads it: workers with a thread for every core wait for each other, and equal weights need a fixed number.
os.environ["OMP_NUM_THREADS"] = "1"


import pytest

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
        "model=small",
        "model.width=0.25",
        "trainer=cpu",
        "trainer.batch_size=32",
    )


@pytest.fixture
def config_of(cache_dir, small_run, tmp_path):
    """The config of a small run of one epoch with outputs in a temporary folder."""

    def compose(*overrides: str):
        places = (f"data.cache_dir={cache_dir}", f"runs_dir={tmp_path / 'runs'}")
        with composer():
            return to_config(composed([*places, *small_run, "trainer.max_epochs=1", *overrides]))

    return compose
