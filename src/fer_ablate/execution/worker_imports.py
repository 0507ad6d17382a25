"""What every worker of a sweep imports before its first run; the server that workers are forked from does so once for all."""

import gc
from functools import cache

from joblib.externals.loky import process_executor
from lightning_fabric.utilities import registry

from fer_ablate.execution import one_run, workers

__all__ = ["one_run", "process_executor", "workers"]

# For each run Lightning looks for callbacks in the metadata of all installed packages, which takes a tenth of a run of one step.
registry.entry_points = cache(registry.entry_points)  # type: ignore[assignment, attr-defined]

# What was imported stays for good: no collection between two runs needs to look at it, and forked processes go on sharing it.
gc.collect()
gc.freeze()
