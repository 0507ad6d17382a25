"""From a command line to a plan: rows composed and checked, their runs looked up on disk."""

from collections.abc import Callable, Sequence

from fer_ablate.cli import console
from fer_ablate.cli.command_line import HydraArguments, allow_plugins, asked_of, parse
from fer_ablate.config.compose import composer
from fer_ablate.config.overrides import key_of, value_of
from fer_ablate.config.study_rows import Row
from fer_ablate.errors import Fault, FaultyConfigError, UserError
from fer_ablate.execution.added_seeds import due_seeds
from fer_ablate.judgement.planned_rows import planned_protocols
from fer_ablate.judgement.protocols import WAY_OUT, differing, protocol_lines
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.report.quantities import duration
from fer_ablate.study.cells import Cell, compose_cells
from fer_ablate.study.plan import Plan, make_plan, seconds_left
from fer_ablate.study.shorter import Shorter
from fer_ablate.study.spec import StudySpec, study_spec
from fer_ablate.tracking.disk.run_state import RunState

CHOICE, SELECTION = "study.rows=", "study.select="
"""What people type, and the key that it means: in a study's file `rows` are definitions, on the command line labels."""


def plan_with_bar(arguments: Sequence[str]) -> tuple[Plan, list[Cell], HydraArguments]:
    """Plan a command, with a progress bar where that takes long; see `plan_of`."""
    with console.bar("composing and checking the rows") as report_progress:
        return plan_of(arguments, report_progress)


def plan_of(
    arguments: Sequence[str], report_progress: Callable[[float], None] | None = None
) -> tuple[Plan, list[Cell], HydraArguments]:
    """Read a command line, compose and check its rows, and look up their runs.

    Args:
        arguments: after the verb; plain Hydra.
        report_progress: called with the finished fraction.

    Returns:
        The plan; its cells, all of them, whatever was chosen; and the parsed command line.

    Raises:
        FaultyConfigError: with every fault of every row.
    """
    parsed = parse(arguments)
    raise_unheeded(parsed)
    overrides = as_keys(parsed.overrides)
    allow_plugins(overrides)
    config_dir = parsed.config_dir
    with composer(config_dir):  # one for all of it, so that each file is read once
        spec = study_spec(grid_words(parsed), config_dir)
        cells = compose_cells(spec, config_dir, report_progress)
    return due_seeds(make_plan(spec, cells)), cells, parsed


def grid_words(parsed: HydraArguments) -> list[str]:
    """What was typed about a study or a grid, together with what `hydra.sweeper.params` lists.

    Raises:
        FaultyConfigError: with every fault of the words.
        UserError: they ask for a search.
    """
    asked = asked_of(parsed)
    asked.check()
    if asked.is_search:
        remedy = "`plan` says how many of its trials are done, `runs` lists them. hydra/sweeper=study makes a grid of it."
        raise UserError(f"These words ask for a search, not for a study or a grid. {remedy}")
    return asked.words(as_keys(parsed.overrides))


def raise_unheeded(parsed: HydraArguments) -> None:
    """Refuse flags that only a single run can have."""
    if parsed.unheeded:
        remedy = "Files of your own are found with --config-dir, beside those of the program."
        raise UserError(f"{', '.join(parsed.unheeded)}: not for studies, grids and searches. {remedy}")


def as_keys(words: Sequence[str]) -> list[str]:
    """Overrides as typed -> overrides as the config knows them."""
    return [text.replace(CHOICE, SELECTION, 1) if text.startswith(CHOICE) else text for text in words]


def check_comparable(plan: Plan) -> None:
    """Refuse, before anything is trained, the rows that the table of the study would refuse afterwards.

    Raises:
        FaultyConfigError: rows that are compared with each other have different evaluation protocols.
    """
    protocols = planned_protocols(plan)
    if plan.spec.study.mixed_protocols or not differing(protocols):
        return
    from fer_ablate.judgement.table_spec import table_spec

    # Rows on several data sets are compared within each of them alone.
    rows = [RowRuns(label, (), ()) for label in dict.fromkeys(label for label, _ in protocols)]
    blocks = [{row.label for row in block} for block in table_spec(plan, rows).blocks(rows).values()]
    found = [differing([one for one in protocols if one[0] in labels], absent="none") for labels in blocks]
    if lines := [f"      {line}" for one in found for line in protocol_lines(one)]:
        problem = "\n".join(["These rows use different evaluation protocols and cannot share a column:", *lines])
        raise FaultyConfigError([Fault("study.rows", problem, WAY_OUT if plan.spec.from_file else _study_of_grid(plan.spec))])


def _study_of_grid(spec: StudySpec) -> str:
    """How rows of a grid, which has no file to say so, may have different protocols: the study that is the same."""
    values = {key: dict.fromkeys(_typed_value(row, key) for row in spec.rows) for key in spec.swept}
    crossed = ", ".join(f"{key}: [{', '.join(listed)}]" for key, listed in values.items())
    return (
        "Give all rows the same protocol, or allow different ones in this table with a study: a file FOLDER/study/mine.yaml of "
        f"the lines 'crossed: {{{crossed}}}' and 'mixed_protocols: true', trained by -m --config-dir FOLDER study=mine and what "
        "else was typed here."
    )


def _typed_value(row: Row, key: str) -> str:
    return next(value_of(word) for word in row.overrides if key_of(word) == key)


def summary(plan: Plan) -> str:
    """`12 runs: 5 missing, 7 finished`, and how many rows the study leaves out."""
    counts = [(state, sum(planned.state is state for planned in plan.runs)) for state in RunState]
    listed = ", ".join(f"{count} {state.value}" for state, count in counts if count)
    left_out = f"; exclude leaves out {console.counted(plan.spec.left_out, 'row')}" if plan.spec.left_out else ""
    return f"{console.counted(len(plan.runs), 'run')}: {listed}{left_out}"


def cost(plan: Plan) -> str:
    """How long the runs to train will take, estimated from finished ones."""
    seconds, guessed = seconds_left(plan)
    if seconds is None:
        return "no run is finished yet to estimate the time from"
    rest = f" ({guessed} of them estimated from other rows)" if guessed else ""
    return f"about {duration(seconds)} one after another{rest}"


def continuing_facts(plan: Plan) -> list[str]:
    """How many runs go on from the epochs of a shorter finished run, with an example."""
    found = [planned for planned in plan.to_train if planned.continues is not None]
    if not found:
        return []
    first = found[0]
    return [f"{console.counted(len(found), 'run')} from the last epoch of a shorter one; {first.cell.name}: {first.reason}"]


def lost_states(plan: Plan) -> list[str]:
    """Why runs do not continue a shorter one that is finished, and which finished runs lack the state to be continued."""
    lost: dict[str, list[Shorter]] = {}
    for planned in plan.to_train:
        # The reason of a stale run is printed with those of the others.
        if planned.shorter is not None and planned.shorter.problem and planned.state is not RunState.stale:
            lost.setdefault(planned.shorter.problem, []).append(planned.shorter)
    notes = [f"{found[0].described}{f' ({len(found)} such runs)' if len(found) > 1 else ''}" for found in lost.values()]
    finished = [one for one in plan.runs if one.state is RunState.finished and not one.to_train]
    without = [one for one in finished if one.cell.config.trainer.save_last and not one.folder.last_checkpoint.is_file()]
    if without:
        number = console.counted(len(without), "finished run")
        notes.append(f"{number} kept no last.ckpt when trained, so no run with more epochs can continue from there.")
    return notes
