"""Lets the artifacts of a store follow when the folder of all runs was moved: MLflow keeps their absolute addresses."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from fer_ablate.addresses import sqlite_file

ARTIFACTS = "artifacts"
"""Folder within that of all runs, with a folder for each experiment of a store without a server."""

SECONDS = 60
"""How long to wait while other processes write into the same database; each write takes milliseconds."""

ADDRESSES = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow 3.17 with addresses that begin with that of an experiment."""


def artifact_location(runs_dir: Path, experiment: str) -> str:
    """Address of the folder for the artifacts of an experiment."""
    return (runs_dir / ARTIFACTS / experiment.replace("/", "_")).resolve().as_uri()


def follow_runs(uri: str, runs_dir: Path) -> None:
    """Point a database within the folder of all runs to the artifacts beside it, if the folder was moved.

    Artifacts that were always elsewhere, because the database was made with another folder of runs, stay there.

    Args:
        uri: of the store; of any other store nothing is changed.
        runs_dir: folder of all runs.
    """
    database = sqlite_file(uri)
    if database is None or not database.is_file() or database.parent.resolve() != runs_dir.resolve():
        return
    root = runs_dir.resolve() / ARTIFACTS
    # A database that is locked for long, damaged or just being made says so when MLflow opens it.
    with suppress(sqlite3.Error), closing(sqlite3.connect(database, timeout=SECONDS)) as connection, connection:
        for number, location in connection.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall():
            before = _folder(location or "")
            if before is None or before.parent.name != ARTIFACTS or before.parent == root:
                continue
            now = root / before.name
            if now.is_dir() or not before.is_dir():
                _move(connection, number, location, now.as_uri())


def _folder(location: str) -> Path | None:
    parts = urlsplit(location)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def _move(connection: sqlite3.Connection, experiment: int, old: str, new: str) -> None:
    connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (new, experiment))
    for table, column in ADDRESSES:
        with suppress(sqlite3.OperationalError):  # another version of MLflow has no such table
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                (new, len(old) + 1, len(old) + 1, f"{old}/"),
            )
