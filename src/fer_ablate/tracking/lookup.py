"""Finds a run by what people call it."""

from pathlib import Path

from fer_ablate.config.key import short
from fer_ablate.errors import UserError
from fer_ablate.tracking.run_folder import RunFolder

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
    folders, damaged = _readable(runs_dir)
    fitting = [folder for folder in folders if _fits(folder, name)]
    if len(fitting) == 1:
        return fitting[0]
    if not folders and not damaged:
        raise UserError(f"There are no runs in {runs_dir}/. Train one first, or pass runs_dir=... or ckpt=<file>.")
    latest = sorted(fitting or folders, key=lambda folder: folder.header_file.stat().st_mtime, reverse=True)[:LISTED]
    lines = [f"{short(folder.header.key)}  {folder.path}" for folder in latest] + [str(error) for error in damaged]
    listed = "\n".join(f"  {line}" for line in lines)
    problem = (
        f"{len(fitting)} runs fit run={name}; give more of the key"
        if fitting
        else f"No run in {runs_dir}/ fits run={name}; the latest ones"
    )
    raise UserError(f"{problem}:\n{listed}")


def _readable(runs_dir: Path) -> tuple[list[RunFolder], list[UserError]]:
    """Runs, and what is wrong with those whose header is damaged: one such run must not hide the others."""
    folders, damaged = [], []
    for file in runs_dir.glob("*/*/run.json"):
        folder = RunFolder(file.parent)
        try:
            _ = folder.header
        except UserError as error:
            damaged.append(error)
        else:
            folders.append(folder)
    return folders, damaged


def _fits(folder: RunFolder, name: str) -> bool:
    header = folder.header
    return bool(name) and (
        header.key.startswith(name) or folder.path.name == name or (header.mlflow_run_id or "").startswith(name)
    )
