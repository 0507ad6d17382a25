"""`evaluate`: finished weights tested again, with another split, averaging or data set."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from fer_ablate.cli import console
from fer_ablate.cli.usage import asks_for_help
from fer_ablate.errors import UserError
from fer_ablate.execution.finished_network import NAMING, Subject, own_words, settings, subject
from fer_ablate.execution.tested_images import Images, images, tell_notes
from fer_ablate.metrics import SplitResult
from fer_ablate.tracking.disk.files import write_json
from fer_ablate.training import hardware
from fer_ablate.training.assembly import build_examiner
from fer_ablate.training.evaluation import split_results

USAGE = """Test a finished run again.

  python -m fer_ablate evaluate run=<id>                          as it was tested
  python -m fer_ablate evaluate run=<id> evaluation.tta=ten_crop evaluation.crop=40
  python -m fer_ablate evaluate run=<id> data.roles=swapped       the other official split as test
  python -m fer_ablate evaluate ckpt=best.ckpt data=folder data.path=my_faces

run=    key (its first digits do), row of a study ('quickstart/-1 Conv'), MLflow id or folder of a run; ckpt= a checkpoint file
data, data.*, evaluation.*, trainer.* and runs_dir may be given; the network is the one that was trained.

Of other data than those of the training
- classes are matched by name, in any order and spelling (Happiness is happy); images of classes that the network does not know
  are left out, and what it takes for a class that the data lack is a mistake;
- images are brought to the size and channels that the network was trained on (data.size=..., data.fit=..., data.channels=...);
- the test split is tested; all images where there is none.
`across` tests several networks on several data sets and prints one table."""


def run(arguments: Sequence[str]) -> int:
    """Print the scores and keep them beside the run."""
    console.quiet_libraries()
    if asks_for_help(arguments):
        print(USAGE)
        return 0
    words, rest = own_words(arguments, NAMING)
    if not words:
        raise UserError("Give either run=<id> or ckpt=<file>; `evaluate --help` shows how.")
    if sum(map(len, words.values())) > 1:
        raise UserError("evaluate tests one network. `across run=... run=... data=...` tests several, on one data set or more.")
    about = subject(words, settings(rest, NAMING))
    trained = about.trained
    seen = images(about)
    splits = _tested(about, seen)
    told = {"checkpoint": str(trained.path), "epoch": str(trained.epoch), **seen.protocol}
    console.facts(list(told.items()))
    console.console.print()
    tell_notes(seen)
    console.console.print()
    console.split_table(splits)
    console.console.print()
    console.class_table(splits, "test")
    if about.folder is not None:
        written = about.folder.path / "evaluations" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
        kept = {"protocol": told, "data": about_data(seen), "splits": {name: asdict(result) for name, result in splits.items()}}
        write_json(written, kept)
        console.console.print()
        console.facts([("kept", str(written))])
    return 0


def about_data(seen: Images) -> dict[str, Any]:
    """What was tested on, as plain values."""
    data, matched = seen.data, seen.matched
    height, width = data.image_size
    return {
        "source": seen.config.data.source.name,
        "path": seen.config.data.path,
        "digest": data.faces.digest,
        "trained_on": seen.trained_on,
        "tested": seen.tested,
        "size": [height, width],
        "channels": data.faces.channels,
        "classes": matched.classes,
        "left_out": matched.left_out,
        "missing": list(matched.missing),
        "not_read": dict(data.faces.left_out),
        "notes": [note for note in (seen.reading, *data.notes) if note],
    }


def _tested(about: Subject, seen: Images) -> dict[str, SplitResult]:
    """Scores on every role and official split of the data."""
    data, parts = seen.data, seen.parts
    examiner = build_examiner(seen.config, data.image_size, hardware.choose(seen.config.trainer))
    rows = np.concatenate(list(parts.values()))
    with console.bar("testing") as tell:
        predictions = examiner.predict(about.trained.network, about.trained.preprocess, data.faces, rows, tell)
    return split_results(predictions, parts, about.trained.classes)
