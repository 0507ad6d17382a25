"""Training losses. Shapes: `N` images, `K` emotions. A target is a class index or a distribution over the classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from fer_ablate.config.choices import ClassWeight
from fer_ablate.config.schema import LossConfig
from fer_ablate.errors import Fault, choices

Counts = npt.NDArray[Any]

LOSSES = ("cross_entropy", "focal", "soft_target")


class CrossEntropy(nn.Module):
    """Cross entropy with hard or soft targets.

    With class weights the mean over hard targets is weighted, as torch does it; over soft targets it is not.
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None, label_smoothing: float) -> None:
        super().__init__()
        # Not saved: it belongs to the training images, not to the network.
        self.register_buffer("weight", weight, persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Mean loss in nats, computed in 32-bit floats.

        Args:
            scores: (N, K) logits of any float type.
            targets: (N,) int64 class indices or (N, K) probabilities.
        """
        soft = targets.float() if targets.is_floating_point() else targets
        return functional.cross_entropy(scores.float(), soft, self.weight, label_smoothing=self.label_smoothing)


class SoftTarget(CrossEntropy):
    """Cross entropy against a distribution; a class index stands for all the probability on that class."""

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """As `CrossEntropy`, and with class weights the mean is not a weighted one for either kind of target."""
        return super().forward(scores, _distribution(targets, scores.shape[1]))


class Focal(CrossEntropy):
    """Focal loss (Lin et al. 2017): cross entropy whose terms are scaled by (1 - p)^gamma, so easy images count less.

    gamma 0 is cross entropy, weights and smoothing included.
    """

    def __init__(self, weight: Tensor | None, label_smoothing: float, gamma: float) -> None:
        super().__init__(weight, label_smoothing)
        self.gamma = gamma

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """As `CrossEntropy`."""
        classes = scores.shape[1]
        log_p = functional.log_softmax(scores.float(), dim=1)
        wanted = _distribution(targets, classes) * (1 - self.label_smoothing) + self.label_smoothing / classes
        weight = torch.ones(classes, device=scores.device) if self.weight is None else self.weight
        # The clamp keeps the gradient finite where p rounds to 1 and gamma is below 1.
        losses = -(wanted * weight * (1 - log_p.exp()).clamp(min=1e-8) ** self.gamma * log_p).sum(dim=1)
        return losses.mean() if targets.is_floating_point() else losses.sum() / weight[targets].sum()


def _distribution(targets: Tensor, num_classes: int) -> Tensor:
    return targets.float() if targets.is_floating_point() else functional.one_hot(targets, num_classes).float()


def balanced(class_counts: Sequence[float] | Counts) -> Counts:
    """Weight n / (K n_k) of each class, as scikit-learn counts it; 0 for a class without images.

    Args:
        class_counts: (K,) images, or summed probabilities, of each class.
    """
    counts = np.asarray(class_counts, dtype=np.float64)
    weights: Counts = np.divide(counts.sum(), len(counts) * counts, out=np.zeros_like(counts), where=counts > 0)
    return weights


def check_loss(config: LossConfig) -> list[Fault]:
    """All faults of the section `loss`."""
    faults = []
    if config.name not in LOSSES:
        faults.append(Fault("loss.name", f"'{config.name}' is unknown.", choices(config.name, LOSSES)))
    if not 0 <= config.label_smoothing < 1:
        faults.append(Fault("loss.label_smoothing", f"{config.label_smoothing} is not in [0, 1)."))
    if config.gamma < 0:
        faults.append(Fault("loss.gamma", f"{config.gamma} is negative.", "0 is plain cross entropy, 2 the usual choice."))
    return faults


def build_loss(config: LossConfig, class_counts: Sequence[float] | Counts, num_classes: int) -> nn.Module:
    """Build the loss of a section that passed `check_loss`; call it as `loss(scores, targets)`.

    Args:
        config: name and settings.
        class_counts: (K,) training images of each class; only class weights look at them.
        num_classes: K.
    """
    assert len(class_counts) == num_classes
    weight = None
    if config.class_weight is ClassWeight.balanced:
        weight = torch.as_tensor(balanced(class_counts), dtype=torch.float32)
    if config.name == "focal":
        return Focal(weight, config.label_smoothing, config.gamma)
    return (SoftTarget if config.name == "soft_target" else CrossEntropy)(weight, config.label_smoothing)
