"""Moments of a study at which it is killed: what to wait for, and the phase that the files on disk show."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.history import read_history
from fer_ablate.tracking.disk.scan import study_path

RUNS = 6
EPOCHS = 3
STUDY = "chaos/table1"
"""A table of a document, since `results` exports those only."""

FILE = f"""base: [model=small, model.width=0.25, model.dropout=0, data=synthetic, data.synthetic.train=140, data.synthetic.val=70,
  data.synthetic.test=70, trainer=cpu, trainer.num_threads=1, trainer.batch_size=32, trainer.max_epochs={EPOCHS}]
baseline: small
protocol: {{roles: official, tta: none}}
seeds: [0, 1]
rows:
  - {{label: small}}
  - {{label: -1 Conv, overrides: [model.conv_layers=4]}}
  - {{label: SGD, overrides: [optimizer=sgd_nesterov, optimizer.lr=2e-2]}}
"""
"""Six runs of about a second each."""

Reached = Callable[[], bool]
"""Whether the moment has come; called again and again."""


class Place:
    """The folders of one study.

    Args:
        root: below which they are.
        output: file for the output of all commands; None: below `root`.
        cache: of parsed images; None: below `root`.
    """

    def __init__(self, root: Path, output: Path | None = None, cache: Path | None = None) -> None:
        self.root = root
        self.runs = root / "runs"
        self.output = output or root / "output.txt"
        self.cache = cache or root / "cache"

    @property
    def docs(self) -> Path:
        """The folder that `results` writes into."""
        return self.root / "docs"

    @property
    def folders(self) -> list[Path]:
        """The folders of the runs that were begun."""
        return sorted(file.parent for file in self.runs.glob("*/*-s?-*/config.yaml"))

    @property
    def table(self) -> Path:
        """The folder of the table; it need not exist."""
        return study_path(self.runs, STUDY, STUDY)

    @property
    def words(self) -> list[str]:
        """The words that say where the study is, and what it is."""
        return [
            "--config-dir",
            str(self.root / "conf"),
            f"study={STUDY}",
            f"runs_dir={self.runs}",
            f"data.cache_dir={self.cache}",
        ]

    def make(self) -> "Place":
        """Write the study's file; returns the place."""
        file = self.root / "conf" / "study" / f"{STUDY}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(FILE)
        return self

    def owners(self) -> list[int]:
        """Numbers of the processes that train."""
        found = []
        for file in self.runs.glob("*/*/run.owner"):
            try:
                words = file.read_text().split()
            except OSError:
                continue
            found += [int(words[1])] if words[:1] == ["process"] else []
        return found


@dataclass(frozen=True)
class Aim:
    """A moment that is waited for.

    Args:
        watch: from the place, the time of the start and a random generator to a function that says whether it has come.
        seconds: longest time from then to the kill; the actual one is drawn.
    """

    watch: Callable[[Place, float, random.Random], Reached]
    seconds: float


def _at_once(_place: Place, _since: float, _rng: random.Random) -> Reached:
    return lambda: True


def _reading_images(place: Place, _since: float, _rng: random.Random) -> Reached:
    return lambda: any(place.cache.glob("*.part*"))


def _starting(place: Place, since: float, _rng: random.Random) -> Reached:
    return lambda: any(_newer(file, since) for file in [*place.runs.glob("*/*.study.json"), *place.runs.glob("multirun/specs-*")])


def _training(place: Place, _since: float, rng: random.Random) -> Reached:
    # Not far from where the last kill was, so that something is left for the next ones.
    goal = min(_epochs(place) + rng.randint(0, EPOCHS), RUNS * EPOCHS - 1)
    return lambda: bool(place.owners()) and _epochs(place) >= goal


def _partial(pattern: str, most: int) -> Callable[[Place, float, random.Random], Reached]:
    def watch(place: Place, _since: float, rng: random.Random) -> Reached:
        number, seen = rng.randint(1, most), set()

        def reached() -> bool:
            seen.update((file.name, file.parent.name) for file in place.runs.glob(pattern) if file.name.endswith(".partial"))
            return len(seen) >= number

        return reached

    return watch


