"""`evaluate`: finished weights tested again, with another split, averaging or data set."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np

from fer_ablate.cli import console
from fer_ablate.cli.words import read_command
from fer_ablate.config.binding import read_part
from fer_ablate.errors import UserError
from fer_ablate.execution.finished_network import FinishedNetwork, NetworkWords, find_network, read_overrides
from fer_ablate.execution.tested_images import NetworkImages, open_images, show_notes
from fer_ablate.metrics import SplitResult
from fer_ablate.tracking.disk.files import write_json
from fer_ablate.training import hardware
from fer_ablate.training.assembly import build_evaluator
from fer_ablate.training.evaluation import split_results
from fer_ablate.training.own_metrics import build_metrics

USAGE = """Test a finished run again.

  python -m fer_ablate evaluate run=<id>                          as it was tested
  python -m fer_ablate evaluate run=<id> evaluation.tta=ten_crop evaluation.crop=40
  python -m fer_ablate evaluate run=<id> data.roles=swapped       the other official split as test
  python -m fer_ablate evaluate ckpt=best.ckpt data=folder data.path=my_faces

{words}
data, data.*, evaluation.*, trainer.* and runs_dir may be given; the network is the one that was trained.

With other data than those of the training
- classes are matched by name, in any order and spelling (Happiness is happy); images of classes that the network does not know
  are left out, and an image that it assigns to a class that the data lack counts as a mistake;
- images are brought to the size and channels that the network was trained on (data.size=..., data.fit=..., data.channels=...);
- the test split is tested; all images where there is none.
`across` tests several networks on several data sets and prints one table."""


def run(arguments: Sequence[str]) -> int:
    """Print the scores, and keep them in the folder of the run."""
    words, rest = read_command(arguments, NetworkWords, USAGE)
    if len(words.named) > 1:
        raise UserError("evaluate tests one network. `across run=... run=... data=...` tests several, on one data set or more.")
    network = find_network(words, read_overrides(rest, NetworkWords))
    images = open_images(network)
    splits = _scores(network, images)
    facts = {"checkpoint": str(network.trained.path), "epoch": str(network.trained.epoch), **images.protocol}
    console.facts(list(facts.items()))
    console.console.print()
    show_notes(images)
    console.console.print()
    console.split_table(splits)
    console.console.print()
    console.class_table(splits, "test")
    if network.folder is not None:
        # Named by its time, so that evaluations under several settings stand side by side.
        file = network.folder.path / "evaluations" / f"{datetime.now(UTC):%Y%m%dT%H%M%S-%f}.json"
        scores = {name: asdict(result) for name, result in splits.items()}
        write_json(file, {"protocol": facts, "data": images.described(), "splits": scores})
        console.console.print()
        console.facts([("kept", str(file))])
    return 0


def _scores(network: FinishedNetwork, images: NetworkImages) -> dict[str, SplitResult]:
    """Scores on every role and official split of the data."""
    data, parts = images.data, images.parts
    evaluator = build_evaluator(images.config, data.image_size, hardware.choose_hardware(images.config.trainer))
    rows = np.concatenate(list(parts.values()))
    with console.bar("testing") as progress:
        predictions = evaluator.predict(network.trained.network, network.trained.preprocess, data.faces, rows, progress)
    # Only those whose code may run here: the file of a network names metrics, and whoever types the command allows them.
    config = network.trained.config
    named = {
        name: part for name, part in config.evaluation.metrics.items() if read_part(part)[0].partition(".")[0] in config.plugins
    }
    own = build_metrics(named, len(network.trained.classes), config.plugins)
    return split_results(predictions, parts, network.trained.classes, own.values)
