"""`predict`: expressions in pictures, videos and from a camera, with one finished network or several as one."""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import cv2
import torch

from fer_ablate.cli import console
from fer_ablate.cli.request import raise_faults
from fer_ablate.cli.usage import asks_for_help
from fer_ablate.commands.predict_summary import Seen, summarise
from fer_ablate.commands.predict_words import OWN, Wanted, wanted
from fer_ablate.config.choices import Precision
from fer_ablate.errors import UserError
from fer_ablate.execution.finished_network import Settings, Subject, own_words, settings, subjects
from fer_ablate.inference.media.annotate import annotated, enlarged
from fer_ablate.inference.media.crops import Cropping
from fer_ablate.inference.media.frames import quiet_opencv, read
from fer_ablate.inference.media.output import Copies, Tables, places
from fer_ablate.inference.media.sources import Kind, Medium, Skipped, find
from fer_ablate.inference.media.timing import Timing
from fer_ablate.inference.opening import is_onnx, scorer_of
from fer_ablate.inference.pipeline import Scored, build_detectors, predictions
from fer_ablate.inference.scorer import MeanScorer, Scorer, TorchScorer
from fer_ablate.training import hardware
from fer_ablate.training.checks import check_tested

USAGE = """Find faces and tell their expressions.

  python -m fer_ablate predict run=<id> source=photo.jpg
  python -m fer_ablate predict run=<id> source=photos/ source='more/**/*.png' output=told
  python -m fer_ablate predict ckpt=model.onnx source=film.mp4 every=2
  python -m fer_ablate predict run=<id> run=<id> source=0 max_frames=300     a camera; Ctrl-C ends it, too
  python -m fer_ablate predict run=<id> source=faces/ detector=none         pictures that are faces already

run=         key (its first digits do), row of a study, MLflow id or folder of a run; ckpt= a .ckpt or .onnx file.
             Several are averaged.
source=      picture, folder (with all below it), pattern, video or number of a camera; may be repeated
detector=    haar (default) or none: each picture is a face, and becomes what it would be among the images of the training
margin=      share of a face's box added on each side (0: as FER2013's faces are cut)
equalize=    true: spread the gray levels of each face
output=      folder of predictions.csv, predictions.jsonl and annotated copies (predictions, or the next free number)
annotate=    false: no annotated copies
every=       of a video or camera, one of so many frames   max_frames= of each video or camera
batch_size=  faces that the network gets at once (32)
trainer.*, evaluation.tta, runs_dir and plugins may be given."""

CHANGEABLE = ("evaluation", "trainer", "runs_dir", "plugins")
INTERRUPTED = 130


def run(arguments: Sequence[str]) -> int:
    """Predict, and keep what was told."""
    console.quiet_libraries()
    quiet_opencv()
    # Pillow warns about odd but readable files; unreadable ones are told in our own words.
    warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
    if asks_for_help(arguments):
        print(USAGE)
        return 0
    words, rest = own_words(arguments, OWN)
    asked = wanted(words)
    typed = settings(rest, OWN, CHANGEABLE)
    media, missing = find(asked.sources)
    where = places(media, asked.output) if asked.annotate else {}
    if not media:
        raise _nothing(missing)
    scorer = _scorer(words, typed, asked)
    _introduce(asked, media)
    seen = Seen()
    for one in missing:
        _skip(one, seen)
    timing = Timing()
    with ExitStack() as files:
        tables = files.enter_context(Tables(asked.output, scorer.classes))
        copies = files.enter_context(Copies(where))
        with console.bar("predicting") as tell:
            _work(asked, scorer, media, tables, copies, seen, timing, tell)
    timing.finish()
    if not seen.frames and not seen.interrupted:
        raise _nothing(seen.skipped)
    written = [tables.csv_file, tables.json_file, *([asked.output] if asked.annotate else [])]
    advice = "; detector=none takes pictures that are faces already" if asked.detector != "none" else ""
    summarise(seen, timing, written, copies.damaged, advice)
    live = all(medium.kind is Kind.camera for medium in media)  # a camera has no other end
    return INTERRUPTED if seen.interrupted and not live else 0


