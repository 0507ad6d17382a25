"""The weights that a run starts from, and what becomes of their output layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.data.classes import class_key


@dataclass(frozen=True)
class Start:
    """Initial weights of a run.

    Args:
        path: checkpoint with the weights.
        identity: hash of the weights, see `checkpoints.file_start`, or key of their run; part of the key of the run.
        classes: names of their classes in the order of the outputs; empty if not known, as of runs of earlier versions.
    """

    path: Path
    identity: str
    classes: tuple[str, ...] = ()


def outputs_in_order(given: Sequence[str], own: Sequence[str]) -> list[int] | None:
    """Which outputs of the weights to begin with are those of a network's own classes, in their order.

    Args:
        given: classes of the weights.
        own: classes of the network.

    Returns:
        Indices into `given`; None if the two have not the same classes, so that the output layer has to be learnt anew.
    """
    place = {class_key(name): number for number, name in enumerate(given)}
    order = [place.get(class_key(name), -1) for name in own]
    return order if len(given) == len(own) and sorted(order) == list(range(len(own))) else None


def output_change(given: Sequence[str], own: Sequence[str]) -> str | None:
    """What happens to the output layer of weights that has as many outputs as there are classes, for the key of the run.

    Returns:
        `reordered` or `drawn anew`; None if it stays as it is, is of another size, or its classes are not known.
    """
    if not given or len(given) != len(own):
        return None
    order = outputs_in_order(given, own)
    if order is None:
        return "drawn anew"
    return "reordered" if order != list(range(len(own))) else None


def output_notes(start: Start | None, own: Sequence[str]) -> list[str]:
    """What the user is told about an output layer that does not stay as it is, in a sentence."""
    if start is None or not start.classes or (order := outputs_in_order(start.classes, own)) == list(range(len(own))):
        return []
    how = "is drawn anew" if order is None else "is brought into this order"
    return [f"init_from: the output layer {how}, since its classes are {', '.join(start.classes)}, and these {', '.join(own)}."]
