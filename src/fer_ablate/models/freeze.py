"""Weights that stay as they are. Convolutions are counted from the end, as the Pisa report counts them: 3, 6 or 9 of VGG16."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def freeze(stages: nn.Module, trainable_convs: int) -> None:
    """Freeze everything before the last `trainable_convs` convolutions.

    The order is that of the state dict; a shortcut's convolution counts, behind those it leads past. What follows the first
    trainable convolution, its normalisation for one, is trained.
    """
    convolutions = [module for module in stages.modules() if isinstance(module, nn.Conv2d)]
    first = convolutions[len(convolutions) - trainable_convs] if trainable_convs else None
    for module in stages.modules():
        if module is first:
            return
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)


def quiet(stages: nn.Module) -> None:
    """Put batch normalisations with frozen weights into evaluation mode: a statistic that moves would change frozen features."""
    for module in stages.modules():
        if isinstance(module, _BatchNorm) and not module.weight.requires_grad:
            module.eval()
