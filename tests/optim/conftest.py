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
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)
