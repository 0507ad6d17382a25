"""Summarises a network: shapes, parameters and multiply-accumulates of every layer, for any module."""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from fer_ablate.sizes import Size


@dataclass(frozen=True)
class LayerRow:
    """One layer, in the order of the forward pass.

    Args:
        name: path in the network, such as `stages.0.conv0`.
        kind: name of the class.
        shape: shape of the output for one image, without the batch dimension.
        parameters: number of parameters, trainable or not; 0 if the layer is used a second time.
        macs: multiply-accumulates for one image; additions of a bias are not counted.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True)
class Summary:
    """Layers and totals of a network.

    Args:
        rows: the layers.
        parameters: number of trainable parameters.
        non_trainable: number of frozen parameters and running statistics of normalisation layers, as Keras counts them.
        macs: multiply-accumulates of convolutions and linear layers for one image.
    """

    rows: tuple[LayerRow, ...]
    parameters: int
    non_trainable: int
    macs: int

    @property
    def total(self) -> int:
        """Number of all stored values, trainable or not."""
        return self.parameters + self.non_trainable


def describe(network: nn.Module, in_channels: int, image_size: Size) -> Summary:
    """Run a black image through a network and record the output of each layer.

    The network's mode, weights and statistics are not changed. Layers are modules without children; what a plugin computes
    outside such modules is not counted.

    Args:
        network: normalised faces (N, C, H, W) -> logits (N, K).
        in_channels: C.
        image_size: height and width of the input in pixels.
    """
    rows: list[LayerRow] = []
    seen: set[nn.Module] = set()
    names = {module: name for name, module in network.named_modules()}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        parameters = 0 if module in seen else sum(parameter.numel() for parameter in module.parameters())
        seen.add(module)
        rows.append(LayerRow(names[module], type(module).__name__, tuple(output.shape[1:]), parameters, _macs(module, output)))

    # Only leaves: a container would count the work of its children again.
    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves if not isinstance(leaf, nn.Sequential | nn.Identity)]
    # Saved for each module: frozen normalisations are in evaluation mode while the others train.
    modes = {module: module.training for module in network.modules()}
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    try:
        network.eval()
        with torch.no_grad():
            network(torch.zeros(1, in_channels, *image_size, device=device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    trainable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    frozen = sum(parameter.numel() for parameter in network.parameters() if not parameter.requires_grad)
    # Integer buffers, such as BatchNorm's number of batches, are not part of the model's weights.
    statistics = sum(buffer.numel() for buffer in network.buffers() if buffer.is_floating_point())
    return Summary(tuple(rows), trainable, frozen + statistics, sum(row.macs for row in rows))


def _macs(module: nn.Module, output: Tensor) -> int:
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return module.weight.numel() * prod(output.shape[2:])
    if isinstance(module, nn.Linear):
        return module.weight.numel() * prod(output.shape[1:-1])
    return 0
