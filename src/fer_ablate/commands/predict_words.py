"""The words of `predict`, read and checked."""

from dataclasses import dataclass
from itertools import count
from pathlib import Path

from fer_ablate.cli.request import raise_faults
from fer_ablate.errors import Fault, UserError, choices
from fer_ablate.execution.finished_network import NAMING, single
from fer_ablate.inference.media.crops import MARGIN
from fer_ablate.inference.media.detection import DETECTORS

OWN = (
    *NAMING,
    "source",
    "detector",
    "margin",
    "equalize",
    "output",
    "annotate",
    "every",
    "batch_size",
    "max_frames",
    "show",
)

OUTPUT = Path("predictions")
"""Default folder; if it is there, the next free of `predictions-2`, `predictions-3`, ..."""

LARGEST_MARGIN = 2.0
_SWITCH = {"true": True, "false": False}


@dataclass(frozen=True)
class Wanted:
    """What is to be done.

    Args:
        sources: as typed.
        detector: a name of `DETECTORS`.
        margin: share of a face's box that is added on each side.
        equalize: spread the gray levels of each face.
        output: folder.
        annotate: write annotated copies.
        every: of a video or camera, one of so many frames.
        batch_size: faces that the network gets at once.
        max_frames: of each video or camera; 0: all.
    """

    sources: list[str]
    detector: str
    margin: float
    equalize: bool
    output: Path
    annotate: bool
    every: int
    batch_size: int
    max_frames: int


def wanted(words: dict[str, list[str]]) -> Wanted:
    """Read the words.

    Raises:
        FaultyConfigError: with every fault.
        UserError: a word that may be given once was given several times.
    """
    faults: list[Fault] = []
    if not words.get("source"):
        faults.append(Fault("source", "is missing.", "source=<picture, folder, pattern, video or number of a camera>"))
    detector = single(words, "detector", "haar")
    if detector not in DETECTORS:
        faults.append(Fault("detector", f"there is no '{detector}'.", choices(detector, DETECTORS)))
    if single(words, "show", "false") != "false":
        remedy = "Frames are written to output=<folder>: open them there."
        faults.append(Fault("show", "needs a display and OpenCV with windows; the one installed is headless.", remedy))
    read = Wanted(
        sources=words.get("source", []),
        detector=detector,
        margin=_share(words, "margin", faults),
        equalize=_switch(words, "equalize", "false", faults),
        output=_output(single(words, "output")),
        annotate=_switch(words, "annotate", "true", faults),
        every=_number(words, "every", 1, 1, faults),
        batch_size=_number(words, "batch_size", 32, 1, faults),
        max_frames=_number(words, "max_frames", 0, 0, faults),
    )
    raise_faults(faults)
    return read


def _output(typed: str) -> Path:
    """The folder that was named, or one that is not there yet."""
    if typed:
        path = Path(typed).expanduser()
        if path.exists() and not path.is_dir():
            raise UserError(f"output={typed} is a file. Name a folder.")
        return path
    further = (OUTPUT.with_name(f"{OUTPUT.name}-{number}") for number in count(2))
    return OUTPUT if not OUTPUT.exists() else next(path for path in further if not path.exists())


def _number(words: dict[str, list[str]], name: str, default: int, lowest: int, faults: list[Fault]) -> int:
    text = single(words, name, str(default))
    if text.isdecimal() and int(text) >= lowest:
        return int(text)
    faults.append(Fault(name, f"'{text}' is no whole number from {lowest}.", f"Such as {name}={max(default, 1)}."))
    return default


def _share(words: dict[str, list[str]], name: str, faults: list[Fault]) -> float:
    text = single(words, name, str(MARGIN))
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if 0 <= value <= LARGEST_MARGIN:
        return value
    faults.append(
        Fault(name, f"'{text}' is no number from 0 to {LARGEST_MARGIN:g}.", "0.1 adds a tenth of the box on each side.")
    )
    return MARGIN


def _switch(words: dict[str, list[str]], name: str, default: str, faults: list[Fault]) -> bool:
    text = single(words, name, default).lower()
    if text not in _SWITCH:
        faults.append(Fault(name, f"'{text}' is neither true nor false.", f"Such as {name}=true."))
    return _SWITCH.get(text, False)
