"""Finds the weights that `init_from` names."""

from pathlib import Path

from fer_ablate.config.key import short
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.lookup import find_run
from fer_ablate.training.start import Start, weights_identity


def resolve_start(init_from: str, runs_dir: Path) -> Start:
    """Weights of a checkpoint file, or the tested ones of a finished run.

    Args:
        init_from: path of a `.ckpt` file, or a run by what `find_run` knows it by.
        runs_dir: where runs are looked for.

    Returns:
        For a run its key is the identity, which is known before the run is trained; for a file the hash of its weights.

    Raises:
        UserError: there is neither, the run is not finished, or its checkpoint is gone or unreadable.
    """
    file = Path(init_from).expanduser()
    if file.is_file():
        return Start(file, weights_identity(file))
    try:
        folder = find_run(runs_dir, init_from)
    except UserError as error:
        raise UserError(f"init_from={init_from} is neither a checkpoint file nor a run. {error}") from error
    name = f"init_from={init_from}: run {short(folder.header.key)} in {folder.path}"
    if folder.status != "finished":
        raise UserError(f"{name} is not finished. Finish it by the command that began it, or start from one of its checkpoints.")
    if not folder.best_checkpoint.is_file():
        raise UserError(f"{name} has lost {folder.best_checkpoint.name}. Train it again with force=true, or start from another.")
    return Start(folder.best_checkpoint, folder.header.key)
