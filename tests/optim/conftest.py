from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(scope="session")
def load():
    """Section of conf/<group>/<choice>.yaml as a plain mapping, with keys replaced."""
    return lambda group, choice, **changes: {**OmegaConf.to_container(OmegaConf.load(CONF / group / f"{choice}.yaml")), **changes}


@pytest.fixture(autouse=True)
def _equal_weights():
    torch.manual_seed(0)
