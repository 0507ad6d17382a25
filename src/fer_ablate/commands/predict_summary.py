"""What `predict` tells at its end."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.inference.media.sources import Skipped
from fer_ablate.inference.media.timing import STAGES, Timing
from fer_ablate.inference.pipeline import Scored

LISTED = 20
"""Skipped files that are named at the end; all were named when they were met."""


@dataclass
class Seen:
    """Counts of what was done.

    Args:
        files: with a frame that was read -> faces in all its frames.
        labels: class -> faces.
        frames: that were done with.
        empty: frames without a face.
        skipped: what could not be read, or not to its end.
        interrupted: ended by Ctrl-C.
    """

    files: Counter[Path] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    empty: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    interrupted: bool = False

    def add(self, scored: Scored, classes: Sequence[str]) -> None:
        """Count a frame."""
        self.frames += 1
        self.files[scored.frame.medium.path] += len(scored.boxes)
        self.labels.update(classes[best] for best in scored.probabilities.argmax(axis=1).tolist())
        self.empty += not len(scored.boxes)


def summarise(seen: Seen, timing: Timing, written: Sequence[Path], damaged: Sequence[Path], none_found: str) -> None:
    """Print it.

    Args:
        seen: what was done.
        timing: of the stages.
        written: files and folders that hold the results.
        damaged: annotated videos that are not whole.
        none_found: advice if no face was found in some file.
    """
    console.console.print()
    if seen.frames:
        _speed(timing, seen.frames)
        console.console.print()
    without = sum(1 for faces in seen.files.values() if not faces)
    labels = ", ".join(f"{name} {number:,}" for name, number in seen.labels.most_common())
    facts = [
        ("read", f"{console.counted(len(seen.files), 'file')}, {console.counted(seen.frames, 'frame')}"),
        ("faces", f"{seen.labels.total():,}" + (f" ({labels})" if labels else "")),
    ]
    if without:
        facts.append(("without", f"{console.counted(without, 'file')} without a face{none_found}"))
    if seen.empty and seen.frames > len(seen.files):
        facts.append(("", f"{console.counted(seen.empty, 'frame')} without a face"))
    facts += [("written" if not number else "", str(path)) for number, path in enumerate(written)]
    facts += [("damaged", f"{path} is not whole; is the disk full?") for path in damaged]
    console.facts(facts)
    _skipped(seen.skipped)
    if seen.interrupted:
        console.console.print("  interrupted; what is told here was done and is kept")


def _speed(timing: Timing, frames: int) -> None:
    """One line per stage: they work at the same time, so the slowest one sets the pace."""
    slowest = max(STAGES, key=timing.seconds.__getitem__)
    rows = [
        [name, f"{1000 * seconds / frames:.1f}", f"{frames / seconds:,.0f}", "slowest" if name == slowest else ""]
        for name, seconds in timing.seconds.items()
        if seconds
    ]
    total = max(timing.total, 1e-9)
    rows.append(["end to end", f"{1000 * total / frames:.1f}", f"{frames / total:,.1f}", ""])
    console.table("", ["stage", "ms per frame", "frames per second", ""], rows)


def _skipped(skipped: Sequence[Skipped]) -> None:
    if not skipped:
        return
    console.console.print(f"\n  {console.counted(len(skipped), 'file')} skipped or not read to the end:")
    for one in skipped[:LISTED]:
        console.console.print(f"    {one}")
    if len(skipped) > LISTED:
        console.console.print(f"    ... and {len(skipped) - LISTED:,} more, named above")
