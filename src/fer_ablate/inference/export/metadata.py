"""What an exported file says about itself, in whatever format it is: classes, kind of image, run and config."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.config.choices import Fit
from fer_ablate.config.compose import to_yaml
from fer_ablate.errors import UserError
from fer_ablate.inference.network import TrainedNetwork
from fer_ablate.sizes import Size, read_spelled, spelled

METADATA_FORMAT = "1"
"""Version of the inputs, outputs and metadata of an exported file."""

PREFIX = "fer_ablate."
"""Every name of an entry begins with this, since other programs keep entries of their own in the same file."""

INPUT, OUTPUT = "faces", "probabilities"
"""Names of the input and the output of an exported network."""


@dataclass(frozen=True)
class ModelMetadata:
    """What a program needs to know to use an exported network: faces (N, channels, H, W) uint8 -> probabilities (N, K) float32.

    Args:
        classes: K names, in the order of the outputs.
        image_size: H and W.
        channels: 1 for gray levels, 3 for red, green, blue.
        fit: how whole pictures are brought to `image_size`.
        key: key of the run; empty for a checkpoint without a run.
        config: YAML of the config that the network was trained with.
    """

    classes: tuple[str, ...]
    image_size: Size
    channels: int
    fit: Fit
    key: str
    config: str

    def entries(self) -> dict[str, str]:
        """The metadata as name -> text, for files that keep such pairs."""
        values = {
            "format": METADATA_FORMAT,
            "classes": json.dumps(self.classes),
            "image_size": spelled(self.image_size),
            "channels": str(self.channels),
            "fit": self.fit.name,
            "key": self.key,
            "config": self.config,
        }
        return {PREFIX + name: text for name, text in values.items()}


@dataclass(frozen=True)
class ExportedScorer:
    """The part of a `Scorer` that an exported file answers from its metadata.

    Args:
        metadata: what the file says about itself.
    """

    metadata: ModelMetadata

    @property
    def classes(self) -> tuple[str, ...]:
        """K names, in the order of the outputs."""
        return self.metadata.classes

    @property
    def image_size(self) -> Size:
        """Height and width of the faces it takes."""
        return self.metadata.image_size

    @property
    def channels(self) -> int:
        """Channels of the faces it takes."""
        return self.metadata.channels

    @property
    def fit(self) -> Fit:
        """How whole pictures are brought to `image_size`."""
        return self.metadata.fit


def metadata_of(trained: TrainedNetwork, key: str) -> ModelMetadata:
    """Describe a finished network; `key` is the key of its run, or empty if it has none."""
    return ModelMetadata(trained.classes, trained.image_size, trained.channels, trained.fit, key, to_yaml(trained.config))


def read_metadata(entries: Mapping[str, str], path: Path) -> ModelMetadata:
    """Read what `ModelMetadata.entries` gave.

    Args:
        entries: all entries of the file; those of other programs are passed over.
        path: the file, for the message.

    Raises:
        UserError: another program or another version wrote the file, or its metadata is damaged.
    """
    values = {name.removeprefix(PREFIX): text for name, text in entries.items() if name.startswith(PREFIX)}
    way_out = "Write one with `python -m fer_ablate export run=<id>`."
    if "format" not in values:
        raise UserError(f"{path}: not exported by fer_ablate, so its classes and inputs are not known. {way_out}")
    if values["format"] != METADATA_FORMAT:
        raise UserError(f"{path}: written in format {values['format']}, this version reads {METADATA_FORMAT}. {way_out}")
    try:
        classes, size = tuple(map(str, json.loads(values["classes"]))), read_spelled(values["image_size"])
        fit = Fit[values.get("fit", Fit.stretch.name)]  # earlier versions stretched every picture and did not say so
        return ModelMetadata(classes, size, int(values["channels"]), fit, values["key"], values["config"])
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: its metadata is damaged ({type(error).__name__}: {error}). {way_out}") from error
