"""What all tests share: small runs on drawn faces."""

import pytest
import torch

from fer_ablate.config.compose import composed, composer, to_config


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _two_threads():
    """Training tests compare weights, which depend on the number of threads."""
    torch.set_num_threads(2)


@pytest.fixture
def config_of(cache_dir, tmp_path):
    """Compose a small run: 140 drawn training faces, one epoch, outputs in a temporary folder."""

    def compose(*overrides: str):
        small = [
            f"data.cache_dir={cache_dir}",
            f"runs_dir={tmp_path / 'runs'}",
            "data.synthetic.train=140",
            "data.synthetic.val=70",
            "data.synthetic.test=70",
            "model=pisa",
            "model.width=0.125",
            "trainer=cpu",
            "trainer.max_epochs=1",
            "trainer.batch_size=32",
        ]
        with composer():
            return to_config(composed([*small, *overrides]))

    return compose
