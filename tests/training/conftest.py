import pytest

from fer_ablate.config.key import relevant, run_key
from fer_ablate.data.load import load_faces
from fer_ablate.training.role_set import role_set
from fer_ablate.training.run import PreparedRun, assess, fit

from .small_runs import Notes


@pytest.fixture
def config_of(config_of):
    """One thread: on a busy machine two would wait for each other, and equal weights need a fixed number."""
    return lambda *overrides: config_of("trainer.num_threads=1", "trainer.precision=fp32", *overrides)


@pytest.fixture
def task_of(tmp_path):
    """A run of this config, with checkpoints in a temporary folder of the given name."""

    def build(config, folder="run"):
        data = role_set(config, load_faces(config.data))
        return PreparedRun(config, "test", run_key(relevant(config), data.faces.digest, "code"), data, tmp_path / folder)

    return build


@pytest.fixture
def run(task_of):
    """Train and test a config in one go: its scores and predictions, and what was reported of every epoch."""

    def whole(config, folder="run"):
        notes, prepared = Notes(), task_of(config, folder)
        return assess(prepared, fit(prepared, [notes])), notes.rows

    return whole
