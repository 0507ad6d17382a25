"""Writes ONNX files with 8-bit weights.

`dynamic` quantises the linear layers and measures the range of their inputs in every batch; convolutions stay in 32 bits, since
onnxruntime has no fast kernel of that kind for them. `static` quantises convolutions, linear layers, pools and sums, with ranges
that were measured on training images.
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

from fer_ablate.extras import imported
from fer_ablate.inference.export.metadata import INPUT, ModelMetadata
from fer_ablate.inference.export.onnx_file import write_metadata
from fer_ablate.tracking.quiet import quiet

KINDS = ("dynamic", "static")

CALIBRATION_BATCH = 64
"""Images whose ranges are measured at once."""

PERCENTILE = 99.99
"""Percentage of the measured values that the 8 bits span; the few largest would make the steps coarse for all others."""

STATIC = ("Conv", "Gemm", "MatMul", "Relu", "Clip", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Flatten")
"""Operators that compute in 8 bits. Softmax does not: in steps of 1/255, different probabilities would become equal."""

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators that hold nearly all weights of a network and do nearly all of its work."""


def save_dynamic(source: Path, target: Path, metadata: ModelMetadata) -> None:
    """Write an ONNX file whose linear layers compute in 8 bits.

    Args:
        source: file of `save_onnx`.
        target: the new file.
        metadata: what the new file says about itself.
    """
    tools = imported("onnxruntime.quantization")
    with _prepared(source) as prepared:
        tools.quantize_dynamic(prepared, target, op_types_to_quantize=["Gemm", "MatMul"], weight_type=tools.QuantType.QInt8)
    _replace_metadata(target, metadata)


def save_static(source: Path, target: Path, metadata: ModelMetadata, faces_u8: NDArray[np.uint8]) -> None:
    """Write an ONNX file that computes in 8 bits up to the softmax.

    Args:
        source: file of `save_onnx`.
        target: the new file.
        metadata: what the new file says about itself.
        faces_u8: (N, C, H, W) training images, on which the ranges of all feature maps are measured.
    """
    tools = imported("onnxruntime.quantization")
    # onnxruntime advises signed feature maps on ARM and unsigned ones on x86.
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
            # Makes it measure batch by batch, although the name says otherwise: the maps of all images would not fit in memory.
            extra_options={"CalibPercentile": PERCENTILE, "CalibStridedMinMax": 1},
        )
    _replace_metadata(target, metadata)


def weighted_nodes(path: Path) -> tuple[int, int]:
    """Count the operators with weights of an ONNX file: those that compute in 8 bits, and all."""
    graph = imported("onnx").load_model(str(path)).graph
    dequantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    integer = sum(node.op_type in ("MatMulInteger", "ConvInteger") for node in graph.node)
    floats = [node for node in graph.node if node.op_type in WEIGHTED]
    integer_floats = sum(node.input[1] in dequantised for node in floats)
    return integer + integer_floats, integer + len(floats)


class _Calibration:
    """Batches of images, as onnxruntime's `CalibrationDataReader`."""

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
    """Make a temporary copy whose normalisations are folded into convolutions where possible; the tools print nothing."""
    shapes = imported("onnxruntime.quantization.shape_inference")
    with quiet(""), tempfile.TemporaryDirectory() as folder:  # the tools use the root logger
        prepared = Path(folder) / "prepared.onnx"
        shapes.quant_pre_process(source, prepared, skip_symbolic_shape=True)
        yield prepared


def _replace_metadata(path: Path, metadata: ModelMetadata) -> None:
    """Give a file that onnxruntime wrote the metadata of this package."""
    onnx = imported("onnx")
    model = onnx.load_model(str(path))
    write_metadata(model, metadata)
    onnx.save_model(model, str(path))
