"""`predict`: expressions in pictures, videos and from a camera, with one finished network or several as one."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Interval

from fer_ablate.cli import console
from fer_ablate.cli.command_line import raise_faults
from fer_ablate.cli.words import read_command
from fer_ablate.config.constraints import one_of
from fer_ablate.errors import Fault, UserError
from fer_ablate.execution.finished_network import NetworkWords, read_overrides
from fer_ablate.execution.network_scorer import open_scorer
from fer_ablate.inference.media.annotate import annotated, enlarged
from fer_ablate.inference.media.detection import DETECTORS, MARGIN, FaceCropping
from fer_ablate.inference.media.frames import quiet_opencv, read_frames
from fer_ablate.inference.media.output import AnnotatedCopies, PredictionTables, copy_paths
from fer_ablate.inference.media.sources import Medium, MediumKind, Skipped, find_media
from fer_ablate.inference.pipeline import STAGES, ScoredFrame, Timing, build_detectors, predict_frames
from fer_ablate.inference.scorer import Scorer
from fer_ablate.paths import expanded

USAGE = """Find faces and classify their expressions.

  python -m fer_ablate predict run=<id> source=photo.jpg
  python -m fer_ablate predict run=<id> source=photos/ source='more/**/*.png' output=found
  python -m fer_ablate predict ckpt=model.onnx source=film.mp4 every=2
  python -m fer_ablate predict run=<id> run=<id> source=0 max_frames=300     a camera; Ctrl-C ends it as well
  python -m fer_ablate predict run=<id> source=faces/ detector=none         pictures that are faces already

