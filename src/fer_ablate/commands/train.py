"""`train`: one run; with `-m` a study, a grid or a search."""

from collections.abc import Callable, Iterable, Sequence

from fer_ablate.cli.command_line import RunSpec, parse, run_hydra
from fer_ablate.config.overrides import value_of
from fer_ablate.errors import UserError, choices
from fer_ablate.execution.one_run import train
from fer_ablate.execution.search.trials import run_search
from fer_ablate.execution.sweep import run_sweep

SWEEPERS: dict[str, Callable[[Sequence[str]], int]] = {"study": run_sweep, "optuna": run_search}
"""Name of Hydra's sweeper -> what `-m` does with it."""


def run(arguments: Sequence[str]) -> int:
    """Train one run, or with `-m` several."""
    parsed = parse(arguments)
    if not parsed.multirun or parsed.inspects:
        return run_hydra(arguments, _one)
    # Hydra's own sweepers know nothing of finished runs, so only ours are accepted.
    sweeper = sweeper_of(parsed.overrides)
    if sweeper not in SWEEPERS:
        raise UserError(f"hydra/sweeper={sweeper} would train finished runs again. {choices(sweeper, SWEEPERS)}")
    return SWEEPERS[sweeper](arguments)


def sweeper_of(overrides: Iterable[str]) -> str:
    """Name of the sweeper that a command line chooses; the last choice counts, as for Hydra."""
    chosen = [value_of(text) for text in overrides if text.startswith("hydra/sweeper=")]
    return chosen[-1] if chosen else "study"


def _one(spec: RunSpec) -> int:
    train(spec)
    return 0
