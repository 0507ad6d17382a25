"""One of the processes that share a run, for `test_processes`: shared_run.py <folder> <override>..."""

import sys
from pathlib import Path

from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.data.load import load_faces
from fer_ablate.training.processes import follow_parent, rank
from fer_ablate.training.role_set import role_set
from fer_ablate.training.run import PreparedRun, fit

follow_parent()
with composer():
    config = to_config(composed(sys.argv[2:]))
fit(PreparedRun(config, "shared", "key", role_set(config, load_faces(config.data)), Path(sys.argv[1]), rank()))
