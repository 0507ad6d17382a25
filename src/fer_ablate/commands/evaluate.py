"""`evaluate`: finished weights tested again, with another split, averaging or data set."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np

from fer_ablate.commands import console
from fer_ablate.commands.subject import NAMING, Subject, images_of, own_words, settings, subject
from fer_ablate.commands.usage import asks_for_help
from fer_ablate.errors import UserError
from fer_ablate.metrics import SplitResult
from fer_ablate.tracking.files import write_json
from fer_ablate.training import hardware
from fer_ablate.training.assembly import RoleSet, build_examiner, protocol
from fer_ablate.training.evaluation import split_results

USAGE = """Test a finished run again.

  python -m fer_ablate evaluate run=<id>                          as it was tested
  python -m fer_ablate evaluate run=<id> evaluation.tta=ten_crop evaluation.crop=40
  python -m fer_ablate evaluate run=<id> data.roles=swapped       the other official split as test
  python -m fer_ablate evaluate ckpt=best.ckpt data=folder data.path=my_faces

run=    key (its first digits do), row of a study ('quickstart/-1 Conv'), MLflow id or folder of a run; ckpt= a checkpoint file
data, data.*, evaluation.*, trainer.* and runs_dir may be given; the network is the one that was trained."""


def run(arguments: Sequence[str]) -> int:
    """Print the scores and keep them beside the run."""
    console.quiet_libraries()
    if asks_for_help(arguments):
        print(USAGE)
        return 0
    words, rest = own_words(arguments, NAMING)
    if not words:
        raise UserError("Give either run=<id> or ckpt=<file>; `evaluate --help` shows how.")
    about = subject(words, settings(rest, NAMING))
    config, trained = about.config, about.trained
    data = images_of(about)
    splits = _tested(about, data)
    told = {"checkpoint": str(trained.path), "epoch": str(trained.epoch), **protocol(config, data.image_size)}
    console.facts(list(told.items()))
    console.console.print()
    console.split_table(splits)
    console.console.print()
    console.class_table(splits, "test")
    if about.folder is not None:
        written = about.folder.path / "evaluations" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
        write_json(written, {"protocol": told, "splits": {name: asdict(result) for name, result in splits.items()}})
        console.console.print()
        console.facts([("kept", str(written))])
    return 0


def _tested(about: Subject, data: RoleSet) -> dict[str, SplitResult]:
    """Scores on every role and official split of the data."""
    examiner = build_examiner(about.config, data.image_size, hardware.choose(about.config.trainer))
    rows = np.concatenate(list(data.tested.values()))
    with console.bar("testing") as tell:
        predictions = examiner.predict(about.trained.network, about.trained.preprocess, data.faces, rows, tell)
    return split_results(predictions, data.tested, about.trained.classes)
