"""The packages of the extra `onnx`, imported when they are needed."""

import importlib
from typing import Any

from fer_ablate.errors import UserError

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def onnx_package(name: str) -> Any:
    """A module of onnx, onnxruntime or onnxscript.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".", 1)[0]
        raise UserError(
            f'ONNX files need {package}, which cannot be imported ({error}): pip install "fer-ablate[onnx]"'
        ) from error
