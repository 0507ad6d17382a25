from pathlib import Path

import pytest

from fer_ablate.tracking.disk.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory):
    """One folder, and so one database, for all tests: creating it takes seconds."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def uri(runs_dir: Path):
    return f"sqlite:///{runs_dir}/mlflow.db"
