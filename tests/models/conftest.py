from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from fer_ablate.config.schema import ModelConfig
from fer_ablate.models.build import build_network

CONF = Path(__file__).parents[2] / "conf" / "model"


@cache
def tree(model):
    return OmegaConf.merge(OmegaConf.structured(ModelConfig), OmegaConf.load(CONF / f"{model}.yaml"))


def stored(model, /, **changes):
    return replace(OmegaConf.to_object(tree(model)), **changes)


@pytest.fixture(scope="session")
def load():
    """Config of conf/model/<model>.yaml with fields replaced."""
    return stored


@pytest.fixture(scope="session")
def weightless():
    """Builds networks on torch's meta device, which has shapes but no numbers: nothing is drawn or multiplied."""

    def build(config, size=(48, 48)):
        with torch.device("meta"):
            return build_network(config, size, 7)

    return build


@pytest.fixture(autouse=True)
def _equal_weights():
    torch.manual_seed(0)
