"""`bench`: images per second of training, beside what the machine reaches in a bare loop."""

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.cli.run_spec import RunSpec, run_hydra
from fer_ablate.data.load import load_faces
from fer_ablate.errors import UserError
from fer_ablate.sizes import spelled
from fer_ablate.training.bench import bench
from fer_ablate.training.hardware import choose_hardware, environment, use_threads
from fer_ablate.training.role_set import role_set


def run(arguments: Sequence[str]) -> int:
    """Print images per second of the whole training and of its parts."""
    return run_hydra(arguments, _show)


def _show(spec: RunSpec) -> int:
    config = spec.config
    # The first epoch compiles, allocates and fills caches, so it says nothing about speed.
    if config.trainer.max_epochs < 2:
        raise UserError("bench needs trainer.max_epochs of at least 2: the first epoch warms up and is not counted.")
    if config.trainer.devices > 1 or config.trainer.fast_dev_run:
        raise UserError("bench measures whole epochs on one device: leave trainer.devices and trainer.fast_dev_run out.")
    use_threads(config.trainer)
    with console.bar("reading the images") as progress:
        data = role_set(config, load_faces(config.data, progress, config.plugins))
    with tempfile.TemporaryDirectory() as folder, console.bar("measuring") as progress:
        rounds = bench(config, data, Path(folder), progress)
    machine = environment(choose_hardware(config.trainer))
    console.facts(
        [
            ("model", spec.name),
            ("batch", f"{config.trainer.batch_size} images of {spelled(data.image_size)}, augment: {_steps(spec)}"),
            ("device", f"{machine['hardware']}, {console.counted(int(machine['threads']), 'thread')}, {machine['precision']}"),
        ]
    )
    columns = {
        "matrix products alone (limit)": [epoch.limit for epoch in rounds],
        "bare loop, one resident batch (ceiling)": [epoch.ceiling for epoch in rounds],
        "data pipeline alone": [epoch.pipeline for epoch in rounds],
        "training epochs": [epoch.training for epoch in rounds],
    }
    rows = [[name, f"{statistics.median(v):,.0f}", f"{min(v):,.0f}", f"{max(v):,.0f}"] for name, v in columns.items()]
    ratios = {
        "training / ceiling": [epoch.ratio for epoch in rounds],
        "training / (ceiling and pipeline in turn)": [epoch.ratio_with_batches for epoch in rounds],
        "ceiling / limit": [epoch.used for epoch in rounds],
    }
    rows += [[name, *(f"{f(v):.3f}" for f in (statistics.median, min, max))] for name, v in ratios.items()]
    console.console.print()
    console.table("", [f"images per second (n={len(rounds)} epochs)", "median", "min", "max"], rows)
    return 0


def _steps(spec: RunSpec) -> str:
    return ", ".join(str(step["op"]) for step in spec.config.augment.steps) or "none"
