"""A finished network written in other formats, each checked against PyTorch before it takes its place.

Letters: N images, C channels, H W pixels.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fer_ablate.errors import UserError
from fer_ablate.inference.export import onnx_file, quantise, torch_program
from fer_ablate.inference.export.metadata import Card
from fer_ablate.inference.export.variants import Comparison, Variant, compared, measured, require_equal
from fer_ablate.inference.network import TrainedNetwork
from fer_ablate.inference.onnx_scorer import load_onnx
from fer_ablate.inference.scorer import Scorer, TorchScorer
from fer_ablate.tracking.disk.files import REASONS
from fer_ablate.training.hardware import Hardware

PROGRAM, ONNX = "model.pt2", "model.onnx"
PYTORCH = "PyTorch"
TITLES = {ONNX: "ONNX", PROGRAM: "torch.export", "dynamic": "ONNX int8 dynamic", "static": "ONNX int8 static"}

Bar = Callable[[str], AbstractContextManager[Callable[[float], None]]]
"""Shows the progress of something with this title."""


@dataclass(frozen=True)
class Wish:
    """What is to be written.

    Args:
        onnx: whether as an ONNX file.
        program: whether as a file of torch.export.
        quantise: of `quantise.KINDS`; only with `onnx`.
        opset: version of ONNX's operators; None: the one torch recommends.
    """

    onnx: bool
    program: bool
    quantise: Sequence[str] = ()
    opset: int | None = None


@dataclass(frozen=True)
class Sample:
    """Real images to check with.

    Args:
        faces_u8: (N, C, H, W) of the test role.
        labels: (N,) true class indices.
        calibration: (n, C, H, W) of the train role; empty if nothing is quantised statically.
    """

    faces_u8: NDArray[np.uint8]
    labels: NDArray[np.int64]
    calibration: NDArray[np.uint8]


@dataclass(frozen=True)
class Exported:
    """A network in one format.

    Args:
        title: of the format.
        path: of the file.
        size: of the file in bytes.
        variant: what it made of the sample.
        comparison: with PyTorch.
        layers: how many operators with weights compute in 8 bits, and how many there are; None if it is not ONNX.
    """

    title: str
    path: Path
    size: int
    variant: Variant
    comparison: Comparison
    layers: tuple[int, int] | None


def export(trained: TrainedNetwork, card: Card, wish: Wish, sample: Sample, output: Path, bar: Bar) -> list[Exported]:
    """Write a network into a folder, PyTorch's own checkpoint as the first row of what comes back.

    Files appear, and replace earlier ones, only after all of them were checked.

    Raises:
        UserError: the network cannot be exported, a file does not say what PyTorch says, or the folder cannot be written.
    """
    cpu = Hardware(torch.device("cpu"), 1, "32-true")
    with _staged(output) as stage:
        with bar("exporting") as tell:
            written = _written(trained, card, wish, sample, stage, tell)
        with bar("testing PyTorch") as tell:
            reference = measured(TorchScorer(trained, cpu), sample.faces_u8, tell)
        found = [_row(PYTORCH, trained.path, reference, reference, sample)]
        for title, path in written.items():
            with bar(f"testing {title}") as tell:
                variant = measured(_scorer(path), sample.faces_u8, tell)
            row = _row(title, path, variant, reference, sample)
            if title in (TITLES[ONNX], TITLES[PROGRAM]):
                require_equal(path.name, row.comparison)
            found.append(row)
        for path in written.values():
            path.replace(output / path.name)
    return [found[0], *(_moved(row, output) for row in found[1:])]


def _written(
    trained: TrainedNetwork, card: Card, wish: Wish, sample: Sample, stage: Path, tell: Callable[[float], None]
) -> dict[str, Path]:
    """Files by title."""
    steps = 1 + wish.program + wish.onnx + len(wish.quantise)
    program = torch_program.trace(trained)
    tell(1 / steps)
    files = {}
    if wish.onnx:
        files[TITLES[ONNX]] = stage / ONNX
        onnx_file.save_onnx(program, card, stage / ONNX, wish.opset)
        tell(2 / steps)
    for number, kind in enumerate(wish.quantise):
        target = files[TITLES[kind]] = stage / f"model-int8-{kind}.onnx"
        if kind == "static":
            quantise.save_static(stage / ONNX, target, card, sample.calibration)
        else:
            quantise.save_dynamic(stage / ONNX, target, card)
        tell((3 + number) / steps)
    if wish.program:
        files[TITLES[PROGRAM]] = stage / PROGRAM
        torch_program.save_program(program, card, stage / PROGRAM)
        tell(1.0)
    return files


def _scorer(path: Path) -> Scorer:
    return torch_program.load_program(path) if path.name == PROGRAM else load_onnx(path, torch.get_num_threads())


def _row(title: str, path: Path, variant: Variant, reference: Variant, sample: Sample) -> Exported:
    layers = quantise.weighted_nodes(path) if path.suffix == ".onnx" else None
    return Exported(title, path, path.stat().st_size, variant, compared(variant, reference, sample.labels), layers)


def _moved(row: Exported, folder: Path) -> Exported:
    return Exported(row.title, folder / row.path.name, row.size, row.variant, row.comparison, row.layers)


@contextmanager
def _staged(output: Path) -> Iterator[Path]:
    """A folder within `output` that is gone afterwards, whatever happens."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".export-") as stage:
            yield Path(stage)
    except OSError as error:
        reason = REASONS.get(error.errno or 0, str(error))
        raise UserError(
            f"Cannot write {output}: {reason}. Make room or allow writing there, or choose another output=..."
        ) from error
