"""`explain`: where in a face a finished network looks, and whether that can be believed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Interval

from fer_ablate.cli import console
from fer_ablate.cli.console import counted
from fer_ablate.cli.words import read_command
from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.config.constraints import one_of
from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.errors import UserError, choices
from fer_ablate.execution.finished_network import FinishedNetwork, NetworkWords, find_network, read_overrides
from fer_ablate.execution.tested_images import images_by_role
from fer_ablate.explain.attributions import GRADCAM, PASSES, Explainer, FromPixels, feature_layer
from fer_ablate.explain.choose import confusion_counts
from fer_ablate.explain.explanation import Explanation, ExplanationSpec, explain_network
from fer_ablate.explain.figures import METHOD_TITLES
from fer_ablate.explain.files import explanation_metrics, write_explanation
from fer_ablate.explain.regions import REGIONS, areas
from fer_ablate.extras import require
from fer_ablate.tracking.mlflow.attach import add_to_run
from fer_ablate.training import hardware
from fer_ablate.training.checks import tested_size
from fer_ablate.training.evaluation import Evaluator, Predictions
from fer_ablate.training.role_set import RoleSet

USAGE = """Show where in a face a finished network looks.

  python -m fer_ablate explain run=<id>                                    pictures and numbers into <run>/explain/
  python -m fer_ablate explain run='quickstart/-1 Conv' methods=gradcam    a row of a study; one method, much faster
  python -m fer_ablate explain ckpt=best.ckpt data=folder data.path=my_faces output=seen

