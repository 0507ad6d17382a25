"""Pictures of runs and studies as matplotlib figures; a notebook shows them, `figure.savefig(file)` keeps them.

A run is named by what `run=` takes: the first digits of its key, a row of a study (`quickstart/-1 Conv`), or its folder.
"""

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from fer_ablate.api.heat_maps import explained
from fer_ablate.api.studies import Study, opened
from fer_ablate.config.compose import from_yaml
from fer_ablate.data.load import load_faces
from fer_ablate.ensemble.members import candidate_of
from fer_ablate.errors import UserError, choices
from fer_ablate.execution.study_output import judged
from fer_ablate.explain.explanation import Explanation
from fer_ablate.explain.figures import confusions_picture, means_picture, regions_picture
from fer_ablate.judgement.gather import gathered
from fer_ablate.judgement.records import FinishedRun, StudyTable
from fer_ablate.judgement.split_images import split_predictions
from fer_ablate.report.plots.cost import cost_plot
from fer_ablate.report.plots.curves import curves_plot
from fer_ablate.report.plots.run_figures import confusion_picture, curves_picture, faces_picture
from fer_ablate.report.plots.study import factor_plot, forest_plot
from fer_ablate.tracking.disk.lookup import find_run, finished_run

__all__ = ["accuracy", "confusion", "cost", "curves", "differences", "faces", "heat_maps", "learning"]


def confusion(run: str | Path, *, split: str = "test", runs_dir: str | Path = "runs") -> Figure:
    """How a run read each class.

    Args:
        run: finished.
        split: `val`, `test`, `public`, `private`, ...
        runs_dir: where it is looked for.
    """
    result = _finished(run, runs_dir).result
    if split not in result.splits:
        raise UserError(f"split={split!r}: the run was not scored on it. {choices(split, result.splits)}")
    return confusion_picture(result.splits[split].confusion, result.classes)


def curves(run: str | Path, *, runs_dir: str | Path = "runs") -> Figure:
    """Loss, accuracy and learning rate of a run over its epochs."""
    found = _finished(run, runs_dir)
    return curves_picture(found.folder.history, found.result.best_epoch)


def faces(run: str | Path, *, split: str = "test", runs_dir: str | Path = "runs") -> Figure:
    """Faces that a run was surest about, right ones above, wrong ones below; reads its images again.

    Args:
        run: finished.
        split: `val`, `test`, `public` or `private`.
        runs_dir: where it is looked for.
    """
    found = _finished(run, runs_dir)
    images = load_faces(from_yaml(found.folder.config_yaml).data)
    if images.digest != found.header.data_digest:
        raise UserError(f"The images of run {found.folder.path} have changed since it was trained, so its faces cannot be shown.")
    said = split_predictions(found, split)
    return faces_picture(images.faces[said.rows], said.labels, said.probabilities, found.result.classes)


def heat_maps(
    run: str | Path, *, show: str = "means", method: str = "gradcam", split: str = "test", runs_dir: str | Path = "runs"
) -> Figure:
    """Where a run looks, as the verb `explain` draws it; computes the maps, which takes a while.

    Args:
        run: finished.
        show: `means` (mean map of each class), `confusions` (faces of the most common ones) or `regions` (share of the weight
            on each part of the face).
        method: `gradcam`, `saliency`, `integrated_gradients` or `occlusion`.
        split: `val`, `test`, `public` or `private`.
        runs_dir: where it is looked for.
    """
    pictures: dict[str, Callable[[Explanation], Figure]] = {
        "means": means_picture,
        "confusions": lambda found: confusions_picture(found, method),
        "regions": regions_picture,
    }
    if show not in pictures:
        raise UserError(f"show={show!r}: there is no such picture. {choices(show, pictures)}")
    return pictures[show](explained(finished_run(Path(runs_dir), str(run)), method, split))


def accuracy(study: str | Study, *, column: str = "test/acc") -> Figure:
    """A metric with its intervals over the values of the key that a study sweeps.

    Args:
        study: its name, or what `fer_ablate.look_up` gave.
        column: one of the study's columns.
    """
    judgement = _judged(study, column)
    return _drawn(factor_plot(judgement, column), f"{judgement.study} sweeps no single key, or no run of it is finished.")


def differences(study: str | Study, *, column: str = "test/acc") -> Figure:
    """Each row's difference to the baseline with its interval and verdict; see `accuracy` for the arguments."""
    judgement = _judged(study, column)
    return _drawn(forest_plot(judgement, column), f"no row of {judgement.study} can be compared with its baseline yet.")


def cost(study: str | Study, *, column: str = "test/acc") -> Figure:
    """A metric over what a network costs; see `accuracy` for the arguments."""
    judgement = _judged(study, column)
    return _drawn(cost_plot(judgement, column), f"no run of {judgement.study} is finished, or all cost the same.")


def learning(study: str | Study, *, metric: str = "val/acc") -> Figure:
    """Learning curves of every row.

    Args:
        study: its name, or what `fer_ablate.look_up` gave.
        metric: of each epoch, such as `val/acc` or `train/loss`.
    """
    rows = gathered(opened(study).plan)
    histories = {row.label: [run.folder.history for run in row.runs] for row in rows if row.runs}
    return _drawn(curves_plot(histories, metric), f"no run is finished that measured {metric} after each epoch.")


def _finished(run: str | Path, runs_dir: str | Path) -> FinishedRun:
    return candidate_of(find_run(Path(runs_dir), str(run))).run


def _judged(study: str | Study, column: str) -> StudyTable:
    judgement, _ = judged(opened(study).plan)
    if column not in judgement.columns:
        raise UserError(f"column={column!r} is no column of {judgement.study}. {choices(column, judgement.columns)}")
    return judgement


def _drawn(picture: Figure | None, reason: str) -> Figure:
    if picture is None:
        raise UserError(f"There is nothing to draw: {reason}")
    return picture
