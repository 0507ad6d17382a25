"""`path`: reads where a path begins and ends, from a study or a search, and trains what it lacks."""

from collections.abc import Sequence
from statistics import fmean

from fer_ablate.cli import console
from fer_ablate.cli.command_line import HydraArguments, allow_plugins, asked_of, parse
from fer_ablate.config.choices import Roles
from fer_ablate.config.key import IRRELEVANT
from fer_ablate.config.overrides import key_of
from fer_ablate.config.schema import Config, StudyConfig, StudySwitches
from fer_ablate.config.study_rows import Row
from fer_ablate.errors import UserError, choices
from fer_ablate.execution.ablation_path import Ends, ForwardPath, reverse_rows, row_value
from fer_ablate.execution.path_output import show_path, write_path, write_study_file
from fer_ablate.execution.planning import cost, plan_with_bar, summary
from fer_ablate.execution.study_output import show_table
from fer_ablate.execution.study_record import study_folder
from fer_ablate.execution.sweep import Growth, launcher_words, run_plan
from fer_ablate.judgement.judged_table import JudgedTable
from fer_ablate.judgement.path import best_change, most_rows
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.metrics import LESS_IS_BETTER, higher_is_better
from fer_ablate.report.quantities import duration
from fer_ablate.study.plan import Plan, make_plan, seconds_left
from fer_ablate.tracking.disk.run_state import RunState

BEST = "best"
"""What `to=` says by default."""


def run_path(arguments: Sequence[str], to: str, reverse: bool, only_plan: bool) -> int:
    """Train what a path lacks and show it.

    Args:
        arguments: after the verb, without its own words.
        to: label of the row at the end, number of a trial, or `best`.
        reverse: whether changes are taken back from the end instead.
        only_plan: whether nothing is trained.

    Returns:
        1 if a run failed or is still missing, else 0.
    """
    parsed = parse(arguments)
    allow_plugins(parsed.overrides)
    if asked_of(parsed).is_search:
        ends, words = _ends_of_search(parsed, to)
    else:
        ends, words = _ends_of_study(arguments, to), launcher_words(parsed.overrides)
    return _run_reverse(ends, words, only_plan) if reverse else _run_forward(ends, words, only_plan)


def _run_forward(ends: Ends, words: Sequence[str], only_plan: bool) -> int:
    path = ForwardPath(ends)
    plan = path.plan()
    changes = ", ".join(change.label for change in path.changes)
    console.facts([("path", f"{plan.spec.name}, steps chosen by {ends.decides}"), ("changes", changes), *_cost_facts(path, plan)])
    if only_plan:
        return 0

    def show(plan: Plan, table: JudgedTable, rows: Sequence[RowRuns]) -> None:
        found = path.path(table, rows)
        show_path(found)
        write_study_file(plan)
        folder = study_folder(plan)
        if problem := write_path(folder, found, plan.runs[0].cell.config.tracking.pictures):
            console.console.print(f"  note: {problem}", style="yellow")
        console.facts([("path", f"{folder}/path.md, .csv, .json; waterfall-*.png; the rows as a study in {folder / 'study'}")])

    return run_plan(plan, words, ends.config_dir, Growth(path.plan, True, "the next step of the path", show))


def _run_reverse(ends: Ends, words: Sequence[str], only_plan: bool) -> int:
    spec, cells, notes = reverse_rows(ends)
    plan = make_plan(spec, cells)
    console.facts([("study", f"{spec.name}, {summary(plan)}"), *(("note", note) for note in notes)])
    console.facts([("trains", f"{console.counted(len(plan.to_train), 'run')}; {cost(plan)}" if plan.to_train else "nothing")])
    if only_plan:
        return 0

    def show(plan: Plan, table: JudgedTable, rows: Sequence[RowRuns]) -> None:
        show_table(table)
        write_study_file(plan)

    return run_plan(plan, words, ends.config_dir, Growth(lambda: make_plan(spec, cells), False, "", show))


def _cost_facts(path: ForwardPath, plan: Plan) -> list[tuple[str, str]]:
    """How many runs the path needs at most, how many of those that are known exist, and the hours of the rest."""
    repeats, left = path.ends.repeats, path.left
    finished = sum(planned.state is RunState.finished for planned in plan.runs)
    later = repeats * (left * (left - 1) // 2)  # which of them it will be, only the step before them says
    facts = [
        ("runs", f"at most {repeats * most_rows(len(path.changes)):,}: {console.counted(repeats, 'run')} a row"),
        ("now", f"{summary(plan)}; steps decided: {len(path.decided)}"),
    ]
    if plan.to_train or later:
        more = f", and later at most {console.counted(later, 'run')}" if later else ""
        facts.append(("trains", f"{console.counted(len(plan.to_train), 'run')}{more}; {_hours(plan, finished, later)}"))
    else:
        facts.append(("trains", "nothing"))
    return facts


def _hours(plan: Plan, finished: int, later: int) -> str:
    seconds, _ = seconds_left(plan)
    if seconds is None or not finished:
        return cost(plan)
    mean = fmean(planned.folder.result.seconds for planned in plan.runs if planned.state is RunState.finished)
    return f"about {duration(seconds + later * mean)} one after another in all"


def _ends_of_study(arguments: Sequence[str], to: str) -> Ends:
    plan, cells, parsed = plan_with_bar(arguments)
    spec = plan.spec
    if spec.switches != StudySwitches():
        raise UserError(
            "A path chooses by finished runs of whole studies: study.rows, only, force and accept_stale do not go with it."
        )
    rows = {row.label: row for row in spec.rows if not row.auxiliary}
    start = _whole(rows[spec.baseline])
    configs = {cell.row.label: cell.config for cell in reversed(cells)}
    config = configs[start.label]
    _check_config(config)
    decides = next((column for column in spec.study.columns if column.startswith("val/")), config.trainer.monitor)
    higher = _higher_is_better(decides, plan)
    if to == BEST and BEST not in rows:
        to = _best_row(plan, decides, higher)
    elif to not in rows:
        raise UserError(f"to={to}: there is no such row. {choices(to, rows)}")
    if to == start.label:
        raise UserError(
            f"'{to}' is the baseline, where the path begins. Name another row: to='{next(iter(set(rows) - {to}), '...')}'"
        )
    end = _whole(rows[to])
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
    )


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


def _ends_of_search(parsed: HydraArguments, to: str) -> tuple[Ends, list[str]]:
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
