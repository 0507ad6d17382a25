"""Wall time of commands that train nothing, whole process: help, plan, table, and a study typed again that is finished.

The study is a small one of its own in a temporary folder, or the one that --study names in --runs-dir, where it must be finished.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from common import FER_ABLATE, SMALL, middle, seconds_of, table, where


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--study", help="a finished study, such as quickstart")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.study:
            words = [f"study={given.study}", f"runs_dir={given.runs_dir}"]
        else:
            words = [*SMALL, "trainer.max_epochs=1", "optimizer.lr=0.1,0.01", "seed=0,1,2", f"runs_dir={folder}/runs"]
        # Trains what is missing, and leaves the output that the last command finds.
        seconds_of([*FER_ABLATE, "-m", *words])
        commands = {
            "python -c 'import hydra'": [sys.executable, "-c", "import hydra"],
            "--help": [*FER_ABLATE, "--help"],
            "a wrong verb": [sys.executable, "-c", "from fer_ablate.cli.main import main; main(['tabel'])"],
            "plan": [*FER_ABLATE, "plan", *words],
            "table": [*FER_ABLATE, "table", *words],
            "the finished study again": [*FER_ABLATE, "-m", *words],
        }
        print(where(given.repeats))
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(given.repeats):
            for name, command in commands.items():
                times[name].append(seconds_of(command))
    first = middle(times["python -c 'import hydra'"])
    rows = [[name, f"{middle(found):.2f}", f"{middle(found) / first:.1f}"] for name, found in times.items()]
    print(table(["command", "seconds", "times `import hydra`"], rows))


if __name__ == "__main__":
    main()
