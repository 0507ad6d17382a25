"""`export`: finished networks in formats that other programs run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from fer_ablate.cli import console
from fer_ablate.cli.request import raise_faults
from fer_ablate.cli.usage import asks_for_help
from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.config.key import short
from fer_ablate.data.faces import Rows
from fer_ablate.errors import Fault, UserError, choices
from fer_ablate.execution.finished_network import CHANGEABLE, NAMING, Subject, own_words, settings, single, subject
from fer_ablate.execution.tested_images import images_of
from fer_ablate.inference.export import mlflow_model
from fer_ablate.inference.export.export import ONNX, PROGRAM, PYTORCH, Exported, Sample, Wish, export
from fer_ablate.inference.export.metadata import Card, card_of
from fer_ablate.inference.export.mlflow_model import EXAMPLE
from fer_ablate.inference.export.onnx_extra import PACKAGES, onnx_package
from fer_ablate.inference.export.onnx_file import OPSETS
from fer_ablate.inference.export.quantise import KINDS
from fer_ablate.inference.export.variants import BATCH
from fer_ablate.sizes import in_key, spelled
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.mlflow.attach import add_to_run
from fer_ablate.training.assembly import RoleSet

if TYPE_CHECKING:
    from fer_ablate.tracking.mlflow.models import Logged

USAGE = """Write a finished network for other programs, and check it against PyTorch on real images.

  python -m fer_ablate export run=<id>                                   ONNX, for onnxruntime
  python -m fer_ablate export run=<id> format=torch                      torch.export, for PyTorch without this package
  python -m fer_ablate export run=<id> format=mlflow register=faces      a model in MLflow, here a registered one
  python -m fer_ablate export run=<id> format=all quantise=both          all of these, and ONNX in 8 bits
  python -m fer_ablate export ckpt=best.ckpt output=deployed data=folder data.path=my_faces

run=      key (its first digits do), row of a study ('quickstart/-1 Conv'), MLflow id or folder of a run; ckpt= a checkpoint file
format=   onnx (default), torch, mlflow or all
quantise= none (default), dynamic, static or both: ONNX in 8 bits, tested on the whole test split
images=   real ones that the check takes, and that static quantisation measures its ranges on (512)
opset=    version of ONNX's operators, 18 to 23 (torch's choice)
register= name of a registered model in MLflow
output=   folder (default: `export` beside the checkpoints of the run)
data, data.*, evaluation.crop, trainer.*, tracking.* and runs_dir may be given; the network is the one that was trained.

