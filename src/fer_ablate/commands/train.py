"""`train`: one run; with `-m` a study, a grid or a search."""

from collections.abc import Sequence

from fer_ablate.commands.one_run import train
from fer_ablate.commands.request import Request, inspected, parse, run_hydra
from fer_ablate.commands.sweep import run_sweep, sweeper_of


def run(arguments: Sequence[str]) -> int:
    """Train what the config says."""
    parsed = parse(arguments)
    if parsed.multirun and not inspected(parsed) and sweeper_of(parsed.overrides) == "study":
        return run_sweep(arguments)
    return run_hydra(arguments, _one)


def _one(request: Request) -> int:
    train(request)
    return 0
