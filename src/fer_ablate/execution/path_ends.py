"""Reads where an ablation path begins and ends, from a study or a search."""

from collections.abc import Sequence
from dataclasses import replace

from fer_ablate.cli import console
from fer_ablate.cli.command_line import HydraArguments
from fer_ablate.config.choices import Roles
from fer_ablate.config.key import IRRELEVANT
from fer_ablate.config.overrides import key_of
from fer_ablate.config.schema import Config, StudyConfig, StudySwitches
from fer_ablate.config.study_rows import Row
from fer_ablate.errors import UserError, choices
from fer_ablate.execution.ablation_path import Ends, row_value
from fer_ablate.execution.planning import check_comparable, plan_with_bar
from fer_ablate.judgement.path import best_change
from fer_ablate.metrics import LESS_IS_BETTER, higher_is_better
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.run_state import RunState

BEST = "best"
"""What `to=` says by default."""


def ends_of_study(arguments: Sequence[str], to: str) -> Ends:
    """Where a path through the settings of a study begins and ends.

    Args:
        arguments: after the verb, without its own words.
        to: label of the row at the end, or `best`.

    Raises:
        UserError: there is no such path.
    """
    plan, cells, parsed = plan_with_bar(arguments)
    spec = plan.spec
    if spec.switches != StudySwitches():
        raise UserError(
            "A path chooses by finished runs of whole studies: study.rows, only, force and accept_stale do not go with it."
        )
    start = _whole(next(row for row in spec.rows if row.label == spec.baseline))
    configs = {cell.row.label: cell.config for cell in reversed(cells)}
    config = configs[start.label]
    _check_config(config)
    # Steps are chosen by scores on val, which compare nothing where the images differ.
    val = {cell.row.label: cell.tested.get("val") for cell in cells}
    plan = replace(plan, runs=tuple(planned for planned in plan.runs if val[planned.cell.row.label] == val[start.label]))
    decides = next((column for column in spec.study.columns if column.startswith("val/")), config.trainer.monitor)
    higher = _higher_is_better(decides, plan)
    end = _end(plan, to, decides, higher)
    runs = tuple(planned for planned in plan.runs if planned.cell.row.label in (start.label, end.label))
    # The steps between the two have the protocol of either.
    check_comparable(replace(plan, spec=replace(spec, rows=(start, end)), runs=runs))
    every = spec.seeds or (config.seed,)
    return Ends(
        name=spec.name,
        study=spec.study,
        # Seeds that may be added later have no place in a path, whose rows are compared at once.
        seeds=every[: spec.looks[0]] if spec.looks else every,
        typed=spec.typed,
        start=start,
        end=end,
        decides=decides,
        higher_is_better=higher,
        experiment=config.tracking.experiment,
        config_dir=parsed.config_dir,
        source=plan,
    )


def _end(plan: Plan, to: str, decides: str, higher: bool) -> Row:
    """The row at the end: the named one, or the one that is best on val."""
    rows = {row.label: row for row in plan.spec.rows if not row.auxiliary}
    best = to == BEST and BEST not in rows
    if best:
        to = _best_row(plan, decides, higher)
    elif to not in rows:
        raise UserError(f"to={to}: there is no such row. {choices(to, rows)}")
    if to == plan.spec.baseline:
        known = {planned.cell.row.label for planned in plan.runs}
        other = next((label for label in rows if label != to and label in known), "...")
        begins = "is the best row and the baseline" if best else "is the baseline"
        raise UserError(f"'{to}' {begins}, where the path begins. Name another row: to='{other}'")
    if not rows[to].average_of and all(planned.cell.row.label != to for planned in plan.runs):
        raise UserError(f"'{to}' has other val images than the baseline, so no scores on val choose the steps between them.")
    return _whole(rows[to])


def _whole(row: Row) -> Row:
    """The row, if its overrides say all of it.

    Raises:
        UserError: it is made from other rows.
    """
    if row.average_of:
        raise UserError(
            f"'{row.label}' averages other rows, so no changes of settings lead to it. Name a row that is trained: to="
        )
    if row.start_from:
        raise UserError(f"'{row.label}' starts from the weights of '{row.start_from}', which no path of settings can show.")
    return row


