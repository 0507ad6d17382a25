"""The networks that `predict` names as one scorer of faces, on this machine instead of the one that they were trained on."""

from dataclasses import replace

import torch

from fer_ablate.cli import console
from fer_ablate.cli.command_line import raise_faults
from fer_ablate.config.choices import Precision, TestTimeAugmentation
from fer_ablate.config.overrides import key_of
from fer_ablate.config.schema import TrainerConfig
from fer_ablate.errors import Fault
from fer_ablate.execution.finished_network import FinishedNetwork, NetworkOverrides, NetworkWords, find_networks
from fer_ablate.extras import extra_named
from fer_ablate.inference.scorer import MeanScorer, Scorer, TorchScorer, is_onnx, load_scorer
from fer_ablate.paths import expanded
from fer_ablate.training import hardware
from fer_ablate.training.checks import tested_view_faults
from fer_ablate.training.devices import hardware_faults

with extra_named():
    import cv2


def open_scorer(words: NetworkWords, overrides: NetworkOverrides, detects_faces: bool) -> Scorer:
    """Load the networks and print what they are; the probabilities of several are averaged.

    Args:
        words: name runs, `.ckpt` files and `.onnx` files.
        overrides: what was typed beside the words.
        detects_faces: whether faces are detected at the same time, which takes processor cores as well.

    Raises:
        FaultyConfigError: this machine or a network cannot be used as typed.
        UserError: a network is missing, unfinished, damaged or of another version, or the networks know different classes.
    """
    trainer = overrides.config.trainer
    raise_faults(hardware_faults(trainer))
    machine = hardware.choose_hardware(trainer)
    _share_threads(trainer, detects_faces)
    onnx = [expanded(name) for name in words.ckpt if is_onnx(name)]
    if onnx:
        raise_faults(_unheeded(overrides))
    members: list[Scorer] = [load_scorer(path, machine, threads=torch.get_num_threads()) for path in onnx]
    others = replace(words, ckpt=tuple(name for name in words.ckpt if not is_onnx(name)))
    # Without any name at all, `find_networks` explains how to name one.
    for network in find_networks(others, overrides) if others.named or not onnx else []:
        members.append(_torch_scorer(network))
    console.facts([("network ", str(path)) for path in onnx])
    return members[0] if len(members) == 1 else MeanScorer(members)


def _unheeded(overrides: NetworkOverrides) -> list[Fault]:
    """Typed settings of the test that an ONNX file does not heed."""
    remedy = "Leave it out, or name the run or its .ckpt file in place of the ONNX file."
    keys = dict.fromkeys(key for key in map(key_of, overrides.overrides) if key.partition(".")[0] == "evaluation")
    return [Fault(key, "an ONNX file sees each face once, as it was exported.", remedy) for key in keys]


def _share_threads(trainer: TrainerConfig, detects_faces: bool) -> None:
    """Divide the processor cores among PyTorch and OpenCV."""
    hardware.use_threads(trainer)
    threads = torch.get_num_threads()
    if trainer.num_threads is None and detects_faces:
        # Detection takes about as long as the network and runs at the same time, so one core is left to it.
        torch.set_num_threads(max(1, threads - 1))
    cv2.setNumThreads(max(1, threads // 2))


def _torch_scorer(network: FinishedNetwork) -> Scorer:
    trained, tta = replace(network.trained, config=network.config), network.config.evaluation.tta
    raise_faults(tested_view_faults(network.config, trained.image_size))
    machine = _machine(network)
    views = f", views {tta.name}" if tta is not TestTimeAugmentation.none else ""
    console.facts([("network ", f"{trained.path}, epoch {trained.epoch}{views}")])
    if note := _format_note(network, machine.precision):
        console.facts([("", note)])
    return TorchScorer(trained, machine, tta)


def _machine(network: FinishedNetwork) -> hardware.Hardware:
    """This machine, with the number format of the run if it can compute in it; 16-bit floats need a GPU."""
    trainer = network.config.trainer
    if hardware_faults(trainer):
        trainer = replace(trainer, precision=Precision.auto)
    return hardware.choose_hardware(trainer)


def _format_note(network: FinishedNetwork, used: str) -> str:
    """A sentence if the run was tested in another number format than the one in use; else, or if unknown, an empty text."""
    tested = network.folder.result.environment.get("precision") if network.folder is not None else None
    if tested is None or tested == used:
        return ""
    return f"computed in {used} here and in {tested} in its run, so probabilities may differ in the third digit"
