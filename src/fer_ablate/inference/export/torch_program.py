"""A finished network as a program of torch.export: it needs torch, but neither this package nor the network's code.

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
from fer_ablate.errors import UserError
from fer_ablate.inference.export.metadata import Card, Carded, read_card
from fer_ablate.inference.network import TrainedNetwork
from fer_ablate.tracking.quiet import quiet

CARD_FILE = "fer_ablate.json"
"""Name of the card within a `.pt2` file."""

INPUT, OUTPUT = "faces", "probabilities"


class Deployed(nn.Module):
    """From stored bytes to probabilities in one module: preparation, centre crop, normalisation, network, softmax.

    Every face is seen once: no test-time augmentation.
    """

    def __init__(self, preprocess: Preprocess, network: nn.Module) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.network = network

    def forward(self, faces: Tensor) -> Tensor:
        """Turn (N, C, H, W) uint8 into (N, K) float32."""
        logits: Tensor = self.network(self.preprocess(faces))
        return logits.float().softmax(dim=1)


def deployed(trained: TrainedNetwork) -> Deployed:
    """A copy of a finished network in 32-bit floats on the CPU, with what stands before and behind it."""
    preprocess = copy.deepcopy(trained.preprocess).cpu()
    preprocess.augment, preprocess.size = nn.Identity(), trained.seen_size
    network = copy.deepcopy(trained.network).cpu().float()
    # The other memory format would only add transpositions to what other programs run in a format of their own.
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stub lacks it
    preprocess.memory_format = torch.contiguous_format
    return Deployed(preprocess, network).eval()


def trace(trained: TrainedNetwork) -> ExportedProgram:
    """Record what a finished network does to any number of faces of the kind that it was trained on.

    Raises:
        UserError: torch.export cannot follow the network, which may happen to one of the user's own.
    """
    # Of a batch of one torch would conclude that it is always one.
    faces = torch.zeros((2, trained.channels, *trained.image_size), dtype=torch.uint8)
    with quiet("torch.onnx"), torch.no_grad():
        try:
            return torch.export.export(deployed(trained), (faces,), dynamic_shapes=({0: Dim("batch", min=1)},))
        except Exception as error:  # torch raises some dozen kinds, and whatever the network's own code raises
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(
                f"torch.export cannot follow the network {trained.config.model.name} of {trained.path}: {first}\n"
                "Its forward must not depend on values in the images or on the number of them. `predict ckpt=` runs it as it is."
            ) from error


def save_program(program: ExportedProgram, card: Card, path: Path) -> None:
    """Write a `.pt2` file that `torch.export.load` reads, with the card as an extra file."""
    with quiet("torch.onnx"):
        torch.export.save(program, path, extra_files={CARD_FILE: json.dumps(card.entries())})


@dataclass(frozen=True)
class ProgramScorer(Carded):
    """A network in a `.pt2` file, run by PyTorch on the CPU; a `Scorer`.

    Args:
        program: (N, C, H, W) uint8 -> (N, K).
    """

    program: Any

    def probabilities(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of every class for faces with the channels of the file; see `Scorer`."""
        with torch.inference_mode():
            shares: Tensor = self.program(torch.from_numpy(np.ascontiguousarray(faces_u8)))
        return np.asarray(shares.numpy(), dtype=np.float32)


def load_program(path: Path) -> ProgramScorer:
    """Open a `.pt2` file that `save_program` has just written; those of strangers may run code when they are loaded."""
    told = {CARD_FILE: ""}
    with quiet("torch.onnx"):
        program = torch.export.load(path, extra_files=told).module()
    return ProgramScorer(read_card(json.loads(told[CARD_FILE]), path), program)
