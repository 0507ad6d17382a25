from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from fer_ablate.config.schema import ModelConfig

CONF = Path(__file__).parents[2] / "conf" / "model"


def stored(model, /, **changes):
    schema = OmegaConf.structured(ModelConfig)
    return replace(OmegaConf.to_object(OmegaConf.merge(schema, OmegaConf.load(CONF / f"{model}.yaml"))), **changes)


@pytest.fixture(scope="session")
def load():
    """Config of conf/model/<model>.yaml with fields replaced."""
    return stored


@pytest.fixture(autouse=True)
def _equal_weights():
    torch.manual_seed(0)
