"""Scorers turn faces into probabilities. They run a checkpoint, an exported ONNX file, or the mean of several networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fer_ablate.config.choices import Fit, TestTimeAugmentation
from fer_ablate.data.classes import class_key
from fer_ablate.data.views import views
from fer_ablate.errors import UserError
from fer_ablate.inference.export.onnx_file import load_onnx
from fer_ablate.inference.network import TrainedNetwork, load_network
from fer_ablate.sizes import Size, spelled
from fer_ablate.training.evaluation import autocast
from fer_ablate.training.hardware import Hardware

ONNX_SUFFIX = ".onnx"


class Scorer(Protocol):
    """A network that is ready to score faces, whatever program runs it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """K names, in the order of the outputs."""
        ...

    @property
    def image_size(self) -> Size:
        """Height and width of the faces it takes."""
        ...

    @property
    def channels(self) -> int:
        """Channels of the faces it takes, which are those of its stored training images: 1 for gray, 3 for red, green, blue."""
        ...

    @property
    def fit(self) -> Fit:
        """How whole pictures were brought to `image_size` for its training."""
        ...

    def probabilities(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the probability of every class for each face.

        Args:
            faces_u8: (N, `channels`, *`image_size`).

        Returns:
            (N, K) in [0, 1].
        """
        ...


@dataclass(frozen=True)
class TorchScorer:
    """A finished network that PyTorch runs, on the device and in the number format of `hardware`.

    Args:
        trained: the network; it is moved to the device.
        hardware: device and number format.
        tta: views of each face whose probabilities are averaged.
    """

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
        """Height and width of the faces it takes."""
        return self.trained.image_size

    @property
    def channels(self) -> int:
        """Channels of the faces it takes."""
        return self.trained.channels

    @property
    def fit(self) -> Fit:
        """How whole pictures are brought to `image_size`."""
        return self.trained.fit

    def probabilities(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Average the probabilities over the views of each face; see `Scorer`."""
        faces = torch.from_numpy(np.ascontiguousarray(faces_u8)).to(self.hardware.device)
        with torch.inference_mode(), autocast(self.hardware):
            preprocess = self.trained.preprocess
            seen = views(preprocess.prepared(faces), self.tta, self.trained.seen_size)
            logits = self.trained.network(preprocess.normalise(seen.flatten(0, 1)))
            # In 32 bits: rounding to 16 bits would make probabilities near 1 equal.
            shares = logits.float().softmax(dim=1).view(*seen.shape[:2], -1).mean(dim=0)
        return np.asarray(shares.cpu().numpy(), dtype=np.float32)


@dataclass(frozen=True)
class MeanScorer:
    """Several networks as one: the mean of their probabilities.

    Classes are matched by name (`names.class_key`), and spelled and ordered as in the first network.

    Raises:
        UserError: the networks know different classes, or take different kinds of faces.
    """

    members: Sequence[Scorer]

    def __post_init__(self) -> None:
        first = self.members[0]
        for member in self.members[1:]:
            _matching_indices(first.classes, member.classes)
            for what, one, other in (
                ("of {} pixels", spelled(first.image_size), spelled(member.image_size)),
                ("{}", _COLOURS[first.channels], _COLOURS[member.channels]),
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
        """Height and width of the faces they take."""
        return self.members[0].image_size

    @property
    def channels(self) -> int:
        """Channels of the faces they take."""
        return self.members[0].channels

    @property
    def fit(self) -> Fit:
        """How whole pictures are brought to `image_size`."""
        return self.members[0].fit

    def probabilities(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Average the probabilities over the members; see `Scorer`."""
        scores = [member.probabilities(faces_u8)[:, _matching_indices(self.classes, member.classes)] for member in self.members]
        mean: NDArray[np.float32] = np.stack(scores).mean(axis=0)
        return mean


def load_scorer(
    path: Path,
    hardware: Hardware,
    tta: TestTimeAugmentation | None = None,
    plugins: Sequence[str] = (),
    threads: int | None = None,
) -> Scorer:
    """Open a checkpoint (`.ckpt`) or an exported network (`.onnx`).

    Args:
        path: the file.
        hardware: what PyTorch computes on; an ONNX file always runs on the CPU.
        tta: views to average; None takes those that the network was tested with. An ONNX file sees every face once.
        plugins: packages of the user's own whose code may run.
        threads: number of threads for onnxruntime; None leaves the choice to it.

    Raises:
        UserError: the file is missing, damaged or not one of fer_ablate, or a package it needs is not installed.
    """
    if is_onnx(path):
        return load_onnx(path, threads)
    trained = load_network(path, plugins)
    return TorchScorer(trained, hardware, trained.config.evaluation.tta if tta is None else tta)


def is_onnx(path: Path | str) -> bool:
    """Whether the name of a file ends as that of an ONNX file."""
    return Path(path).suffix.lower() == ONNX_SUFFIX


_COLOURS = {1: "in gray", 3: "in colour"}


def _matching_indices(classes: Sequence[str], others: Sequence[str]) -> list[int]:
    """Index in `others` of each of `classes`.

    Raises:
        UserError: one list has a class that the other lacks.
    """
    if list(classes) == list(others):
        return list(range(len(classes)))
    keys, other_keys = ([class_key(name) for name in names] for names in (classes, others))
    if sorted(keys) == sorted(other_keys):
        # A network of an earlier version may have two spellings of one class; only the exact name tells them apart.
        return [others.index(name) if name in others else other_keys.index(key) for name, key in zip(classes, keys, strict=True)]
    only_first = [name for name, key in zip(classes, keys, strict=True) if key not in other_keys]
    only_other = [name for name, key in zip(others, other_keys, strict=True) if key not in keys]
    differences = [
        *([f"only the first knows {', '.join(only_first)}"] if only_first else []),
        *([f"only another knows {', '.join(only_other)}"] if only_other else []),
    ]
    raise UserError(
        f"The networks know different classes: {', '.join(classes)} and {', '.join(others)} ({'; '.join(differences)}). "
        "Only networks with the same classes can be averaged."
    )
