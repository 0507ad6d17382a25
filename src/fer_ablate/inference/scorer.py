"""What turns faces into probabilities, whatever runs the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.data.views import views
from fer_ablate.errors import UserError
from fer_ablate.inference.network import TrainedNetwork
from fer_ablate.training.evaluation import autocast
from fer_ablate.training.hardware import Hardware


class Scorer(Protocol):
    """A network at work."""

    @property
    def classes(self) -> tuple[str, ...]:
        """K names, in the order of the outputs."""
        ...

    @property
    def image_size(self) -> int:
        """Side in pixels of the faces it takes."""
        ...

    def probabilities(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of every class.

        Args:
            faces_u8: (N, 1, S, S) gray levels, or (N, 3, S, S) red, green, blue; S = `image_size`.

        Returns:
            (N, K) in [0, 1].
        """
        ...


@dataclass(frozen=True)
class TorchScorer:
    """A finished network run by PyTorch, on the device and in the number format of `hardware`."""

    trained: TrainedNetwork
    hardware: Hardware
    tta: TestTimeAugmentation = TestTimeAugmentation.none

    def __post_init__(self) -> None:
        self.trained.network.to(self.hardware.device)

    @property
    def classes(self) -> tuple[str, ...]:
        """K names, in the order of the outputs."""
        return self.trained.classes

    @property
    def image_size(self) -> int:
        """Side in pixels of the faces it takes."""
        return self.trained.image_size

    def probabilities(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of every class, mean over the views; see `Scorer`."""
        faces = torch.from_numpy(np.ascontiguousarray(faces_u8)).to(self.hardware.device)
        with torch.inference_mode(), autocast(self.hardware):
            seen = views(faces, self.tta, self.trained.side)
            logits = self.trained.network(self.trained.preprocess.normalise(seen.flatten(0, 1)))
            shares = logits.float().softmax(dim=1).view(*seen.shape[:2], -1).mean(dim=0)
        return np.asarray(shares.cpu().numpy(), dtype=np.float32)


@dataclass(frozen=True)
class MeanScorer:
    """Several networks as one: the mean of their probabilities.

    Raises:
        UserError: they tell other classes apart, or take faces of another size.
    """

    members: Sequence[Scorer]

    def __post_init__(self) -> None:
        first = self.members[0]
        for member in self.members[1:]:
            if member.classes != first.classes:
                raise UserError(
                    f"The networks know different classes: {', '.join(first.classes)} and {', '.join(member.classes)}. "
                    "Only networks with the same classes, in the same order, can be averaged."
                )
            if member.image_size != first.image_size:
                raise UserError(
                    f"The networks take faces of {first.image_size} and of {member.image_size} pixels. "
                    "Only networks trained on images of one size can be averaged."
                )

    @property
    def classes(self) -> tuple[str, ...]:
        """K names, in the order of the outputs."""
        return self.members[0].classes

    @property
    def image_size(self) -> int:
        """Side in pixels of the faces they take."""
        return self.members[0].image_size

    def probabilities(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Mean over the members; see `Scorer`."""
        mean: NDArray[np.float32] = np.stack([member.probabilities(faces_u8) for member in self.members]).mean(axis=0)
        return mean