def _work(
    asked: Wanted,
    scorer: Scorer,
    media: Sequence[Medium],
    tables: Tables,
    copies: Copies,
    seen: Seen,
    timing: Timing,
    tell: Callable[[float], None],
) -> None:
    """Go through all frames; Ctrl-C ends it between two of them."""
    cropping = Cropping(scorer.image_size, scorer.channels, scorer.fit, asked.margin, asked.equalize)
    frames = read(media, asked.every, asked.max_frames)
    items = predictions(frames, scorer, build_detectors(asked.detector), cropping, asked.batch_size, timing)
    number_of = {medium: number for number, medium in enumerate(media)}
    read_of: Counter[Medium] = Counter()
    try:
        with closing(items):
            for item in items:
                if isinstance(item, Skipped):
                    _skip(item, seen)
                    continue
                _keep(item, scorer.classes, tables, copies if asked.annotate else None, timing)
                seen.add(item, scorer.classes)
                frame = item.frame
                read_of[frame.medium] += 1
                tell((number_of[frame.medium] + read_of[frame.medium] / max(frame.count, 1)) / len(media) if frame.count else 0)
    except KeyboardInterrupt:
        seen.interrupted = True


def _keep(item: Scored, classes: Sequence[str], tables: Tables, copies: Copies | None, timing: Timing) -> None:
    """Write what was found in a frame."""
    if copies is not None:
        with timing.stage("draw"):
            pixels, boxes = item.frame.pixels, item.boxes
            if item.frame.medium.kind is Kind.picture:
                pixels, boxes = enlarged(pixels, boxes)
            drawn = annotated(pixels, boxes, item.probabilities, classes)
        with timing.stage("write"):
            copies.add(item, drawn)
    with timing.stage("write"):
        tables.add(item)


def _scorer(words: dict[str, list[str]], typed: Settings, asked: Wanted) -> Scorer:
    """The named networks as one, on this machine rather than on the one they were trained on."""
    trainer = typed.config.trainer
    raise_faults(hardware.check(trainer))
    chosen = hardware.choose(trainer)
    hardware.use_threads(trainer)
    threads = torch.get_num_threads()
    if trainer.num_threads is None and asked.detector != "none":
        # Finding faces takes as long as the network, at the same time: one core is left to it.
        torch.set_num_threads(max(1, threads - 1))
    cv2.setNumThreads(max(1, threads // 2))
    onnx = [Path(name).expanduser() for name in words.get("ckpt", []) if is_onnx(name)]
    members: list[Scorer] = [scorer_of(path, chosen, threads=torch.get_num_threads()) for path in onnx]
    named = {name: [value for value in words.get(name, []) if name == "run" or not is_onnx(value)] for name in ("run", "ckpt")}
    for about in subjects(named, typed) if any(named.values()) or not onnx else []:
        trained, tta = replace(about.trained, config=about.config), about.config.evaluation.tta
        raise_faults(check_tested(about.config, trained.image_size))
        members.append(TorchScorer(trained, _machine(about), tta))
        told = f"{trained.path}, epoch {trained.epoch}" + (f", views {tta.name}" if tta.name != "none" else "")
        console.facts([("network ", told)])
        if different := _other_format(about):
            console.facts([("", different)])
    console.facts([("network ", str(path)) for path in onnx])
    return members[0] if len(members) == 1 else MeanScorer(members)


def _machine(about: Subject) -> hardware.Hardware:
    """This machine in the number format of the run, which 16-bit floats are on GPUs only."""
    trainer = about.config.trainer
    if hardware.check(trainer):
        trainer = replace(trainer, precision=Precision.auto)
    return hardware.choose(trainer)


def _other_format(about: Subject) -> str:
    """A sentence if the run was tested in another number format than it is used in now; empty if not, or if nobody knows."""
    tested = about.folder.result.environment.get("precision") if about.folder is not None else None
    used = _machine(about).precision
    if tested is None or tested == used:
        return ""
    return f"computed in {used} here and in {tested} in its run, so probabilities may differ in the third digit"


def _introduce(asked: Wanted, media: Sequence[Medium]) -> None:
    kinds = Counter(medium.kind for medium in media)
    there = ", ".join(console.counted(kinds[kind], kind.value) for kind in Kind if kinds[kind])
    facts = [("sources ", there), ("detector", asked.detector + (f", margin {asked.margin:g}" if asked.margin else ""))]
    if kinds[Kind.camera] and not asked.max_frames:
        facts.append(("", "Ctrl-C ends the camera; what was done until then is kept"))
    console.facts(facts)


def _skip(one: Skipped, seen: Seen) -> None:
    """Tell it at once; it is listed again at the end."""
    seen.skipped.append(one)
    console.console.print(f"  {'cut off ' if one.partly else 'skipped '}  {one}")


def _nothing(skipped: Sequence[Skipped]) -> UserError:
    reasons = "\n".join(f"  {one}" for one in skipped)
    return UserError(f"Nothing could be read.\n{reasons}")
