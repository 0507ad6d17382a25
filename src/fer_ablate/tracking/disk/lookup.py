"""Finds a run by what people call it."""

from collections.abc import Sequence
from pathlib import Path

from fer_ablate.config.key import short
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.scan import RunRecord, scan

LISTED = 8
"""Runs offered when none fits."""


def find_run(runs_dir: Path, name: str) -> RunFolder:
    """The one run whose key or MLflow id begins with `name`, whose folder is called so, or whose folder it is.

    A row of a study will do as well: `quickstart/-1 Conv`, or just `-1 Conv` where no other experiment has one, is the newest
    run of its first finished seed; `-1 Conv, seed 2` that of another, and
    `-1 Conv, seed 2, fold 3` that of a fold.

    Raises:
        UserError: none or several fit; the latest runs, or the several, are listed.
    """
    given = Path(name)
    if (given / "run.json").is_file():
        return RunFolder(given)
    found = scan(runs_dir)
    fitting = [record for record in found.records if _fits(record, name)] or _labelled(found.records, name)
    if len(fitting) == 1:
        return fitting[0].folder
    if not found.records and not found.damaged:
        raise UserError(f"There are no runs in {runs_dir}/. Train one first, or pass runs_dir=... or ckpt=<file>.")
    latest = sorted(fitting or found.records, key=lambda record: record.folder.header_file.stat().st_mtime, reverse=True)[:LISTED]
    lines = [*(f"{short(record.header.key)}  {record.folder.path}" for record in latest), *found.damaged]
    listed = "\n".join(f"  {line}" for line in lines)
    problem = (
        f"{len(fitting)} runs fit run={name}; give more of the key, or the experiment before the label"
        if fitting
        else f"No run in {runs_dir}/ fits run={name}; the latest ones"
    )
    raise UserError(f"{problem}:\n{listed}")


def finished_run(runs_dir: Path, name: str) -> RunFolder:
    """The run that `find_run` finds.

    Raises:
        UserError: as there; or the run is not finished, or has lost its weights.
    """
    folder = find_run(runs_dir, name)
    if folder.status != "finished":
        raise UserError(f"Run {folder.path} is not finished. Start its command again: it resumes.")
    if not folder.best_checkpoint.is_file():
        raise UserError(f"Run {folder.path} has lost {folder.best_checkpoint.name}. Train it again with force=true.")
    return folder


def _fits(record: RunRecord, name: str) -> bool:
    header, path = record.header, record.folder.path
    folders = (path.name, f"{path.parent.name}/{path.name}")
    return bool(name) and (header.key.startswith(name) or name in folders or (header.mlflow_run_id or "").startswith(name))


def _labelled(records: Sequence[RunRecord], name: str) -> list[RunRecord]:
    """Of every experiment with a row of this name: the newest run of the seed (and fold) asked for, or of the first finished."""
    chosen: dict[str, RunRecord] = {}
    for record in sorted(records, key=_first_choice):
        header = record.header
        label = f"{header.experiment}/{header.name}"
        told = ("", f", seed {header.seed}", f", {header.repeat}")
        if name in {f"{text}{which}" for text in (header.name, label) for which in told}:
            chosen.setdefault(header.experiment, record)
    return list(chosen.values())


def _first_choice(record: RunRecord) -> tuple[bool, tuple[int, int], float]:
    return not record.finished, record.header.repeat.place, -record.folder.header_file.stat().st_mtime
