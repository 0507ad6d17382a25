"""A finished network as an ONNX file, with its card among the file's properties."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from fer_ablate.errors import UserError
from fer_ablate.inference.export.metadata import Card
from fer_ablate.inference.export.onnx_extra import onnx_package
from fer_ablate.inference.export.torch_program import INPUT, OUTPUT
from fer_ablate.tracking.quiet import quiet

OPSETS = (18, 23)
"""First and last version of ONNX's operators that torch's exporter writes and the checks here were made with."""


def _adaptive_max(features: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The largest value of each bin, since ONNX has no pooling whose bins differ in size; indices are of no use here."""
    for axis, number in zip((-2, -1), output_size, strict=True):
        size = features.shape[axis]
        edges = [(place * size // number, -(-(place + 1) * size // number)) for place in range(number)]
        bins = [features.narrow(axis, start, end - start).amax(axis, keepdim=True) for start, end in edges]
        features = torch.cat(bins, axis)
    return features, torch.zeros_like(features, dtype=torch.int64)


REPLACED = {torch.ops.aten.adaptive_max_pool2d.default: _adaptive_max}
"""Operators that torch's exporter cannot always translate, by what they do."""


def save_onnx(program: ExportedProgram, card: Card, path: Path, opset: int | None = None) -> None:
    """Translate a traced network, check the result by ONNX's own rules and write it.

    Args:
        program: of `torch_export.trace`.
        card: what the file is to say of itself.
        path: `.onnx` file.
        opset: version of ONNX's operators; None: the one torch recommends.

    Raises:
        UserError: the extra is missing, or ONNX has no operator for a part of the network.
    """
    onnx = onnx_package("onnx")
    onnx_package("onnxscript")
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
    assert exported is not None  # only the old exporter, which is not asked for, returns nothing
    model = exported.model_proto
    _tidy(model)
    put_card(model, card)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, str(path))


def put_card(model: Any, card: Card) -> None:
    """Make these the only properties of an ONNX model."""
    onnx_package("onnx").helper.set_model_props(model, card.entries())


def _tidy(model: Any) -> None:
    """Give the batch its name; leave out where each node came from, which tells of the folders of this machine."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
