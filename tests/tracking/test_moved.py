"""A folder of all runs that was moved with MLflow's database in it."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from fer_ablate.addresses import sqlite_address
from fer_ablate.tracking.mlflow.moved import artifact_location, follow_runs


@pytest.fixture
def recorded(tmp_path):
    """A folder with the tables and columns of MLflow that hold addresses, and an artifact."""
    runs = tmp_path / "a"
    (runs / "artifacts" / "depth").mkdir(parents=True)
    location = artifact_location(runs, "depth")
    with closing(sqlite3.connect(runs / "mlflow.db")) as database, database:
        database.execute("CREATE TABLE experiments (experiment_id INTEGER, name TEXT, artifact_location TEXT)")
        database.execute("CREATE TABLE runs (artifact_uri TEXT)")
        database.execute("INSERT INTO experiments VALUES (0, 'Default', '/mlruns/0'), (1, 'depth', ?)", (location,))
        database.execute("INSERT INTO runs VALUES (?), ('s3://bucket/run')", (f"{location}/r1/artifacts",))
    return runs


def addresses_of(runs):
    with closing(sqlite3.connect(runs / "mlflow.db")) as database:
        return [
            *database.execute("SELECT artifact_location FROM experiments").fetchall(),
            *database.execute("SELECT artifact_uri FROM runs").fetchall(),
        ]


def test_artifacts_follow_their_runs(recorded, tmp_path):
    moved = tmp_path / "b?"
    recorded.rename(moved)
    follow_runs(sqlite_address(moved / "mlflow.db"), moved)
    now = artifact_location(moved, "depth")
    assert addresses_of(moved) == [("/mlruns/0",), (now,), (f"{now}/r1/artifacts",), ("s3://bucket/run",)]


def test_a_copy_has_artifacts_of_its_own(recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "copy")
    follow_runs(sqlite_address(tmp_path / "copy" / "mlflow.db"), tmp_path / "copy")
    assert addresses_of(tmp_path / "copy")[1] == (artifact_location(tmp_path / "copy", "depth"),)


def test_artifacts_that_were_always_elsewhere_stay(recorded, tmp_path):
    before = addresses_of(recorded)
    other = tmp_path / "other"
    other.mkdir()
    (recorded / "mlflow.db").rename(other / "mlflow.db")
    follow_runs(sqlite_address(other / "mlflow.db"), other)
    assert addresses_of(other) == before


def test_a_database_elsewhere_is_left_alone(recorded, tmp_path):
    before = addresses_of(recorded)
    follow_runs(sqlite_address(recorded / "mlflow.db"), tmp_path / "runs")
    assert addresses_of(recorded) == before
