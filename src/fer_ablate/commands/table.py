"""`table`: the judged table of a study or a grid, from what is finished. Trains nothing."""

import sys
from collections.abc import Sequence
from pathlib import Path

from fer_ablate.cli.usage import asks_for_help
from fer_ablate.errors import UserError, choices
from fer_ablate.execution import study_output
from fer_ablate.execution.planning import prepared
from fer_ablate.report.table.formats import FORMATS, render
from fer_ablate.tracking.disk.files import write_text

USAGE = """Show the judged table of a study or a grid, from what is finished.

  python -m fer_ablate table study=fer_kd/table1                         on the screen
  python -m fer_ablate table study=fer_kd/table1 format=latex            as text: markdown, latex (booktabs), csv, html
  python -m fer_ablate table study=fer_kd/table1 format=latex output=table1.tex
  python -m fer_ablate table study=fer_kd/table1 study.accept_stale=true with runs of an earlier config, data or code

Rows: mean +/- sd over the seeds, 95 % interval over test images and seeds, difference to the baseline, a verdict that
counts how many rows are compared (Holm), and the published number with its gap."""

OWN = ("format", "output")


def run(arguments: Sequence[str]) -> int:
    """Print the table, or write it."""
    if asks_for_help(arguments):
        print(USAGE)
        return 0
    own = dict(word.split("=", 1) for word in arguments if word.split("=", 1)[0] in OWN and "=" in word)
    form = own.get("format", "")
    if form and form not in FORMATS:
        raise UserError(f"format={form}: there is no such table format. {choices(form, FORMATS)}")
    output = own.get("output", "")
    if output and not form:
        raise UserError(f"output={output}: give the format as well, such as format=latex.")
    plan, _, _ = prepared([word for word in arguments if word.split("=", 1)[0] not in OWN])
    table, _ = study_output.judged(plan)
    if not form:
        study_output.show(table)
    elif output:
        write_text(Path(output), render(table, form))
        print(output)
    else:
        sys.stdout.write(render(table, form))
    return 0
