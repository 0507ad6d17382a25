"""`bench`: the speed of training beside the ceiling of the machine."""

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.cli.request import Request, run_hydra
from fer_ablate.data.load import load_faces
from fer_ablate.errors import UserError
from fer_ablate.sizes import spelled
from fer_ablate.training.assembly import role_set
from fer_ablate.training.bench import bench
from fer_ablate.training.hardware import choose, environment, use_threads


def run(arguments: Sequence[str]) -> int:
    """Measure and print images per second."""
    return run_hydra(arguments, _show)


def _show(request: Request) -> int:
    console.quiet_libraries()
    config = request.config
    if config.trainer.max_epochs < 2:
        raise UserError("bench needs trainer.max_epochs of at least 2: the first epoch warms up and is not counted.")
    use_threads(config.trainer)
    with console.bar("reading the images") as tell:
        data = role_set(config, load_faces(config.data, tell))
    with tempfile.TemporaryDirectory() as folder, console.bar("measuring") as tell:
        rounds = bench(config, data, Path(folder), tell)
    where = environment(choose(config.trainer))
    console.facts(
        [
            ("model", request.name),
            ("batch", f"{config.trainer.batch_size} images of {spelled(data.image_size)}, augment: {_steps(request)}"),
            ("device", f"{where['hardware']}, {console.counted(int(where['threads']), 'thread')}, {where['precision']}"),
        ]
    )
    columns = {
        "bare loop, one resident batch (ceiling)": [r.ceiling for r in rounds],
        "data pipeline alone": [r.pipeline for r in rounds],
        "training epochs": [r.training for r in rounds],
    }
    rows = [[name, f"{statistics.median(v):,.0f}", f"{min(v):,.0f}", f"{max(v):,.0f}"] for name, v in columns.items()]
    ratios = [r.ratio for r in rounds]
    rows.append(["training / ceiling", *(f"{f(ratios):.3f}" for f in (statistics.median, min, max))])
    console.console.print()
    console.table("", [f"images per second (n={len(rounds)} epochs)", "median", "min", "max"], rows)
    return 0


def _steps(request: Request) -> str:
    return ", ".join(str(step["op"]) for step in request.config.augment.steps) or "none"
