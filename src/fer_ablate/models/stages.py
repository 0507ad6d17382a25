"""Arithmetic on lists of stages, without torch: applies keys such as `conv_layers` to the lists, and computes the map sizes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fer_ablate.config.choices import Block, Pool
from fer_ablate.config.schema import HiddenConfig, ModelConfig, StageConfig
from fer_ablate.errors import Fault
from fer_ablate.sizes import Size, spelled

FIXED_POOLS = (Pool.max, Pool.avg)
ADAPTIVE_POOLS = (Pool.adaptive_max, Pool.adaptive_avg)
EXPANSION = 6
"""Default number of inner channels of an inverted residual block per input channel (MobileNetV2, arXiv:1801.04381)."""


@dataclass(frozen=True)
class Convolution:
    """Sizes of one convolution."""

    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1


def resolved(config: ModelConfig) -> ModelConfig:
    """Apply `depths`, `conv_layers`, `fc_layers`, `width`, `dropout` and the defaults of null values to the lists of a network.

    Stages that are left out stay in the list with depth 0, so that numbers in messages and names of weights are those of the
    config. An inner width that depends on the channels stays null, see `block_convolutions`.
    """
    # Values of the whole network apply where a stage or layer does not set its own.
    kept_depths = _kept_depths(listed_depths(config), config.conv_layers)
    rate = config.dropout
    stages = [
        replace(
            stage,
            depth=depth,
            channels=_scaled(stage.channels, config.width),
            inner=None if stage.inner is None else _scaled(stage.inner, config.width),
            padding=stage.kernel // 2 if stage.padding is None else stage.padding,
            norm=stage.norm or config.norm,
            pool_stride=stage.pool_kernel if stage.pool_stride is None else stage.pool_stride,
            dropout=_rate(stage.dropout, rate),
        )
        for stage, depth in zip(config.stages, kept_depths, strict=True)
    ]
    hidden = [
        HiddenConfig(
            features=_scaled(layer.features, config.width),
            norm=layer.norm or config.norm,
            dropout=_rate(layer.dropout, rate),
        )
        for layer in config.hidden[: config.fc_layers]
    ]
    head_dropout = _rate(config.head_dropout, rate)
    return replace(
        config,
        stages=stages,
        hidden=hidden,
        depths=None,
        conv_layers=None,
        fc_layers=None,
        width=1.0,
        dropout=None,
        head_dropout=head_dropout,
    )


def listed_depths(config: ModelConfig) -> list[int]:
    """Return the number of blocks of each stage before `conv_layers` is applied; stages beyond a shorter `depths` have none."""
    if config.depths is None:
        return [stage.depth for stage in config.stages]
    return [*config.depths, *[0] * (len(config.stages) - len(config.depths))]


def _kept_depths(listed: Sequence[int], conv_layers: int | None) -> list[int]:
    """Keep the first `conv_layers` blocks, counted over all stages."""
    left = sum(listed) if conv_layers is None else conv_layers
    depths = []
    for depth in listed:
        depths.append(min(depth, left))
        left -= depths[-1]
    return depths


def _scaled(size: int, width: float) -> int:
    return max(1, round(size * width))


def _rate(listed: float, replacement: float | None) -> float:
    # A rate of 0 is the absence of the layer, which a common rate must not add.
    return listed if replacement is None or listed == 0 else replacement


def block_convolutions(stage: StageConfig, in_channels: int, stride: int) -> list[Convolution]:
    """Return the convolutions of one block of a resolved stage, in order and without that of the shortcut.

    The stride of a bottleneck is in its middle convolution, as in torchvision, not in the first as in He et al. 2016.
    """
    out, padding = stage.channels, stage.padding or 0
    if stage.block is Block.conv:
        return [Convolution(in_channels, out, stage.kernel, stride, padding)]
    if stage.block is Block.basic:
        first = Convolution(in_channels, out, stage.kernel, stride, padding)
        return [first, Convolution(out, out, stage.kernel, 1, padding)]
    inverted = stage.block is Block.inverted_residual
    # Bottlenecks narrow to a fourth of their output (He et al. 2016); inverted ones widen their input.
    inner = stage.inner or (EXPANSION * in_channels if inverted else max(1, out // 4))
    middle = Convolution(inner, inner, stage.kernel, stride, padding, groups=inner if inverted else 1)
    return [Convolution(in_channels, inner), middle, Convolution(inner, out)]


def shortcut_convolution(stage: StageConfig, in_channels: int, stride: int) -> Convolution | None:
    """Return the convolution of a block's shortcut, which exists if input and output differ in shape; else None."""
    # An inverted residual block without equal shapes has no shortcut at all (MobileNetV2).
    if stage.block not in (Block.basic, Block.bottleneck) or (stride == 1 and in_channels == stage.channels):
        return None
    return Convolution(in_channels, stage.channels, stride=stride)


