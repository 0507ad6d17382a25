"""`table`: the judged table of a study or a grid, from what is finished. Trains nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fer_ablate.cli import console
from fer_ablate.cli.command_line import each_study
from fer_ablate.cli.words import read_command
from fer_ablate.config.constraints import one_of
from fer_ablate.execution import study_output
from fer_ablate.execution.planning import plan_with_bar
from fer_ablate.report.table.formats import FORMATS, render_table

USAGE = """Show the judged table of a study or a grid, from what is finished.

  python -m fer_ablate table study=fer_kd/table1                         on the screen
  python -m fer_ablate table study=fer_kd/table1 format=latex            as text: markdown, latex (booktabs), csv, html, json
  python -m fer_ablate table study=fer_kd/table1 format=latex output=table1.tex
  python -m fer_ablate table study=fer_kd/table1 study.accept_stale=true with runs of an earlier config, data or code

Rows: mean +/- sd over the seeds, 95 % interval over test images and seeds, difference to the baseline, a verdict that
counts how many rows are compared (Holm), and the published number with its gap. Where rows are combinations of several keys,
main effects and interactions follow.

{words}
Beside these, everything that `plan` takes."""


@dataclass(frozen=True, kw_only=True)
class TableWords:
    """Words of `table`."""

    format: Annotated[str, one_of(*FORMATS)] | None = None  # text instead of a table as wide as the screen
    output: Path | None = None  # file for the text; by default the screen


def run(arguments: Sequence[str]) -> int:
    """Print the table of each study that is named, or write that of one."""
    words, rest = read_command(arguments, TableWords, USAGE)
    console.refuse_unformatted(words.output, words.format, "latex")
    if not words.format:
        return each_study(rest, lambda one: _show(one, words))
    return _show(rest, words)


def _show(rest: Sequence[str], words: TableWords) -> int:
    plan, _, _ = plan_with_bar(rest)
    table, _ = study_output.judged_study(plan)
    if not words.format:
        study_output.show_table(table)
    else:
        console.put_text(render_table(table, words.format), words.output)
    return 0
