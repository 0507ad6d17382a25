"""Transfer learning: loads ImageNet weights of torchvision, freezes convolutions, divides a network at the first trained one.

Files are downloaded once, verified by their hash, and matched with the layers of a network by position.
"""

import hashlib
import sys
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from fer_ablate.errors import UserError, choices
from fer_ablate.models.published import PUBLISHED, PublishedWeights

CLASSIFIERS = ("classifier.", "fc.")
"""Prefixes of the layers after the feature maps, which are not loaded."""
REMEDY = "Take the model that belongs to the file, such as model=vgg16 model.pretrained=vgg16."


def pretrained_file(name: str, path: Path | None = None, sha256: str | None = None) -> Path:
    """Return the file with the weights of a published network; downloads it to torch's cache folder if it is missing.

    Args:
        name: one of `published.PUBLISHED`.
        path: a file to use instead of the cached one.
        sha256: first digits of its hash; None: those of the published file.

    Raises:
        UserError: the name is unknown, the file does not exist and cannot be downloaded, or it has another hash.
    """
    if name not in PUBLISHED:
        raise UserError(f"No pretrained weights are called '{name}'. {choices(name, PUBLISHED)}")
    published = PUBLISHED[name]
    expected = (sha256 or published.sha256).lower()
    file = path or Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
    if not file.is_file():
        if path is not None:
            raise UserError(f"model.pretrained_path: there is no file {path}. Leave the key out to have it fetched.")
        _fetch(published, file)
    # Checked also for a cached file: an interrupted download or another tool may have written it.
    found = _digest(file)
    if not found.startswith(expected):
        raise UserError(
            f"{file} is not the expected file: its SHA-256 begins with {found[: max(len(expected), 8)]}, expected {expected}. "
            f"Delete a broken download; for weights of your own pass model.pretrained_sha256={found[:8]}."
        )
    return file


def load_pretrained(network: nn.Module, file: Path) -> None:
    """Load published weights into the stages of a network; its head keeps its random weights.

    Layers are matched by position, the tensors of a layer by name: some of torchvision's files list the statistics of a
    normalisation before its weights, and all four tensors have the same shape.

    Args:
        network: a network of `build_network`, with `stages`.
        file: state dict of a torchvision network.

    Raises:
        UserError: the file is not a state dict, or it belongs to another network.
    """
    stages = network.get_submodule("stages")
    given, needed = _layers(_state_dict(file)), _layers(stages.state_dict())
    if len(given) != len(needed):
        raise UserError(f"{file} holds {len(given)} layers with weights, but model.stages has {len(needed)}. {REMEDY}")
    for (source, tensors), (target, own) in zip(given.items(), needed.items(), strict=True):
        shapes, own_shapes = _shapes(tensors), _shapes(own)
        if shapes != own_shapes:
            raise UserError(f"{file}: '{source}' has {shapes}, but 'stages.{target}' needs {own_shapes}. {REMEDY}")
        for part, tensor in tensors.items():
            own[part].copy_(tensor)  # the state dict shares its memory with the network


def _fetch(published: PublishedWeights, file: Path) -> None:
    url = published.url
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Of several runs that start at once, the first one downloads and the others wait.
        with FileLock(f"{file}.lock"):
            if not file.is_file():
                torch.hub.download_url_to_file(url, str(file), hash_prefix=published.sha256, progress=sys.stderr.isatty())
    except (OSError, HTTPException) as error:
        raise UserError(
            f"{url} cannot be fetched ({error}). Fetch it where there is a network and put it into {file.parent} as {file.name}, "
            "or pass model.pretrained_path=<file>."
        ) from error
    except RuntimeError as error:
        raise UserError(
            f"{url} holds another file than its name says: {error}. Try again, or pass model.pretrained_path."
        ) from error


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}).") from error


def _state_dict(file: Path) -> Mapping[str, Tensor]:
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises whatever its bytes mean to the reader
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{file} is not a file of weights: {reason}") from error
    named = isinstance(loaded, Mapping) and all(isinstance(name, str) for name in loaded)
    if not named or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise UserError(
            f"{file} is not a state dict, which maps names to tensors. Save one with torch.save(network.state_dict(), ...)."
        )
    return {name: value for name, value in loaded.items() if not name.startswith(CLASSIFIERS)}


def _layers(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Group the tensors by layer. Numbers of batches are left out: old files lack them, and they have no effect here."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        layer, _, part = name.rpartition(".")
        if part != "num_batches_tracked":
            layers.setdefault(layer, {})[part] = value
    return layers


def _shapes(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{part} {'x'.join(map(str, tensor.shape))}" for part, tensor in sorted(tensors.items()))


def freeze(stages: nn.Module, trainable_convs: int) -> None:
    """Freeze everything before the last `trainable_convs` convolutions, as the Pisa report does with 3, 6 or 9 of VGG16.

    Convolutions are counted in the order of the state dict; that of a shortcut comes after those of its block. All layers after
    the first trainable convolution are trained, including its normalisation.
    """
    # `modules` visits them in the order of the state dict, in which the loop below stops at the first trainable one.
    convolutions = [module for module in stages.modules() if isinstance(module, nn.Conv2d)]
    first = convolutions[len(convolutions) - trainable_convs] if trainable_convs else None
    for module in stages.modules():
        if module is first:
            return
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)


def keep_frozen_statistics(stages: nn.Module) -> None:
    """Put batch normalisations with frozen weights into evaluation mode: updated statistics would change frozen features."""
    for module in stages.modules():
        if isinstance(module, _BatchNorm) and not module.weight.requires_grad:
            module.eval()


def network_parts(network: nn.Module) -> list[nn.Module]:
    """The modules that a network passes its input through, one after the other; a plugin's network is a single part."""
    parts: Callable[[], list[nn.Module]] | None = getattr(network, "parts", None)
    return [network] if parts is None or not hasattr(network, "stages") else parts()


def frozen_parts(network: nn.Module) -> int:
    """Number of leading parts that turn an image into the same features in every epoch; 0 if none of them has frozen weights.

    Dropout ends them, also within frozen stages; batch normalisations of frozen stages use their stored statistics.
    """
    parts = network_parts(network)
    count = next((index for index, part in enumerate(parts) if not _is_fixed(part)), len(parts))
    return count if any(True for part in parts[:count] for _ in part.parameters()) else 0


def before_parts(network: nn.Module, faces: Tensor, count: int) -> Tensor:
    """Pass normalised faces (N, C, H, W) through the first `count` parts of a network."""
    for part in network_parts(network)[:count]:
        faces = part(faces)
    return faces


def after_parts(network: nn.Module, features: Tensor, count: int) -> Tensor:
    """Turn what `before_parts` returned into logits (N, K)."""
    if not count:
        scores: Tensor = network(features)
        return scores
    for part in network_parts(network)[count:]:
        features = part(features)
    return features


def _is_fixed(part: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in part.parameters()) and not any(
        (isinstance(module, _DropoutNd) and module.p > 0) or (isinstance(module, _BatchNorm) and module.training)
        for module in part.modules()
    )
