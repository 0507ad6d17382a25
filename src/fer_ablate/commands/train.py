"""`train`: one run from config to recorded result; what is finished is shown, what was interrupted goes on."""

import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fer_ablate.commands import console
from fer_ablate.commands.request import Request, run_hydra
from fer_ablate.config.compose import to_yaml
from fer_ablate.config.key import code_digest, run_key
from fer_ablate.config.schema import Mode
from fer_ablate.data.load import load_faces
from fer_ablate.errors import UserError
from fer_ablate.report.run_pictures import save_pictures
from fer_ablate.tracking.recorder import Recorder, upload_pending
from fer_ablate.tracking.run_folder import RunFolder, RunHeader, StoredPredictions
from fer_ablate.training.assembly import RoleSet, role_set
from fer_ablate.training.processes import launch, rank
from fer_ablate.training.run import Outcome, Task, assess, finished_epochs, fit

KEY_DIGITS = 10
"""Of a run's key in folder names and on the screen."""


def run(arguments: Sequence[str]) -> int:
    """Train what the config says."""
    return run_hydra(arguments, train)


def train(request: Request) -> int:
    """Do one run, in this process or in several of its own."""
    if request.config.trainer.devices > 1 and not request.config.trainer.fast_dev_run:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "request.json"
            request.save(file)
            launch([sys.executable, "-m", "fer_ablate", "worker", str(file)], request.config.trainer.devices)
        return 0
    return train_here(request)
