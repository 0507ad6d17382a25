"""ImageNet weights in the files that torchvision publishes: found or fetched, checked by hash, and loaded by position."""

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError

import torch
from filelock import FileLock
from torch import Tensor, nn

from fer_ablate.config.choices import Block, Norm
from fer_ablate.errors import UserError, choices

Layout = tuple[tuple[Block, int, int, int], ...]


@dataclass(frozen=True)
class PublishedWeights:
    """A file of torchvision's.

    Args:
        url: the first eight digits of the file's hash stand in its name.
        layout: block, channels, depth and kernel of the stages that fit.
        norm: normalisation of these stages.
        conv_bias: whether their convolutions have one.
    """

    url: str
    layout: Layout
    norm: Norm
    conv_bias: bool

    @property
    def sha256(self) -> str:
        """Beginning of the file's hash."""
        return Path(self.url).stem.rpartition("-")[2]


def _vgg(*depths: int) -> Layout:
    return tuple((Block.conv, channels, depth, 3) for channels, depth in zip((64, 128, 256, 512, 512), depths, strict=True))


RESNET50: Layout = ((Block.conv, 64, 1, 7), *((Block.bottleneck, 256 * 2**k, depth, 3) for k, depth in enumerate((3, 4, 6, 3))))
SITE = "https://download.pytorch.org/models"
PUBLISHED = {
    "vgg16": PublishedWeights(f"{SITE}/vgg16-397923af.pth", _vgg(2, 2, 3, 3, 3), Norm.none, conv_bias=True),
    "vgg19": PublishedWeights(f"{SITE}/vgg19-dcbb9e9d.pth", _vgg(2, 2, 4, 4, 4), Norm.none, conv_bias=True),
    "resnet50": PublishedWeights(f"{SITE}/resnet50-0676ba61.pth", RESNET50, Norm.batch, conv_bias=False),
}
CLASSIFIERS = ("classifier.", "fc.")
"""Beginnings of the names of what stands behind the feature maps, and is left out."""
REMEDY = "Take the model that belongs to the file, such as model=vgg16 model.pretrained=vgg16."


def pretrained_file(name: str, path: Path | None = None, sha256: str | None = None) -> Path:
    """The file with the weights of a published network; fetched into torch's cache folder if it is not there.

    Args:
        name: one of `PUBLISHED`.
        path: a file to take instead of the cached one.
        sha256: beginning of its hash; None: that of the published file.

    Raises:
        UserError: there is no such file and no network, or it is another file than the hash says.
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
    found = _digest(file)
    if not found.startswith(expected):
        raise UserError(
            f"{file} is not the file asked for: its SHA-256 begins with {found[: max(len(expected), 8)]}, expected {expected}. "
            f"Delete a broken download; for weights of your own pass model.pretrained_sha256={found[:8]}."
        )
    return file


def load_pretrained(network: nn.Module, file: Path) -> None:
    """Put the weights of such a file into the stages of a network; its head stays as drawn.

    Layers are matched by position, the tensors of a layer by name: some of torchvision's files list a normalisation's
    statistics before its weights, and all four have one shape.

    Args:
        network: with `stages`, from `build_network`.
        file: state dict of a torchvision network.

    Raises:
        UserError: not such a file, or one of another network.
    """
    stages = network.get_submodule("stages")
    given, wanted = _layers(_state_dict(file)), _layers(stages.state_dict())
    if len(given) != len(wanted):
        raise UserError(f"{file} holds {len(given)} layers with weights, but model.stages has {len(wanted)}. {REMEDY}")
    for (source, tensors), (target, own) in zip(given.items(), wanted.items(), strict=True):
        shapes, own_shapes = _shapes(tensors), _shapes(own)
        if shapes != own_shapes:
            raise UserError(f"{file}: '{source}' has {shapes}, but 'stages.{target}' needs {own_shapes}. {REMEDY}")
        for part, tensor in tensors.items():
            own[part].copy_(tensor)


def _fetch(published: PublishedWeights, file: Path) -> None:
    url = published.url
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Several runs may start at once; the first one fetches.
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
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _state_dict(file: Path) -> Mapping[str, Tensor]:
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{file} is not a file of weights: {reason}") from error
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise UserError(
            f"{file} is not a state dict, which maps names to tensors. Save one with torch.save(network.state_dict(), ...)."
        )
    return {name: value for name, value in loaded.items() if not name.startswith(CLASSIFIERS)}


def _layers(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors by layer. Counts of batches are left out: old files lack them, and a fixed momentum needs none."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        layer, _, part = name.rpartition(".")
        if part != "num_batches_tracked":
            layers.setdefault(layer, {})[part] = value
    return layers


def _shapes(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{part} {'x'.join(map(str, tensor.shape))}" for part, tensor in sorted(tensors.items()))
