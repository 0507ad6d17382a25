"""`evaluate`: finished weights tested again, with another split, averaging or data set."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.commands import console
from fer_ablate.commands.request import allow_plugins, parse, raise_faults, sweep_faults
from fer_ablate.commands.usage import asks_for_help
from fer_ablate.config.binding import plugin_faults
from fer_ablate.config.compose import composed, composer, from_yaml, to_config
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.config.schema import Config
from fer_ablate.data import load
from fer_ablate.data.transform import build_preprocess
from fer_ablate.errors import Fault, UserError
from fer_ablate.metrics import SplitResult
from fer_ablate.tracking.files import write_json
from fer_ablate.tracking.lookup import find_run
from fer_ablate.training import checkpoints, hardware
from fer_ablate.training.assembly import RoleSet, build_examiner, build_formatted_network, protocol, role_set
from fer_ablate.training.checks import check_images
from fer_ablate.training.evaluation import split_results

USAGE = """Test a finished run again.

  python -m fer_ablate evaluate run=<id>                          as it was tested
  python -m fer_ablate evaluate run=<id> evaluation.tta=ten_crop evaluation.crop=40
  python -m fer_ablate evaluate run=<id> data.roles=swapped       the other official split as test
  python -m fer_ablate evaluate ckpt=best.ckpt data=folder data.path=my_faces

run=    key (its first digits do), MLflow id or folder of a run; ckpt= a checkpoint file
data, data.*, evaluation.*, trainer.* and runs_dir may be given; the network is the one that was trained."""

CHANGEABLE = ("data", "evaluation", "trainer", "runs_dir", "plugins")
"""Sections that do not change what was trained."""


def run(arguments: Sequence[str]) -> int:
    """Print the scores and keep them beside the run."""
    console.quiet_libraries()
    words, rest = _own_words(arguments)
    if asks_for_help(arguments):
        print(USAGE)
        return 0
    if len(words) != 1:
        raise UserError("Give either run=<id> or ckpt=<file>; `evaluate --help` shows how.")
    parsed = parse(rest)
    overrides, config_dir = list(parsed.overrides), Path(parsed.config_dir) if parsed.config_dir else None
    allow_plugins(overrides)
    raise_faults(_unchangeable(overrides))
    raise_faults(diagnose(overrides, config_dir).faults)
    raise_faults(sweep_faults(overrides))
    path = _checkpoint(words, overrides)
    checkpoint = checkpoints.read(path)
    description = checkpoint["fer_ablate"]
    config = _changed(_stored(description["config"], path), overrides, config_dir)
    raise_faults([*plugin_faults(config, overrides), *check_images(config), *hardware.check(config.trainer)])
    hardware.use_threads(config.trainer)
    with console.bar("reading the images") as tell:
        data = role_set(config, load.load_faces(config.data, tell), int(description["image_size"]))
    splits = _tested(config, data, checkpoint, path)
    told = {"checkpoint": str(path), "epoch": str(description["epoch"]), **protocol(config, data.image_size)}
    console.facts(list(told.items()))
    console.console.print()
    console.split_table(splits)
    console.console.print()
    console.class_table(splits, "test")
    written = path.parent.parent / "evaluations" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    if "run" in words:
        write_json(written, {"protocol": told, "splits": {name: asdict(result) for name, result in splits.items()}})
        console.console.print()
        console.facts([("kept", str(written))])
    return 0


def _own_words(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    words = dict(text.split("=", 1) for text in arguments if text.startswith(("run=", "ckpt=")))
    return words, [text for text in arguments if not text.startswith(("run=", "ckpt="))]


def _unchangeable(overrides: Sequence[str]) -> list[Fault]:
    keys = [text.lstrip("+").split("=", 1)[0] for text in overrides]
    remedy = f"What can change here: {', '.join(CHANGEABLE)}. Train another run for the rest."
    return [Fault(key, "was settled when the run was trained.", remedy) for key in keys if key.split(".", 1)[0] not in CHANGEABLE]


def _checkpoint(words: dict[str, str], overrides: Sequence[str]) -> Path:
    if "ckpt" in words:
        return Path(words["ckpt"])
    with composer():
        runs_dir = to_config(composed([text for text in overrides if text.startswith("runs_dir=")])).runs_dir
    folder = find_run(Path(runs_dir), words["run"])
    if folder.status != "finished":
        raise UserError(f"Run {folder.path} is not finished. Start its command again: it resumes.")
    return folder.best_checkpoint


def _stored(text: str, path: Path) -> Config:
    try:
        return from_yaml(text)
    except OmegaConfBaseException as error:
        problem = str(error).splitlines()[0]
        raise UserError(
            f"{path}: its config is not one of this version ({problem}). Evaluate it with the version of then."
        ) from error


def _changed(stored: Config, overrides: Sequence[str], config_dir: Path | None) -> Config:
    """The stored config with the overrides on top; a chosen data group replaces the stored section."""
    groups = [text for text in overrides if text.startswith(("data=", "trainer="))]
    tree = OmegaConf.structured(stored)
    with composer(config_dir):
        fresh = composed(overrides)
    for group in groups:
        section = group.split("=", 1)[0]
        tree[section] = fresh[section]
    for text in overrides:
        key = text.lstrip("+").split("=", 1)[0]
        if text not in groups:
            OmegaConf.update(tree, key, OmegaConf.select(fresh, key))
    return to_config(tree)


def _tested(config: Config, data: RoleSet, checkpoint: dict[str, object], path: Path) -> dict[str, SplitResult]:
    """Scores on every role and official split of the data."""
    description = checkpoint["fer_ablate"]
    assert isinstance(description, dict)
    classes = tuple(json.loads(description["classes"]))
    if classes != data.faces.classes:
        raise UserError(
            f"The network knows the classes {', '.join(classes)}; the data has {', '.join(data.faces.classes)}. "
            "They must be the same, in this order."
        )
    network = build_formatted_network(config, int(description["image_size"]), len(classes))
    checkpoints.load_weights(network, checkpoint, path)
    examiner = build_examiner(config, data.image_size, hardware.choose(config.trainer))
    rows = np.concatenate(list(data.tested.values()))
    with console.bar("testing") as tell:
        predictions = examiner.predict(network, build_preprocess(config, data.image_size), data.faces, rows, tell)
    return split_results(predictions, data.tested, classes)