{words}
data, data.*, trainer.*, runs_dir and plugins may be given; the network is the one that was trained."""

CHANGEABLE = ("data", "trainer", "runs_dir", "plugins")


@dataclass(frozen=True, kw_only=True)
class ExplainWords(NetworkWords):
    """Words of `explain`."""

    # All by default; the last two are about 40 times the work of the others.
    methods: tuple[Annotated[str, one_of(*PASSES)], ...] | None = None
    per_class: Annotated[int, Interval(ge=1, le=24)] = 4  # rightly classified faces of each class, the surest ones
    pairs: Annotated[int, Interval(ge=1, le=10)] = 3  # most common confusions
    images: Annotated[int, Interval(ge=1, le=10_000)] = 16  # rightly classified faces of each class for means and regions
    split: str = "test"  # train, val, test, public or private
    output: Path | None = None  # folder; by default `explain` in the folder of the run

    @property
    def spec(self) -> ExplanationSpec:
        """What to look at."""
        return ExplanationSpec(tuple(dict.fromkeys(self.methods or PASSES)), self.per_class, self.pairs, self.images)


def run(arguments: Sequence[str]) -> int:
    """Print what was found, and keep it in the folder of the run."""
    words, rest = read_command(arguments, ExplainWords, USAGE)
    require("captum")
    network = find_network(words, read_overrides(rest, ExplainWords, CHANGEABLE))
    config, trained = network.config, network.trained
    folder = _folder(network, words.output)
    data = images_by_role(network)
    rows = _rows(data, words.split)
    # The maps are computed in float32; predictions in another format would not always be of the same class.
    machine = replace(hardware.choose_hardware(config.trainer), precision="32-true")
    explainer = Explainer(trained.network, trained.preprocess, tested_size(config, data.image_size), machine.device)
    spec = _without_impossible(words, explainer, data.faces)
    with console.bar("testing") as progress:
        evaluator = Evaluator(TestTimeAugmentation.none, explainer.size, config.trainer.evaluation_batch_size, machine)
        predictions = evaluator.predict(explainer.network, explainer.preprocess, data.faces, rows, progress)
    with console.bar("heat maps") as progress:
        found = explain_network(explainer, data.faces, predictions, spec, progress)
    facts = _facts(network, words.split, predictions)
    with console.bar("drawing") as progress:
        files = write_explanation(found, folder, facts, progress)
    warning = ""
    if network.folder is not None:
        warning = add_to_run(network.folder, network.overrides.runs_dir, files, "explain", explanation_metrics(found))
    _show(found, facts, files)
    if warning:
        console.console.print(f"  note: {warning}", style="yellow")
    return 0


def _folder(network: FinishedNetwork, output: Path | None) -> Path:
    """The folder of all files; made before the maps, which take minutes and would be lost without it."""
    usual = network.folder.path / "explain" if network.folder is not None else Path(f"explain_{network.file_label}")
    folder = output or usual
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror}). Name another folder by output=...") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder}: writing there is not allowed. Name another folder by output=...")
    return folder


def _rows(data: RoleSet, split: str) -> Rows:
    """Rows of a role or official split, which must have images."""
    parts = {**data.roles, **data.official}
    if split not in parts:
        raise UserError(f"split={split}: the images have no such split. {choices(split, parts)}")
    if not len(parts[split]):
        others = ", ".join(name for name, rows in parts.items() if len(rows))
        raise UserError(f"split={split}: there are no images in it. Others: {others}.")
    return parts[split]


def _without_impossible(words: ExplainWords, explainer: Explainer, faces: FaceSet) -> ExplanationSpec:
    """Leave out Grad-CAM for a network without convolutions, or refuse it if it was typed."""
    spec = words.spec
    if GRADCAM not in spec.methods:
        return spec
    whole = FromPixels(explainer.network, explainer.preprocess).to(explainer.device).eval()
    try:
        feature_layer(whole, torch.zeros(1, faces.channels, *explainer.size, device=explainer.device))
    except UserError as error:
        if words.methods:
            raise
        console.console.print(f"  left out: {error}")
        return replace(spec, methods=tuple(name for name in spec.methods if name != GRADCAM))
    return spec


def _facts(network: FinishedNetwork, split: str, predictions: Predictions) -> dict[str, str]:
    """What was tested, for the screen and the file of numbers."""
    counts = confusion_counts(predictions)
    return {
        "checkpoint": str(network.trained.path),
        "epoch": str(network.trained.epoch),
        "split": split,
        "images": f"{counts.sum():,}, {100 * counts.trace() / counts.sum():.2f} % right (float32, no averaging over views)",
    }


def _show(found: Explanation, facts: dict[str, str], files: Sequence[Path]) -> None:
    """Print the tables."""
    console.facts(list(facts.items()))
    console.console.print()
    method, classes = found.spec.methods[0], found.faces.classes
    rows = []
    for label, name in enumerate(classes):
        rows.append([name, *_percent(found.shares(method, label)), str(len(found.spread[label]))])
    rows.append(["mean", *_percent(found.mean_shares(method)), ""])
    rows.append(["share of pixels", *_percent(areas(found.masks)), ""])
    console.table(f"{METHOD_TITLES[method]}: % of the weight on each part of the face", ["", *REGIONS, "images"], rows)
    console.console.print()
    # A method whose maps stay the same with random weights shows the image, not what the network learned.
    sanity = [
        [METHOD_TITLES[name], "-" if one.correlation is None else f"{one.correlation:+.2f}", str(one.images), one.verdict]
        for name, one in found.sanity.items()
    ]
    title = "Do the maps depend on the weights? Rank correlation with maps of a network with redrawn weights"
    console.table(title, ["method", "correlation", "images", "verdict"], sanity, words=["verdict"])
    console.console.print()
    for confusion in found.confusions:
        ways = [f"{classes[one.truth]} taken for {classes[one.predicted]} {one.count:,}" for one in confusion.directions]
        console.console.print(f"  {counted(confusion.count, 'confusion')}: {', '.join(ways)}")
    if not found.confusions:
        console.console.print("  no class was taken for another")
    for name, chosen in zip(classes, found.right, strict=True):
        if not len(chosen):
            console.console.print(f"  {name}: no image was classified rightly, so it has no pictures")
    console.console.print()
    console.facts([("kept", f"{counted(len(files), 'file')} in {files[0].parent}"), ("", ", ".join(file.name for file in files))])


def _percent(shares: np.ndarray | None) -> list[str]:
    return ["-"] * len(REGIONS) if shares is None else [f"{100 * share:.1f}" for share in shares]
