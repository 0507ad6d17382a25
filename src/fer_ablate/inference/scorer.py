"""What turns faces into probabilities, whatever runs the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fer_ablate.config.choices import Fit, TestTimeAugmentation
from fer_ablate.data.names import class_key
from fer_ablate.data.views import views
from fer_ablate.errors import UserError
from fer_ablate.inference.network import TrainedNetwork
from fer_ablate.sizes import Size, spelled
from fer_ablate.training.evaluation import autocast
from fer_ablate.training.hardware import Hardware


class Scorer(Protocol):
    """A network at work."""

    @property
    def classes(self) -> tuple[str, ...]:
        """K names, in the order of the outputs."""
        ...

    @property
    def image_size(self) -> Size:
        """Of the faces it takes."""
        ...

    @property
    def channels(self) -> int:
        """Of the faces it takes, as they were stored for its training: 1 for gray levels, 3 for red, green, blue."""
        ...

    @property
    def fit(self) -> Fit:
        """How whole pictures were brought to that size for its training."""
        ...

    def probabilities(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of every class.

        Args:
            faces_u8: (N, `channels`, *`image_size`).

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
        self.trained.preprocess.to(self.hardware.device)

    @property
    def classes(self) -> tuple[str, ...]:
        """K names, in the order of the outputs."""
        return self.trained.classes

    @property
    def image_size(self) -> Size:
        """Of the faces it takes."""
        return self.trained.image_size

    @property
    def channels(self) -> int:
        """Of the faces it takes."""
        return self.trained.channels

    @property
    def fit(self) -> Fit:
        """How whole pictures are brought to the size."""
        return self.trained.fit

    def probabilities(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of every class, mean over the views; see `Scorer`."""
        faces = torch.from_numpy(np.ascontiguousarray(faces_u8)).to(self.hardware.device)
        with torch.inference_mode(), autocast(self.hardware):
            preprocess = self.trained.preprocess
            seen = views(preprocess.prepared(faces), self.tta, self.trained.seen_size)
            logits = self.trained.network(preprocess.normalise(seen.flatten(0, 1)))
            shares = logits.float().softmax(dim=1).view(*seen.shape[:2], -1).mean(dim=0)
        return np.asarray(shares.cpu().numpy(), dtype=np.float32)


@dataclass(frozen=True)
class MeanScorer:
    """Several networks as one: the mean of their probabilities.

    Classes are matched by name (`names.class_key`) and told as the first network spells and orders them.

    Raises:
        UserError: they tell other classes apart, or take faces of another kind.
    """

    members: Sequence[Scorer]

    def __post_init__(self) -> None:
        first = self.members[0]
        for member in self.members[1:]:
            _places(first.classes, member.classes)
            for what, one, other in (
                ("of {} pixels", spelled(first.image_size), spelled(member.image_size)),
                ("{}", _KINDS[first.channels], _KINDS[member.channels]),
                ("fitted by data.fit={}", first.fit.name, member.fit.name),
            ):
                if one != other:
                    raise UserError(
                        f"The networks take faces {what.format(one)} and {what.format(other)}. "
                        "Only networks trained on images of one kind can be averaged."
                    )

    @property
    def classes(self) -> tuple[str, ...]:
        """K names, in the order of the outputs."""
        return self.members[0].classes

    @property
    def image_size(self) -> Size:
        """Of the faces they take."""
        return self.members[0].image_size

    @property
    def channels(self) -> int:
        """Of the faces they take."""
        return self.members[0].channels

    @property
    def fit(self) -> Fit:
        """How whole pictures are brought to the size."""
        return self.members[0].fit

    def probabilities(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Mean over the members; see `Scorer`."""
        found = [member.probabilities(faces_u8)[:, _places(self.classes, member.classes)] for member in self.members]
        mean: NDArray[np.float32] = np.stack(found).mean(axis=0)
        return mean


_KINDS = {1: "in gray", 3: "in colour"}


def _places(classes: Sequence[str], others: Sequence[str]) -> list[int]:
    """Index in `others` of each of `classes`.

    Raises:
        UserError: they are not the same ones.
    """
    if list(classes) == list(others):
        return list(range(len(classes)))
    known, there = ([class_key(name) for name in names] for names in (classes, others))
    if sorted(known) == sorted(there):
        # Two spellings of one class in a network of an earlier version are told apart by the exact name.
        return [others.index(name) if name in others else there.index(key) for name, key in zip(classes, known, strict=True)]
    lacking = [name for name, key in zip(classes, known, strict=True) if key not in there]
    beyond = [name for name, key in zip(others, there, strict=True) if key not in known]
    told = [
        *([f"only the first knows {', '.join(lacking)}"] if lacking else []),
        *([f"only another knows {', '.join(beyond)}"] if beyond else []),
    ]
    raise UserError(
        f"The networks know different classes: {', '.join(classes)} and {', '.join(others)} ({'; '.join(told)}). "
        "Only networks with the same classes can be averaged."
    )
