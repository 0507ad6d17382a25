"""What a network consists of: shapes, parameters and multiply-accumulates of every layer, for any module."""

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
        name: its path in the network, such as `stages.0.conv0`.
        kind: class name.
        shape: of its output for one image, without the batch dimension.
        parameters: its own, trainable or not; 0 where a layer is used a second time.
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
        parameters: trainable ones.
        non_trainable: frozen ones and the running statistics of normalisation layers, as Keras counts them.
        macs: of convolutions and linear layers for one image.
    """

    rows: tuple[LayerRow, ...]
    parameters: int
    non_trainable: int
    macs: int

    @property
    def total(self) -> int:
        """All numbers that are stored, trainable or not."""
        return self.parameters + self.non_trainable


def describe(network: nn.Module, in_channels: int, image_size: Size) -> Summary:
    """Run a black image through a network and note what each layer does.

    The network's mode, weights and statistics are left as they were. A layer counts if it is a module of its own; what a
    plugin computes outside modules is not seen.
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

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves if not isinstance(leaf, nn.Sequential | nn.Identity)]
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
    # Integer buffers (BatchNorm's count of batches) are bookkeeping, not weights.
    statistics = sum(buffer.numel() for buffer in network.buffers() if buffer.is_floating_point())
    return Summary(tuple(rows), trainable, frozen + statistics, sum(row.macs for row in rows))


def _macs(module: nn.Module, output: Tensor) -> int:
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return module.weight.numel() * prod(output.shape[2:])
    if isinstance(module, nn.Linear):
        return module.weight.numel() * prod(output.shape[1:-1])
    return 0
