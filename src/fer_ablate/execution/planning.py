"""From a command line to a plan: rows composed and checked, what is there of them looked up."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.cli.request import allow_plugins, parse
from fer_ablate.report.quantities import duration
from fer_ablate.study.cells import Cell, compose_cells
from fer_ablate.study.plan import Plan, State, make_plan, seconds_left
from fer_ablate.study.spec import asked

CHOICE, SELECTION = "study.rows=", "study.select="
"""What people type, and the key it stands for: in a study's file `rows` are definitions, on the command line labels."""


def prepared(arguments: Sequence[str]) -> tuple[Plan, list[Cell], argparse.Namespace]:
    """Read, compose, check and look up, with a bar where that takes long; see `planned`."""
    with console.bar("composing and checking the rows") as tell:
        return planned(arguments, tell)


def planned(arguments: Sequence[str], tell: Callable[[float], None] | None = None) -> tuple[Plan, list[Cell], argparse.Namespace]:
    """Read, compose, check and look up.

    Args:
        arguments: after the verb; plain Hydra.
        tell: told the finished fraction.

    Returns:
        The plan, its cells (all of them, whatever was chosen), and the parsed command line.

    Raises:
        FaultyConfigError: with every fault of every row.
    """
    parsed = parse(arguments)
    overrides = as_keys(parsed.overrides)
    allow_plugins(overrides)
    config_dir = Path(parsed.config_dir) if parsed.config_dir else None
    wanted = asked(overrides, config_dir)
    cells = compose_cells(wanted, config_dir, tell)
    return make_plan(wanted, cells), cells, parsed


def as_keys(words: Sequence[str]) -> list[str]:
    """Overrides as typed -> overrides as the config knows them."""
    return [text.replace(CHOICE, SELECTION, 1) if text.startswith(CHOICE) else text for text in words]


def summary(plan: Plan) -> str:
    """`12 runs: 7 cached, 5 to run`."""
    counts = [(state, sum(planned.state is state for planned in plan.runs)) for state in State]
    told = ", ".join(f"{count} {state.value}" for state, count in counts if count)
    return f"{console.counted(len(plan.runs), 'run')}: {told}"


def cost(plan: Plan) -> str:
    """How long the wanted runs will take, judged by finished ones."""
    seconds, guessed = seconds_left(plan)
    if seconds is None:
        return "no finished run tells yet how long that takes"
    rest = f" ({guessed} of them judged by other rows)" if guessed else ""
    return f"about {duration(seconds)} one after another{rest}"
