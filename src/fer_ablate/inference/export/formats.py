"""Writes a finished network in other formats, and compares each with PyTorch on real images before it takes its place.

Letters: N images, C channels, H W pixels, K classes.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from fer_ablate.errors import UserError
from fer_ablate.inference.export import onnx_file, quantise, torch_program
from fer_ablate.inference.export.metadata import ModelMetadata
from fer_ablate.inference.network import TrainedNetwork
from fer_ablate.inference.scorer import Scorer, TorchScorer
from fer_ablate.judgement.statistics import mcnemar
from fer_ablate.tracking.disk.files import REASONS
from fer_ablate.training.hardware import Hardware

PROGRAM_FILE, ONNX_FILE = "model.pt2", "model.onnx"
PYTORCH = "PyTorch"
FORMAT_TITLES = {ONNX_FILE: "ONNX", PROGRAM_FILE: "torch.export", "dynamic": "ONNX int8 dynamic", "static": "ONNX int8 static"}

MAX_DIFFERENCE = 1e-4
"""Two programs round 32-bit floats in their own ways; a larger difference between probabilities has another cause."""

CHECK_BATCH = 64
"""Images that a format scores at once when it is compared with PyTorch."""

Bar = Callable[[str], AbstractContextManager[Callable[[float], None]]]
"""Title -> a progress bar, which takes the finished fraction."""


@dataclass(frozen=True)
class ExportSpec:
    """Which files to write.

    Args:
        onnx: whether to write an ONNX file.
        program: whether to write a file of torch.export.
        quantise: some of `quantise.KINDS`; only with `onnx`.
        opset: version of ONNX's operators; None takes the one that torch recommends.
    """

    onnx: bool
    program: bool
    quantise: Sequence[str] = ()
    opset: int | None = None


@dataclass(frozen=True)
class ExportImages:
    """Real images to compare the formats on.

    Args:
        faces_u8: (N, C, H, W) of the test role.
        labels: (N,) true class indices.
        calibration: (n, C, H, W) of the train role; empty if nothing is quantised statically.
    """

    faces_u8: NDArray[np.uint8]
    labels: NDArray[np.int64]
    calibration: NDArray[np.uint8]


@dataclass(frozen=True)
class FormatScores:
    """How one format scored the images.

    Args:
        probabilities: (N, K).
        images_per_second: in batches of `CHECK_BATCH`.
    """

    probabilities: NDArray[np.float32]
    images_per_second: float


@dataclass(frozen=True)
class FormatComparison:
    """A format compared with PyTorch, on the same images.

    Args:
        difference: largest difference between two probabilities.
        changed: number of images whose most probable class changed.
        accuracy: accuracy of the format.
        gain: its accuracy minus PyTorch's.
        p: p value of McNemar's exact test that both are right equally often.
    """

    difference: float
    changed: int
    accuracy: float
    gain: float
    p: float


@dataclass(frozen=True)
class ExportedFile:
    """A network in one format.

    Args:
        title: name of the format.
        path: the file.
        size: bytes of the file.
        scores: how it scored the images.
        comparison: its comparison with PyTorch.
        layers: number of operators with weights that compute in 8 bits, and of all of them; None if it is not ONNX.
    """

    title: str
    path: Path
    size: int
    scores: FormatScores
    comparison: FormatComparison
    layers: tuple[int, int] | None


def export_network(
    trained: TrainedNetwork, metadata: ModelMetadata, spec: ExportSpec, images: ExportImages, output: Path, bar: Bar
) -> list[ExportedFile]:
    """Write a network into a folder in every format of `spec`; the first entry of the result is PyTorch's own checkpoint.

    All files are checked before the first one appears or replaces an earlier one.

    Raises:
        UserError: the network cannot be exported, a file gives other probabilities than PyTorch, or the folder cannot be written.
    """
    cpu = Hardware(torch.device("cpu"), 1, "32-true")
    with _staged(output) as stage:
        with bar("exporting") as progress:
            written = _write_formats(trained, metadata, spec, images, stage, progress)
        with bar("testing PyTorch") as progress:
            reference = measure(TorchScorer(trained, cpu), images.faces_u8, progress)
        exported = [_compared_file(PYTORCH, trained.path, reference, reference, images)]
        for title, path in written.items():
            with bar(f"testing {title}") as progress:
                scores = measure(_scorer(path), images.faces_u8, progress)
            file = _compared_file(title, path, scores, reference, images)
            # 8-bit files compute something else on purpose; their difference is reported, not refused.
            if title in (FORMAT_TITLES[ONNX_FILE], FORMAT_TITLES[PROGRAM_FILE]):
                require_equal_scores(path.name, file.comparison)
            exported.append(file)
        for path in written.values():
            path.replace(output / path.name)
    return [exported[0], *(replace(file, path=output / file.path.name) for file in exported[1:])]


def measure(scorer: Scorer, faces_u8: NDArray[np.uint8], progress: Callable[[float], None]) -> FormatScores:
    """Score (N, C, H, W) images and time it; a first batch warms up and is not timed."""
    scorer.probabilities(faces_u8[:CHECK_BATCH])
    parts, began = [], perf_counter()
    for start in range(0, len(faces_u8), CHECK_BATCH):
        parts.append(scorer.probabilities(np.ascontiguousarray(faces_u8[start : start + CHECK_BATCH])))
        progress(min(1.0, (start + CHECK_BATCH) / len(faces_u8)))
    return FormatScores(np.concatenate(parts), len(faces_u8) / (perf_counter() - began))


def compare_formats(scores: FormatScores, reference: FormatScores, labels: NDArray[np.int64]) -> FormatComparison:
    """Compare a format with PyTorch; `labels` are the (N,) true classes."""
    predicted, expected = (one.probabilities.argmax(axis=1) for one in (scores, reference))
    right, reference_right = predicted == labels, expected == labels
    return FormatComparison(
        float(np.abs(scores.probabilities - reference.probabilities).max()),
        int((predicted != expected).sum()),
        float(right.mean()),
        float(right.mean() - reference_right.mean()),
        mcnemar(right, reference_right),
    )


def require_equal_scores(name: str, comparison: FormatComparison) -> None:
    """Refuse a file in 32-bit floats whose probabilities are not those of PyTorch.

    Raises:
        UserError: the probabilities differ by more than rounding, or are not numbers.
    """
    # Written with `not`, so that a difference that is not a number is refused, too.
    if not comparison.difference <= MAX_DIFFERENCE:
        raise UserError(
            f"{name}: its probabilities differ from PyTorch's by up to {comparison.difference:.2g}, more than "
            f"{MAX_DIFFERENCE:g}; {comparison.changed} predictions changed. The file was not kept. "
            "Try another format or opset=..."
        )


def _write_formats(
    trained: TrainedNetwork,
    metadata: ModelMetadata,
    spec: ExportSpec,
    images: ExportImages,
    stage: Path,
    progress: Callable[[float], None],
) -> dict[str, Path]:
    """Write the files of `spec` into a folder; title -> file."""
    steps = 1 + spec.program + spec.onnx + len(spec.quantise)
    program = torch_program.trace_network(trained)
    progress(1 / steps)
    files = {}
    if spec.onnx:
        files[FORMAT_TITLES[ONNX_FILE]] = stage / ONNX_FILE
        onnx_file.save_onnx(program, metadata, stage / ONNX_FILE, spec.opset)
        progress(2 / steps)
    for number, kind in enumerate(spec.quantise):
        target = files[FORMAT_TITLES[kind]] = stage / f"model-int8-{kind}.onnx"
        if kind == "static":
            quantise.save_static(stage / ONNX_FILE, target, metadata, images.calibration)
        else:
            quantise.save_dynamic(stage / ONNX_FILE, target, metadata)
        progress((3 + number) / steps)
    if spec.program:
        files[FORMAT_TITLES[PROGRAM_FILE]] = stage / PROGRAM_FILE
        torch_program.save_program(program, metadata, stage / PROGRAM_FILE)
        progress(1.0)
    return files


def _scorer(path: Path) -> Scorer:
    if path.name == PROGRAM_FILE:
        return torch_program.load_program(path)
    # As many threads as PyTorch has, so that the speeds can be compared.
    return onnx_file.load_onnx(path, torch.get_num_threads())


def _compared_file(title: str, path: Path, scores: FormatScores, reference: FormatScores, images: ExportImages) -> ExportedFile:
    layers = quantise.weighted_nodes(path) if path.suffix == ".onnx" else None
    return ExportedFile(title, path, path.stat().st_size, scores, compare_formats(scores, reference, images.labels), layers)


@contextmanager
def _staged(output: Path) -> Iterator[Path]:
    """Make a temporary folder within `output`, so that a finished file can be moved to its place in one step."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".export-") as stage:
            yield Path(stage)
    except OSError as error:
        reason = REASONS.get(error.errno or 0, str(error))
        raise UserError(
            f"Cannot write {output}: {reason}. Make room or allow writing there, or choose another output=..."
        ) from error