def _results(place: Place, _since: float, rng: random.Random) -> Reached:
    goal = len(_finished(place)) + 1
    return lambda: len(_finished(place)) >= goal


def _drawing(place: Place, since: float, rng: random.Random) -> Reached:
    number = rng.randint(1, 20)
    return lambda: sum(_newer(file, since) for file in place.table.glob("*")) >= number


def _page(place: Place, since: float, _rng: random.Random) -> Reached:
    return lambda: any(_newer(file, since) for file in place.runs.glob("*/*/*report.html*"))


def _mlflow(place: Place, _since: float, rng: random.Random) -> Reached:
    number, was, count = rng.randint(1, 20), False, 0
    journal = place.runs / "mlflow.db-journal"

    def reached() -> bool:
        nonlocal was, count
        now = journal.exists()
        count += now and not was
        was = now
        return count >= number

    return reached


def _uploading(place: Place, _since: float, rng: random.Random) -> Reached:
    files = "artifacts/*/*/artifacts/**/*.*"
    goal = sum(1 for _ in place.runs.glob(files)) + rng.randint(1, 20)
    return lambda: sum(1 for _ in place.runs.glob(files)) >= goal


AIMS = {
    "composing": Aim(_at_once, 8.0),
    "image cache": Aim(_reading_images, 0.2),
    "starting workers": Aim(_starting, 6.0),
    "training": Aim(_training, 1.0),
    "checkpoint": Aim(_partial("*/*/checkpoints/.*", 3), 0.0),
    "result and pictures": Aim(_results, 1.5),
    "file being written": Aim(_partial("*/*/.*", 4), 0.0),
    "tables and plots": Aim(_drawing, 0.3),
    "page": Aim(_page, 0.2),
    "MLflow database": Aim(_mlflow, 0.02),
    "MLflow files": Aim(_uploading, 0.05),
    "any": Aim(_at_once, 40.0),
}
"""Name -> moment."""


def phase(place: Place, since: float) -> str:
    """The phase of a study that was started at the time `since`, as far as the files on disk show it."""
    if any(place.cache.glob("*.part*")):
        return "image cache"
    begun = [file for file in [*place.runs.glob("*/*.study.json"), *place.runs.glob("multirun/specs-*")] if _newer(file, since)]
    folders = place.folders
    if len(_finished(place)) < RUNS and not begun and not any(_newer(folder / "run.json", since) for folder in folders):
        return "composing"
    if any(place.runs.glob("*/*/checkpoints/.*.partial")):
        return "checkpoint"
    if (place.runs / "mlflow.db-journal").exists():
        return "MLflow database"
    if len(_finished(place)) < RUNS:
        if any(place.runs.glob("*/*/predictions.npz")) and any(
            (folder / "predictions.npz").is_file() and not (folder / "result.json").is_file() for folder in folders
        ):
            return "result"
        return "training" if place.owners() else "starting workers"
    if any(_newer(file, since) for file in place.runs.glob("*/*/*report.html")):
        return "MLflow files"
    if any(place.runs.glob("*/*/.report.html*")):
        return "page"
    if any(_newer(file, since) for file in place.table.glob("*")):
        return "tables and plots"
    return "before the tables"  # of a study with nothing left to train: composing, or drawing pictures


def await_moment(reached: Reached, delay: float, ended: Callable[[], bool]) -> bool:
    """Wait for a moment and then for `delay` seconds; returns whether the command still runs then."""
    while not reached():
        if ended():
            return False
        time.sleep(0.002)  # a file is half written for some milliseconds only
    until = time.monotonic() + delay
    while time.monotonic() < until:
        if ended():
            return False
        time.sleep(min(0.05, max(0.0, until - time.monotonic())))
    return not ended()


def _finished(place: Place) -> list[Path]:
    return list(place.runs.glob("*/*/result.json"))


def _epochs(place: Place) -> int:
    count = 0
    for file in place.runs.glob("*/*/metrics.csv"):
        try:
            count += len(read_history(file))
        except UserError:
            continue  # it is replaced at this moment
    return count


def _newer(path: Path, since: float) -> bool:
    try:
        return path.stat().st_mtime >= since
    except OSError:
        return False