def _check_config(config: Config) -> None:
    if config.force:
        raise UserError("A path chooses by finished runs, so force=true would never end. Leave it out.")
    if config.data.roles in (Roles.combined, Roles.combined_swapped):
        raise UserError(
            f"data.roles={config.data.roles.name} trains on val, so it cannot choose the steps. Use data.roles=holdout."
        )


def _higher_is_better(column: str, plan: Plan) -> bool:
    metric = column.partition("/")[2]
    own = (planned.folder.result.own_metrics for planned in plan.runs if planned.state is RunState.finished)
    found = higher_is_better(metric, own)
    if found is None:
        raise UserError(
            f"{column} says neither that more nor that less is better, so it chooses no steps. List another: study.columns"
        )
    return found


def _best_row(plan: Plan, column: str, higher_is_better: bool) -> str:
    """The row that is best on val, of those whose runs are all finished."""
    states: dict[str, list[RunState]] = {}
    for planned in plan.runs:
        if not planned.cell.row.auxiliary and not planned.cell.row.start_from:
            states.setdefault(planned.cell.row.label, []).append(planned.state)
    finished = [label for label, found in states.items() if all(state is RunState.finished for state in found)]
    if not finished:
        raise UserError("No row is finished, so none is known to be best. Train them with -m, or name a row: to=")
    if len(finished) < len(states):
        console.facts([("note", f"best of {len(finished)} of {len(states)} rows: the runs of the others are not all finished")])
    return str(best_change({label: row_value(plan, label, column) for label in finished}, higher_is_better))


def ends_of_search(parsed: HydraArguments, to: str) -> tuple[Ends, list[str]]:
    """Where a path from the fixed settings of a search to one of its trials begins and ends, and the words of its launcher.

    Args:
        parsed: arguments after the verb.
        to: number of a trial, or `best`.

    Raises:
        UserError: there is no such path.
    """
    from fer_ablate.execution.search.front import FRESH_SEEDS, cell_of, repeated_words  # with Optuna
    from fer_ablate.execution.search.plan import read_search
    from fer_ablate.search.objectives import MAXIMIZE
    from fer_ablate.search.search import kept_trials

    prepared, words = read_search(parsed)
    plan, config = prepared.plan, prepared.config
    _check_config(config)
    done = {trial.number: trial for trial in kept_trials(plan) if trial.state == "done"}
    if not done:
        raise UserError(f"No trial of {plan.name} is done. Search first: the same words with -m and without the verb.")
    if to == BEST and len(plan.objectives) > 1:
        raise UserError(f"{plan.name} has several objectives, so no single trial is best. Name one by its number: to={min(done)}")
    higher = plan.directions[0] == MAXIMIZE
    number = best_change({one: trial.values[0] for one, trial in done.items()}, higher) if to == BEST else _number(to, list(done))
    known = [one for one in plan.objectives if one.startswith("val/")]
    decides = known[0] if known else config.trainer.monitor
    start, end = (
        Row(cell.row.label, tuple(repeated_words(cell.row.overrides)))
        for cell in (prepared.compose("defaults", prepared.space.fixed), cell_of(prepared, done[number]))
    )
    places = tuple(word for word in end.overrides if word in start.overrides and _is_place(word))
    ends = Ends(
        name=plan.name,
        study=StudyConfig(source=f"search {plan.name}", columns=[decides, "test/acc"]),
        # The best of many trials is partly luck of its seed.
        seeds=tuple(config.seed + place for place in range(1, FRESH_SEEDS + 1)),
        typed=places,
        start=start,
        end=end,
        decides=decides,
        higher_is_better=plan.directions[plan.objectives.index(decides)] == MAXIMIZE
        if decides in plan.objectives
        else not decides.endswith(LESS_IS_BETTER),
        experiment=config.tracking.experiment,
        config_dir=prepared.config_dir,
        needs={key: next(iter(one)) for key, one in prepared.space.when.items() if one},
    )
    return ends, [word for word in words if not key_of(word).startswith(("hydra/sweeper", "hydra.sweeper"))]


def _number(to: str, done: Sequence[int]) -> int:
    if not to.isdigit() or int(to) not in done:
        raise UserError(f"to={to}: there is no such trial that is done. {choices(to, list(map(str, done)))}")
    return int(to)


def _is_place(word: str) -> bool:
    """Whether a word says where and how runs happen, or is for the command line alone."""
    return any(key_of(word) == name or key_of(word).startswith(f"{name}.") for name in (*IRRELEVANT, "plugins"))
