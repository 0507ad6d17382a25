"""Opens a finished network, or several as one, to classify pictures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from fer_ablate.config.choices import Precision, TestTimeAugmentation
from fer_ablate.errors import FaultyConfigError, UserError, choices
from fer_ablate.inference.network import load_network
from fer_ablate.inference.predictor import Predictor
from fer_ablate.inference.scorer import MeanScorer, Scorer, TorchScorer, is_onnx, load_scorer
from fer_ablate.paths import expanded
from fer_ablate.tracking.disk.lookup import finished_run
from fer_ablate.training import hardware
from fer_ablate.training.checks import tested_view_faults
from fer_ablate.training.devices import hardware_faults

CHECKPOINT = ".ckpt"


def load(
    *names: str | Path,
    runs_dir: str | Path = "runs",
    plugins: Sequence[str] = (),
    device: str = "cpu",
    tta: str | None = None,
    detector: str = "haar",
    equalize: bool = False,
) -> Predictor:
    """Open a finished network for `predict` and `probabilities`.

    Args:
        names: one for each network: a run by its key, by its folder or as a row of a study (`quickstart/-1 Conv`); or a `.ckpt`
            or `.onnx` file. The probabilities of several are averaged.
        runs_dir: where runs are looked for.
        plugins: packages whose code may run, for networks of your own.
        device: `cpu`, `gpu`, or `auto` for a GPU if there is one.
        tta: `none`, `flip` or `ten_crop`; None: the views that each network was tested with. An ONNX file has its own.
        detector: what finds faces in pictures: `haar`, or `none` for pictures that are faces already.
        equalize: spread the gray levels of each face evenly.

    Raises:
        UserError: there is no such run or file, it is unfinished, damaged or of another version, or the networks know
            different classes.
    """
    if not names:
        raise UserError("Name a run, a .ckpt or an .onnx file, such as load('quickstart/-1 Conv').")
    views = None if tta is None else _views(tta)
    files = [_file(name, expanded(runs_dir)) for name in names]
    members = [_scorer(file, plugins, device, views) for file in files]
    return Predictor(members[0] if len(members) == 1 else MeanScorer(members), detector=detector, equalize=equalize)


def _views(tta: str) -> TestTimeAugmentation:
    if tta not in TestTimeAugmentation.__members__:
        raise UserError(f"tta={tta!r}: there are no such views. {choices(tta, TestTimeAugmentation.__members__)}")
    return TestTimeAugmentation[tta]


def _file(name: str | Path, runs_dir: Path) -> Path:
    path = expanded(name)
    if is_onnx(path) or path.suffix == CHECKPOINT:
        return path
    return finished_run(runs_dir, str(name)).best_checkpoint


def _scorer(file: Path, plugins: Sequence[str], device: str, tta: TestTimeAugmentation | None) -> Scorer:
    if is_onnx(file):
        # An ONNX file runs on the CPU, whatever `device` says.
        return load_scorer(file, hardware.Hardware(torch.device("cpu"), 1, "32-true"))
    trained = load_network(file, plugins)
    # The hardware stored with the network is that of its training.
    trainer = replace(trained.config.trainer, accelerator=device, devices=1)
    if trainer.precision is Precision.fp16:
        # A CPU cannot compute in it, and another GPU may have a better format.
        trainer = replace(trainer, precision=Precision.auto)
    if faults := hardware_faults(trainer):
        raise FaultyConfigError(faults)
    evaluation = trained.config.evaluation
    chosen = evaluation.tta if tta is None else tta
    if faults := tested_view_faults(replace(trained.config, evaluation=replace(evaluation, tta=chosen)), trained.image_size):
        raise FaultyConfigError(faults)
    return TorchScorer(trained, hardware.choose_hardware(trainer), chosen)
