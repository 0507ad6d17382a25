"""Finds a run by what people call it."""

from pathlib import Path

from fer_ablate.config.key import short
from fer_ablate.errors import UserError
from fer_ablate.tracking.run_folder import RunFolder
from fer_ablate.tracking.scan import RunRecord, scan

LISTED = 8
"""Runs offered when none fits."""


def find_run(runs_dir: Path, name: str) -> RunFolder:
    """The one run whose key or MLflow id begins with `name`, whose folder is called so, or whose folder it is.

    Raises:
        UserError: none or several fit; the latest runs, or the several, are listed.
    """
    given = Path(name)
    if (given / "run.json").is_file():
        return RunFolder(given)
    found = scan(runs_dir)
    fitting = [record for record in found.records if _fits(record, name)]
    if len(fitting) == 1:
        return fitting[0].folder
    if not found.records and not found.damaged:
        raise UserError(f"There are no runs in {runs_dir}/. Train one first, or pass runs_dir=... or ckpt=<file>.")
    latest = sorted(fitting or found.records, key=lambda record: record.folder.header_file.stat().st_mtime, reverse=True)[:LISTED]
    lines = [*(f"{short(record.header.key)}  {record.folder.path}" for record in latest), *found.damaged]
    listed = "\n".join(f"  {line}" for line in lines)
    problem = (
        f"{len(fitting)} runs fit run={name}; give more of the key"
        if fitting
        else f"No run in {runs_dir}/ fits run={name}; the latest ones"
    )
    raise UserError(f"{problem}:\n{listed}")


def _fits(record: RunRecord, name: str) -> bool:
    header = record.header
    return bool(name) and (
        header.key.startswith(name) or record.folder.path.name == name or (header.mlflow_run_id or "").startswith(name)
    )