Every file takes faces (N, 1, H, W), or (N, 3, H, W) where it was trained in colour, as bytes, as they are stored, and gives
probabilities (N, K); preparation, normalisation and centre crop are inside. Every face is seen once: no test-time
augmentation."""

OWN = (*NAMING, "format", "quantise", "images", "opset", "register", "output")
FORMATS = ("onnx", "torch", "mlflow", "all")
QUANTISED = {"none": (), "dynamic": ("dynamic",), "static": ("static",), "both": KINDS}
IMAGES = 512

_KINDS = {1: "gray", 3: "colour"}


@dataclass(frozen=True)
class _Order:
    """The verb's own words.

    Args:
        wish: the files.
        mlflow: whether to log a model.
        images: for the check and for calibration.
        register: name; empty for none.
    """

    wish: Wish
    mlflow: bool
    images: int
    register: str


def run(arguments: Sequence[str]) -> int:
    """Print what was written, how it compares with PyTorch, and how to use it."""
    console.quiet_libraries()
    if asks_for_help(arguments):
        print(USAGE)
        return 0
    words, rest = own_words(arguments, OWN)
    order = _order(words)
    typed = settings(rest, OWN, (*CHANGEABLE, "tracking"))
    if order.wish.onnx:  # before anything is read or computed
        for name in PACKAGES:
            onnx_package(name)
    about = subject(words, typed)
    if order.mlflow and about.folder is not None:
        mlflow_model.require_store(about.folder, typed.config.tracking)
    elif order.mlflow:
        raise UserError(
            "A model in MLflow belongs to a run: give run=<id>, or format=onnx or format=torch for a checkpoint alone."
        )
    trained = replace(about.trained, config=about.config)
    data = _images(about)
    card = card_of(about.trained, about.folder.header.key if about.folder else "")
    default = (about.folder.path if about.folder else trained.path.parent) / "export"
    output = Path(single(words, "output", str(default))).expanduser()
    sample = _sample(data, order)
    rows = export(trained, card, order.wish, sample, output, console.bar)
    _show(about, card, order, sample, rows)
    console.console.print()
    console.facts([*((row.path.name, str(row.path)) for row in rows[1:]), *_uses(rows, output)])
    if about.folder is not None:
        if order.mlflow:
            with console.bar("logging the model in MLflow"):
                program, faces = (card, output / PROGRAM), sample.faces_u8
                tracking, runs_dir = typed.config.tracking, typed.runs_dir
                logged = mlflow_model.log_model(about.folder, trained, program, faces, tracking, runs_dir, order.register)
            console.facts(_served(logged, about.folder, output))
        files = [row.path for row in rows[1:]]
        problem = add_to_run(about.folder, typed.runs_dir, files, "export", _metrics(rows, whole=bool(order.wish.quantise)))
        if problem:
            console.console.print(f"  note: {problem}", style="yellow")
    return 0


def _order(words: dict[str, list[str]]) -> _Order:
    """Read the verb's own words; all that is wrong with them is told at once."""
    faults = []
    kind, quantised = single(words, "format", "onnx"), single(words, "quantise", "none")
    register = single(words, "register")
    if kind not in FORMATS:
        faults.append(Fault("format", f"'{kind}' is not known.", choices(kind, FORMATS)))
    elif register and kind not in ("mlflow", "all"):
        faults.append(Fault("register", f"format={kind} logs no model in MLflow.", "Give format=mlflow or format=all."))
    if quantised not in QUANTISED:
        faults.append(Fault("quantise", f"'{quantised}' is not known.", choices(quantised, QUANTISED)))
    elif quantised != "none" and kind in ("torch", "mlflow"):
        faults.append(Fault("quantise", f"format={kind} writes no ONNX file.", "Give format=onnx or format=all."))
    images = _whole(single(words, "images", str(IMAGES)))
    if images is None or images < 1:
        faults.append(Fault("images", f"'{single(words, 'images')}' is no number of images.", "Give 1 or more."))
    opset = _whole(single(words, "opset", str(OPSETS[0])))
    if opset is None or not OPSETS[0] <= opset <= OPSETS[1]:
        faults.append(Fault("opset", f"'{single(words, 'opset')}' is none of ONNX's.", f"Give {OPSETS[0]} to {OPSETS[1]}."))
    raise_faults(faults)
    assert images is not None
    wish = Wish(kind in ("onnx", "all"), kind != "onnx", QUANTISED[quantised], opset if "opset" in words else None)
    return _Order(wish, kind in ("mlflow", "all"), images, register)


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _images(about: Subject) -> RoleSet:
    """The images of the run, or those that were typed instead."""
    data, trained = images_of(about), about.trained
    if (trained.image_size, trained.channels) != (data.image_size, data.faces.channels):
        raise UserError(
            f"The network takes {_KINDS[trained.channels]} images of {spelled(trained.image_size)} pixels, the data has "
            f"{_KINDS[data.faces.channels]} ones of {spelled(data.image_size)}. They must be the same: give "
            f"data.size={in_key(trained.image_size).replace(' ', '')} data.channels={trained.channels}."
        )
    if not len(data.roles["test"]):
        raise UserError("The data has no test images to check the exported network on. Name other data by data=...")
    return data


def _sample(data: RoleSet, order: _Order) -> Sample:
    """The whole test role if something is quantised, else some of it, spread over the whole."""
    test, train = data.roles["test"], data.roles["train"]
    rows = test if order.wish.quantise else _spread(test, order.images)
    known = train if "static" in order.wish.quantise else train[:0]
    if "static" in order.wish.quantise and not len(train):
        raise UserError("The data has no training images for quantise=static to measure ranges on. Give quantise=dynamic.")
    faces = data.faces.faces
    return Sample(faces[rows], data.faces.labels[rows], faces[_spread(known, order.images)])