{words}
trainer.*, evaluation.tta, runs_dir and plugins may be given."""

CHANGEABLE = ("evaluation", "trainer", "runs_dir", "plugins")

OUTPUT = Path("predictions")
"""Default folder; if it exists, the next free of `predictions-2`, `predictions-3`, ..."""

LISTED = 20
"""Skipped sources that are named at the end; every one is named when it is met."""

INTERRUPTED = 130
"""Exit code of a shell command ended by Ctrl-C."""


@dataclass(frozen=True, kw_only=True)
class PredictWords(NetworkWords):
    """Words of `predict`."""

    ckpt: tuple[str, ...] = ()  # .ckpt or .onnx file; all networks named here are averaged
    source: tuple[str, ...]  # picture, folder with all below it, pattern, video, or number of a camera
    detector: Annotated[str, one_of(*DETECTORS)] = "haar"  # none: every picture is a face, read as the images of the training
    # Share of a face's box added on each side; FER2013's faces are cut with 0.
    margin: Annotated[float, Interval(ge=0, le=2)] = MARGIN
    equalize: bool = False  # spread the gray levels of each face
    # Folder of predictions.csv, predictions.jsonl and annotated copies; by default predictions, or the next free predictions-2.
    output: Path | None = None
    annotate: bool = True  # write annotated copies
    every: Annotated[int, Ge(1)] = 1  # take one of so many frames of a video or camera
    max_frames: Annotated[int, Ge(0)] = 0  # frames of each video or camera; 0 takes all
    batch_size: Annotated[int, Ge(1)] = 32  # faces that the network gets at once
    show: bool = False  # not available: frames are written to the folder instead of a window


@dataclass
class PredictionCounts:
    """Counts of what was predicted.

    Args:
        files: file with a frame that was read -> faces in all its frames.
        labels: class -> faces.
        frames: number of frames.
        empty: frames without a face.
        skipped: what could not be read or copied, or not in full.
        interrupted: whether Ctrl-C ended the command.
    """

    files: Counter[Path] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    empty: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    interrupted: bool = False

    def add(self, scored: ScoredFrame, classes: Sequence[str]) -> None:
        """Count a frame."""
        self.frames += 1
        self.files[scored.frame.medium.path] += len(scored.boxes)
        self.labels.update(classes[best] for best in scored.probabilities.argmax(axis=1).tolist())
        self.empty += not len(scored.boxes)


def run(arguments: Sequence[str]) -> int:
    """Predict, write the results, and print a summary."""
    quiet_opencv()
    # Pillow warns about odd but readable files; unreadable ones get a message of our own.
    warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
    words, rest = read_command(arguments, PredictWords, USAGE)
    if words.show:
        remedy = "Frames are written to output=<folder>: open them there."
        raise_faults([Fault("show", "needs a display and OpenCV with windows; the one installed is headless.", remedy)])
    output = _output(words.output)
    overrides = read_overrides(rest, PredictWords, CHANGEABLE)
    media, missing = find_media(words.source)
    copies_of = copy_paths(media, output) if words.annotate else {}
    if not media:
        raise _nothing_read(missing)
    scorer = open_scorer(words, overrides, detects_faces=words.detector != "none")
    _show_sources(words, media)
    counts, timing = PredictionCounts(), Timing()
    for one in missing:
        _skip(one, counts)
    with ExitStack() as files:
        tables = files.enter_context(PredictionTables(output, scorer.classes))
        copies = files.enter_context(AnnotatedCopies(copies_of))
        with console.bar("predicting") as progress:
            _predict(words, scorer, media, tables, copies, counts, timing, progress)
    timing.finish()
    if not counts.frames and not counts.interrupted:
        raise _nothing_read(counts.skipped)
    written = [tables.csv_file, tables.json_file, *([output] if words.annotate else [])]
    advice = "; detector=none takes pictures that are faces already" if words.detector != "none" else ""
    _summarise(counts, timing, written, copies.damaged, advice)
    # Ctrl-C is the only way to end a camera, so it is no failure there.
    live = all(medium.kind is MediumKind.camera for medium in media)
    return INTERRUPTED if counts.interrupted and not live else 0


def _output(typed: Path | None) -> Path:
    """The folder that was named, or one that does not exist yet, so that no earlier result is overwritten."""
    if typed is not None:
        path = expanded(typed)
        # Not Path.exists, which raises if a folder above is locked; that gets a message when it is written to.
        if os.path.exists(path) and not os.path.isdir(path):
            raise UserError(f"output={typed} is a file. Name a folder.")
        return path
    numbered = (OUTPUT.with_name(f"{OUTPUT.name}-{number}") for number in count(2))
    return OUTPUT if not OUTPUT.exists() else next(path for path in numbered if not path.exists())


def _predict(
    words: PredictWords,
    scorer: Scorer,
    media: Sequence[Medium],
    tables: PredictionTables,
    copies: AnnotatedCopies,
    counts: PredictionCounts,
    timing: Timing,
    progress: Callable[[float], None],
) -> None:
    """Go through all frames; Ctrl-C ends it between two of them."""
    cropping = FaceCropping(scorer.image_size, scorer.channels, scorer.fit, words.margin, words.equalize)
    frames = read_frames(media, words.every, words.max_frames)
    items = predict_frames(frames, scorer, build_detectors(words.detector), cropping, words.batch_size, timing)
    number_of = {medium: number for number, medium in enumerate(media)}
    read_of: Counter[Medium] = Counter()
    try:
        with closing(items):
            for item in items:
                if isinstance(item, Skipped):
                    _skip(item, counts)
                    continue
                if problem := _keep(item, scorer.classes, tables, copies if words.annotate else None, timing):
                    _skip(problem, counts)
                counts.add(item, scorer.classes)
                frame = item.frame
                read_of[frame.medium] += 1
                progress(
                    (number_of[frame.medium] + read_of[frame.medium] / max(frame.count, 1)) / len(media) if frame.count else 0
                )
    except KeyboardInterrupt:
        counts.interrupted = True


def _keep(
    item: ScoredFrame, classes: Sequence[str], tables: PredictionTables, copies: AnnotatedCopies | None, timing: Timing
) -> Skipped | None:
    """Write what was found in a frame; return why there is no annotated copy of it, if one was asked for."""
    problem = None
    if copies is not None:
        with timing.stage("draw"):
            pixels, boxes = item.frame.pixels, item.boxes
            if item.frame.medium.kind is MediumKind.picture:
                pixels, boxes = enlarged(pixels, boxes)
            drawn = annotated(pixels, boxes, item.probabilities, classes)
        with timing.stage("write"):
            problem = copies.add(item, drawn)
    with timing.stage("write"):
        tables.add(item)
    return problem


def _show_sources(words: PredictWords, media: Sequence[Medium]) -> None:
    kinds = Counter(medium.kind for medium in media)
    sources = ", ".join(console.counted(kinds[kind], kind.value) for kind in MediumKind if kinds[kind])
    facts = [("sources ", sources), ("detector", words.detector + (f", margin {words.margin:g}" if words.margin else ""))]
    if kinds[MediumKind.camera] and not words.max_frames:
        facts.append(("", "Ctrl-C ends the camera; what was predicted until then is kept"))
    console.facts(facts)


def _skip(one: Skipped, counts: PredictionCounts) -> None:
    """Print what is skipped at once; the summary lists it again."""
    counts.skipped.append(one)
    console.console.print(f"  {'in part ' if one.partly else 'skipped '}  {one}")


def _nothing_read(skipped: Sequence[Skipped]) -> UserError:
    reasons = "\n".join(f"  {one}" for one in skipped)
    return UserError(f"Nothing could be read.\n{reasons}")


def _summarise(counts: PredictionCounts, timing: Timing, written: Sequence[Path], damaged: Sequence[Path], advice: str) -> None:
    """Print speed, counts, and what was written.

    Args:
        counts: what was predicted.
        timing: time of each stage.
        written: files and folders that hold the results.
        damaged: annotated videos that are incomplete.
        advice: added where a file has no face.
    """
    console.console.print()
    if counts.frames:
        _show_speed(timing, counts.frames)
        console.console.print()
    without = sum(1 for faces in counts.files.values() if not faces)
    labels = ", ".join(f"{name} {number:,}" for name, number in counts.labels.most_common())
    facts = [
        ("read", f"{console.counted(len(counts.files), 'file')}, {console.counted(counts.frames, 'frame')}"),
        ("faces", f"{counts.labels.total():,}" + (f" ({labels})" if labels else "")),
    ]
    if without:
        facts.append(("without", f"{console.counted(without, 'file')} without a face{advice}"))
    if counts.empty and counts.frames > len(counts.files):
        facts.append(("", f"{console.counted(counts.empty, 'frame')} without a face"))
    facts += [("written" if not number else "", str(path)) for number, path in enumerate(written)]
    facts += [("damaged", f"{path} is incomplete; is the disk full?") for path in damaged]
    console.facts(facts)
    _show_skipped(counts.skipped)
    if counts.interrupted:
        console.console.print("  interrupted; everything listed here is kept")


def _show_speed(timing: Timing, frames: int) -> None:
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


def _show_skipped(skipped: Sequence[Skipped]) -> None:
    if not skipped:
        return
    console.console.print(f"\n  {console.counted(len(skipped), 'source')} skipped, or not read or copied in full:")
    for one in skipped[:LISTED]:
        console.console.print(f"    {one}")
    if len(skipped) > LISTED:
        console.console.print(f"    ... and {len(skipped) - LISTED:,} more, named above")
