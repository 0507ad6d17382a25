"""`export`: finished networks in formats that other programs run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from annotated_types import Ge, Interval

from fer_ablate.addresses import STORE_VARIABLE
from fer_ablate.cli import console
from fer_ablate.cli.command_line import raise_faults
from fer_ablate.cli.words import read_command
from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.config.key import short
from fer_ablate.data.faces import Rows
from fer_ablate.errors import Fault, UserError
from fer_ablate.execution.finished_network import CHANGEABLE as NETWORK_CHANGEABLE
from fer_ablate.execution.finished_network import FinishedNetwork, NetworkWords, find_network, read_overrides
from fer_ablate.execution.tested_images import images_by_role
from fer_ablate.extras import imported
from fer_ablate.inference.export import mlflow_model
from fer_ablate.inference.export.formats import (
    CHECK_BATCH,
    ONNX_FILE,
    PROGRAM_FILE,
    PYTORCH,
    ExportedFile,
    ExportImages,
    ExportSpec,
    export_network,
)
from fer_ablate.inference.export.metadata import ModelMetadata, metadata_of
from fer_ablate.inference.export.mlflow_model import EXAMPLE
from fer_ablate.inference.export.onnx_file import OPSETS, PACKAGES
from fer_ablate.inference.export.quantise import KINDS
from fer_ablate.shell import program, quoted
from fer_ablate.sizes import in_key, spelled
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.mlflow.attach import add_to_run
from fer_ablate.training.role_set import RoleSet

if TYPE_CHECKING:
    from fer_ablate.tracking.mlflow.models import LoggedNetwork

USAGE = """Write a finished network for other programs, and check it against PyTorch on real images.

  python -m fer_ablate export run=<id>                                   ONNX, for onnxruntime
  python -m fer_ablate export run=<id> format=torch                      torch.export, for PyTorch without this package
  python -m fer_ablate export run=<id> format=mlflow register=faces      a model in MLflow, here a registered one
  python -m fer_ablate export run=<id> format=all quantise=both          all of these, and ONNX in 8 bits
  python -m fer_ablate export ckpt=best.ckpt output=deployed data=folder data.path=my_faces

{words}
data, data.*, evaluation.crop, trainer.*, tracking.* and runs_dir may be given; the network is the one that was trained.