def _spread(rows: Rows, number: int) -> Rows:
    """So many rows at equal distances, or all if there are no more."""
    if len(rows) <= number:
        return rows
    chosen: Rows = rows[np.linspace(0, len(rows) - 1, number).round().astype(np.int64)]
    return chosen


def _show(about: Subject, card: Card, order: _Order, sample: Sample, rows: Sequence[Exported]) -> None:
    trained, tta = about.trained, about.config.evaluation.tta
    height, width = card.image_size
    counted = f"{len(sample.labels):,} real images of the test split, {'all' if order.wish.quantise else 'a part'} of it"
    told = [
        ("checkpoint", f"{trained.path}, epoch {trained.epoch}" + (f", run {short(card.key)}" if card.key else "")),
        ("takes", f"(N, {card.channels}, {height}, {width}) uint8; preparation, normalisation and centre crop are inside"),
        ("gives", f"(N, {len(card.classes)}) probabilities of {', '.join(card.classes)}"),
        ("compared", f"on {counted}; {console.counted(torch.get_num_threads(), 'thread')}, batches of {BATCH}, fp32 beside"),
    ]
    if tta is not TestTimeAugmentation.none:
        told.append(("views", f"one of each face; the run was tested with {tta.name}, which averages more"))
    console.facts(told)
    console.console.print()
    header = ["", "size", "8-bit layers", "images/s", "acc", "to PyTorch", "McNemar p", "changed", "largest difference"]
    console.table("", header, [_cells(row) for row in rows])


def _cells(row: Exported) -> list[str]:
    found = row.comparison
    cells = [row.title, _size(row.size), f"{row.layers[0]} of {row.layers[1]}" if row.layers else ""]
    cells += [f"{row.variant.images_per_second:,.0f}", f"{found.accuracy:.4f}"]
    if row.title == PYTORCH:
        return [*cells, "", "", "", ""]
    return [*cells, f"{100 * found.gain:+.2f} points", f"{found.p:.3f}", f"{found.changed:,}", f"{found.difference:.1e}"]


def _size(number: int) -> str:
    """Bytes as `412 KiB` or `1.9 MiB`."""
    return f"{number / 2**10:.0f} KiB" if number < 2**20 else f"{number / 2**20:.1f} MiB"


def _uses(rows: Sequence[Exported], output: Path) -> list[tuple[str, str]]:
    """How to use the files, a line each."""
    names = [row.path.name for row in rows]
    told = []
    if ONNX in names:
        told.append(("use ONNX", f"python -m fer_ablate predict ckpt={output / ONNX} source=photos/"))
    if PROGRAM in names:
        told.append(("use torch", f"torch.export.load({str(output / PROGRAM)!r}).module()(faces)   (needs torch only)"))
    return told


def _served(logged: "Logged", folder: RunFolder, output: Path) -> list[tuple[str, str]]:
    """Where the model in MLflow is, and how to ask it."""
    state = "logged" if logged.new else "was there already"
    registered = f", version {logged.version} of the registered model" if logged.version else ""
    asked = f"mlflow models predict -m {logged.uri} -i {output / EXAMPLE} --content-type json --env-manager local"
    return [
        ("model", f"{logged.uri} {state}{registered}"),
        ("use MLflow", f"MLFLOW_TRACKING_URI={folder.header.mlflow_uri} {asked}"),
    ]


def _metrics(rows: Sequence[Exported], whole: bool) -> dict[str, float]:
    """What MLflow is told; accuracies only if they are those of the whole test split."""
    found = {}
    for row in rows[1:]:
        name = f"export/{row.path.name}"
        found[f"{name}/images_per_second"] = row.variant.images_per_second
        found[f"{name}/largest_difference"] = row.comparison.difference
        if whole:
            found[f"{name}/acc"] = row.comparison.accuracy
    return found
