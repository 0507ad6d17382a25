"""Exported ONNX files at work, run by onnxruntime on the CPU."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ablate.errors import UserError
from fer_ablate.inference.export.metadata import Card, Carded, read_card
from fer_ablate.inference.export.onnx_extra import onnx_package
from fer_ablate.inference.export.torch_program import INPUT, OUTPUT

ONLY_ERRORS = 3
"""Severity from which on onnxruntime writes to the console."""


@dataclass(frozen=True)
class OnnxScorer(Carded):
    """A network in an ONNX file; a `Scorer`.

    Args:
        session: of onnxruntime.
    """

    session: Any

    def probabilities(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of every class; see `Scorer`.

        A file takes either gray or colour faces: those of the other kind are repeated, or averaged and rounded to whole levels.
        """
        faces = faces_u8
        if faces.shape[1] == 1 and self.card.channels == 3:
            faces = np.repeat(faces, 3, axis=1)
        elif faces.shape[1] == 3 and self.card.channels == 1:
            faces = faces.mean(axis=1, keepdims=True).round().astype(np.uint8)
        (found,) = self.session.run([OUTPUT], {INPUT: np.ascontiguousarray(faces)})
        return np.asarray(found, dtype=np.float32)


def load_onnx(path: Path, threads: int | None = None) -> OnnxScorer:
    """Open an ONNX file that `export` wrote.

    Args:
        path: `.onnx` file.
        threads: for one operator; None: onnxruntime's choice, one for each core.

    Raises:
        UserError: onnxruntime is missing, or the file is missing, damaged, of another program or of another version.
    """
    runtime = onnx_package("onnxruntime")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file. Write one with `python -m fer_ablate export run=<id>`.")
    options = runtime.SessionOptions()
    options.log_severity_level = ONLY_ERRORS
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        # From bytes: a file that keeps its weights elsewhere could otherwise name any file of this machine.
        session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Name a file that you may read.") from error
    except Exception as error:  # onnxruntime's own kinds have no common class but this
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"{path}: damaged, or not an ONNX file that onnxruntime {runtime.__version__} can run ({first})."
        ) from error
    return OnnxScorer(_checked(session, path), session)


def _checked(session: Any, path: Path) -> Card:
    """The card, if it tells the truth about the inputs and outputs."""
    card = read_card(session.get_modelmeta().custom_metadata_map, path)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    names = ([one.name for one in inputs], [one.name for one in outputs])
    expected = [card.channels, *card.image_size]
    if names != ([INPUT], [OUTPUT]) or inputs[0].type != "tensor(uint8)" or list(inputs[0].shape[1:]) != expected:
        raise UserError(f"{path}: its inputs are not what it says of itself. Export the network again.")
    return card
