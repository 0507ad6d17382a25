"""`explain`: where in a face a finished network looks, and whether that can be believed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from fer_ablate.cli import console
from fer_ablate.cli.console import counted
from fer_ablate.cli.usage import asks_for_help
from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.errors import UserError, choices
from fer_ablate.execution.finished_network import NAMING, Subject, own_words, settings, single, subject
from fer_ablate.execution.tested_images import images_of
from fer_ablate.explain.attributions import GRADCAM, PASSES, FromPixels, Lens, feature_layer
from fer_ablate.explain.choose import confusion_counts
from fer_ablate.explain.explanation import Explanation, Wanted, explain
from fer_ablate.explain.figures import TITLES
from fer_ablate.explain.files import metrics, write
from fer_ablate.explain.regions import REGIONS, areas
from fer_ablate.tracking.mlflow.attach import add_to_run
from fer_ablate.training import hardware
from fer_ablate.training.assembly import RoleSet
from fer_ablate.training.checks import tested_size
from fer_ablate.training.evaluation import Examiner, Predictions

USAGE = """Show where in a face a finished network looks.

  python -m fer_ablate explain run=<id>                                    pictures and numbers into <run>/explain/
  python -m fer_ablate explain run='quickstart/-1 Conv' methods=gradcam    a row of a study; one method, much faster
  python -m fer_ablate explain ckpt=best.ckpt data=folder data.path=my_faces output=seen

