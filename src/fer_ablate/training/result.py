"""The result of a run as plain values that can be stored as JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from fer_ablate.metrics import SplitResult

__all__ = ["RunResult", "SplitResult"]


BEST, LAST = "best.ckpt", "last.ckpt"
"""File names of the weights to test, and of the whole state after the last finished epoch."""


@dataclass(kw_only=True)
class RunResult:
    """Result of a finished run.

    Args:
        key: key of the run.
        name: label in tables.
        seed: seed of the run.
        splits: part -> scores. `val`, `test` and the official splits (`public`, `private`) are scored with the kept weights.
            `train` is the score of the training steps in the epoch of these weights: augmented images, dropout on, weights
            changing. `train_eval`, with `evaluation.train`, is the score of the kept weights on the same images as they are,
            without augmentation and dropout, which Keras' `evaluate` gives. With `evaluation.pool_epochs`, `train_pooled` and
            `test_pooled` are the scores of the training steps and of the test predictions of all epochs together, in which every
            image counts once per epoch.
        classes: names in the order of the network's outputs.
        protocol: roles, crop, test-time augmentation, label set and so on; results with different protocols must not share a
            column of a table.
        best_epoch: epoch (from 1) whose weights were tested.
        epochs: number of trained epochs, including those before a resume.
        seconds: duration of training and validation, including that before a resume.
        seconds_per_epoch: median duration of an epoch.
        peak_memory_mb: peak memory of the process (CPU) or of the card (GPU), in MiB.
        parameters: number of trainable parameters.
        macs: multiply-accumulates of one forward pass for one image.
        finished_at: time in ISO format, UTC.
        environment: device, hardware, number format, threads and versions.
        own_metrics: name of every metric of the user's own -> whether a higher value is better; None: neither is.
        without_blocks: split -> metric of the user's own -> its values without each block of images, see `own_metrics.blocks`.
    """

    key: str
    name: str
    seed: int
    splits: dict[str, SplitResult]
    classes: list[str]
    protocol: dict[str, str]
    best_epoch: int
    epochs: int
    seconds: float
    seconds_per_epoch: float
    peak_memory_mb: float
    parameters: int
    macs: int
    finished_at: str
    environment: dict[str, str] = field(default_factory=dict)
    own_metrics: dict[str, bool | None] = field(default_factory=dict)
    without_blocks: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def flat_metrics(self) -> dict[str, float]:
        """Return the metrics of all splits by the name `<split>/<metric>`."""
        return {f"{split}/{name}": value for split, result in self.splits.items() for name, value in result.metrics.items()}

    def to_json(self) -> dict[str, Any]:
        """Return a plain mapping for `json.dump`."""
        stored = asdict(self)
        for name in ("own_metrics", "without_blocks"):
            if not stored[name]:  # as in the files of earlier versions
                del stored[name]
        return stored

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Build a result from the mapping of `to_json`."""
        splits = {name: SplitResult(**split) for name, split in stored["splits"].items()}
        return cls(**{**stored, "splits": splits})
