"""The model that a run leaves in MLflow when it ends, where `tracking.log_model` or `tracking.register` asks for one."""

import traceback
from contextlib import suppress
from pathlib import Path

from fer_ablate.config.schema import Config
from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.errors import UserError
from fer_ablate.inference.export.export import PROGRAM
from fer_ablate.inference.export.metadata import card_of
from fer_ablate.inference.export.mlflow_model import EXAMPLES, log_model
from fer_ablate.inference.export.torch_program import save_program, trace
from fer_ablate.inference.network import load_network
from fer_ablate.tracking.disk.log import append_to_log, first_line
from fer_ablate.tracking.disk.run_folder import RunFolder


def wants_model(config: Config) -> bool:
    """Whether the run is to leave a model in MLflow."""
    return config.tracking.enabled and (config.tracking.log_model or config.tracking.register is not None)


def retry(folder: RunFolder) -> str:
    """The command that logs the model later."""
    return f"python -m fer_ablate export run={folder.path} format=mlflow"


def leave_model(folder: RunFolder, config: Config, faces: FaceSet, test: Rows) -> tuple[str, str]:
    """Export the tested weights and log them; never raises what only concerns the model, for the run is finished.

    Args:
        folder: of the finished run.
        config: of the run.
        faces: the set it was trained on.
        test: rows of the test role, of which the first are the model's input example.

    Returns:
        What was logged, in words; and what went wrong, in words. One of them is empty.
    """
    try:
        trained = load_network(folder.best_checkpoint, config.plugins)
        card = card_of(trained, folder.header.key)
        path = folder.path / "export" / PROGRAM
        path.parent.mkdir(exist_ok=True)
        save_program(trace(trained), card, path)
        examples = faces.faces[test[:EXAMPLES]]
        name = config.tracking.register or ""
        logged = log_model(folder, trained, (card, path), examples, config.tracking, Path(config.runs_dir), name)
    except Exception as error:  # from a full disk to a network that cannot be traced: the run itself is finished and kept
        problem = f"No model in MLflow: {first_line(error).rstrip('.')}. Later: {retry(folder)}"
        with suppress(UserError):  # on a full disk the first error is the one to tell
            append_to_log(folder.log_file, problem, traceback.format_exc())
        return "", problem
    return f"{logged.uri}" + (f", version {logged.version} of {name}" if logged.version else ""), ""
