"""A finished network as an ONNX file, with its card among the file's properties."""

from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from fer_ablate.errors import UserError
from fer_ablate.inference.card import Card
from fer_ablate.inference.onnx_extra import onnx_package
from fer_ablate.inference.torch_export import INPUT, OUTPUT
from fer_ablate.tracking.quiet import quiet

OPSETS = (18, 23)
"""First and last version of ONNX's operators that torch's exporter writes and the checks here were made with."""


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
                program, input_names=[INPUT], output_names=[OUTPUT], opset_version=opset, external_data=False, verbose=False
            )
        except torch.onnx.OnnxExporterError as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
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
