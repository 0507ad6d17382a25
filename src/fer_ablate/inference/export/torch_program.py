"""A finished network as a program of torch.export, which runs with torch alone, without this package or the network's code.

Letters: N faces, C channels, H W pixels, K classes.
"""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from fer_ablate.data.transform import Preprocess
from fer_ablate.errors import UserError, first_line
from fer_ablate.inference.export.metadata import ExportedScorer, ModelMetadata, read_metadata
from fer_ablate.inference.network import TrainedNetwork
from fer_ablate.tracking.quiet import quiet

METADATA_FILE = "fer_ablate.json"
"""Name of the file with the metadata within a `.pt2` file."""


class DeployedNetwork(nn.Module):
    """From stored bytes to probabilities in one module: preparation, centre crop, normalisation, network, softmax.

    Every face is seen once: no test-time augmentation.
    """

    def __init__(self, preprocess: Preprocess, network: nn.Module) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.network = network

    def forward(self, faces: Tensor) -> Tensor:
        """Map (N, C, H, W) uint8 to (N, K) float32."""
        logits: Tensor = self.network(self.preprocess(faces))
        return logits.float().softmax(dim=1)


def deployed_network(trained: TrainedNetwork) -> DeployedNetwork:
    """Copy a finished network to the CPU in 32-bit floats, together with its preprocessing and the softmax."""
    # Copies, since the caller goes on using the network on its own device.
    preprocess = copy.deepcopy(trained.preprocess).cpu()
    preprocess.augment, preprocess.size = nn.Identity(), trained.seen_size
    network = copy.deepcopy(trained.network).cpu().float()
    # channels_last would only add transpositions: other programs choose a memory format of their own.
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stub lacks it
    preprocess.memory_format = torch.contiguous_format
    return DeployedNetwork(preprocess, network).eval()


def trace_network(trained: TrainedNetwork) -> ExportedProgram:
    """Record the computation of a finished network for any number of faces of the kind that it was trained on.

    Raises:
        UserError: torch.export cannot follow the network, which may happen with a network of the user's own.
    """
    # Two faces: from a batch of one, torch would conclude that the batch size is always one.
    faces = torch.zeros((2, trained.channels, *trained.image_size), dtype=torch.uint8)
    with quiet("torch.onnx"), torch.no_grad():
        try:
            return torch.export.export(deployed_network(trained), (faces,), dynamic_shapes=({0: Dim("batch", min=1)},))
        except Exception as error:  # torch raises some dozen kinds, and whatever the network's own code raises
            first = first_line(error)
            raise UserError(
                f"torch.export cannot follow the network {trained.config.model.name} of {trained.path}: {first}\n"
                "Its forward must not depend on values in the images or on the number of them. `predict ckpt=` runs it as it is."
            ) from error


def save_program(program: ExportedProgram, metadata: ModelMetadata, path: Path) -> None:
    """Write a `.pt2` file that `torch.export.load` reads, with the metadata as an extra file."""
    with quiet("torch.onnx"):
        torch.export.save(program, path, extra_files={METADATA_FILE: json.dumps(metadata.entries())})


@dataclass(frozen=True)
class ProgramScorer(ExportedScorer):
    """A network in a `.pt2` file, run by PyTorch on the CPU; a `Scorer`.

    Args:
        program: (N, C, H, W) uint8 -> (N, K).
    """

    program: Any

    def probabilities(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the probability of every class for faces with the channels of the file; see `Scorer`."""
        with torch.inference_mode():
            shares: Tensor = self.program(torch.from_numpy(np.ascontiguousarray(faces_u8)))
        return np.asarray(shares.numpy(), dtype=np.float32)


def load_program(path: Path) -> ProgramScorer:
    """Open a `.pt2` file that `save_program` has just written. A file from elsewhere could run code when it is loaded."""
    extra_files = {METADATA_FILE: ""}
    with quiet("torch.onnx"):
        program = torch.export.load(path, extra_files=extra_files).module()
    return ProgramScorer(read_metadata(json.loads(extra_files[METADATA_FILE]), path), program)
