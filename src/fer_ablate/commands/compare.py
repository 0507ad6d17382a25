"""`compare`: two or more runs side by side, or where MLflow compares the rows of a study. Trains nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic_core import to_json

from fer_ablate.cli import console
from fer_ablate.cli.words import read_command, words_of
from fer_ablate.config.constraints import one_of
from fer_ablate.config.overrides import key_of
from fer_ablate.errors import UserError
from fer_ablate.execution.mlflow_pages import experiment_facts, rows_address
from fer_ablate.execution.planning import plan_with_bar
from fer_ablate.execution.run_comparison import RunComparison, compare_runs, comparison_tables, comparison_values
from fer_ablate.judgement.split_images import PREDICTED
from fer_ablate.report.plain_table import markdown_table
from fer_ablate.shell import program
from fer_ablate.tracking.disk.lookup import find_run

USAGE = """Show two or more runs side by side: what differs in settings, data, code and machine; metrics; scores by class.

  python -m fer_ablate compare run=ab12 run=cd34
  python -m fer_ablate compare run=quickstart/small run='quickstart/-1 Conv, seed 1' split=val
  python -m fer_ablate compare run=ab12 run=cd34 run=ef56 format=markdown output=three.md
  python -m fer_ablate compare study=quickstart                the address at which MLflow shows the rows of a study side by side

{words}

The first run is A; each other one is compared with it by a paired test over the images that both were tested on, in the words of
the judged table. Runs that used different data or evaluation protocols are shown without a test. `table` compares rows over all
their seeds. Beside study=, or for a grid, everything that `plan` takes may be given, and none of these words."""

FULL = 10_000
"""Letters of a value in a file: all of them."""


@dataclass(frozen=True, kw_only=True)
class CompareWords:
    """Words of `compare`."""

    # Run: its key (first digits do), a row of a study ('quickstart/-1 Conv'), MLflow id or folder.
    run: tuple[str, ...] = ()
    split: Annotated[str, one_of(*PREDICTED)] = "test"  # images of the test and of the scores by class
    format: Annotated[str, one_of("markdown", "json")] | None = None  # text instead of tables as wide as the screen
    output: Path | None = None  # file for the text; by default the screen
    runs_dir: Path = Path("runs")  # folder of the runs


def run(arguments: Sequence[str]) -> int:
    """Compare the runs, or say where the rows of a study are compared."""
    if _names_a_study(arguments):
        return _show_study(arguments)
    words, _ = read_command(arguments, CompareWords, USAGE, overrides=False)
    console.refuse_unformatted(words.output, words.format, "markdown")
    if len(words.run) < 2:
        raise UserError("Name two runs or more: compare run=<id> run=<id>. `runs` lists them.")
    folders = [find_run(words.runs_dir, name) for name in words.run]
    paths = [folder.path.resolve() for folder in folders]
    if twice := [name for name, path in zip(words.run, paths, strict=True) if paths.count(path) > 1]:
        raise UserError(f"{' and '.join(f'run={name}' for name in twice)} name the same run. Name each run once.")
    comparison = compare_runs(folders, words.split)
    if not words.format:
        _show(comparison)
        return 0
    console.put_text(_text(comparison, words.format), words.output)
    return 0


def _names_a_study(arguments: Sequence[str]) -> bool:
    """Whether the words are those of a study or a grid: no run, and something that is no word of `compare`."""
    keys = {key_of(text) for text in arguments if "=" in text and not text.startswith("-")}
    if "run" in keys and "study" in keys:
        raise UserError("Give either study=<name> or run=<id>, not both: study= is about the rows of a study.")
    if {"-h", "--help"} & set(arguments):
        return False
    return "run" not in keys and bool(keys - set(words_of(CompareWords)))


def _show_study(arguments: Sequence[str]) -> int:
    """Print where MLflow compares the rows of a study."""
    plan, _, _ = plan_with_bar(arguments)
    tracking = plan.runs[0].cell.config.tracking
    if not tracking.enabled:
        raise UserError(
            f"tracking.enabled is false, so that nothing of {plan.spec.name} goes to MLflow. Leave tracking=none out."
        )
    address = rows_address(plan)
    if not address:
        way_out = f"This trains what is missing and sends all rows: {program('-m', *arguments)}"
        raise UserError(f"MLflow at {tracking.uri} shows no row of {plan.spec.name} yet. {way_out}")
    console.facts(experiment_facts(tracking, address))
    return 0


def _show(comparison: RunComparison) -> None:
    for place, table in enumerate(comparison_tables(comparison)):
        if place and table.rows:
            console.console.print()
        if table.rows:
            console.table("", table.header, table.rows, left=table.left)
        for note in table.notes:
            console.console.print(f"  {note}", style="" if table.rows else "dim")


def _text(comparison: RunComparison, form: str) -> str:
    if form == "json":
        return to_json(comparison_values(comparison), indent=2, inf_nan_mode="strings", fallback=str).decode() + "\n"
    return "\n".join(markdown_table(table) for table in comparison_tables(comparison, FULL))
