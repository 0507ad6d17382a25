"""Runs per hour of a sweep: the default launcher, which shares the machine among runs, against one run after another.

Runs are of the network and images of the defaults, cut to a few hundred images so that one takes seconds. What is measured is
the whole process, hence with imports and the table. Launchers and situations (alone, beside a process that keeps one core busy)
take turns, until all repetitions are done or no further one would end within --minutes.
"""

import argparse
import tempfile
from contextlib import nullcontext
from time import perf_counter

from common import FER_ABLATE, busy_neighbour, middle, seconds_of, table, where

LAUNCHERS = {"by default": [], "one after another": ["hydra/launcher=basic"]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=6.0, help="no repetition is begun that would end later")
    parser.add_argument("--runs", type=int, default=4, help="runs of the sweep")
    parser.add_argument("--images", type=int, default=1400, help="training images of each run")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("words", nargs="*", help="further words for the command line, such as model=pisa")
    given = parser.parse_args()
    words = [
        f"data.synthetic.train={given.images}",
        f"trainer.max_epochs={given.epochs}",
        "trainer=cpu",
        f"seed={','.join(map(str, range(given.runs)))}",
        *given.words,
    ]
    place = where(given.repeats).rpartition(";")[0]
    situations = {"alone": nullcontext, "with one busy process": busy_neighbour}
    times: dict[tuple[str, str], list[float]] = {}
    began = perf_counter()
    for done in range(given.repeats):
        taken = perf_counter() - began
        if done and taken * (done + 1) / done > 60 * given.minutes:
            break
        for situation, neighbour in situations.items():
            with neighbour():
                for launcher, choice in LAUNCHERS.items():
                    with tempfile.TemporaryDirectory() as folder:
                        seconds = seconds_of([*FER_ABLATE, "-m", *words, *choice, f"runs_dir={folder}/runs"])
                    times.setdefault((situation, launcher), []).append(seconds)
                    print(f"{situation}, {launcher}: {seconds:.1f} s", flush=True)
    rows = []
    for situation in situations:
        hourly = [3600 * given.runs / middle(times[situation, launcher]) for launcher in LAUNCHERS]
        # Pairs were measured right after each other, so their ratios vary less than the ratio of the medians.
        ratio = middle([basic / usual for usual, basic in zip(*(times[situation, each] for each in LAUNCHERS), strict=True)])
        rows.append([situation, *(f"{each:.0f}" for each in hourly), f"{ratio:.2f}"])
    print(f"{place}; medians of {len(times['alone', 'by default'])}; {given.runs} runs of {given.epochs} epochs")
    print(table(["machine", *(f"{launcher}, runs/h" for launcher in LAUNCHERS), "ratio"], rows))


if __name__ == "__main__":
    main()