def conv_count(network: ModelConfig) -> int:
    """Count the convolutions of a resolved network, including those of shortcuts."""
    count, channels = 0, network.in_channels
    for stage in network.stages:
        for block in range(stage.depth):
            stride = stage.stride if block == 0 else 1
            shortcut = shortcut_convolution(stage, channels, stride)
            count += len(block_convolutions(stage, channels, stride)) + (shortcut is not None)
            channels = stage.channels
    return count


def window_side(side: int, kernel: int, stride: int, padding: int) -> int:
    """Return the height or width of a map after a convolution or pool; below 1 if the kernel does not fit."""
    return (side + 2 * padding - kernel) // stride + 1


def window_size(size: Size, kernel: int, stride: int, padding: int) -> Size:
    """Return the size of a map after a convolution or pool with a square kernel."""
    height, width = (window_side(side, kernel, stride, padding) for side in size)
    return height, width


def stage_sizes(stage: StageConfig, size: Size) -> list[Size]:
    """Return the size after each block of a resolved stage and after its pool; stops at the first one with a side below 1.

    Blocks with a shortcut change the size only by their stride, so they count as a single convolution. Adaptive pools turn any
    map into a square.
    """
    sizes = [size]
    for block in range(stage.depth):
        stride = stage.stride if block == 0 else 1
        sizes.append(window_size(sizes[-1], stage.kernel, stride, stage.padding or 0))
        if min(sizes[-1]) < 1:
            return sizes[1:]
    if stage.pool in FIXED_POOLS:
        sizes.append(window_size(sizes[-1], stage.pool_kernel, stage.pool_stride or stage.pool_kernel, stage.pool_padding))
    else:
        sizes.append((stage.pool_kernel, stage.pool_kernel) if stage.pool in ADAPTIVE_POOLS else sizes[-1])
    return sizes[1:]


def flat_features(network: ModelConfig, image_size: Size) -> int:
    """Return the number of inputs of the first linear layer of a resolved network; the maps must fit, see `map_size_faults`."""
    size, channels = image_size, network.in_channels
    for stage in network.stages:
        if stage.depth:
            size, channels = stage_sizes(stage, size)[-1], stage.channels
    if network.head_pool in FIXED_POOLS:
        size = window_size(size, network.head_pool_size, network.head_pool_size, 0)
    elif network.head_pool in ADAPTIVE_POOLS:
        size = (network.head_pool_size, network.head_pool_size)
    return channels * size[0] * size[1]


def map_size_faults(network: ModelConfig, image_size: Size) -> list[Fault]:
    """Report the first place where a map of a resolved network is smaller than the kernel applied to it."""
    remedy = f"Input is {spelled(image_size)}. Lower a stride or drop a stage (depth: 0)."
    size = image_size
    for index, stage in enumerate(network.stages):
        if not stage.depth:
            continue
        sizes = stage_sizes(stage, size)
        if min(sizes[-1]) < 1:
            before = [size, *sizes][-2]
            in_pool = len(sizes) > stage.depth
            window = f"pool_kernel {stage.pool_kernel}" if in_pool else f"kernel {stage.kernel}"
            return [Fault(f"model.stages[{index}]", f"{window} on a {spelled(before)} map.", remedy)]
        size = sizes[-1]
    if network.head_pool in FIXED_POOLS and network.head_pool_size > min(size):
        return [Fault("model.head_pool_size", f"{network.head_pool_size} on a {spelled(size)} map.", remedy)]
    return []
