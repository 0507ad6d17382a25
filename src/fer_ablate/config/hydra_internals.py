"""Everything taken from Hydra's private modules, tried with hydra-core 1.4.0rc3.

Hydra has no public way to compose from a folder of the user beside that of the program, to parse its command-line flags without
running, or to use a launcher without a sweeper plugin. tests/config/test_hydra_internals.py names what a later release lacks.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

HydraApp = Hydra
"""What composes configs once it is initialised."""


def flag_parser() -> argparse.ArgumentParser:
    """Build Hydra's own parser of the command line, which separates flags such as `-m` from overrides."""
    return get_args_parser()


@contextmanager
def initialised(folder: Path, further: Path | None = None) -> Iterator[HydraApp]:
    """Initialise Hydra for `hydra.compose`; a Hydra app that runs already is left as it was.

    Args:
        folder: of the program's files.
        further: folder of the user's, searched first.
    """
    singleton = GlobalHydra.instance()
    outer, singleton.hydra = singleton.hydra, None
    search_path = create_config_search_path(str(folder))
    if further is not None:
        search_path.prepend(
            provider="command-line", path=f"file://{further.resolve()}", anchor=SearchPathQuery(provider="schema")
        )
    try:
        yield Hydra.create_main_hydra2(task_name="fer_ablate", config_search_path=search_path)
    finally:
        singleton.hydra = outer


@contextmanager
def launcher(
    hydra: HydraApp, config_name: str, overrides: Sequence[str], task: Callable[[DictConfig], Any]
) -> Iterator[tuple[Launcher, DictConfig]]:
    """Build the launcher that `hydra/launcher` names, as `--multirun` does before it turns to the sweeper.

    Args:
        hydra: of `initialised`.
        config_name: of the primary config.
        overrides: without sweeps.
        task: called by the launcher for each job; has to be picklable.

    Yields:
        The launcher, and the composed tree with its section `hydra`.
    """
    words = [*overrides, "hydra.mode=MULTIRUN"]
    tree = hydra.compose_config(
        config_name, words, run_mode=RunMode.MULTIRUN, with_log_configuration=True, activate_config_repository=True
    )
    known = HydraConfig.instance()
    outer, known.cfg = known.cfg, None
    known.set_config(tree)  # a launcher's settings may refer to ${hydra:runtime.cwd} and the like
    callbacks = Callbacks(tree)
    context = HydraContext(config_loader=hydra.config_loader, callbacks=callbacks)
    try:
        callbacks.on_multirun_start(config=tree, config_name=config_name)
        yield Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=tree), tree
    finally:
        callbacks.on_multirun_end(config=tree, config_name=config_name)
        known.cfg = outer
