"""Figures of runs and studies for a notebook; `figure.savefig(file)` writes one to a file.

A run is named as by `run=` on the command line: the first digits of its key, a row of a study (`quickstart/-1 Conv`), or its
folder.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from fer_ablate.api.studies import Study, opened
from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.config.compose import from_yaml
from fer_ablate.data.balance import balanced
from fer_ablate.data.load import load_faces
from fer_ablate.data.roles import role_rows
from fer_ablate.ensemble.members import ensemble_candidate
from fer_ablate.errors import UserError, choices
from fer_ablate.execution.study_output import judged_study
from fer_ablate.explain.attributions import PASSES, Explainer
from fer_ablate.explain.explanation import Explanation, ExplanationSpec, explain_network
from fer_ablate.explain.figures import confusions_figure, mean_maps_figure, regions_figure
from fer_ablate.inference.network import load_network
from fer_ablate.judgement.judged_table import JudgedTable
from fer_ablate.judgement.planned_rows import rows_with_runs
from fer_ablate.judgement.row_runs import ScoredRun
from fer_ablate.judgement.split_images import split_predictions
from fer_ablate.paths import expanded
from fer_ablate.report.plots.cost import cost_figure
from fer_ablate.report.plots.effects import effects_figure
from fer_ablate.report.plots.run import run_confusion_figure, run_curves_figure, run_faces_figure
from fer_ablate.report.plots.study import differences_figure, factor_figure, study_curves_figure
from fer_ablate.tracking.disk.lookup import find_run, finished_run
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.training import hardware
from fer_ablate.training.checks import tested_size
from fer_ablate.training.evaluation import Evaluator
from fer_ablate.training.role_set import role_set

__all__ = ["accuracy", "confusion", "cost", "curves", "differences", "effects", "faces", "heat_maps", "learning"]

PER_CLASS, PAIRS, IMAGES = 4, 3, 16
"""Defaults of `explain`: surest faces of a class, confused pairs, and images of a class that means are taken over."""


def confusion(run: str | Path, *, split: str = "test", runs_dir: str | Path = "runs") -> Figure:
    """Confusion matrix of a run.

    Args:
        run: name of a finished run.
        split: `val`, `test`, `public`, `private`, ...
        runs_dir: where the run is looked for.
    """
    result = _finished(run, runs_dir).result
    if split not in result.splits:
        raise UserError(f"split={split!r}: the run was not scored on it. {choices(split, result.splits)}")
    return run_confusion_figure(result.splits[split].confusion, result.classes)


def curves(run: str | Path, *, runs_dir: str | Path = "runs") -> Figure:
    """Loss, accuracy and learning rate of a run over its epochs."""
    found = _finished(run, runs_dir)
    return run_curves_figure(found.folder.history, found.result.best_epoch)


def faces(run: str | Path, *, split: str = "test", runs_dir: str | Path = "runs", plugins: Sequence[str] = ()) -> Figure:
    """Faces that a run was surest about: rightly classified ones above, wrongly classified ones below. Reads the images again.

    Args:
        run: name of a finished run.
        split: `val`, `test`, `public` or `private`.
        runs_dir: where the run is looked for.
        plugins: packages whose code may run, for images that a reader of your own reads.
    """
    found = _finished(run, runs_dir)
    config = from_yaml(found.folder.config_yaml)
    images = load_faces(config.data, plugins=plugins)
    # The stored rows would point at other faces.
    if images.digest != found.header.data_digest:
        raise UserError(f"The images of run {found.folder.path} have changed since it was trained, so its faces cannot be shown.")
    predictions = split_predictions(found, split)
    # Copies of data.balance have rows of their own. `role_set` would also check the network, and need the run's plugins for it.
    made, _ = balanced(images, role_rows(images, config.data).rows, config.data.balance)
    faces_u8 = made.faces[predictions.rows]
    return run_faces_figure(faces_u8, predictions.labels, predictions.probabilities, found.result.classes)


def heat_maps(
    run: str | Path,
    *,
    show: str = "means",
    method: str = "gradcam",
    split: str = "test",
    runs_dir: str | Path = "runs",
    plugins: Sequence[str] = (),
) -> Figure:
    """Heat maps of a run, as the verb `explain` draws them. Computing them takes a while.

    Args:
        run: name of a finished run.
        show: `means` (mean map of each class), `confusions` (faces of the most common ones) or `regions` (share of the weight
            on each part of the face).
        method: `gradcam`, `saliency`, `integrated_gradients` or `occlusion`.
        split: `val`, `test`, `public` or `private`.
        runs_dir: where the run is looked for.
        plugins: packages whose code may run, for networks and readers of your own.
    """
    pictures: dict[str, Callable[[Explanation], Figure]] = {
        "means": mean_maps_figure,
        "confusions": lambda found: confusions_figure(found, method),
        "regions": regions_figure,
    }
    # Checked first, since computing the maps takes a while.
    if show not in pictures:
        raise UserError(f"show={show!r}: there is no such picture. {choices(show, pictures)}")
    return pictures[show](_explained(finished_run(expanded(runs_dir), str(run)), method, split, plugins))


def accuracy(study: str | Study, *, column: str = "test/acc") -> Figure:
    """A metric with its intervals, over the values of the key that a study sweeps.

    Args:
        study: its name, or the result of `fer_ablate.look_up`.
        column: one of the study's columns.
    """
    judgement = _judged(study, column)
    return _drawn(factor_figure(judgement, column), f"{judgement.study} sweeps no single key, or no run of it is finished.")


def differences(study: str | Study, *, column: str = "test/acc") -> Figure:
    """Each row's difference to the baseline with its interval and verdict; see `accuracy` for the arguments."""
    judgement = _judged(study, column)
    return _drawn(differences_figure(judgement, column), f"no row of {judgement.study} can be compared with its baseline yet.")


