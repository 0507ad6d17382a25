from pathlib import Path

import pytest

from fer_ablate.tracking.disk.run_folder import RunFolder

UNFINISHED = (".mlflow.db.host.4711.partial", ".mlflow.db.host.4711.partial-journal")
"""What a process leaves that is killed while it makes a database."""


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory):
    """One folder, and so one database, for all tests: creating it takes seconds. A killed process has left half of one."""
    folder = tmp_path_factory.mktemp("runs")
    for name in UNFINISHED:
        (folder / name).write_bytes(b"SQLite format 3\0")
    return folder


@pytest.fixture
def uri(runs_dir: Path):
    return f"sqlite:///{runs_dir}/mlflow.db"
