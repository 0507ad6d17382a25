"""The numbers of a run under the names that every tracker shows them by."""

from collections.abc import Mapping

from fer_ablate.training.result import RunResult

EPOCH_SECONDS = "epoch/seconds"
"""Name of the duration of an epoch; every recorded epoch has one."""


def epoch_values(row: Mapping[str, float]) -> dict[str, float]:
    """What was measured in an epoch, from its row of `metrics.csv`."""
    measured = {name: value for name, value in row.items() if name not in ("epoch", "time_ms")}
    return {EPOCH_SECONDS if name == "seconds" else name: value for name, value in measured.items()}


def final_scores(result: RunResult) -> dict[str, float]:
    """Scores and costs of a finished run."""
    scores = {}
    for name, value in result.flat_metrics().items():
        split, _, metric = name.partition("/")
        # `train/...` and `val/...` are curves over the epochs; what belongs to the kept weights needs a name of its own.
        scores[f"{split}_kept/{metric}" if split in ("train", "val") else name] = value
    numbers = ("parameters", "macs", "seconds", "seconds_per_epoch", "peak_memory_mb", "best_epoch", "epochs")
    return scores | {f"run/{name}": float(getattr(result, name)) for name in numbers}
