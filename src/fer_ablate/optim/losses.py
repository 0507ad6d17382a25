"""Training losses. A target is a class index or a distribution over the classes. Letters: N images, K emotions."""

from collections.abc import Callable, Sequence
from inspect import isfunction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from fer_ablate.config.binding import build_part, is_own, load_plugin, part_faults, takes
from fer_ablate.config.choices import ClassWeight, DivideBy
from fer_ablate.config.schema import LossConfig
from fer_ablate.errors import Fault

OFFERED = ("num_classes", "weight")
"""What a loss of the user's own gets if it takes it: the number of classes, and their weights (K,) with loss.class_weight."""

Counts = npt.NDArray[Any]


class CrossEntropy(nn.Module):
    """Cross entropy with hard or soft targets.

    With class weights the mean over hard targets is a weighted one, and the mean over soft targets is not, as in torch.

    Args:
        weight: (K,) weights of the classes; None: all weigh the same.
        label_smoothing: fraction of a target that is spread over all classes.
        divide_by: what the sum over a batch of hard targets is divided by, if there are weights.
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None, label_smoothing: float, divide_by: DivideBy = DivideBy.weights) -> None:
        super().__init__()
        # Not saved in checkpoints: the weights depend on the training images, not on the network.
        self.register_buffer("weight", weight, persistent=False)
        self.label_smoothing = label_smoothing
        # Without weights both means are the same; torch's own is kept, to the last bit.
        self.by_images = divide_by is DivideBy.images and weight is not None

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss in nats, computed in 32-bit floats.

        Args:
            scores: (N, K) logits of any float type.
            targets: (N,) int64 class indices or (N, K) probabilities.
        """
        soft = targets.float() if targets.is_floating_point() else targets
        kind = "sum" if self.by_images else "mean"
        loss = functional.cross_entropy(scores.float(), soft, self.weight, reduction=kind, label_smoothing=self.label_smoothing)
        return loss / len(scores) if self.by_images else loss


class SoftTarget(CrossEntropy):
    """Cross entropy against a distribution; a class index means a probability of 1 for that class."""

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the loss as in `CrossEntropy`, but with class weights the mean is never a weighted one."""
        return super().forward(scores, _distribution(targets, scores.shape[1]))


class Focal(CrossEntropy):
    """Focal loss (Lin et al. 2017): cross entropy with terms scaled by (1 - p)^gamma, so that easy images count less.

    With gamma 0 it equals `CrossEntropy`, including class weights and label smoothing.
    """

    def __init__(self, weight: Tensor | None, label_smoothing: float, divide_by: DivideBy, gamma: float) -> None:
        super().__init__(weight, label_smoothing, divide_by)
        self.gamma = gamma

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the loss; arguments as in `CrossEntropy`."""
        classes = scores.shape[1]
        log_p = functional.log_softmax(scores.float(), dim=1)
        smoothed = _distribution(targets, classes) * (1 - self.label_smoothing) + self.label_smoothing / classes
        weight = torch.ones(classes, device=scores.device) if self.weight is None else self.weight
        # The clamp keeps the gradient finite where p rounds to 1 and gamma is below 1.
        losses = -(smoothed * weight * (1 - log_p.exp()).clamp(min=1e-8) ** self.gamma * log_p).sum(dim=1)
        by_images = self.by_images or targets.is_floating_point()
        return losses.mean() if by_images else losses.sum() / weight[targets].sum()


class _Function(nn.Module):
    """A loss of the user's own that is a plain function, as a module."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        return self.function(scores, targets)


def _distribution(targets: Tensor, num_classes: int) -> Tensor:
    return targets.float() if targets.is_floating_point() else functional.one_hot(targets, num_classes).float()


def balanced(class_counts: Sequence[float] | Counts) -> Counts:
    """Return the weight n / (K n_k) of each class, as scikit-learn computes it; 0 for a class without images.

    Args:
        class_counts: (K,) number of images, or sum of probabilities, of each class.
    """
    counts = np.asarray(class_counts, dtype=np.float64)
    weights: Counts = np.divide(counts.sum(), len(counts) * counts, out=np.zeros_like(counts), where=counts > 0)
    return weights


def build_loss(
    config: LossConfig, class_counts: Sequence[float] | Counts, num_classes: int, plugins: Sequence[str] = ()
) -> nn.Module:
    """Build the loss of a section without faults; call it as `loss(scores, targets)`.

    Args:
        config: the section `loss`.
        class_counts: (K,) number of training images of each class; only used for class weights.
        num_classes: K.
        plugins: the user's own packages that may be imported.

    Raises:
        FaultyConfigError: a plugin raises an error.
    """
    assert len(class_counts) == num_classes
    weight = None
    if config.class_weight is ClassWeight.balanced:
        weight = torch.as_tensor(balanced(class_counts), dtype=torch.float32)
    if is_own(config.name):
        offered = {"num_classes": num_classes} | ({"weight": weight} if weight is not None else {})
        built = build_part(config.name, config.arguments, plugins, "loss.name", function_of=2, **offered)
        return built if isinstance(built, nn.Module) else _Function(built)
    if config.name == "focal":
        return Focal(weight, config.label_smoothing, config.divide_by, config.gamma)
    kind = SoftTarget if config.name == "soft_target" else CrossEntropy
    return kind(weight, config.label_smoothing, config.divide_by)


def own_loss_faults(config: LossConfig, plugins: Sequence[str]) -> list[Fault]:
    """List the faults of a loss of the user's own.

    Args:
        config: the section.
        plugins: the user's own packages that may be imported.
    """
    faults = part_faults(
        config.name, config.arguments, plugins, "loss.name", place="loss.arguments", offered=OFFERED, function_of=2
    )
    if config.label_smoothing:
        remedy = "Leave it out; if it takes one, give +loss.arguments.label_smoothing."
        faults.append(Fault("loss.label_smoothing", f"{config.label_smoothing} does not reach {config.name}.", remedy))
    if not faults and config.class_weight is not ClassWeight.none and "weight" not in config.arguments:
        target = load_plugin(config.name, plugins, "loss.name")
        if isfunction(target) or not takes(target, "weight"):
            problem = f"{config.class_weight.name}, but {config.name} takes no weight."
            remedy = "Write a class whose __init__ takes `weight`, a tensor with a number for each class."
            faults.append(Fault("loss.class_weight", problem, remedy))
    return faults
