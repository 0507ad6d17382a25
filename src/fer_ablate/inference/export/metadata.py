"""What an exported file says of itself, in whatever format."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.config.choices import Fit
from fer_ablate.config.compose import to_yaml
from fer_ablate.errors import UserError
from fer_ablate.inference.network import TrainedNetwork
from fer_ablate.sizes import Size, read_spelled, spelled

FORMAT = "1"
"""Version of inputs, outputs and entries of an exported file."""

PREFIX = "fer_ablate."


@dataclass(frozen=True)
class Card:
    """What has to be known to use an exported network: faces (N, channels, H, W) uint8 -> probabilities (N, K) float32.

    Args:
        classes: K names, in the order of the outputs.
        image_size: H and W.
        channels: 1 for gray levels, 3 for red, green, blue.
        fit: how whole pictures are brought to that size.
        key: of the run; empty for a checkpoint without one.
        config: YAML that the network was trained with.
    """

    classes: tuple[str, ...]
    image_size: Size
    channels: int
    fit: Fit
    key: str
    config: str

    def entries(self) -> dict[str, str]:
        """Name -> text, for files that keep such pairs."""
        told = {
            "format": FORMAT,
            "classes": json.dumps(self.classes),
            "image_size": spelled(self.image_size),
            "channels": str(self.channels),
            "fit": self.fit.name,
            "key": self.key,
            "config": self.config,
        }
        return {PREFIX + name: text for name, text in told.items()}


@dataclass(frozen=True)
class Carded:
    """What a `Scorer` of an exported file knows from its card.

    Args:
        card: what the file says of itself.
    """

    card: Card

    @property
    def classes(self) -> tuple[str, ...]:
        """K names, in the order of the outputs."""
        return self.card.classes

    @property
    def image_size(self) -> Size:
        """Of the faces it takes."""
        return self.card.image_size

    @property
    def channels(self) -> int:
        """Of the faces it takes."""
        return self.card.channels

    @property
    def fit(self) -> Fit:
        """How whole pictures are brought to the size."""
        return self.card.fit


def card_of(trained: TrainedNetwork, key: str) -> Card:
    """The card of a finished network; `key` is that of its run, empty if there is none."""
    return Card(trained.classes, trained.image_size, trained.channels, trained.fit, key, to_yaml(trained.config))


def read_card(entries: Mapping[str, str], path: Path) -> Card:
    """Inverse of `Card.entries`.

    Args:
        entries: of the file, perhaps among others.
        path: of the file, for the message.

    Raises:
        UserError: the file is of another program or version.
    """
    told = {name.removeprefix(PREFIX): text for name, text in entries.items() if name.startswith(PREFIX)}
    way_out = "Write one with `python -m fer_ablate export run=<id>`."
    if "format" not in told:
        raise UserError(f"{path}: not exported by fer_ablate, so its classes and inputs are not known. {way_out}")
    if told["format"] != FORMAT:
        raise UserError(f"{path}: written in format {told['format']}, this version reads {FORMAT}. {way_out}")
    try:
        classes, size = tuple(map(str, json.loads(told["classes"]))), read_spelled(told["image_size"])
        fit = Fit[told.get("fit", Fit.stretch.name)]  # earlier versions stretched every picture and did not say so
        return Card(classes, size, int(told["channels"]), fit, told["key"], told["config"])
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: what it says of itself is damaged ({type(error).__name__}: {error}). {way_out}") from error
