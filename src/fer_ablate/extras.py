"""Packages that only some commands need: each is installed by an extra of this package, and imported only where it is used."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from fer_ablate.errors import UserError

EXTRA_OF = {
    "captum": ("explain", "Heat maps need"),
    "cv2": ("faces", "Faces in pictures, videos and pictures of another size need"),
    "onnx": ("onnx", "ONNX files need"),
    "onnxruntime": ("onnx", "ONNX files need"),
    "onnxscript": ("onnx", "ONNX files need"),
    "tensorboard": ("tensorboard", "Events for TensorBoard need"),
    "wandb": ("wandb", "Runs of Weights & Biases need"),
}
"""Top-level module -> the extra that installs it, and the beginning of the message where it is missing."""


@contextmanager
def extra_named() -> Iterator[None]:
    """Name the extra to install if an import in the `with` block fails for a missing package.

    Raises:
        UserError: a package of an extra cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or "").split(".", 1)[0]
        if package not in EXTRA_OF:
            raise
        raise UserError(_message(package, f"cannot be imported ({error})")) from error


def imported(module: str) -> Any:
    """Import a module of a package that an extra installs, such as `captum.attr`.

    Raises:
        UserError: it cannot be imported; the message says which extra installs it.
    """
    with extra_named():
        return importlib.import_module(module)


def require(package: str) -> None:
    """Check without importing it that a package of an extra is installed, before work begins whose end needs it.

    Raises:
        UserError: it is not installed; the message says which extra installs it.
    """
    if find_spec(package) is None:
        raise UserError(_message(package, "is not installed"))


def install_command(extra: str) -> str:
    """Command that installs an extra of this package."""
    return f"pip install 'fer-ablate[{extra}]'"


def _message(package: str, problem: str) -> str:
    extra, needed = EXTRA_OF[package]
    return f"{needed} {package}, which {problem}: {install_command(extra)}"
