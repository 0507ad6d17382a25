"""`train`: one run; with `-m` a study, a grid or a search."""

from collections.abc import Callable, Iterable, Sequence

from fer_ablate.cli.request import Request, inspected, parse, run_hydra
from fer_ablate.errors import UserError, choices
from fer_ablate.execution.one_run import train
from fer_ablate.execution.search.run import run_search
from fer_ablate.execution.sweep import run_sweep

SWEEPERS: dict[str, Callable[[Sequence[str]], int]] = {"study": run_sweep, "optuna": run_search}
"""What `-m` may do, by the name it has for Hydra."""


def run(arguments: Sequence[str]) -> int:
    """Train what the config says."""
    parsed = parse(arguments)
    if not parsed.multirun or inspected(parsed):
        return run_hydra(arguments, _one)
    sweeper = sweeper_of(parsed.overrides)
    if sweeper not in SWEEPERS:
        raise UserError(f"hydra/sweeper={sweeper} would train what is finished already. {choices(sweeper, SWEEPERS)}")
    return SWEEPERS[sweeper](arguments)


def sweeper_of(overrides: Iterable[str]) -> str:
    """Which of Hydra's sweepers a command line chooses."""
    chosen = [text.split("=", 1)[1] for text in overrides if text.startswith("hydra/sweeper=")]
    return chosen[-1] if chosen else "study"


def _one(request: Request) -> int:
    train(request)
    return 0
