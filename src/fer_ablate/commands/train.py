"""`train`: one run; with `-m` a study, a grid or a search, which may stand in the file of an experiment."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.cli.command_line import RunSpec, parse, run_hydra
from fer_ablate.config.compose import composer
from fer_ablate.config.conf_files import CONFIG_NAME
from fer_ablate.config.overrides import key_of, value_of
from fer_ablate.errors import UserError, choices

SWEEPERS = ("study", "optuna")
"""Hydra's sweepers that `-m` takes."""


def run(arguments: Sequence[str]) -> int:
    """Train one run, or with `-m` several."""
    parsed = parse(arguments)
    if not parsed.multirun or parsed.inspects:
        return run_hydra(arguments, _one)
    # Hydra's own sweepers know nothing of finished runs, so only ours are accepted.
    arguments = [*arguments, *search_of_file(parsed.overrides, parsed.config_dir)]
    sweeper = sweeper_of(parse(arguments).overrides)
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


def search_of_file(overrides: Sequence[str], config_dir: Path | None) -> list[str]:
    """Sweeper and sampler, where the experiment's file lists what to search (`hydra.sweeper.params`) and no sweeper is typed."""
    typed = {key_of(text): text for text in overrides}
    if "experiment" not in typed or "hydra/sweeper" in typed or "study" in typed:
        return []
    words = [typed[key] for key in ("experiment", "search.objective") if key in typed]
    with composer(config_dir):
        try:
            tree = compose(CONFIG_NAME, overrides=words, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException):
            return []  # whatever is wrong with the words is said later, together with all other faults
    if not tree.hydra.sweeper.get("params"):
        return []
    objectives = tree.search.objective
    # Optuna's other samplers look at one objective, or at several with many more trials.
    sampler = ["hydra/sweeper/sampler=nsgaii"] if OmegaConf.is_list(objectives) and len(objectives) > 1 else []
    return ["hydra/sweeper=optuna", *(sampler if "hydra/sweeper/sampler" not in typed else [])]


def _one(spec: RunSpec) -> int:
    from fer_ablate.execution.one_run import train

    train(spec)
    return 0
