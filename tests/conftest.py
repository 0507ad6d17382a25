"""What all tests share: small runs on drawn faces."""

import gc
import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

# Before torch reads it: workers with a thread for every core wait for each other, and equal weights need a fixed number.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from xdist.scheduler import LoadScopeScheduling

# Collecting the tests imports all libraries and keeps nearly all that it makes: a search for garbage would only take time.
gc.disable()

TOGETHER = {
    "studies": (
        "config/test_compos",
        "config/test_study_rows",
        "study/test_study_files",
        "study/test_published",
        "commands/test_re",
        "report/test_results",
    ),
    "searches": ("study/test_search", "study/test_pruning", "study/test_optuna", "commands/test_search"),
    "exports": ("data/test_prepare", "inference/test_onnx", "inference/test_torch_export", "commands/test_export"),
    "mlflow": (
        "tracking/test_study_runs",
        "tracking/test_mlflow",
        "tracking/test_attach",
        "tracking/test_recorder",
        "commands/test_serving",
    ),
    "plots": ("report/test_study_plots", "report/test_run_pictures", "report/test_contact", "report/test_search_plots"),
}
"""Group -> beginnings of the files that share what is slow to make, such as composed files or the import of a library."""

FIRST = ("searches", "studies", "training/", "exports", "commands/")
"""What takes longest is handed out first, so that no process waits for the other one at the end."""


def group_of(file):
    """The group of a file, whose name counts from this folder: what it belongs together with, or the file alone."""
    return next((name for name, files in TOGETHER.items() if file.startswith(files)), file)


class Groups(LoadScopeScheduling):
    """Gives all tests of a group to one process."""

    def _split_scope(self, nodeid):
        return group_of(nodeid.split("::", 1)[0].removeprefix("tests/"))


def pytest_xdist_make_scheduler(config, log):
    return Groups(config, log)


def pytest_collection_modifyitems(items):
    """Keep groups together and begin with those that take longest."""

    def place(item):
        group = group_of(item.path.relative_to(Path(__file__).parent).as_posix())
        return next(
            (at for at, name in enumerate(FIRST) if group.startswith(name)), len(FIRST)
        ), group if group in TOGETHER else ""

    items.sort(key=place)


def pytest_collection_finish(session):
    """Leave what was imported out of garbage collection, which would look at all of it again and again."""
    gc.freeze()
    gc.enable()


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
    # Imported here, since the process that hands out the tests reads this file as well and the others wait for it.
    from fer_ablate.config.compose import composed, composer, to_config

    def compose(*overrides: str):
        places = (f"data.cache_dir={cache_dir}", f"runs_dir={tmp_path / 'runs'}")
        with composer():
            return to_config(composed([*places, *small_run, "trainer.max_epochs=1", *overrides]))

    return compose


@pytest.fixture
def shared():
    """A folder in which every user may read and write; that of pytest belongs to one user alone."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.fixture
def forbidden():
    """Takes permissions of a file or folder away for a moment; root, to whom nothing is forbidden, becomes another user."""

    @contextmanager
    def locked(path, mode=0):
        root, before = os.geteuid() == 0, path.stat().st_mode
        path.chmod(mode)
        if root:
            os.seteuid(65534)
        try:
            yield
        finally:
            if root:
                os.seteuid(0)
            path.chmod(before)

    return locked
