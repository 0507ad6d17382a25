"""Removes what commands that were killed have left behind: unfinished files, the state of finished runs, the specs of runs."""

import shutil
from contextlib import suppress
from pathlib import Path

from fer_ablate.execution.study_record import study_folder
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.files import is_left, sweep
from fer_ablate.tracking.disk.run_folder import RunFolder

SPECS = "specs-"
"""Beginning of the names of folders for the specs of runs, which launchers of Hydra do not pass on."""


def remove_left_over(plan: Plan) -> None:
    """Remove what was left in the folders of a study and its runs by processes that are gone.

    A run that is trained sweeps its own folder. This is for the others: a finished run is never written again.
    """
    table = study_folder(plan)
    runs_dir = Path(plan.runs[0].cell.config.runs_dir)
    for folder in dict.fromkeys([runs_dir, table.parent, table, *(planned.folder.path for planned in plan.runs)]):
        sweep(folder)
    for planned in plan.runs:
        remove_state(planned.folder)
    for left in (runs_dir.resolve() / "multirun").glob(f"{SPECS}*"):
        if is_left(left.name):
            shutil.rmtree(left, ignore_errors=True)


def remove_state(folder: RunFolder) -> None:
    """Remove the state to resume from, and the name of the process, from a finished run that was killed after its result.

    A state that `trainer.save_last` keeps stays.
    """
    files = [file for file in (folder.last_checkpoint, folder.owner_file) if file.is_file()]
    files = [file for file in files if file != folder.last_checkpoint or not folder.keeps_state]
    if files and folder.finished and not folder.in_training:
        with suppress(OSError):  # they only take up space
            for file in files:
                file.unlink(missing_ok=True)
