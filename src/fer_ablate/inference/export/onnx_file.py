"""A finished network as an ONNX file: written, and run by onnxruntime on the CPU.

The packages of the extra `onnx` are imported only when a file is written or opened.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram

from fer_ablate.errors import UserError, first_line
from fer_ablate.extras import imported
from fer_ablate.inference.export.metadata import INPUT, OUTPUT, ExportedScorer, ModelMetadata, read_metadata
from fer_ablate.tracking.quiet import quiet

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What the extra `onnx` installs."""

OPSETS = (18, 23)
"""First and last version of ONNX's operators that torch's exporter writes and that this package was tried with."""

ERRORS_ONLY = 3
"""Lowest severity of the messages that onnxruntime writes to the console."""


def _adaptive_max(features: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Take the largest value of each bin; the indices, which no network here reads, are zero."""
    for axis, number in zip((-2, -1), output_size, strict=True):
        size = features.shape[axis]
        edges = [(place * size // number, -(-(place + 1) * size // number)) for place in range(number)]
        bins = [features.narrow(axis, start, end - start).amax(axis, keepdim=True) for start, end in edges]
        features = torch.cat(bins, axis)
    return features, torch.zeros_like(features, dtype=torch.int64)


REPLACED = {torch.ops.aten.adaptive_max_pool2d.default: _adaptive_max}
"""Operators that torch's exporter cannot always translate -> the same in simpler ones. ONNX's pools have bins of one size."""


def save_onnx(program: ExportedProgram, metadata: ModelMetadata, path: Path, opset: int | None = None) -> None:
    """Translate a traced network, check the result by ONNX's own rules and write it.

    Args:
        program: from `torch_program.trace_network`.
        metadata: what the file says about itself.
        path: `.onnx` file.
        opset: version of ONNX's operators; None takes the one that torch recommends.

    Raises:
        UserError: the extra is not installed, or ONNX has no operator for a part of the network.
    """
    onnx = imported("onnx")
    imported("onnxscript")
    with quiet("torch.onnx"):
        try:
            exported = torch.onnx.export(
                program.run_decompositions(REPLACED),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=opset,
                external_data=False,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).splitlines() or [type(error).__name__]
            first = re.sub(r"\x1b\[\d*m", "", reason[0])  # torch colours its messages
            raise UserError(f"The network cannot be written as ONNX: {first}\nformat=torch writes it as torch.export.") from error
    assert exported is not None  # only torch's former exporter, which is not used here, returns nothing
    model = exported.model_proto
    _tidy(model)
    write_metadata(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, str(path))


def write_metadata(model: Any, metadata: ModelMetadata) -> None:
    """Replace all properties of an ONNX model by the metadata."""
    imported("onnx").helper.set_model_props(model, metadata.entries())


def _tidy(model: Any) -> None:
    """Name the batch dimension, and remove the notes on where each node came from: they hold paths of this machine."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]


@dataclass(frozen=True)
class OnnxScorer(ExportedScorer):
    """A network in an ONNX file; a `Scorer`.

    Args:
        session: onnxruntime's `InferenceSession`.
    """

    session: Any

    def probabilities(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the probability of every class; see `Scorer`.

        A file takes either gray or colour faces. Gray faces are repeated for a colour file; colour faces are averaged and rounded
        to whole levels for a gray file.
        """
        faces = faces_u8
        if faces.shape[1] == 1 and self.metadata.channels == 3:
            faces = np.repeat(faces, 3, axis=1)
        elif faces.shape[1] == 3 and self.metadata.channels == 1:
            faces = faces.mean(axis=1, keepdims=True).round().astype(np.uint8)
        (probabilities,) = self.session.run([OUTPUT], {INPUT: np.ascontiguousarray(faces)})
        return np.asarray(probabilities, dtype=np.float32)


def load_onnx(path: Path, threads: int | None = None) -> OnnxScorer:
    """Open an ONNX file that `export` wrote.

    Args:
        path: `.onnx` file.
        threads: number of threads within one operator; None takes onnxruntime's choice, one for each core.

    Raises:
        UserError: onnxruntime is not installed, or the file is missing, damaged, of another program or of another version.
    """
    runtime = imported("onnxruntime")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file. Write one with `python -m fer_ablate export run=<id>`.")
    options = runtime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        # Loaded from bytes: a file that keeps its weights in another file could otherwise name any file of this machine.
        session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Name a file that you may read.") from error
    except Exception as error:  # onnxruntime's own kinds have no common class but this
        first = first_line(error)
        raise UserError(
            f"{path}: damaged, or not an ONNX file that onnxruntime {runtime.__version__} can run ({first})."
        ) from error
    return OnnxScorer(_checked_metadata(session, path), session)


def _checked_metadata(session: Any, path: Path) -> ModelMetadata:
    """Read the metadata and compare it with the inputs and outputs that the file really has."""
    metadata = read_metadata(session.get_modelmeta().custom_metadata_map, path)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    names = ([one.name for one in inputs], [one.name for one in outputs])
    expected = [metadata.channels, *metadata.image_size]
    if names != ([INPUT], [OUTPUT]) or inputs[0].type != "tensor(uint8)" or list(inputs[0].shape[1:]) != expected:
        raise UserError(f"{path}: its inputs differ from what its metadata says. Export the network again.")
    return metadata
