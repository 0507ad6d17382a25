"""`train`: one run; with `-m` a study, a grid or a search, as files and words together choose it."""

from collections.abc import Sequence

from fer_ablate.cli import console
from fer_ablate.cli.command_line import allow_plugins, asked_of, by_study, each_study, parse
from fer_ablate.cli.run_spec import RunSpec, run_hydra
from fer_ablate.config.multirun import PARAMS


def run(arguments: Sequence[str]) -> int:
    """Train one run, or with `-m` several."""
    if len(by_study(arguments)) > 1 and parse(arguments).multirun:
        # All faults of all studies come before the first of them is trained for hours.
        return each_study(arguments, _checked) or each_study(arguments, _train)
    return _train(arguments)


def _checked(arguments: Sequence[str]) -> int:
    from fer_ablate.execution.planning import check_comparable, plan_with_bar

    check_comparable(plan_with_bar(arguments)[0])
    return 0


def _train(arguments: Sequence[str]) -> int:
    parsed = parse(arguments)
    if parsed.inspects:
        return run_hydra(arguments, _one)
    allow_plugins(parsed.overrides)
    asked = asked_of(parsed)
    if not (parsed.multirun or asked.on):
        if asked.params or asked.is_search:
            what = "the search" if asked.is_search else f"the grid of {PARAMS}"
            console.facts([("note", f"this is one run; with -m the same words make {what}")])
        return run_hydra(arguments, _one)
    asked.check()
    console.facts([("note", note) for note in asked.notes])
    # Imported where they run: completion and --cfg wait for neither torch nor Optuna, and a finished study not for Lightning.
    if asked.is_search:
        from fer_ablate.execution.search.trials import run_search

        return run_search(arguments)
    from fer_ablate.execution.sweep import run_sweep

    return run_sweep(arguments)


def _one(spec: RunSpec) -> int:
    from fer_ablate.execution.one_run import train

    train(spec)
    return 0
