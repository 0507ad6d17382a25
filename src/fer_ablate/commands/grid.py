"""What became of the runs of a grid, whichever process each of them ran in."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.commands import console
from fer_ablate.errors import UserError

FAILED = 1
"""Exit code of a run that ended with a `UserError`."""


@dataclass(frozen=True)
class Grid:
    """Runs told apart by number, each leaving one file: launchers start them in processes that share nothing else.

    Args:
        folder: of the files.
        typed: the overrides of the command line, of which each run takes one value.
    """

    folder: Path
    typed: tuple[str, ...]

    def run(self, number: int, overrides: Sequence[str], job: Callable[[], int]) -> None:
        """Do one run; if it fails, tell so and let the others go on.

        Args:
            number: from 0.
            overrides: of this run.
            job: returns an exit code, or raises `UserError`.
        """
        label = " ".join(text for text in overrides if text not in self.typed) or "(all defaults)"
        console.console.print(f"\nrun {number + 1} of the grid: {label}", style="bold")
        code, problem = guarded(job)
        content = {"label": label, "code": code, "problem": problem}
        (self.folder / f"{number:06}.json").write_text(json.dumps(content), encoding="utf-8")

    def finish(self) -> int:
        """Say how many runs are done, and once more which failed and why; the worst exit code."""
        ended = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(self.folder.glob("*.json"))]
        failed = [run for run in ended if run["code"]]
        console.console.print(
            f"\n  {console.counted(len(ended), 'run')} of the grid: {len(ended) - len(failed)} done, {len(failed)} failed"
        )
        for run in failed:
            print(f"fer_ablate: {run['label']}: {run['problem']}", file=sys.stderr)
        return max((run["code"] for run in ended), default=0)


def guarded(job: Callable[[], int]) -> tuple[int, str]:
    """Exit code of a job, and what was wrong; that has been told by then."""
    try:
        return job(), ""
    except UserError as error:
        sys.stdout.flush()  # in a pipe the message would otherwise stand above what came before it
        print(f"fer_ablate: {error}", file=sys.stderr, flush=True)
        return FAILED, str(error)
