"""The database of a store without a server: it gets its name once all of its tables are there."""

from pathlib import Path

from mlflow import MlflowClient

from fer_ablate.addresses import sqlite_address
from fer_ablate.tracking.disk.files import partial_file


def make_database(database: Path) -> None:
    """Make MLflow's tables in a file beside the database, which then gets its name; one that is there stays as it is.

    MLflow 3.17 makes them one after another within seconds, and cannot go on with those that a killed process has left.

    Args:
        database: file of the store; no other process may be making it.

    Raises:
        MlflowException: the tables cannot be made.
        OSError: the file cannot be written.
    """
    if database.exists():
        return
    # The writer of any other unfinished one was killed, together with what SQLite keeps beside it.
    for left in database.parent.glob(f".{database.name}.*.partial*"):
        left.unlink(missing_ok=True)
    unfinished = partial_file(database)
    try:
        MlflowClient(sqlite_address(unfinished)).search_experiments(max_results=1)
        unfinished.rename(database)
    finally:
        unfinished.unlink(missing_ok=True)
