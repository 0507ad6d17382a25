"""Builds networks from lists of stages. Letters: N images, C channels, H W pixels, K emotions."""

from collections.abc import Sequence
from functools import partial
from typing import Self

from torch import Tensor, nn

from fer_ablate.config.binding import build_part
from fer_ablate.config.choices import Activation, Block, Init, Norm, NormPosition, Pool
from fer_ablate.config.schema import HiddenConfig, ModelConfig, StageConfig
from fer_ablate.errors import Fault, FaultyConfigError
from fer_ablate.models.checks import STAGES, network_arguments
from fer_ablate.models.stages import Convolution, block_convolutions, flat_features, resolved, shortcut_convolution
from fer_ablate.models.transfer import freeze, keep_frozen_statistics
from fer_ablate.sizes import Size

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    Activation.relu: nn.ReLU,
    Activation.leaky_relu: nn.LeakyReLU,
    Activation.elu: nn.ELU,
    Activation.gelu: nn.GELU,
    Activation.silu: nn.SiLU,
}


class ResidualBlock(nn.Module):
    """Convolutions with a shortcut around them, and an activation of the sum.

    Args:
        body: the convolutions, the last one without activation.
        shortcut: module from the block's input to the sum; None: nothing is added.
        activation: activation of the sum; the identity in an inverted residual block.
    """

    def __init__(self, body: nn.Sequential, shortcut: nn.Module | None, activation: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.activation = activation

    def forward(self, maps: Tensor) -> Tensor:
        """Turn maps (N, C, H, W) into (N, C', H', W') with the channels and the size that the body gives."""
        changed: Tensor = self.body(maps)
        if self.shortcut is not None:
            changed = changed + self.shortcut(maps)
        result: Tensor = self.activation(changed)
        return result


def block_body(convolutions: Sequence[Convolution], norm: Norm, plan: ModelConfig) -> nn.Sequential:
    """Build convolutions, each followed by its normalisation, with an activation between every two."""
    activation = ACTIVATIONS[plan.activation]
    body = nn.Sequential()
    for index, convolution in enumerate(convolutions):
        if index:
            body.add_module(f"activation{index - 1}", activation())
        body.add_module(f"conv{index}", conv_2d(convolution, plan.conv_bias))
        layer = norm_2d(norm, convolution.out_channels, plan)
        if layer is not None:
            body.add_module(f"norm{index}", layer)
    return body


def conv_2d(sizes: Convolution, bias: bool) -> nn.Conv2d:
    """Build a convolution of the given sizes."""
    return nn.Conv2d(
        sizes.in_channels,
        sizes.out_channels,
        sizes.kernel,
        stride=sizes.stride,
        padding=sizes.padding,
        groups=sizes.groups,
        bias=bias,
    )


def norm_2d(norm: Norm, channels: int, plan: ModelConfig) -> nn.Module | None:
    """Build the normalisation of maps with the momentum and epsilon of a network; None for `Norm.none`."""
    if norm is Norm.batch:
        return nn.BatchNorm2d(channels, plan.norm_eps, plan.norm_momentum)
    if norm is Norm.instance:
        # Scale and shift are learned as in the other normalisations, so that only the statistics differ.
        return nn.InstanceNorm2d(channels, plan.norm_eps, affine=True)
    return nn.GroupNorm(1, channels, plan.norm_eps) if norm is Norm.layer else None


class StageNetwork(nn.Module):
    """Convolutional stages, an optional pool of the last map, hidden linear layers and an output layer."""

    def __init__(self, stages: nn.Sequential, head_pool: nn.Module, hidden: nn.Sequential, output: nn.Linear) -> None:
        super().__init__()
        self.stages = stages
        self.head_pool = head_pool
        self.flatten = nn.Flatten()
        self.hidden = hidden
        self.output = output

    def forward(self, faces: Tensor) -> Tensor:
        """Turn normalised faces (N, C, H, W) into logits (N, K)."""
        scores: Tensor = self.output(self.hidden(self.flatten(self.head_pool(self.stages(faces)))))
        return scores

    def parts(self) -> list[nn.Module]:
        """The modules through which `forward` passes one after the other."""
        if type(self).forward is not StageNetwork.forward:
            return [self]  # a subclass of a plugin may pass through them in another way
        return [
            *(layer for stage in self.stages for layer in stage.children()),
            self.head_pool,
            self.flatten,
            self.hidden,
            self.output,
        ]

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation mode; normalisations with frozen weights stay in evaluation mode."""
        super().train(mode)
        keep_frozen_statistics(self.stages)
        return self


def build_network(config: ModelConfig, image_size: Size, num_classes: int, plugins: Sequence[str] = ()) -> nn.Module:
    """Build the network of a config, with all but the last `trainable_convs` convolutions frozen.

    Weights are random; those of `model.pretrained` are loaded by `transfer.load_pretrained`.

    Args:
        config: a list of stages, or a plugin's dotted path and arguments; without faults, see `checks.network_faults`.
        image_size: height and width of the input in pixels.
        num_classes: number of logits per face.
        plugins: the user's own packages that may be imported.

    Raises:
        FaultyConfigError: a plugin raises an error, or gives no module.
    """
    if config.name != STAGES:
        network = build_part(config.name, network_arguments(config, num_classes), plugins, "model.name")
        if not isinstance(network, nn.Module):
            problem = f"{config.name} gives an object of the class {type(network).__name__}, and no network."
            raise FaultyConfigError([Fault("model.name", problem, "Name a class that is a torch.nn.Module.")])
        return network
    plan = resolved(config)
    stages = nn.Sequential()
    channels = plan.in_channels
    for index, stage in enumerate(plan.stages):
        # Stages are named by their position in the list, so that leaving one out does not rename the others.
        if stage.depth:
            stages.add_module(str(index), _stage(stage, channels, plan))
            channels = stage.channels
    hidden = nn.Sequential()
    features = flat_features(plan, image_size)
    for index, layer in enumerate(plan.hidden):
        hidden.add_module(str(index), _hidden(layer, features, plan))
        features = layer.features
    if plan.head_dropout:
        hidden.add_module("dropout", nn.Dropout(plan.head_dropout))
    pool = _pool(plan.head_pool, plan.head_pool_size, plan.head_pool_size, 0) or nn.Identity()
    built = StageNetwork(stages, pool, hidden, nn.Linear(features, num_classes))
    # Replaces the weights that torch has drawn while building the layers.
    built.apply(partial(_initialise, init=plan.init))
    if plan.trainable_convs is not None:
        freeze(built.stages, plan.trainable_convs)
    return built.train()


def _stage(stage: StageConfig, in_channels: int, plan: ModelConfig) -> nn.Sequential:
    """Build the blocks of a stage; the first one strides, and a pool follows the last one."""
    layers = nn.Sequential()
    for block in range(stage.depth):
        channels = in_channels if block == 0 else stage.channels
        stride = stage.stride if block == 0 else 1
        last = block == stage.depth - 1
        if stage.block is Block.conv:
            parts = _conv_block(stage, channels, stride, plan, with_pool=last)
        else:
            parts = {"block": _residual_block(stage, channels, stride, plan), "pool": _stage_pool(stage) if last else None}
        for name, part in parts.items():
            if part is not None:
                layers.add_module("pool" if name == "pool" else f"{name}{block}", part)
    if stage.dropout:
        layers.add_module("dropout", nn.Dropout(stage.dropout))
    return layers


def _conv_block(
    stage: StageConfig, in_channels: int, stride: int, plan: ModelConfig, with_pool: bool
) -> dict[str, nn.Module | None]:
    """Build a convolution with its normalisation, activation and pool: kind -> layer, in their order."""
    (sizes,) = block_convolutions(stage, in_channels, stride)
    conv = conv_2d(sizes, plan.conv_bias)
    norm = norm_2d(stage.norm or Norm.none, stage.channels, plan)
    activation = ACTIVATIONS[plan.activation]()
    pool = _stage_pool(stage) if with_pool else None
    if plan.norm_position is NormPosition.before_activation:
        return {"conv": conv, "norm": norm, "activation": activation, "pool": pool}
    if plan.norm_position is NormPosition.after_pool:
        return {"conv": conv, "activation": activation, "pool": pool, "norm": norm}
    return {"conv": conv, "activation": activation, "norm": norm, "pool": pool}


def _residual_block(stage: StageConfig, in_channels: int, stride: int, plan: ModelConfig) -> ResidualBlock:
    norm, activation = stage.norm or Norm.none, ACTIVATIONS[plan.activation]
    body = block_body(block_convolutions(stage, in_channels, stride), norm, plan)
    projection = shortcut_convolution(stage, in_channels, stride)
    if projection is not None:
        return ResidualBlock(body, block_body([projection], norm, plan), activation())
    if stage.block is not Block.inverted_residual:
        return ResidualBlock(body, nn.Identity(), activation())
    same = stride == 1 and in_channels == stage.channels
    return ResidualBlock(body, nn.Identity() if same else None, nn.Identity())


def _stage_pool(stage: StageConfig) -> nn.Module | None:
    return _pool(stage.pool, stage.pool_kernel, stage.pool_stride or stage.pool_kernel, stage.pool_padding)


def _hidden(layer: HiddenConfig, in_features: int, plan: ModelConfig) -> nn.Sequential:
    layers = nn.Sequential()
    layers.add_module("linear", nn.Linear(in_features, layer.features))
    norm = _norm_1d(layer.norm or Norm.none, layer.features, plan)
    # The other positions all mean "after the activation" here: a hidden layer has no pool.
    pair = [("norm", norm), ("activation", ACTIVATIONS[plan.activation]())]
    for name, part in pair if plan.norm_position is NormPosition.before_activation else reversed(pair):
        if part is not None:
            layers.add_module(name, part)
    if layer.dropout:
        layers.add_module("dropout", nn.Dropout(layer.dropout))
    return layers


def _pool(pool: Pool, size: int, stride: int, padding: int) -> nn.Module | None:
    if pool is Pool.max:
        return nn.MaxPool2d(size, stride, padding)
    if pool is Pool.avg:
        return nn.AvgPool2d(size, stride, padding)
    if pool is Pool.adaptive_max:
        return nn.AdaptiveMaxPool2d(size)
    return nn.AdaptiveAvgPool2d(size) if pool is Pool.adaptive_avg else None


def _norm_1d(norm: Norm, features: int, plan: ModelConfig) -> nn.Module | None:
    if norm is Norm.batch:
        return nn.BatchNorm1d(features, plan.norm_eps, plan.norm_momentum)
    # A hidden layer has no pixels to compute instance statistics over; the nearest equivalent is one mean over the layer.
    return nn.GroupNorm(1, features, plan.norm_eps) if norm in (Norm.layer, Norm.instance) else None


def _initialise(module: nn.Module, init: Init) -> None:
    """Draw the weights of one layer; `Init.torch` keeps torch's own initialisation."""
    if init is Init.torch or not isinstance(module, nn.Conv2d | nn.Linear):
        return
    if init is Init.xavier:
        nn.init.xavier_uniform_(module.weight)
    else:
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if module.bias is not None:
        nn.init.zeros_(module.bias)
