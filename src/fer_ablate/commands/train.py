"""`train`: one run; with `-m` a study, a grid or a search."""

from collections.abc import Iterable, Sequence

from fer_ablate.cli.command_line import RunSpec, parse, run_hydra
from fer_ablate.config.overrides import value_of
from fer_ablate.errors import UserError, choices

SWEEPERS = ("study", "optuna")
"""Hydra's sweepers that `-m` takes."""


def run(arguments: Sequence[str]) -> int:
    """Train one run, or with `-m` several."""
    parsed = parse(arguments)
    if not parsed.multirun or parsed.inspects:
        return run_hydra(arguments, _one)
    # Hydra's own sweepers know nothing of finished runs, so only ours are accepted.
    sweeper = sweeper_of(parsed.overrides)
    if sweeper not in SWEEPERS:
        raise UserError(f"hydra/sweeper={sweeper} would train finished runs again. {choices(sweeper, SWEEPERS)}")
    # Imported where they run: completion and --cfg wait for neither torch nor Optuna, and a finished study not for Lightning.
    if sweeper == "optuna":
        from fer_ablate.execution.search.trials import run_search

        return run_search(arguments)
    from fer_ablate.execution.sweep import run_sweep

    return run_sweep(arguments)


def sweeper_of(overrides: Iterable[str]) -> str:
    """Name of the sweeper that a command line chooses; the last choice counts, as for Hydra."""
    chosen = [value_of(text) for text in overrides if text.startswith("hydra/sweeper=")]
    return chosen[-1] if chosen else "study"


def _one(spec: RunSpec) -> int:
    from fer_ablate.execution.one_run import train

    train(spec)
    return 0