run=        key (its first digits do), row of a study, MLflow id or folder of a run; ckpt= a checkpoint file
methods=    gradcam,saliency,integrated_gradients,occlusion (all four; the last two are about 40 times the work of the others)
per_class=  faces of each class that the network was right about and surest of (4)
pairs=      most common confusions (3)
images=     right faces of each class for means and regions (16)
split=      train, val, test, public or private (test)
output=     another folder than <run>/explain
data, data.*, trainer.*, runs_dir and plugins may be given; the network is the one that was trained."""

OWN = (*NAMING, "methods", "per_class", "pairs", "images", "split", "output")
CHANGEABLE = ("data", "trainer", "runs_dir", "plugins")

MOST = {"per_class": 24, "pairs": 10, "images": 10_000}
"""Above which a picture would be too long to look at; so many images are more than a class has."""


@dataclass(frozen=True)
class Split:
    """The part of the images that is explained."""

    name: str
    faces: FaceSet
    rows: Rows


def run(arguments: Sequence[str]) -> int:
    """Print what was found and keep it beside the run."""
    console.quiet_libraries()
    if asks_for_help(arguments):
        print(USAGE)
        return 0
    words, rest = own_words(arguments, OWN)
    wanted, split_name = _wanted(words), single(words, "split", "test")
    typed = settings(rest, OWN, CHANGEABLE)
    about = subject(words, typed)
    config = about.config
    folder = _folder(about, single(words, "output"))
    data = images_of(about)
    split = _split(data, split_name)
    # The maps are those of float32; predictions in another format would not always be of the same class.
    machine = replace(hardware.choose(config.trainer), precision="32-true")
    lens = Lens(about.trained.network, about.trained.preprocess, tested_size(config, data.image_size), machine.device)
    wanted = _possible(wanted, lens, data.faces, "methods" in words)
    with console.bar("testing") as tell:
        examiner = Examiner(TestTimeAugmentation.none, lens.size, config.trainer.evaluation_batch_size, machine)
        predictions = examiner.predict(lens.network, lens.preprocess, split.faces, split.rows, tell)
    with console.bar("heat maps") as tell:
        found = explain(lens, split.faces, predictions, wanted, tell)
    told = _told(about, split.name, predictions)
    with console.bar("drawing") as tell:
        files = write(found, folder, told, tell)
    trouble = ""
    if about.folder is not None:
        trouble = add_to_run(about.folder, typed.runs_dir, files, "explain", metrics(found))
    _report(found, told, files)
    if trouble:
        console.console.print(f"\n{trouble}")
    return 0


def _wanted(words: dict[str, list[str]]) -> Wanted:
    listed = single(words, "methods", ",".join(PASSES)).strip("[]").split(",")
    methods = tuple(dict.fromkeys(name.strip() for name in listed))
    for name in methods:
        if name not in PASSES:
            raise UserError(f"methods={name}: no such method. {choices(name, PASSES)}")
    defaults = {"per_class": "4", "pairs": "3", "images": "16"}
    numbers = {}
    for name, default in defaults.items():
        text = single(words, name, default)
        if not text.isdecimal() or not 1 <= int(text) <= MOST[name]:
            raise UserError(f"{name}={text}: give a whole number from 1 to {MOST[name]:,}.")
        numbers[name] = int(text)
    return Wanted(methods, **numbers)


def _folder(about: Subject, output: str) -> Path:
    """Where everything goes; made at once, so that nothing is computed in vain."""
    path = about.trained.path
    name = path.parent.parent.name if path.parent.name == "checkpoints" else path.stem
    usual = about.folder.path / "explain" if about.folder is not None else Path(f"explain_{name or path.stem}")
    folder = Path(output).expanduser() if output else usual
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror}). Name another folder by output=...") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder}: writing there is not allowed. Name another folder by output=...")
    return folder


def _split(data: RoleSet, name: str) -> Split:
    parts = {**data.roles, **data.official}
    if name not in parts:
        raise UserError(f"split={name}: the images have no such split. {choices(name, parts)}")
    if not len(parts[name]):
        raise UserError(f"split={name}: there are no images in it. Others: {', '.join(one for one in parts if len(parts[one]))}.")
    return Split(name, data.faces, parts[name])


def _possible(wanted: Wanted, lens: Lens, faces: FaceSet, typed: bool) -> Wanted:
    """Leave out what this network cannot be asked, or refuse it if it was typed; before anything long begins."""
    if GRADCAM not in wanted.methods:
        return wanted
    whole = FromPixels(lens.network, lens.preprocess).to(lens.device).eval()
    try:
        feature_layer(whole, torch.zeros(1, faces.channels, *lens.size, device=lens.device))
    except UserError as error:
        if typed:
            raise
        console.console.print(f"  left out: {error}")
        return replace(wanted, methods=tuple(name for name in wanted.methods if name != GRADCAM))
    return wanted


def _told(about: Subject, split: str, predictions: Predictions) -> dict[str, str]:
    counts = confusion_counts(predictions)
    return {
        "checkpoint": str(about.trained.path),
        "epoch": str(about.trained.epoch),
        "split": split,
        "images": f"{counts.sum():,}, {100 * counts.trace() / counts.sum():.2f} % right (float32, no averaging over views)",
    }


def _report(found: Explanation, told: dict[str, str], files: Sequence[Path]) -> None:
    """Print the tables."""
    console.facts(list(told.items()))
    console.console.print()
    method, classes = found.wanted.methods[0], found.faces.classes
    rows = []
    for label, name in enumerate(classes):
        rows.append([name, *_percent(found.shares(method, label)), str(len(found.spread[label]))])
    rows.append(["mean", *_percent(found.mean_shares(method)), ""])
    rows.append(["share of pixels", *_percent(areas(found.masks)), ""])
    console.table(f"{TITLES[method]}: % of the weight on each part of the face", ["", *REGIONS, "images"], rows)
    console.console.print()
    sanity = [
        [TITLES[name], "-" if one.correlation is None else f"{one.correlation:+.2f}", str(one.images), one.verdict]
        for name, one in found.sanity.items()
    ]
    title = "Are maps of redrawn weights others? Rank correlation with those of the trained ones"
    console.table(title, ["method", "correlation", "images", "verdict"], sanity, words=["verdict"])
    console.console.print()
    for confusion in found.confusions:
        ways = [f"{classes[one.truth]} taken for {classes[one.said]} {one.count:,}" for one in confusion.directions]
        console.console.print(f"  {counted(confusion.count, 'confusion')}: {', '.join(ways)}")
    if not found.confusions:
        console.console.print("  no class was taken for another")
    for name, chosen in zip(classes, found.right, strict=True):
        if not len(chosen):
            console.console.print(f"  {name}: no image was taken for it rightly, so it has no pictures")
    console.console.print()
    console.facts([("kept", f"{counted(len(files), 'file')} in {files[0].parent}"), ("", ", ".join(file.name for file in files))])


def _percent(shares: np.ndarray | None) -> list[str]:
    return ["-"] * len(REGIONS) if shares is None else [f"{100 * share:.1f}" for share in shares]