def cost(study: str | Study, *, column: str = "test/acc") -> Figure:
    """A metric over the cost of the networks; see `accuracy` for the arguments."""
    judgement = _judged(study, column)
    return _drawn(cost_figure(judgement, column), f"no run of {judgement.study} is finished, or all cost the same.")


def effects(study: str | Study, *, column: str = "test/acc") -> Figure:
    """Interaction plot: means with intervals over the levels of one factor, with a line for each level of another.

    Args:
        study: its name, or the result of `look_up`.
        column: as in the study's table.

    Raises:
        UserError: there is no such column, or the rows are no combinations of several keys.
    """
    judged = _judged(study, column)
    return _drawn(effects_figure(judged, column), f"{judged.study} has no finished combinations of several keys.")


def learning(study: str | Study, *, metric: str = "val/acc") -> Figure:
    """Learning curves of every row.

    Args:
        study: its name, or the result of `fer_ablate.look_up`.
        metric: of each epoch, such as `val/acc` or `train/loss`.
    """
    rows = rows_with_runs(opened(study).plan)
    histories = {row.label: [run.folder.history for run in row.runs] for row in rows if row.runs}
    return _drawn(study_curves_figure(histories, metric), f"no run is finished that measured {metric} after each epoch.")


def _explained(folder: RunFolder, method: str, split: str, plugins: Sequence[str]) -> Explanation:
    """Explain a run by one method, on the CPU.

    Raises:
        UserError: there is no such method or split, or the images or the network cannot be read.
    """
    if method not in PASSES:
        raise UserError(f"method={method!r}: there is no such method. {choices(method, PASSES)}")
    trained = load_network(folder.best_checkpoint, plugins)
    config = replace(trained.config, plugins=list(plugins))
    data = role_set(config, load_faces(config.data, plugins=plugins), trained.image_size)
    parts = {**data.roles, **data.official}
    if split not in parts:
        raise UserError(f"split={split!r}: the images have no such split. {choices(split, parts)}")
    trainer = replace(config.trainer, accelerator="cpu", devices=1)
    # As in `explain`: predictions in another format than the maps would not always be of the same class.
    machine = replace(hardware.choose_hardware(trainer), precision="32-true")
    explainer = Explainer(trained.network, trained.preprocess, tested_size(config, data.image_size), machine.device)
    evaluator = Evaluator(TestTimeAugmentation.none, explainer.size, trainer.evaluation_batch_size, machine)
    predictions = evaluator.predict(explainer.network, explainer.preprocess, data.faces, parts[split])
    return explain_network(
        explainer, data.faces, predictions, ExplanationSpec((method,), PER_CLASS, PAIRS, IMAGES), lambda _: None
    )


def _finished(run: str | Path, runs_dir: str | Path) -> ScoredRun:
    # A candidate of an ensemble needs the same: a finished run whose files can be read.
    return ensemble_candidate(find_run(expanded(runs_dir), str(run))).run


def _judged(study: str | Study, column: str) -> JudgedTable:
    judgement, _ = judged_study(opened(study).plan)
    if column not in judgement.columns:
        raise UserError(f"column={column!r} is not a column of {judgement.study}. {choices(column, judgement.columns)}")
    return judgement


def _drawn(picture: Figure | None, reason: str) -> Figure:
    if picture is None:
        raise UserError(f"There is nothing to draw: {reason}")
    return picture