Every file takes faces (N, 1, H, W), or (N, 3, H, W) where it was trained in colour, as bytes, as they are stored, and gives
probabilities (N, K); preparation, normalisation and centre crop are inside. Every face is seen once: no test-time
augmentation."""

CHANGEABLE = (*NETWORK_CHANGEABLE, "tracking")

COLOURS = {1: "gray", 3: "colour"}
"""Channels -> word for such images."""


class Format(Enum):
    """What other programs can read."""

    onnx = "onnx"
    torch = "torch"
    mlflow = "mlflow"
    all = "all"


class Quantise(Enum):
    """How the ONNX network is brought to 8 bits."""

    none = "none"
    dynamic = "dynamic"
    static = "static"
    both = "both"


@dataclass(frozen=True, kw_only=True)
class ExportWords(NetworkWords):
    """Words of `export`."""

    format: Format = Format.onnx  # format of the files; mlflow logs a model in the run
    quantise: Quantise = Quantise.none  # ONNX in 8 bits as well, tested on the whole test split
    images: Annotated[int, Ge(1)] = 512  # real images for the check, and for static quantisation to measure its ranges on
    opset: Annotated[int, Interval(ge=OPSETS[0], le=OPSETS[1])] | None = (
        None  # version of ONNX's operators; by default torch's choice
    )
    register: str = ""  # name of a registered model in MLflow
    output: Path | None = None  # folder; by default `export` in the folder of the run

    @property
    def logs_model(self) -> bool:
        """Whether MLflow gets a model."""
        return self.format in (Format.mlflow, Format.all)

    @property
    def spec(self) -> ExportSpec:
        """The files to write."""
        quantised = KINDS if self.quantise is Quantise.both else tuple(kind for kind in KINDS if kind == self.quantise.value)
        # A model in MLflow is the program of torch.export with its metadata, so that file is written for it, too.
        return ExportSpec(self.format in (Format.onnx, Format.all), self.format is not Format.onnx, quantised, self.opset)


def run(arguments: Sequence[str]) -> int:
    """Print what was written, how it compares with PyTorch, and how to use it."""
    words, rest = read_command(arguments, ExportWords, USAGE)
    raise_faults(_contradictions(words))
    overrides = read_overrides(rest, ExportWords, CHANGEABLE)
    spec = words.spec
    if spec.onnx:  # before anything is read or computed
        for name in PACKAGES:
            imported(name)
    network = find_network(words, overrides)
    if words.logs_model:
        _require_model_store(network)
    trained = replace(network.trained, config=network.config)
    data = _data(network)
    metadata = metadata_of(network.trained, network.folder.header.key if network.folder else "")
    output = words.output or (network.folder.path if network.folder else trained.path.parent) / "export"
    images = _check_images(data, words)
    files = export_network(trained, metadata, spec, images, output, console.bar)
    _show(network, metadata, words, images, files)
    console.console.print()
    console.facts([*((file.path.name, str(file.path)) for file in files[1:]), *_uses(files, output)])
    if network.folder is not None:
        if words.logs_model:
            with console.bar("logging the model in MLflow"):
                program, faces = (metadata, output / PROGRAM_FILE), images.faces_u8
                tracking, runs_dir = overrides.config.tracking, overrides.runs_dir
                logged = mlflow_model.log_network(network.folder, trained, program, faces, tracking, runs_dir, words.register)
            console.facts(_model_facts(logged, network.folder, output))
        metrics = _metrics(files, whole=bool(spec.quantise))
        warning = add_to_run(network.folder, overrides.runs_dir, [file.path for file in files[1:]], "export", metrics)
        if warning:
            console.console.print(f"  note: {warning}", style="yellow")
    return 0


def _contradictions(words: ExportWords) -> list[Fault]:
    """Words that change nothing about the chosen format."""
    faults, name = [], words.format.value
    if words.register and not words.logs_model:
        faults.append(Fault("register", f"format={name} logs no model in MLflow.", "Give format=mlflow or format=all."))
    if words.quantise is not Quantise.none and not words.spec.onnx:
        faults.append(Fault("quantise", f"format={name} writes no ONNX file.", "Give format=onnx or format=all."))
    return faults


def _require_model_store(network: FinishedNetwork) -> None:
    """Refuse to log a model where there is no run or no store for it."""
    if network.folder is None:
        raise UserError(
            "A model in MLflow belongs to a run: give run=<id>, or format=onnx or format=torch for a checkpoint alone."
        )
    mlflow_model.require_store(network.folder, network.overrides.config.tracking)


def _data(network: FinishedNetwork) -> RoleSet:
    """The images of the run or those that were typed, of the size and channels that the exported network takes."""
    data, trained = images_by_role(network), network.trained
    if (trained.image_size, trained.channels) != (data.image_size, data.faces.channels):
        raise UserError(
            f"The network takes {COLOURS[trained.channels]} images of {spelled(trained.image_size)} pixels, the data has "
            f"{COLOURS[data.faces.channels]} ones of {spelled(data.image_size)}. They must be the same: give "
            f"data.size={in_key(trained.image_size).replace(' ', '')} data.channels={trained.channels}."
        )
    if not len(data.roles["test"]):
        raise UserError("The data has no test images to check the exported network on. Name other data by data=...")
    return data


def _check_images(data: RoleSet, words: ExportWords) -> ExportImages:
    """The whole test role if something is quantised, since 8 bits cost accuracy; else a part of it, spread over the whole."""
    test, train = data.roles["test"], data.roles["train"]
    static = "static" in words.spec.quantise
    rows = test if words.spec.quantise else _spread(test, words.images)
    known = train if static else train[:0]
    if static and not len(train):
        raise UserError("The data has no training images for quantise=static to measure ranges on. Give quantise=dynamic.")
    faces = data.faces.faces
    return ExportImages(faces[rows], data.faces.labels[rows], faces[_spread(known, words.images)])


def _spread(rows: Rows, number: int) -> Rows:
    """At most this number of rows, at equal distances."""
    if len(rows) <= number:
        return rows
    chosen: Rows = rows[np.linspace(0, len(rows) - 1, number).round().astype(np.int64)]
    return chosen


def _show(
    network: FinishedNetwork,
    metadata: ModelMetadata,
    words: ExportWords,
    images: ExportImages,
    files: Sequence[ExportedFile],
) -> None:
    """Print what the network takes and gives, and the table of the comparison."""
    trained, tta = network.trained, network.config.evaluation.tta
    height, width = metadata.image_size
    part = "all" if words.spec.quantise else "a part"
    compared = f"on {len(images.labels):,} real images of the test split, {part} of it"
    threads = console.counted(torch.get_num_threads(), "thread")
    facts = [
        ("checkpoint", f"{trained.path}, epoch {trained.epoch}" + (f", run {short(metadata.key)}" if metadata.key else "")),
        ("takes", f"(N, {metadata.channels}, {height}, {width}) uint8; preparation, normalisation and centre crop are inside"),
        ("gives", f"(N, {len(metadata.classes)}) probabilities of {', '.join(metadata.classes)}"),
        ("compared", f"{compared}; {threads}, batches of {CHECK_BATCH}, fp32 beside"),
    ]
    if tta is not TestTimeAugmentation.none:
        facts.append(("views", f"one of each face; the run was tested with {tta.name}, which averages more"))
    console.facts(facts)
    console.console.print()
    header = ["", "size", "8-bit layers", "images/s", "acc", "to PyTorch", "McNemar p", "changed", "largest difference"]
    console.table("", header, [_cells(file) for file in files])


def _cells(file: ExportedFile) -> list[str]:
    found = file.comparison
    cells = [file.title, _size(file.size), f"{file.layers[0]} of {file.layers[1]}" if file.layers else ""]
    cells += [f"{file.scores.images_per_second:,.0f}", f"{found.accuracy:.4f}"]
    if file.title == PYTORCH:
        return [*cells, "", "", "", ""]
    return [*cells, f"{100 * found.gain:+.2f} points", f"{found.p:.3f}", f"{found.changed:,}", f"{found.difference:.1e}"]


def _size(number: int) -> str:
    """Bytes as `412 KiB` or `1.9 MiB`."""
    return f"{number / 2**10:.0f} KiB" if number < 2**20 else f"{number / 2**20:.1f} MiB"


def _uses(files: Sequence[ExportedFile], output: Path) -> list[tuple[str, str]]:
    """Commands that use the files, one each."""
    names = [file.path.name for file in files]
    lines = []
    if ONNX_FILE in names:
        lines.append(("use ONNX", program("predict", f"ckpt={output / ONNX_FILE}", "source=photos/")))
    if PROGRAM_FILE in names:
        lines.append(("use torch", f"torch.export.load({str(output / PROGRAM_FILE)!r}).module()(faces)   (needs torch only)"))
    return lines


def _model_facts(logged: "LoggedNetwork", folder: RunFolder, output: Path) -> list[tuple[str, str]]:
    """Address of the model in MLflow, and a command that uses it."""
    state = "logged" if logged.new else "was there already"
    registered = f", version {logged.version} of the registered model" if logged.version else ""
    command = f"mlflow models predict -m {logged.uri} -i {quoted(str(output / EXAMPLE))} --content-type json --env-manager local"
    return [
        ("model", f"{logged.uri} {state}{registered}"),
        ("use MLflow", f"{STORE_VARIABLE}={quoted(folder.header.mlflow_uri or '')} {command}"),
    ]


def _metrics(files: Sequence[ExportedFile], whole: bool) -> dict[str, float]:
    """Metrics for MLflow; accuracies only if they are those of the whole test split, so that runs can be compared."""
    found = {}
    for file in files[1:]:
        name = f"export/{file.path.name}"
        found[f"{name}/images_per_second"] = file.scores.images_per_second
        found[f"{name}/largest_difference"] = file.comparison.difference
        if whole:
            found[f"{name}/acc"] = file.comparison.accuracy
    return found
