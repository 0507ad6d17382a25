"""Opens a finished network, of whatever format, for use."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.inference.network import load_network
from fer_ablate.inference.scorer import Scorer, TorchScorer
from fer_ablate.training.hardware import Hardware

ONNX = ".onnx"


def is_onnx(path: Path | str) -> bool:
    """Whether a file is one for onnxruntime, by its name."""
    return Path(path).suffix.lower() == ONNX


def scorer_of(
    path: Path,
    hardware: Hardware,
    tta: TestTimeAugmentation | None = None,
    plugins: Sequence[str] = (),
    threads: int | None = None,
) -> Scorer:
    """Open a checkpoint (`.ckpt`) or an exported network (`.onnx`).

    Args:
        path: of the file.
        hardware: what PyTorch computes on; an ONNX file runs on the CPU.
        tta: views to be averaged; None: those that the network was tested with. An ONNX file has its own.
        plugins: packages whose code may run.
        threads: that onnxruntime may use; None: its own choice.

    Raises:
        UserError: the file is missing, damaged, not one of fer_ablate, or needs a package that is not there.
    """
    if is_onnx(path):
        # Only now, so that onnxruntime is needed by those alone who use it.
        module = importlib.import_module("fer_ablate.inference.onnx_scorer")
        return cast(Scorer, module.load_onnx(path, threads))
    trained = load_network(path, plugins)
    return TorchScorer(trained, hardware, trained.config.evaluation.tta if tta is None else tta)
