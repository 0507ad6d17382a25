"""`path`: from the baseline to another row, one change at a time; or the full recipe with one change taken back at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from fer_ablate.cli.words import read_command

USAGE = """From the baseline of a study to another row, one change at a time, at each step the one that is best on val.

  python -m fer_ablate path study=quickstart to=SGD                 trains what is missing; continues when it is called again
  python -m fer_ablate path study=quickstart                        to the row that is best on val
  python -m fer_ablate path study=quickstart to=SGD reverse=true    all of SGD, and a row for each change that is taken back
  python -m fer_ablate path study=quickstart to=SGD plan=true       only says what would be trained
  python -m fer_ablate path experiment=mobile_search                from the fixed settings of a search to its best trial

At each step every change that is left is tried on top of those made before, with all seeds of the study. A row whose runs are
finished is not trained again, whatever its name was. Test scores decide nothing: they show what the steps chosen on val gain.

{words}
Beside these, everything that `-m study=...` takes; of a search what `-m` takes."""


@dataclass(frozen=True, kw_only=True)
class PathWords:
    """Words of `path`."""

    to: str = "best"  # label of the row at the end, or number of a trial; best: chosen on val
    reverse: bool = False  # whether changes are taken back from the end, one in each row
    plan: bool = False  # whether to say only what would be trained


def run(arguments: Sequence[str]) -> int:
    """Train what the path lacks, and show it."""
    words, rest = read_command(arguments, PathWords, USAGE)
    from fer_ablate.execution.path_run import run_path

    return run_path(rest, words.to, words.reverse, words.plan)
