"""What a study has left, as plain values that can be compared: table, runs, MLflow, and files that should not be there."""

import csv
import io
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .moments import Place

MEASURED = ("seconds", "memory", "finished_at", "date", "time_ms")
"""Parts of the names of what differs from one time to the next."""

UNLIKE_TAGS = ("mlflow.parentRunId", "attempt", "mlflow.note.content", "command")
"""Tags with ids or places."""

UNLIKE_PARAMS = ("data.cache_dir", "runs_dir", "tracking.uri", "tracking.parent")
"""Parameters with ids or places."""

Contents = dict[str, Any]
"""Name of a part -> its plain value."""


def contents(place: Place) -> Contents:
    """All that a finished study has left and that must not depend on how often it was interrupted."""
    found: Contents = {"table": _timeless(json.loads((place.table / "table.json").read_text()))}
    found["files of the study"] = sorted(file.name for file in place.table.iterdir() if file.name != "log.txt")
    for folder in place.folders:
        name = folder.name
        found[f"{name}: result"] = _timeless(json.loads((folder / "result.json").read_text()))
        rows = csv.DictReader(io.StringIO((folder / "metrics.csv").read_text()))
        found[f"{name}: epochs"] = [_timeless(row) for row in rows]
        with np.load(folder / "predictions.npz") as stored:
            found[f"{name}: predictions"] = {part: stored[part].tolist() for part in stored.files}
        found[f"{name}: files"] = sorted(_files(folder))
    found |= _mlflow(place)
    return found


def differences(expected: Contents, found: Contents) -> list[str]:
    """In which parts two studies differ, and how, in a line each."""
    lines = []
    for part in sorted(expected.keys() | found.keys()):
        if part not in expected or part not in found:
            lines.append(f"{part}: only in the {'unbroken' if part in expected else 'broken'} study")
        elif expected[part] != found[part]:
            lines.append(f"{part}: {_first_difference(expected[part], found[part])}")
    return lines


def left_over(place: Place) -> list[str]:
    """Files and folders that a process leaves only when it is killed."""
    patterns = (".*.partial", "*.part?*", "specs-*", "*.tmp", "progress.json", "run.owner", "upload.pending", "*-journal")
    found = [path for pattern in patterns for folder in (place.runs, place.cache, place.docs) for path in folder.rglob(pattern)]
    return sorted({str(path.relative_to(place.root)) for path in found})


def exported(place: Place) -> Contents:
    """What `results` has written."""
    found: Contents = {}
    for file in sorted(place.docs.rglob("*.*")):
        text = file.read_text()
        found[file.name] = _timeless(json.loads(text)) if file.suffix == ".json" else text
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _timeless(one) for name, one in value.items() if not any(part in name for part in MEASURED)}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def _files(folder: Path) -> Iterator[str]:
    # A log has what went wrong, and there is a lock where there was one.
    return (
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file() and file.name not in ("log.txt", "run.lock")
    )


def _mlflow(place: Place) -> Contents:
    """Runs of the database by name, seed and the name of the run above, with their numbers, texts and files."""
    with sqlite3.connect(f"file:{place.runs / 'mlflow.db'}?mode=ro", uri=True) as database:

        def rows(query: str) -> list[Any]:
            return database.execute(query).fetchall()

        runs = {row[0]: row[1:] for row in rows("select run_uuid, name, status, lifecycle_stage, artifact_uri from runs")}
        parts: dict[str, dict[str, Any]] = {run: {"tags": {}, "params": {}, "metrics": [], "inputs": 0} for run in runs}
        for table in ("tags", "params"):
            for run, key, value in rows(f"select run_uuid, key, value from {table}"):
                parts[run][table][key] = value
        for run, key, step, value in rows("select run_uuid, key, step, value from metrics"):
            parts[run]["metrics"].append((key, step, 0.0 if any(part in key for part in MEASURED) else value))
        latest = {run: set[Any]() for run in runs}
        for run, key, step, value in rows("select run_uuid, key, step, value from latest_metrics"):
            latest[run].add((key, step, 0.0 if any(part in key for part in MEASURED) else value))
        for run, count in rows("select destination_id, count(*) from inputs group by destination_id"):
            parts[run]["inputs"] = count
    found: Contents = {}
    names: Counter[str] = Counter()
    for run, (name, status, stage, address) in runs.items():
        tags = parts[run]["tags"]
        above = runs.get(tags.get("mlflow.parentRunId", ""), ("nothing",))[0]
        own = f"MLflow, {tags.get('kind', 'run')} {name}, seed {tags.get('seed', '-')}, below {above}"
        names[own] += 1
        folder = Path(address.removeprefix("file://"))
        # A study that failed meanwhile has shown an earlier table, so of rows and studies the last numbers count.
        numbers = sorted(latest[run]) if "kind" in tags else sorted(parts[run]["metrics"])
        found[own if names[own] == 1 else f"{own} ({names[own]}nd time)"] = {
            "status": [status, stage],
            "tags": {key: value for key, value in tags.items() if key not in UNLIKE_TAGS},
            "note": re.sub(r"runs=[^&]*&", "", tags.get("mlflow.note.content", "")),
            "params": {key: value for key, value in parts[run]["params"].items() if key not in UNLIKE_PARAMS},
            "metrics": [list(one) for one in numbers],
            "inputs": parts[run]["inputs"],
            "files": sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()),
        }
    return found


def _first_difference(expected: Any, found: Any, where: str = "") -> str:
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        name = next(name for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name))
        return _first_difference(expected.get(name), found.get(name), f"{where}/{name}")
    if isinstance(expected, list) and isinstance(found, list):
        lacks, has = [one for one in expected if one not in found], [one for one in found if one not in expected]
        if len(lacks) == len(has) == 1 and isinstance(lacks[0], Mapping):
            return _first_difference(lacks[0], has[0], f"{where}/{expected.index(lacks[0])}")
        return f"{where}: {len(expected)} became {len(found)}; lacks {lacks[:3]}, has {has[:3]}"
    return f"{where}: {str(expected)[:200]!r} became {str(found)[:200]!r}"
