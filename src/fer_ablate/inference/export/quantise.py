"""ONNX files with 8-bit weights.

`dynamic` turns the linear layers to 8 bits and measures the range of what enters them in each batch anew; convolutions stay as
they are, since onnxruntime has no fast kernel of that kind for them. `static` turns convolutions, linear layers, pools and sums
to 8 bits, with ranges measured beforehand on training images.
"""

import contextlib
import io
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ablate.inference.export.metadata import Card
from fer_ablate.inference.export.onnx_extra import onnx_package
from fer_ablate.inference.export.onnx_file import put_card
from fer_ablate.inference.export.torch_program import INPUT
from fer_ablate.tracking.quiet import quiet

KINDS = ("dynamic", "static")

CALIBRATION_BATCH = 64
"""Images at once whose ranges are measured."""

PERCENTILE = 99.99
"""Share of the measured values that the 8 bits of a map span; its few largest would make the steps coarse for all others."""

STATIC = ("Conv", "Gemm", "MatMul", "Relu", "Clip", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Flatten")
"""Operators that become 8-bit ones. Softmax stays: in steps of 1/255, probabilities of different classes would become equal."""

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators that hold nearly all weights and work of a network."""


def save_dynamic(source: Path, target: Path, card: Card) -> None:
    """Write an ONNX file whose linear layers are in 8 bits.

    Args:
        source: of `save_onnx`.
        target: the new file.
        card: what it is to say of itself.
    """
    tools = onnx_package("onnxruntime.quantization")
    with _prepared(source) as prepared:
        tools.quantize_dynamic(prepared, target, op_types_to_quantize=["Gemm", "MatMul"], weight_type=tools.QuantType.QInt8)
    _put_card(target, card)


def save_static(source: Path, target: Path, card: Card, faces_u8: NDArray[np.uint8]) -> None:
    """Write an ONNX file that computes in 8 bits throughout.

    Args:
        source: of `save_onnx`.
        target: the new file.
        card: what it is to say of itself.
        faces_u8: (N, C, H, W) training images, on which the ranges of all maps are measured.
    """
    tools = onnx_package("onnxruntime.quantization")
    # As onnxruntime advises: signed maps on ARM, unsigned ones on x86.
    signed = platform.machine().lower() in ("arm64", "aarch64")
    with _prepared(source) as prepared, contextlib.redirect_stdout(io.StringIO()):
        tools.quantize_static(
            prepared,
            target,
            _Calibration(faces_u8),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=list(STATIC),
            per_channel=True,
            activation_type=tools.QuantType.QInt8 if signed else tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            calibrate_method=tools.CalibrationMethod.Percentile,
            # Batch by batch, whatever the option's name says: otherwise the maps of all images lie in memory together.
            extra_options={"CalibPercentile": PERCENTILE, "CalibStridedMinMax": 1},
        )
    _put_card(target, card)


def weighted_nodes(path: Path) -> tuple[int, int]:
    """How many operators with weights of an ONNX file compute in 8 bits, and how many there are."""
    graph = onnx_package("onnx").load_model(str(path)).graph
    dequantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    integer = sum(node.op_type in ("MatMulInteger", "ConvInteger") for node in graph.node)
    floats = [node for node in graph.node if node.op_type in WEIGHTED]
    integer_floats = sum(node.input[1] in dequantised for node in floats)
    return integer + integer_floats, integer + len(floats)


class _Calibration:
    """Batches of images in the form in which onnxruntime asks for them."""

    def __init__(self, faces_u8: NDArray[np.uint8]) -> None:
        starts = range(0, len(faces_u8), CALIBRATION_BATCH)
        self._batches = [np.ascontiguousarray(faces_u8[start : start + CALIBRATION_BATCH]) for start in starts]
        self._left = iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._left, None)
        return None if batch is None else {INPUT: batch}


@contextlib.contextmanager
def _prepared(source: Path) -> Iterator[Path]:
    """The file with normalisations folded into convolutions, where they can be; what the tools say is kept off the console."""
    shapes = onnx_package("onnxruntime.quantization.shape_inference")
    with quiet(""), tempfile.TemporaryDirectory() as folder:  # the tools log to the root
        prepared = Path(folder) / "prepared.onnx"
        shapes.quant_pre_process(source, prepared, skip_symbolic_shape=True)
        yield prepared


def _put_card(path: Path, card: Card) -> None:
    onnx = onnx_package("onnx")
    model = onnx.load_model(str(path))
    put_card(model, card)
    onnx.save_model(model, str(path))
