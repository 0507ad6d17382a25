"""What a run gets once it is finished: figures, contact sheets, a model in MLflow. None of it can fail the run.

What goes wrong is returned in sentences and kept in the run's folder as notes, with the traceback in its log.
"""

import traceback
from contextlib import suppress
from pathlib import Path

import numpy as np

from fer_ablate.config.schema import Config
from fer_ablate.data.transform import build_preprocess
from fer_ablate.errors import UserError, first_line
from fer_ablate.inference.export.formats import PROGRAM_FILE
from fer_ablate.inference.export.metadata import metadata_of
from fer_ablate.inference.export.mlflow_model import EXAMPLES, log_network
from fer_ablate.inference.export.torch_program import save_program, trace_network
from fer_ablate.inference.network import load_network
from fer_ablate.report.plots.contact_sheets import KINDS, Material, save_sheets
from fer_ablate.report.plots.run import RunFaces, missing_figures, save_run_figures, shown_faces
from fer_ablate.shell import program
from fer_ablate.tracking.disk.log import append_to_log
from fer_ablate.tracking.disk.run_folder import SHEETS, RunFolder
from fer_ablate.tracking.mlflow.attach import begin_additions, end_additions
from fer_ablate.training.evaluation import Predictions
from fer_ablate.training.result import RunResult
from fer_ablate.training.run import PreparedRun

MODEL_NOTE = "model in MLflow"
"""Name of the note in the run's folder if the model could not be logged."""


def draw(prepared: PreparedRun, folder: RunFolder, result: RunResult, predictions: Predictions) -> list[str]:
    """Draw the figures of a run, unless its config leaves them out, and the contact sheets if it asks for them.

    Args:
        prepared: the run.
        folder: folder of the run.
        result: result of the run.
        predictions: for the images of the test role, and perhaps others.

    Returns:
        What could not be drawn and why, a sentence each.
    """
    wanted = prepared.config.tracking.pictures
    problems = save_run_figures(folder, result, lambda: faces_of(prepared, predictions)) if wanted else []
    return [*problems, *draw_sheets(prepared, folder)]


def faces_of(prepared: PreparedRun, predictions: Predictions) -> RunFaces:
    """The few faces of the test role that the figures of a run show.

    Args:
        prepared: the run.
        predictions: for the images of the test role, and perhaps others.
    """
    test = predictions.of(np.intersect1d(prepared.tested["test"], predictions.rows))
    chosen = shown_faces(test.labels, test.probabilities)  # only these are read, since all faces may be gigabytes
    pixels = np.ascontiguousarray(prepared.data.faces.faces[test.rows[chosen]])
    return RunFaces(pixels, test.labels[chosen], test.probabilities[chosen])


def faces_to_draw(prepared: PreparedRun, folder: RunFolder, predictions: Predictions) -> tuple[RunFaces | None, list[str]]:
    """Leave the figures of a run to the sweep, and draw the contact sheets, for which all images are needed.

    Returns:
        The faces that the figures show, None if there are to be no figures or the faces cannot be read; and what went wrong, a
        sentence each.
    """
    if not prepared.config.tracking.pictures:
        return None, draw_sheets(prepared, folder)
    found: list[RunFaces] = []  # `attempt` returns the problem, so the faces come back this way
    problem = folder.attempt("faces.png", lambda: found.append(faces_of(prepared, predictions)))
    return found[0] if found else None, [*filter(None, [problem]), *draw_sheets(prepared, folder)]


def draw_sheets(prepared: PreparedRun, folder: RunFolder) -> list[str]:
    """Draw the contact sheets of a run if its config says so; returns what went wrong, a sentence each."""
    if not prepared.config.tracking.contact_sheets:
        return []
    problem = folder.attempt(SHEETS, lambda: _save_sheets(prepared, folder))
    return [problem] if problem else []


def draw_missing(prepared: PreparedRun, folder: RunFolder) -> list[str]:
    """Draw the figures that a finished run lacks: it was killed, could not draw them, or its config left them out then.

    Returns:
        What could not be drawn and why, a sentence each.
    """
    tracking = prepared.config.tracking
    needs_sheets = tracking.contact_sheets and not any(folder.sheets.glob("*.png"))
    if not (tracking.pictures and missing_figures(folder)) and not needs_sheets:
        return []
    try:
        stored, result = folder.predictions, folder.result
        sends = begin_additions(folder)
    except UserError as error:
        return [str(error)]
    problems = draw(prepared, folder, result, Predictions(stored.rows, stored.labels, stored.probabilities))
    if sends and (problem := end_additions(folder, Path(prepared.config.runs_dir), _figures(folder))):
        problems.append(problem)
    return problems


def _figures(folder: RunFolder) -> dict[str, list[Path]]:
    """Folder within the artifacts of the run in MLflow -> the figures there."""
    figures = [file for file in folder.artifacts if file.suffix == ".png"]
    own = [file for file in figures if file.parent == folder.path]
    return {"": own, SHEETS: [file for file in figures if file.parent != folder.path]}


def _save_sheets(prepared: PreparedRun, folder: RunFolder) -> None:
    data, config = prepared.data, prepared.config
    material = Material(data.faces, data.roles["train"], build_preprocess(config, data.image_size), config.seed)
    save_sheets(folder.sheets, [sheet for kind in KINDS.values() for sheet in kind(material)])


def remove_resume_state(folder: RunFolder) -> None:
    """Remove the state to resume from: it is three times as large as the weights, and a finished run needs only those."""
    with suppress(OSError):  # it only takes up space
        folder.last_checkpoint.unlink(missing_ok=True)


def logs_model(config: Config) -> bool:
    """Whether the run logs its network as a model in MLflow."""
    return config.tracking.enabled and (config.tracking.log_model or config.tracking.register is not None)


def log_model(prepared: PreparedRun, folder: RunFolder, warning: str) -> tuple[str, str]:
    """Log the tested weights as a model in MLflow.

    Args:
        prepared: the run.
        folder: folder of the finished run.
        warning: why MLflow does not have the run; empty if it has.

    Returns:
        What was logged, and what went wrong, in words; one of them is empty.
    """
    later = f"Later: {program('export', f'run={folder.path}', 'format=mlflow')}"
    model, problem = "", ""
    if warning:
        # A model belongs to a run of MLflow, so without the run there is nowhere to log it.
        problem = f"No model in MLflow, since the run is not there. {later}"
    else:
        try:
            model = _logged_model(prepared, folder)
        except Exception as error:  # from a full disk to a network that cannot be traced: the run itself is finished and kept
            problem = f"No model in MLflow: {first_line(error).rstrip('.')}. {later}"
            with suppress(UserError):  # on a full disk the first error matters more
                append_to_log(folder.log_file, problem, traceback.format_exc())
    with suppress(UserError):
        folder.keep_note(MODEL_NOTE, problem)
    return model, problem


def _logged_model(prepared: PreparedRun, folder: RunFolder) -> str:
    """Export the tested weights and log them; returns the address of the model in words."""
    config, data = prepared.config, prepared.data
    trained = load_network(folder.best_checkpoint, config.plugins)
    metadata = metadata_of(trained, folder.header.key)
    path = folder.path / "export" / PROGRAM_FILE
    path.parent.mkdir(exist_ok=True)
    save_program(trace_network(trained), metadata, path)
    examples = data.faces.faces[prepared.tested["test"][:EXAMPLES]]
    name = config.tracking.register or ""
    logged = log_network(folder, trained, (metadata, path), examples, config.tracking, Path(config.runs_dir), name)
    return f"{logged.uri}" + (f", version {logged.version} of {name}" if logged.version else "")
