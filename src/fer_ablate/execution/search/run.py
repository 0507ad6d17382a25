"""`-m hydra/sweeper=optuna`: a search, whose trials are runs like any other, through the configured launcher."""

import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fer_ablate.cli import console
from fer_ablate.cli.request import allow_plugins, parse, raise_faults
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.execution.hydra_sweeper import Launching, Sweep, start
from fer_ablate.execution.job import Job
from fer_ablate.execution.search.plan import prepared
from fer_ablate.execution.search.settings import Settings, single_valued
from fer_ablate.execution.search.trials import searched
from fer_ablate.study.spec import is_hydra


def run_search(arguments: Sequence[str]) -> int:
    """Search until as many trials have ended as were asked for, then show the best.

    Args:
        arguments: plain Hydra, with `-m` and `hydra/sweeper=optuna`.

    Returns:
        1 if a trial of this start failed or was interrupted, else 0.

    Raises:
        FaultyConfigError: with every fault of the command line.
        BusyError: another process is at this search.
    """
    console.quiet_libraries()
    parsed = parse(arguments)
    allow_plugins(parsed.overrides)
    config_dir = Path(parsed.config_dir) if parsed.config_dir else None
    diagnosis = diagnose(parsed.overrides, config_dir)
    raise_faults(diagnosis.faults)
    assert diagnosis.tree is not None
    of_hydra = [text for text in parsed.overrides if is_hydra(text)]
    typed = [text for text in parsed.overrides if text not in of_hydra]
    multirun = Path(diagnosis.tree.runs_dir).resolve() / "multirun"
    requests = multirun / f"requests-{uuid.uuid4().hex[:8]}"

    codes: list[int] = []

    def work(launch: Launching, given: Mapping[str, Any]) -> None:
        search = prepared(Settings.read(given), typed, config_dir)
        codes.append(searched(search, launch, requests))

    # What is fixed goes to Hydra as well, since a file of the user's own may set hydra.sweeper.
    try:
        start(Sweep(Job(requests, Path.cwd()), work), [*of_hydra, *single_valued(typed)], config_dir, multirun)
    finally:
        shutil.rmtree(requests, ignore_errors=True)
    return max(codes, default=0)
