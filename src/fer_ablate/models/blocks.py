"""Residual blocks, registered straight way first, shortcut second, so that tensors lie in the order of torchvision's files."""

from collections.abc import Sequence

from torch import Tensor, nn

from fer_ablate.config.choices import Norm
from fer_ablate.models.stages import Convolution


class ResidualBlock(nn.Module):
    """Convolutions, what goes past them, and the activation of their sum."""

    def __init__(self, body: nn.Sequential, shortcut: nn.Module | None, activation: nn.Module) -> None:
        """Take the parts.

        Args:
            body: the straight way, its last convolution without activation.
            shortcut: of the block's input; None where nothing is added.
            activation: of the sum; the identity in an inverted residual.
        """
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.activation = activation

    def forward(self, maps: Tensor) -> Tensor:
        """Maps after the block.

        Args:
            maps: (N, C, H, W) floats.

        Returns:
            (N, C', H', W'), with another number of channels and another size where the body says so.
        """
        straight: Tensor = self.body(maps)
        if self.shortcut is not None:
            straight = straight + self.shortcut(maps)
        result: Tensor = self.activation(straight)
        return result


def block_body(convolutions: Sequence[Convolution], norm: Norm, activation: type[nn.Module], bias: bool) -> nn.Sequential:
    """Convolutions, each with its normalisation, and with an activation between every two."""
    body = nn.Sequential()
    for index, convolution in enumerate(convolutions):
        if index:
            body.add_module(f"activation{index - 1}", activation())
        body.add_module(f"conv{index}", conv_2d(convolution, bias))
        layer = norm_2d(norm, convolution.out_channels)
        if layer is not None:
            body.add_module(f"norm{index}", layer)
    return body


def conv_2d(sizes: Convolution, bias: bool) -> nn.Conv2d:
    """A convolution of these sizes."""
    return nn.Conv2d(
        sizes.in_channels,
        sizes.out_channels,
        sizes.kernel,
        stride=sizes.stride,
        padding=sizes.padding,
        groups=sizes.groups,
        bias=bias,
    )


def norm_2d(norm: Norm, channels: int) -> nn.Module | None:
    """The normalisation of maps, if there is one."""
    if norm is Norm.batch:
        return nn.BatchNorm2d(channels)
    if norm is Norm.instance:
        # Scale and shift are learnt, as in the other kinds, so that only the statistics differ.
        return nn.InstanceNorm2d(channels, affine=True)
    return nn.GroupNorm(1, channels) if norm is Norm.layer else None
