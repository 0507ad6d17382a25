"""What a run gets once it is finished: pictures, contact sheets, a model in MLflow. Nothing of it can fail the run.

What goes wrong is told in sentences and kept in the run's folder as notes, with the traceback in its log.
"""

from contextlib import suppress
from pathlib import Path

import numpy as np

from fer_ablate.data.transform import build_preprocess
from fer_ablate.errors import UserError
from fer_ablate.execution import log_model
from fer_ablate.report.plots.contact_sheets import KINDS, Material, save_sheets
from fer_ablate.report.plots.run_files import lacking, save_pictures
from fer_ablate.tracking.disk.run_folder import SHEETS, RunFolder
from fer_ablate.tracking.mlflow.attach import add_to_run
from fer_ablate.training.evaluation import Predictions
from fer_ablate.training.result import RunResult
from fer_ablate.training.run import Task

MODEL = "model in MLflow"


def draw(task: Task, folder: RunFolder, result: RunResult, predictions: Predictions) -> list[str]:
    """Draw the pictures of a run, and the contact sheets if they are asked for.

    Args:
        task: the run.
        folder: of it.
        result: of it.
        predictions: about the images of the test role, and perhaps others.

    Returns:
        What could not be drawn and why, a sentence each.
    """
    test = predictions.of(np.intersect1d(task.tested["test"], predictions.rows))
    problems = save_pictures(folder, result, task.data.faces, test)
    if task.config.tracking.contact_sheets:
        problems.append(folder.attempt(SHEETS, lambda: _save_sheets(task, folder)))
    return [problem for problem in problems if problem]


def draw_missing(task: Task, folder: RunFolder) -> list[str]:
    """Draw what a finished run lacks, since it was killed, or could not draw it, or was not asked to; as `draw`."""
    wanted = task.config.tracking.contact_sheets and not any(folder.sheets.glob("*.png"))
    if not lacking(folder) and not wanted:
        return []
    try:
        stored, result = folder.predictions, folder.result
    except UserError as error:
        return [str(error)]
    problems = draw(task, folder, result, Predictions(stored.rows, stored.labels, stored.probabilities))
    if not folder.pending_file.is_file():
        trouble = _bring(task, folder)
        problems += [trouble] if trouble else []
    return problems


def _bring(task: Task, folder: RunFolder) -> str:
    """Copy the pictures to where MLflow shows the run already; why that did not work, or nothing."""
    pictures = [file for file in folder.artifacts if file.suffix == ".png"]
    runs_dir = Path(task.config.runs_dir)
    flat = [file for file in pictures if file.parent == folder.path]
    sheets = [file for file in pictures if file.parent != folder.path]
    return add_to_run(folder, runs_dir, flat, "", {}) or add_to_run(folder, runs_dir, sheets, SHEETS, {})


def _save_sheets(task: Task, folder: RunFolder) -> None:
    data, config = task.data, task.config
    material = Material(data.faces, data.roles["train"], build_preprocess(config, data.image_size), config.seed)
    save_sheets(folder.sheets, [sheet for kind in KINDS.values() for sheet in kind(material)])


def make_room(folder: RunFolder) -> None:
    """Remove the state to resume from: three times the weights, and a finished run needs only those."""
    with suppress(OSError):  # it only takes room
        folder.last_checkpoint.unlink(missing_ok=True)


def leave_model(task: Task, folder: RunFolder, warning: str) -> tuple[str, str]:
    """Log the tested weights as a model.

    Args:
        task: the run.
        folder: of it.
        warning: why MLflow does not have the run, if it does not.

    Returns:
        What was logged, and what went wrong, in words; one of them is empty.
    """
    if warning:
        model = ""
        problem = f"No model in MLflow, since the run is not there. Later: {log_model.retry(folder)}"
    else:
        model, problem = log_model.leave_model(folder, task.config, task.data.faces, task.tested["test"])
    with suppress(UserError):  # on a full disk the first error is the one to tell
        folder.keep_note(MODEL, problem)
    return model, problem
