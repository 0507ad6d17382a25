"""Runs per hour of a sweep: the default launcher, which shares the machine among runs, against one run after another.

Runs are of the network and images of the defaults, cut to a few hundred images so that one takes seconds. What is measured is
the whole process, hence with imports and the table. Both take turns; with --neighbour another process keeps one core busy.
"""

import argparse
import tempfile
from contextlib import nullcontext

from common import FER_ABLATE, busy_neighbour, middle, seconds_of, table, where

LAUNCHERS = {"by default": [], "one after another": ["hydra/launcher=basic"]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--runs", type=int, default=6, help="runs of the sweep")
    parser.add_argument("--images", type=int, default=1400, help="training images of each run")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("words", nargs="*", help="further words for the command line, such as model=pisa")
    given = parser.parse_args()
    words = [
        f"data.synthetic.train={given.images}",
        f"trainer.max_epochs={given.epochs}",
        "trainer=cpu",
        f"seed={','.join(map(str, range(given.runs)))}",
        *given.words,
    ]
    print(where(given.repeats))
    rows = []
    for name, neighbour in (("alone", nullcontext), ("with one busy process", busy_neighbour)):
        times: dict[str, list[float]] = {launcher: [] for launcher in LAUNCHERS}
        with neighbour():
            for _ in range(given.repeats):
                for launcher, choice in LAUNCHERS.items():
                    with tempfile.TemporaryDirectory() as folder:
                        times[launcher].append(seconds_of([*FER_ABLATE, "-m", *words, *choice, f"runs_dir={folder}/runs"]))
        hourly = {launcher: 3600 * given.runs / middle(found) for launcher, found in times.items()}
        ratio = hourly["by default"] / hourly["one after another"]
        rows.append([name, *(f"{hourly[launcher]:.0f}" for launcher in LAUNCHERS), f"{ratio:.2f}"])
    print(table(["machine", *(f"{launcher}, runs/h" for launcher in LAUNCHERS), "ratio"], rows))


if __name__ == "__main__":
    main()
